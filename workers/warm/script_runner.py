"""Runs a script in a forked process as `python script.py` does, and ends the process as Python ends."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib.machinery
import io
import itertools
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from workers.warm.child_setup import Script
from workers.warm.hidden_frames import invisible

_NOT_FOUND_STATUS = 2
_FLUSH_FAILED_STATUS = 120
_INTERRUPTED = -1
_MAX_INT = 2**63


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """What an import of the warm process raised."""

    error: BaseException


@invisible
def run_script(script: Script, failure: ImportFailure | None) -> int:
    """The exit status; every frame and traceback of the script looks as if nothing were below it."""
    sys.argv[:] = script.argv
    sys.orig_argv[:] = script.orig_argv
    path = os.path.join(os.getcwd(), script.argv[0])  # noqa: PTH109, PTH118 - as Python makes `__file__`
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))  # noqa: PTH120
    main = _make_main(path)
    if failure is not None:
        return _status_of(failure.error)
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        return _NOT_FOUND_STATUS
    code = None
    with contextlib.suppress(BaseException):
        code = compile(source, path, "exec", dont_inherit=True)
    del source
    if code is None:
        return _tell_of_syntax(path)
    raised = _raised_by(code, main)
    del code
    for stream in (sys.stderr, sys.stdout):
        _quietly(partial(_flush_stream, stream))
    return 0 if raised is None else _status_of(raised)


@invisible
def end_step(status: int, preloaded: Sequence[str]) -> NoReturn:
    """What Python does at its end, in its order, but for taking apart what was imported before the fork.

    That would touch, and so copy, all the memory that the forks share, for nobody's good.
    """
    _quietly(threading._shutdown)  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    flushed = _flush()
    _quietly(partial(_let_go, preloaded))
    _quietly(_flush_files)
    for stream in (sys.stdout, sys.stderr):
        _quietly(partial(_flush_stream, stream))
    if status == _INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    # C's exit: its streams and handlers too. With the lock of the interpreter, so that no thread goes on meanwhile.
    ctypes.pythonapi.exit(status if flushed else _FLUSH_FAILED_STATUS)
    os._exit(status)


def _make_main(path: str) -> dict[str, Any]:
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __loader__=importlib.machinery.SourceFileLoader("__main__", path),
        __annotations__={},
        __builtins__=builtins,
        __file__=path,
        __cached__=None,
    )
    sys.modules["__main__"] = main
    return main.__dict__


@invisible
def _raised_by(code: types.CodeType, names: dict[str, Any]) -> BaseException | None:
    try:
        exec(code, names)  # noqa: S102 - the step's own script
    except BaseException as error:  # noqa: BLE001 - the script's own
        return error.with_traceback(without_below(error.__traceback__))
    return None


def without_below(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback from the script or import on, where Python shows frames of ours."""
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    return traceback


def _tell_of_syntax(path: str) -> int:
    """Python's own reader of files, which words some mistakes otherwise than `compile` does."""
    open_file = ctypes.CDLL(None).fopen
    open_file.restype = ctypes.c_void_p
    run = ctypes.pythonapi.PyRun_SimpleFileExFlags
    run.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)
    return 1 if run(open_file(os.fsencode(path), b"rb"), os.fsencode(path), 1, None) else 0


@invisible
def _status_of(error: BaseException) -> int:
    """What an uncaught exception makes of the process: printed, or an exit as the script wished it."""
    if isinstance(error, SystemExit):
        return _exit_status(error.code)
    kind, traceback = type(error), error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, traceback
    try:
        sys.excepthook(kind, error, traceback)
    except SystemExit as other:
        return _exit_status(other.code)
    except BaseException as other:  # noqa: BLE001 - the hook's own
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(other), other, without_below(other.__traceback__))
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(kind, error, traceback)
    return _INTERRUPTED if kind is KeyboardInterrupt else 1


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -_MAX_INT <= code < _MAX_INT else 0xFF
    with contextlib.suppress(Exception):
        print(code, file=sys.stderr)
    return 1


@invisible
def _let_go(preloaded: Sequence[str]) -> None:
    """Drop what the script made and imported, so that its objects end and its files are written."""
    sys.last_type = sys.last_value = sys.last_traceback = None
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, getattr(sys, f"__{name}__"))
    names = ["__main__", *_imported_since(preloaded)] if "__main__" in sys.modules else _imported_since(preloaded)
    # As Python does: at first what goes by itself, then what still lives is emptied, names with one _ before others.
    living: list[Callable[[], types.ModuleType | None]] = []
    for name in names:
        module = sys.modules.pop(name)
        if isinstance(module, types.ModuleType):
            living.append(weakref.ref(module))
        del module
    gc.collect()
    for find in reversed(living):
        found = find()
        if found is not None:
            _empty(vars(found))
        del found
    gc.collect()


def _imported_since(preloaded: Sequence[str]) -> list[str]:
    """What the script imported. Modules stand in order, and even to look at the old ones would copy their memory."""
    new = list(itertools.takewhile(lambda name: name != preloaded[-1], reversed(sys.modules)))
    if len(new) > len(sys.modules) - len(preloaded):
        before = frozenset(preloaded)
        new = [name for name in new if name not in before]
    return new[::-1]


@invisible
def _empty(names: dict[str, Any]) -> None:
    for name in sorted(names, key=lambda name: not (name[:1] == "_" and name[1:2] != "_")):
        if name != "__builtins__":
            names[name] = None


def _flush_files() -> None:
    """Files that something from before the fork still holds."""
    for thing in gc.get_objects():
        if isinstance(thing, io.IOBase):
            _quietly(thing.flush)


@invisible
def _flush() -> bool:
    """Whether both streams could be flushed; as Python does, what went wrong is told for the first alone."""
    flushed = True
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush_stream(stream)
        except Exception as error:  # noqa: BLE001 - whatever the stream is
            flushed = False
            if stream is sys.stdout:
                where = "on flushing sys.stdout:" if sys.version_info >= (3, 13) else f"in: {stream!r}"
                _quietly(partial(print, f"Exception ignored {where}\n{type(error).__name__}: {error}", file=sys.stderr))
    return flushed


def _flush_stream(stream: Any) -> None:
    if stream is not None and not getattr(stream, "closed", False):
        stream.flush()


@invisible
def _quietly(action: Any) -> None:
    with contextlib.suppress(BaseException):
        action()
