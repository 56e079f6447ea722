"""The settings, read from the environment once and passed on as one frozen value."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from pipeline_queue.contract.errors import SettingsError

BROKER_URL = "PIPELINE_QUEUE_BROKER_URL"
STORAGE = "PIPELINE_QUEUE_STORAGE"
SCRATCH = "PIPELINE_QUEUE_SCRATCH"
LOG_LIMIT = "PIPELINE_QUEUE_LOG_LIMIT_BYTES"
KEEP_LIMIT = "PIPELINE_QUEUE_KEEP_LIMIT_BYTES"
KEEP_TOTAL = "PIPELINE_QUEUE_KEEP_TOTAL_BYTES"
KEEP_DAYS = "PIPELINE_QUEUE_KEEP_DAYS"
NO_WAIT = "PIPELINE_QUEUE_NO_WAIT"
REUSE_FOLDERS = "PIPELINE_QUEUE_REUSE_FOLDERS"
SIGNING_KEY_FILE = "PIPELINE_QUEUE_SIGNING_KEY_FILE"
STOP_GRACE = "PIPELINE_QUEUE_STOP_GRACE_SECONDS"
ENVIRONMENTS = "PIPELINE_QUEUE_ENVIRONMENTS"
REMOTE_CONTROL = "PIPELINE_QUEUE_REMOTE_CONTROL"
THREADS_PER_SLOT = "PIPELINE_QUEUE_THREADS_PER_SLOT"
FLOWER_SOCKET = "PIPELINE_QUEUE_FLOWER_SOCKET"

RESERVED_PREFIX = "PIPELINE_QUEUE_"
"""Environment variables of this name are ours: steps get only those made for them."""

_OPTIONS = {
    "redis": (),
    "rediss": ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    "redis+socket": ("virtual_host",),
}
"""Scheme of the broker's URL -> options that kombu and redis-py both take, and that leave its certificate checked."""

_OTHER_OPTIONS = frozenset(
    {
        "db", "username", "visibility_timeout", "fanout_prefix", "fanout_patterns", "global_keyprefix", "sep", "ssl",
        "socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "retry_on_timeout",
        "max_connections", "client_name", "protocol", "encoding", "credential_provider", "ssl_cert_reqs",
        "ssl_check_hostname", "ssl_ca_path", "ssl_ca_data", "ssl_keyfile", "priority_steps", "password",
    }
)  # fmt: skip
_OTHER_SCHEMES = frozenset(
    {
        "amqp", "amqps", "pyamqp", "sqs", "http", "https", "tcp", "unix", "socket", "sentinel", "valkey", "valkeys",
        "kafka", "memory", "filesystem",
    }
)  # fmt: skip
"""What may be named when it stands in a URL: anything else may be a part of a password."""

_KNOWN_OPTIONS = _OTHER_OPTIONS | {name for names in _OPTIONS.values() for name in names}
_OPEN_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_ESCAPES = "in a password write / as %2F, @ as %40, : as %3A, # as %23, ? as %3F, [ as %5B, a space as %20"

RemoteControl = Literal["questions", "queues", "all"]
_REMOTE_CONTROL: dict[str, RemoteControl] = {
    "": "questions", "0": "questions", "1": "all", "questions": "questions", "queues": "queues", "all": "all",
}  # fmt: skip
"""`queues`: of the embedded service's worker, which is told of the queues to serve."""

