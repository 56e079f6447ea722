"""Starts an interpreter by itself, as steps are started, to see whether it can be used at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from pipeline_queue.contract.errors import SupervisorError
from pipeline_queue.contract.settings import RESERVED_PREFIX
from pipeline_queue.contract.wording import exact_duration
from pipeline_queue.storage.files import read_end
from workers.executor import Executor
from workers.outcome import describe_signal, last_lines
from workers.supervisor.protocol import ExecutionResult, StartOrder

_EXIT_CODE = 79
"""Which no program ends with that was put in the interpreter's place."""
_PROGRAM = f"raise SystemExit({_EXIT_CODE})"
_MAX_SECONDS = 20.0
_LOG_BYTES = 20_000


def inherited_variables(python: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """A step's environment before what is its own: without our settings (the broker's URL holds a password)."""
    kept = {name: value for name, value in variables.items() if not name.startswith(RESERVED_PREFIX)}
    return {**kept, "PATH": f"{python.parent}{os.pathsep}{kept.get('PATH', os.defpath)}"}


def find_fault(executor: Executor, python: Path, variables: Mapping[str, str], folder: Path) -> str:
    """What is wrong with the interpreter, as half a sentence; empty when it works, or when that cannot be told.

    `folder` is where it is started and where its output is kept meanwhile.
    """
    uid = f"probe-{secrets.token_hex(6)}"
    log = folder / f"{uid}.log"
    request = StartOrder(
        id=uid,
        argv=(str(python), "-c", _PROGRAM),
        cwd=str(folder),
        env=inherited_variables(python, variables),
        log=str(log),
        log_limit_bytes=_LOG_BYTES,
        timeout_seconds=_MAX_SECONDS,
        grace_seconds=0.0,
    )
    try:
        result = executor.run(request)
        said = last_lines(partial(read_end, log))[-1:]
    except SupervisorError as error:
        return "" if executor.is_closing() else f"the interpreter {python} does not work: {error}"
    finally:
        with suppress(OSError):
            log.unlink()
    text = describe_fault(result, said[0].strip()[:200] if said else "")
    return f"the interpreter {python} does not work: {text}" if text else ""


def describe_fault(result: ExecutionResult, said: str) -> str:
    """Why the probe did not end as it should; empty when it did, or when something else kept it from starting."""
    match result.cause:
        case "not_started":
            return "" if result.infrastructure else str(result.error)
        case "timeout":
            text = f"it did not end within {exact_duration(_MAX_SECONDS)}"
        case "exited" if result.exit_code == _EXIT_CODE:
            return ""
        case "exited":
            text = f"it ended with exit code {result.exit_code} without executing anything"
        case "signalled":
            text = f"it was ended by {describe_signal(result.signal or 0)}"
        case _:
            return ""
    return f"{text} ({said})" if said else text
