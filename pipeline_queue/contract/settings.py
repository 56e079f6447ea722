"""The settings, read from the environment once and passed on as one frozen value."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pipeline_queue.contract.errors import SettingsError

BROKER_URL = "PIPELINE_QUEUE_BROKER_URL"
STORAGE = "PIPELINE_QUEUE_STORAGE"
SCRATCH = "PIPELINE_QUEUE_SCRATCH"
LOG_LIMIT = "PIPELINE_QUEUE_LOG_LIMIT_BYTES"
SIGNING_KEY_FILE = "PIPELINE_QUEUE_SIGNING_KEY_FILE"
STOP_GRACE = "PIPELINE_QUEUE_STOP_GRACE_SECONDS"
ENVIRONMENTS = "PIPELINE_QUEUE_ENVIRONMENTS"
FLOWER_SOCKET = "PIPELINE_QUEUE_FLOWER_SOCKET"

RESERVED_PREFIX = "PIPELINE_QUEUE_"
"""Environment variables of this name are ours: steps get only those made for them."""

_OPTIONS = {
    "redis": (),
    "rediss": ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    "redis+socket": ("virtual_host",),
}
"""Scheme of the broker's URL -> options that kombu and redis-py both take, and that leave its certificate checked."""

_DEFAULT_LOG_LIMIT_BYTES = 64 * 1024 * 1024
# Kubernetes kills after 30 s.
_DEFAULT_STOP_GRACE_SECONDS = 20.0
_LONGEST_STOP_GRACE_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the broker and the shared storage are.

    `scratch` holds working directories while steps run; it is local to a machine. `log_limit_bytes`
    caps each attempt's log. `signing_key_file` None: messages are not signed. `stop_grace_seconds` is how long a worker
    that is told to stop waits for what it runs. `environments`: only of the embedded service, the folder of
    `contract.submitted_environment`.
    """

    broker_url: str
    storage: Path
    scratch: Path
    log_limit_bytes: int = _DEFAULT_LOG_LIMIT_BYTES
    signing_key_file: Path | None = None
    stop_grace_seconds: float = _DEFAULT_STOP_GRACE_SECONDS
    environments: Path | None = None

    def __repr__(self) -> str:
        return f"Settings(broker_url={without_password(self.broker_url)!r}, storage={str(self.storage)!r})"

    def environment(self) -> dict[str, str]:
        """The variables that give these settings to a process of ours."""
        return {
            BROKER_URL: self.broker_url,
            STORAGE: str(self.storage),
            SCRATCH: str(self.scratch),
            LOG_LIMIT: str(self.log_limit_bytes),
            SIGNING_KEY_FILE: str(self.signing_key_file or ""),
            STOP_GRACE: f"{self.stop_grace_seconds:g}",
            ENVIRONMENTS: str(self.environments or ""),
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
        signing_key_file=_signing_key_file(environment),
        stop_grace_seconds=_stop_grace(environment),
        environments=Path(environment[ENVIRONMENTS]) if environment.get(ENVIRONMENTS) else None,
    )


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    url = re.sub(r"([?&](?:ssl_)?password=)[^&#]*", r"\1***", url)
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise SettingsError(f"{BROKER_URL} is not a URL: {error}") from None
    if parts.scheme not in _OPTIONS:
        raise SettingsError(
            f"{BROKER_URL} must begin with redis://, rediss:// or redis+socket://, not '{parts.scheme[:20]}'"
        )
    known = _OPTIONS[parts.scheme]
    for name in options:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            raise SettingsError(f"{BROKER_URL} has the option '{name[:40]}'; with {parts.scheme}:// {there}")
    if parts.scheme == "redis+socket":
        if not parts.path.strip("/"):
            raise SettingsError(f"{BROKER_URL} names no socket: for example redis+socket:///run/redis/redis.sock")
        _check_database(options.get("virtual_host", "0"))
    else:
        _check_database(parts.path.lstrip("/") or "0")
    return url


def _check_database(text: str) -> None:
    if not (text.isascii() and text.isdigit()):
        # The text is not shown: it may be the rest of a password with a slash in it.
        raise SettingsError(f"{BROKER_URL} must name its database by a number: redis://host:6379/0 (is a / unescaped?)")


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


def _signing_key_file(environment: Mapping[str, str]) -> Path | None:
    chosen = environment.get(SIGNING_KEY_FILE)
    return Path(chosen).expanduser().absolute() if chosen else None


def _stop_grace(environment: Mapping[str, str]) -> float:
    text = environment.get(STOP_GRACE, str(_DEFAULT_STOP_GRACE_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_STOP_GRACE_SECONDS:
        raise SettingsError(f"{STOP_GRACE} must be a number of seconds from 0 to 30 days, not '{text[:40]}'")
    return seconds