_DEFAULT_LOG_LIMIT_BYTES = 64 * 1024 * 1024
_DEFAULT_KEEP_LIMIT_BYTES = 1024 * 1024 * 1024
DEFAULT_KEEP_TOTAL_BYTES = 10 * 1024**3
_DEFAULT_KEEP_DAYS = 7
# Kubernetes kills after 30 s.
_DEFAULT_STOP_GRACE_SECONDS = 20.0
_MAX_STOP_GRACE_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the broker and the shared storage are.

    `scratch` holds working directories while steps run; it is local to a machine. `log_limit_bytes`
    caps each attempt's log. `signing_key_file` None: messages are not signed. `stop_grace_seconds` is how long a worker
    that is told to stop waits for what it runs. `environments`: only of the embedded service, the folder of
    `contract.submitted_environment`. `remote_control`: which of Celery's commands a worker takes.
    `keep_limit_bytes` and `keep_days`: how much of what a failed attempt left is kept, and how long;
    `keep_total_bytes`: of all attempts together.
    `threads_per_slot`: how many threads a step's numeric libraries may use; 0 is no bound, None the slot's share.
    `waits_for_broker`: whether a worker that starts waits for a broker that is not there.
    `reuses_folders`: whether a worker gives a step the folder of an earlier one, put back as it was staged; None where
    no container engine can be used.
    """

    broker_url: str
    storage: Path
    scratch: Path
    log_limit_bytes: int = _DEFAULT_LOG_LIMIT_BYTES
    signing_key_file: Path | None = None
    stop_grace_seconds: float = _DEFAULT_STOP_GRACE_SECONDS
    environments: Path | None = None
    remote_control: RemoteControl = "questions"
    keep_limit_bytes: int = _DEFAULT_KEEP_LIMIT_BYTES
    keep_total_bytes: int = DEFAULT_KEEP_TOTAL_BYTES
    keep_days: int = _DEFAULT_KEEP_DAYS
    waits_for_broker: bool = True
    threads_per_slot: int | None = None
    reuses_folders: bool | None = None

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
            REMOTE_CONTROL: self.remote_control,
            KEEP_LIMIT: str(self.keep_limit_bytes),
            KEEP_TOTAL: str(self.keep_total_bytes),
            KEEP_DAYS: str(self.keep_days),
            NO_WAIT: "" if self.waits_for_broker else "1",
            THREADS_PER_SLOT: "" if self.threads_per_slot is None else str(self.threads_per_slot),
            REUSE_FOLDERS: "" if self.reuses_folders is None else str(int(self.reuses_folders)),
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
        remote_control=_remote_control(environment),
        keep_limit_bytes=_whole_number(environment, KEEP_LIMIT, _DEFAULT_KEEP_LIMIT_BYTES, "of bytes"),
        keep_total_bytes=_whole_number(environment, KEEP_TOTAL, DEFAULT_KEEP_TOTAL_BYTES, "of bytes"),
        waits_for_broker=environment.get(NO_WAIT, "") in ("", "0"),
        threads_per_slot=_threads_per_slot(environment),
        keep_days=_whole_number(environment, KEEP_DAYS, _DEFAULT_KEEP_DAYS, "of days"),
        reuses_folders=_reuses_folders(environment),
    )


def certificate_check(broker_url: str) -> dict[str, object]:
    """What kombu must be told so that a server's certificate is checked, empty without TLS.

    Left alone it accepts any; `ssl_…` options in the URL still win.
    """
    if urlsplit(broker_url).scheme != "rediss":
        return {}
    import ssl

    return {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def without_password(url: str) -> str:
    """The URL as it may be shown; next to nothing of one that is not well-formed, or has an `@` or `#` further on."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "***"
    if parts.scheme not in _OPTIONS:
        return "***"
    if parts.fragment or "@" in f"{parts.path}{parts.query}":
        return f"{parts.scheme}://***"
    parts = parts._replace(query=_without_secrets(parts.query))
    if parts.scheme != "redis+socket" and not re.fullmatch("/?[0-9]*", parts.path, re.ASCII):
        parts = parts._replace(path="/***")
    if "@" not in parts.netloc:
        # Not by geturl, which leaves out the slashes of an empty host.
        return f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if parts.query else ''}{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    if not parts.password:  # what stands for a user may be meant as the password
        return parts._replace(netloc=f"***@{host}").geturl()
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()


def _without_secrets(query: str) -> str:
    """Shows the values of the options that are known to hold none."""
    shown = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        is_known = name in _KNOWN_OPTIONS
        is_open = name in _OPEN_OPTIONS or (name in ("virtual_host", "db") and value.isdigit())
        shown.append(part if is_open else f"{name}=***" if is_known else "***")
    return "&".join(shown)


def _checked_url(url: str) -> str:
    """Raises SettingsError, in which nothing stands that may be a part of a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise SettingsError(f"{BROKER_URL} is not a URL; {_ESCAPES}") from None
    if parts.scheme not in _OPTIONS:
        found = f", not '{parts.scheme}'" if parts.scheme in _OTHER_SCHEMES else ""
        raise SettingsError(f"{BROKER_URL} must begin with redis://, rediss:// or redis+socket://{found}")
    if not url.lower().startswith(f"{parts.scheme}://"):
        raise SettingsError(f"{BROKER_URL} needs two slashes after the colon: {parts.scheme}://")
    if parts.username and parts.password is None:
        raise SettingsError(
            f"{BROKER_URL} has a user and no password: a password needs a colon before it, "
            f"{parts.scheme}://:PASSWORD@host, and so does the end of a user without one, {parts.scheme}://USER:@host"
        )
    if parts.fragment or any(character.isspace() or not character.isprintable() for character in url):
        raise SettingsError(f"{BROKER_URL} contains a '#' or a space; {_ESCAPES}")
    _check_options(parts.scheme, options)
    if parts.scheme == "redis+socket":
        if not parts.path.strip("/"):
            raise SettingsError(f"{BROKER_URL} names no socket: for example redis+socket:///run/redis/redis.sock")
        if parts.hostname or port is not None:
            raise SettingsError(f"{BROKER_URL} names a host as well as a socket: write three slashes; {_ESCAPES}")
        _check_database(options.get("virtual_host", "0"))
    else:
        _check_database(parts.path.lstrip("/") or "0")
    return parts.scheme + url[len(parts.scheme) :]


def _check_options(scheme: str, options: Mapping[str, str]) -> None:
    known = _OPTIONS[scheme]
    for name in options:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            named = f"the option '{name}'" if name in _KNOWN_OPTIONS else "an option that is not known"
            raise SettingsError(f"{BROKER_URL} has {named}; with {scheme}:// {there} (is a ? unescaped?)")


def _check_database(text: str) -> None:
    if not (text.isascii() and text.isdigit()):
        # The text is not shown: it may be the rest of a password with a slash in it.
        raise SettingsError(f"{BROKER_URL} must name its database by a number: redis://host:6379/0 (is a / unescaped?)")


def _scratch(environment: Mapping[str, str]) -> Path:
    """`PIPELINE_QUEUE_SCRATCH`, else a folder of this user in the system's temporary one."""
    chosen = environment.get(SCRATCH)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(tempfile.gettempdir()) / f"pipeline-queue-{os.getuid()}"


def _whole_number(environment: Mapping[str, str], name: str, default: int, what: str) -> int:
    text = environment.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise SettingsError(f"{name} must be a whole number {what}, not '{text[:40]}'")
    return int(text)


def _threads_per_slot(environment: Mapping[str, str]) -> int | None:
    return _whole_number(environment, THREADS_PER_SLOT, 0, "of threads") if environment.get(THREADS_PER_SLOT) else None


def _reuses_folders(environment: Mapping[str, str]) -> bool | None:
    text = environment.get(REUSE_FOLDERS, "")
    if text not in ("", "0", "1"):
        raise SettingsError(f"{REUSE_FOLDERS} must be 1 or 0, not '{text[:40]}'")
    return text == "1" if text else None


def _log_limit(environment: Mapping[str, str]) -> int:
    text = environment.get(LOG_LIMIT, str(_DEFAULT_LOG_LIMIT_BYTES))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{LOG_LIMIT} must be a whole number of bytes above 0, not '{text[:40]}'")
    return int(text)


def _signing_key_file(environment: Mapping[str, str]) -> Path | None:
    chosen = environment.get(SIGNING_KEY_FILE)
    return Path(chosen).expanduser().absolute() if chosen else None


def _remote_control(environment: Mapping[str, str]) -> RemoteControl:
    text = environment.get(REMOTE_CONTROL, "")
    if text not in _REMOTE_CONTROL:
        raise SettingsError(f"{REMOTE_CONTROL} must be 1 or 0, not '{text[:40]}'")
    return _REMOTE_CONTROL[text]


def _stop_grace(environment: Mapping[str, str]) -> float:
    text = environment.get(STOP_GRACE, str(_DEFAULT_STOP_GRACE_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MAX_STOP_GRACE_SECONDS:
        raise SettingsError(f"{STOP_GRACE} must be a number of seconds from 0 to 30 days, not '{text[:40]}'")
    return seconds
