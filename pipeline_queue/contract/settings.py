"""The settings, read from the environment once and passed on as one frozen value."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_queue.contract.errors import SettingsError

BROKER_URL = "PIPELINE_QUEUE_BROKER_URL"
STORAGE = "PIPELINE_QUEUE_STORAGE"
SCRATCH = "PIPELINE_QUEUE_SCRATCH"
LOG_LIMIT = "PIPELINE_QUEUE_LOG_LIMIT_BYTES"
STOP_GRACE = "PIPELINE_QUEUE_STOP_GRACE_SECONDS"

RESERVED_PREFIX = "PIPELINE_QUEUE_"
"""Environment variables of this name are ours: steps get only those made for them."""

_SCHEMES = ("redis", "rediss", "redis+socket")
_DEFAULT_LOG_LIMIT_BYTES = 64 * 1024 * 1024
# Kubernetes kills after 30 s.
_DEFAULT_STOP_GRACE_SECONDS = 20.0
_LONGEST_STOP_GRACE_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the broker and the shared storage are.

    `scratch` holds working directories while steps run; it is local to a machine. `log_limit_bytes`
    caps each attempt's log. `stop_grace_seconds` is how long a worker that is told to stop waits for what it runs.
    """

    broker_url: str
    storage: Path
    scratch: Path
    log_limit_bytes: int = _DEFAULT_LOG_LIMIT_BYTES
    stop_grace_seconds: float = _DEFAULT_STOP_GRACE_SECONDS

    def __repr__(self) -> str:
        return f"Settings(broker_url={without_password(self.broker_url)!r}, storage={str(self.storage)!r})"

    def environment(self) -> dict[str, str]:
        """The variables that give these settings to a process of ours."""
        return {
            BROKER_URL: self.broker_url,
            STORAGE: str(self.storage),
            SCRATCH: str(self.scratch),
            LOG_LIMIT: str(self.log_limit_bytes),
            STOP_GRACE: f"{self.stop_grace_seconds:g}",
        }


def settings_from(environment: Mapping[str, str]) -> Settings:
    """The settings of a worker or a submitter.

    Raises SettingsError when one of the two that are needed is missing or wrong.
    """
    missing = [name for name in (BROKER_URL, STORAGE) if not environment.get(name)]
    if missing:
        raise SettingsError(
            f"{' and '.join(missing)} must be set: for example {BROKER_URL}=redis://:password@host:6379/0 "
            f"and {STORAGE}=/mnt/shared"
        )
    return Settings(
        broker_url=_checked_url(environment[BROKER_URL]),
        storage=Path(environment[STORAGE]).expanduser().absolute(),
        scratch=_scratch(environment),
        log_limit_bytes=_log_limit(environment),
        stop_grace_seconds=_stop_grace(environment),
    )


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    url = re.sub(r"(?<=[?&]password=)[^&#]*", "***", url)
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"{BROKER_URL} is not a URL: {error}") from None
    if parts.scheme not in _SCHEMES:
        raise SettingsError(
            f"{BROKER_URL} must begin with redis://, rediss:// or redis+socket://, not '{parts.scheme[:20]}'"
        )
    return url


def _scratch(environment: Mapping[str, str]) -> Path:
    chosen = environment.get(SCRATCH)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(tempfile.gettempdir()) / f"pipeline-queue-{os.getuid()}"


def _log_limit(environment: Mapping[str, str]) -> int:
    text = environment.get(LOG_LIMIT, str(_DEFAULT_LOG_LIMIT_BYTES))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{LOG_LIMIT} must be a whole number of bytes above 0, not '{text[:40]}'")
    return int(text)


def _stop_grace(environment: Mapping[str, str]) -> float:
    text = environment.get(STOP_GRACE, str(_DEFAULT_STOP_GRACE_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_STOP_GRACE_SECONDS:
        raise SettingsError(f"{STOP_GRACE} must be a number of seconds from 0 to 30 days, not '{text[:40]}'")
    return seconds
