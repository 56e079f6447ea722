"""What imports have left behind in a warm process that no fork of it could have for its own."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
import weakref
from collections.abc import Collection

_THREADS_END_SECONDS = 1.0
# Threads of libraries that go on in a fork without them. jemalloc's, which comes with pyarrow and so with pandas, only
# gives memory back: its fork handlers take it out of the child's account, and the child gives back by itself.
_SPARED_BY_FORKS = frozenset({"jemalloc_bg_thd"})
# Devices without a state of their own: sharing one is as good as opening it again.
_HARMLESS = frozenset({"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full"})


def what_forbids_forking(before: frozenset[int]) -> str | None:
    """Why steps cannot be forked from this process, None when they can; `before`: what was open before the imports."""
    return (
        _running_threads()
        or _children()
        or _shared_memory()
        or _temporary_folders()
        or _shared_descriptors(open_descriptors() - before)
    )


def open_descriptors() -> frozenset[int]:
    found = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208
    return frozenset(number for number in found if _is_open(number))


def close_all_but(kept: Collection[int]) -> None:
    """One by one: where Python was built without `close_range`, `os.closerange` tries every number that there is."""
    for number in open_descriptors() - frozenset(kept):
        os.close(number)


def reopen(number: int) -> None:
    """Give this process its own position in a file that it shares with the warm process."""
    path = f"/proc/self/fd/{number}"
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return
        flags = _flags(number)
        position = os.lseek(number, 0, os.SEEK_CUR)
        inheritable = os.get_inheritable(number)
        own = os.open(path, flags)
        os.lseek(own, position, os.SEEK_SET)
        os.dup2(own, number, inheritable)
        os.close(own)


def _flags(number: int) -> int:
    with open(f"/proc/self/fdinfo/{number}", "rb") as file:  # noqa: PTH123
        fields = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
    return int(fields[b"flags"], 8) & (os.O_ACCMODE | os.O_APPEND | os.O_CLOEXEC)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _running_threads() -> str | None:
    names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
    if names:
        return f"importing them left threads running: {', '.join(names)[:200]}"
    # Libraries that are made for it end their threads when their process forks: what is left after one does not.
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    until = time.monotonic() + _THREADS_END_SECONDS
    while (left := _threads_of_libraries()) and time.monotonic() < until:
        time.sleep(0.01)
    return f"importing them left threads running that do not end for a fork: {', '.join(left)[:200]}" if left else None


def _threads_of_libraries() -> list[str]:
    """The names of those that Python does not know of, as `ps -L` shows them."""
    names = []
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/comm", errors="replace") as file:  # noqa: PTH123
            names.append(file.read().rstrip("\n") if int(thread) != os.getpid() else "")
    return sorted(name for name in names if name and name not in _SPARED_BY_FORKS)


def _children() -> str | None:
    """Whoever was started by an import is the warm process' child and no fork's, which could not wait for it."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return "importing them started processes"


def _shared_memory() -> str | None:
    """Locks of `multiprocessing`, for one: a step killed with one would hold it for all forks."""
    with open("/proc/self/maps", errors="replace") as file:  # noqa: PTH123
        for line in file:
            _, modes, _, _, _, *target = line.split(maxsplit=5)
            if modes[1] == "w" and modes[3] == "s" and target and target[0].endswith("(deleted)\n"):
                return f"importing them left memory ({target[0].split()[0][:200]}) that its forks would share"
    return None


def _temporary_folders() -> str | None:
    """The first fork to end would remove them."""
    tempfile = sys.modules.get("tempfile")
    for finalizer in list(weakref.finalize._registry) if tempfile else []:  # type: ignore[attr-defined]
        alive = finalizer.peek()
        if alive and alive[1] == tempfile.TemporaryDirectory._cleanup:  # type: ignore[union-attr]
            return f"importing them made the temporary folder {str(alive[2][0])[:200]}, which its forks would share"
    return None


def _shared_descriptors(left: frozenset[int]) -> str | None:
    for number in sorted(left):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - the text is no path
            status = os.fstat(number)
            # A file without a name is one for each process that makes it, like a pipe.
            if (not stat.S_ISREG(status.st_mode) or not status.st_nlink) and target not in _HARMLESS:
                return f"importing them left {target[:200]} open, which its forks would share"
    return None
