"""The submitter's environment and Python, with which the embedded service starts the steps of a sweep.

The environment may contain secrets, so neither messages nor the storage's records contain it. It is in one file per
sweep that only this user may read, on the machine that both the submitter and the service run on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_queue.contract.errors import InputError, StorageError
from pipeline_queue.contract.settings import RESERVED_PREFIX
from pipeline_queue.contract.wording import counted
from pipeline_queue.storage.private_folder import make_private_folder, read_private_file, write_private_file

MAX_ENVIRONMENT_BYTES = 8 * 2**20
"""Linux passes about 2 MiB of arguments and environment to a program; JSON may need several times that."""
_VERSION = 1
_SUFFIX = ".json"
TERMINAL_VARIABLES = frozenset(
    [
        "_",
        "SHLVL",
        "PWD",
        "OLDPWD",
        "WINDOWID",
        "COLUMNS",
        "LINES",
        "TERM_SESSION_ID",
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "GPG_TTY",
        "TMUX",
        "TMUX_PANE",
        "STY",
        "WINDOW",
        "VTE_VERSION",
        "XDG_SESSION_ID",
    ]
)
"""Variables of the terminal, not of the work: no library is known to read them while it is imported."""


@dataclass(frozen=True, slots=True)
class SubmittedEnvironment:
    """The `python` and `variables` that steps run with; `variables` has none of pipeline_queue's own settings."""

    python: Path
    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def of_this_process(cls) -> SubmittedEnvironment:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(RESERVED_PREFIX)}
        return cls(Path(sys.executable), kept)

    def differences(self, other: SubmittedEnvironment) -> list[str]:
        """The names of the variables that differ, except those of the terminal. `Python` comes first if it differs."""
        names = self.variables.keys() | other.variables.keys()
        names = {name for name in names if self.variables.get(name) != other.variables.get(name)}
        return ["Python"] * (self.python != other.python) + sorted(names - TERMINAL_VARIABLES)

    def encode(self) -> bytes:
        """Encodes it as JSON. Bytes that are not UTF-8 become lone surrogates, as in `os.environ`.

        Raises InputError above MAX_ENVIRONMENT_BYTES.
        """
        value = {"v": _VERSION, "python": str(self.python), "variables": dict(self.variables)}
        data = json.dumps(value).encode()
        if len(data) > MAX_ENVIRONMENT_BYTES:
            raise InputError(
                f"the environment variables of this command take {counted(len(data), 'byte')}; steps can be given "
                f"{MAX_ENVIRONMENT_BYTES:,} at most: unset the largest"
            )
        return data

    @classmethod
    def decode(cls, data: bytes) -> SubmittedEnvironment:
        """Decodes what `encode` returned. Raises ValueError for any other data."""
        value: Any = json.loads(data)
        if not isinstance(value, dict) or value.get("v") != _VERSION:
            raise ValueError("not an environment of this version")
        python, variables = value.get("python"), value.get("variables")
        if not isinstance(python, str) or not isinstance(variables, dict):
            raise ValueError("not an environment")
        if not all(isinstance(text, str) for text in variables.values()):
            raise ValueError("a variable is not a text")
        kept = {name: text for name, text in variables.items() if not name.startswith(RESERVED_PREFIX)}
        return cls(Path(python), kept)


@dataclass(frozen=True, slots=True)
class EnvironmentFolder:
    """The folder with one private file per unfinished sweep. Creating this object touches no files."""

    path: Path

    def write(self, sweep: str, environment: SubmittedEnvironment) -> None:
        """Stores the environment for the sweep's steps. Raises StorageError, InputError when it is too large."""
        data = environment.encode()
        make_private_folder(self.path, "remove it")
        try:
            write_private_file(self._file(sweep), data)
        except OSError as error:
            raise StorageError(f"{self._file(sweep)} cannot be written: {error.strerror}") from error

    def read(self, sweep: str) -> SubmittedEnvironment | None:
        """The sweep's environment, None when there is no file that can be trusted and read."""
        try:
            data = read_private_file(self._file(sweep), MAX_ENVIRONMENT_BYTES)
            return SubmittedEnvironment.decode(data) if data is not None else None
        except (OSError, ValueError, RecursionError):
            return None

    def remove(self, sweep: str) -> None:
        with suppress(OSError):
            self._file(sweep).unlink()

    def sweeps(self) -> Iterator[tuple[str, float]]:
        """Yields each sweep with a file, and the time when that was written (seconds since 1970)."""
        with suppress(OSError):
            for file in list(self.path.iterdir()):
                if file.suffix == _SUFFIX and not file.name.startswith("."):
                    with suppress(OSError):
                        yield file.name.removesuffix(_SUFFIX), file.stat().st_mtime

    def _file(self, sweep: str) -> Path:
        return self.path / f"{sweep}{_SUFFIX}"
