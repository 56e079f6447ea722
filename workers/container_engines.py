"""Finds container engines that this user may use: a container can outlive its step, unseen by the worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_SYSTEM_FOLDERS = ("/run", "/var/run")
_SYSTEM_SOCKETS = (
    "docker.sock",
    "podman/podman.sock",
    "containerd/containerd.sock",
    "k3s/containerd/containerd.sock",
    "crio/crio.sock",
    "buildkit/buildkitd.sock",
)
"""Below the system's folders."""
_USER_SOCKETS = ("docker.sock", "podman/podman.sock", "containerd/containerd.sock")
"""Below the user's runtime folder."""
_HOME_SOCKETS = (".docker/run/docker.sock", ".docker/desktop/docker.sock", ".colima/default/docker.sock")
_HOSTS = ("DOCKER_HOST", "CONTAINER_HOST", "CONTAINERD_ADDRESS")


def usable_engine(environment: Mapping[str, str]) -> str | None:
    """The first engine's socket that this user may write to, or the address in a variable; None when there is none."""
    for name in _HOSTS:
        if address := environment.get(name):
            parts = urlsplit(address)
            if parts.scheme not in ("", "unix"):
                return name  # on another machine, which may share this one's file systems
            if _is_writable(Path(parts.path)):
                return parts.path
    return next((str(socket) for socket in _sockets(environment) if _is_writable(socket)), None)


def _sockets(environment: Mapping[str, str]) -> Iterator[Path]:
    for folder in _SYSTEM_FOLDERS:
        yield from (Path(folder, name) for name in _SYSTEM_SOCKETS)
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield from (Path(runtime, name) for name in _USER_SOCKETS)
    home = environment.get("HOME")
    if home:
        yield from (Path(home, name) for name in _HOME_SOCKETS)


def _is_writable(socket: Path) -> bool:
    return os.access(socket, os.W_OK)
