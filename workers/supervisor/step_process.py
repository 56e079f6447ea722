"""Starts one step process, or says in a plain sentence why it cannot be started."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence

# Names and values travel as these bytes whatever the locale of the machine.
_ENCODING = ("utf-8", "surrogateescape")
MAX_ELEMENT_BYTES = 131_071
"""As `pipeline_queue.model.parameters` has it, which this process does not import."""
_OUR_FAULT = frozenset(
    (
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EIO,
        errno.ESTALE,
        errno.ETXTBSY,
    )
)
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class NotStartedError(Exception):
    """The text for the user, and whether the machine rather than the step is to blame."""

    def __init__(self, text: str, infrastructure: bool = False, log_errno: int | None = None) -> None:
        """`log_errno`: why its log could not be opened, when that was the reason."""
        super().__init__(text, infrastructure, log_errno)
        self.text = text
        self.infrastructure = infrastructure
        self.log_errno = log_errno

    @classmethod
    def of(cls, what: str, error: OSError) -> NotStartedError:
        return cls(f"{what}: {error.strerror}", error.errno in _OUR_FAULT)


def start_process(argv: Sequence[str], cwd: str, env: Mapping[str, str], output: int) -> int:
    """The pid of a new session leader with default signals, no input, and `output` as both its streams.

    Every other descriptor of this process must be close-on-exec. Raises NotStartedError.
    """
    words, variables = encode_argv(argv), encode_env(env)
    # Python's posix_spawn cannot name a directory; this process is single-threaded and has none of its own.
    _enter(cwd)
    try:
        program = _find_program(words[0], variables)
        return os.posix_spawn(
            program,
            words,
            variables,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )
    except OSError as error:
        raise _explain(error, words, variables) from error
    finally:
        os.chdir("/")


def encode_argv(argv: Sequence[str]) -> list[bytes]:
    """Raises NotStartedError."""
    if not argv or not argv[0]:
        raise NotStartedError("the command is empty")
    words = []
    for position, word in enumerate(argv):
        what = "the program's name" if position == 0 else f"argument {position}"
        words.append(_encode(word, what))
    return words


def encode_env(env: Mapping[str, str]) -> dict[bytes, bytes]:
    """Raises NotStartedError."""
    for name in env:
        if not name or "=" in name:
            raise NotStartedError(f"the environment variable {name!r} has an impossible name")
    return {
        _encode(name, "an environment variable's name"): _encode(value, f"the environment variable {name!r}")
        for name, value in env.items()
    }


def _encode(text: str, what: str) -> bytes:
    try:
        data = text.encode(*_ENCODING)
    except UnicodeEncodeError as error:
        raise NotStartedError(f"{what} holds a character that cannot be written as UTF-8") from error
    if b"\0" in data:
        raise NotStartedError(f"{what} holds a NUL character")
    return data


def _enter(cwd: str) -> None:
    try:
        os.chdir(_encode(cwd, "the working directory"))
    except FileNotFoundError as error:
        raise NotStartedError(f"the working directory {cwd!r} does not exist") from error
    except NotADirectoryError as error:
        raise NotStartedError(f"the working directory {cwd!r} is not a directory") from error
    except OSError as error:
        raise NotStartedError.of(f"the working directory {cwd!r} cannot be entered", error) from error


def _find_program(name: bytes, env: Mapping[bytes, bytes]) -> bytes:
    """The file to execute, as a shell would find it with this environment in this directory."""
    if b"/" in name:
        return name
    not_executable = None
    for folder in env.get(b"PATH", os.defpath.encode()).split(b":"):
        candidate = (folder or b".") + b"/" + name
        try:
            mode = os.stat(candidate).st_mode  # noqa: PTH116 - bytes
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            continue
        if os.access(candidate, os.X_OK):
            return candidate
        not_executable = candidate
    if not_executable is not None:
        raise NotStartedError(
            f"program {_show(name)} was found on PATH as {_show(not_executable)}, but is not executable"
        )
    beside = ""
    if os.path.exists(name):  # noqa: PTH110 - bytes
        beside = f"; a file of that name lies in the step's folder: run ./{os.fsdecode(name)} when it is executable"
    raise NotStartedError(f"program {_show(name)} was not found on PATH{beside}")


def _explain(error: OSError, words: Sequence[bytes], env: Mapping[bytes, bytes]) -> NotStartedError:
    """What an error of exec means to the user; called in the directory of the step."""
    program = _show(words[0])
    exists = b"/" not in words[0] or os.access(words[0], os.F_OK)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if exists:
            return NotStartedError(f"program {program} names an interpreter (its `#!` line) that does not exist")
        return NotStartedError(f"program {program} was not found")
    if error.errno == errno.EACCES:
        return NotStartedError(f"program {program} is not executable")
    if error.errno == errno.ENOEXEC:
        return NotStartedError(f"program {program} is not a program of this machine and has no `#!` line")
    if error.errno == errno.E2BIG:
        return NotStartedError(_explain_size(words, env))
    return NotStartedError.of(f"program {program} could not be started", error)


def check_sizes(words: Sequence[bytes], env: Mapping[bytes, bytes]) -> None:
    """Of a step that is not started by the system, which would refuse such words. Raises NotStartedError."""
    if text := _too_long_word(words, env):
        raise NotStartedError(text)


def _explain_size(words: Sequence[bytes], env: Mapping[bytes, bytes]) -> str:
    total = sum(map(len, words)) + sum(len(name) + len(value) + 1 for name, value in env.items())
    together = f"the arguments and the environment are too long together: {total} bytes"
    return _too_long_word(words, env) or together


def _too_long_word(words: Sequence[bytes], env: Mapping[bytes, bytes]) -> str | None:
    for position, word in enumerate(words):
        if len(word) > MAX_ELEMENT_BYTES:
            return f"argument {position} is too long: {len(word)} bytes, at most {MAX_ELEMENT_BYTES} can be"
    for name, value in env.items():
        size = len(name) + 1 + len(value)
        if size > MAX_ELEMENT_BYTES:
            return (
                f"the environment variable {_show(name)} is too long: {size} bytes with its name, "
                f"at most {MAX_ELEMENT_BYTES} are possible"
            )
    return None


def _show(name: bytes) -> str:
    return repr(name.decode(*_ENCODING))
