"""The same scripts started cold and forked warm: same streams, same files, same exit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.step_bench import PYTHON, Bench, bench_in
from tests.integration.warm_scripts import ENVIRONMENTS, NUMERIC, OF_THE_ENVIRONMENT, SCRIPTS
from workers.supervisor.protocol import ATTEMPT_MARKER

PRELOAD = (
    "asyncio", "concurrent.futures.process", "ctypes", "dataclasses", "doctest", "fractions", "inspect", "locale", "logging",
    "multiprocessing.pool", "pickle", "resource", "runpy", "subprocess", "tempfile", "typing", "unittest", "warnings",
)  # fmt: skip
# Since Python 3.12 a cold start prints the exception that it left pending when an exit code was too large for C.
PENDING_EXCEPTION = re.compile(rb"\A(Exception ignored [^\n]*\n)?OverflowError: [^\n]*\n\Z")
COLD_ON_PURPOSE = {"own_module_named_like_a_loaded_one"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench_in(tmp_path_factory.mktemp("warm"))


def _outcome(bench: Bench, script: str | bytes, name: str, **changes: Any) -> dict[str, Any]:
    """Everything a user can see of one run, in a folder that always has the same name."""
    folder = bench.folder / "step"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "package").mkdir(parents=True)
    (folder / "helper.py").write_text("VALUE = 42\n")
    (folder / "broken.py").write_text("def f():\n    return [][1]\nf()\n")
    (folder / "sub_main.py").write_text("print(__name__)\n")
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "inner.py").write_text("from . import __name__ as above\n")
    if name in COLD_ON_PURPOSE:
        (folder / "fractions.py").write_text("")
    (folder / "script.py").write_bytes(script.encode() if isinstance(script, str) else script)
    bench.log.unlink(missing_ok=True)
    env = {**bench.request().env, "OWN": "hostile = '$HOME' \u00e9", **changes.pop("env", {})}
    result = bench.run(
        PYTHON, "script.py", "--a b", "", "\u00e9", cwd=str(folder), env=env, timeout_seconds=50.0, **changes
    )
    log = re.sub(rb"0x[0-9a-f]{8,}", b"0x...", bench.log.read_bytes())
    log = re.sub(rb"(PIPELINE_QUEUE_ATTEMPT\W+)[0-9a-f]{32}", rb"\1...", log)
    if name == "exit_code_huge":
        log = PENDING_EXCEPTION.sub(b"", log)
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    compiled = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.pyc"))
    return {
        "log": log,
        "files": files,
        "compiled": compiled,
        "end": (result.cause, result.exit_code, result.signal, result.error),
        "notes": result.notes,
    }


def _compare(
    bench: Bench, name: str, script: str | bytes, env: dict[str, str], preload: tuple[str, ...] = PRELOAD
) -> None:
    cold = _outcome(bench, script, name, env=env)
    warm = _outcome(bench, script, name, env=env, preload=preload, late=frozenset({ATTEMPT_MARKER}))
    notes = warm.pop("notes")
    assert cold.pop("notes") == ()
    assert warm == cold
    assert bool(notes) == (name in COLD_ON_PURPOSE), notes
    assert bench.alive() == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_forked_script_does_what_a_started_one_does(bench: Bench, name: str) -> None:
    _compare(bench, name, SCRIPTS[name], {})


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_pythons_environment_says_holds_for_forked_scripts(bench: Bench, name: str) -> None:
    _compare(bench, name, OF_THE_ENVIRONMENT, ENVIRONMENTS[name])


@pytest.mark.parametrize("size", [{}, {"LINES": "7", "COLUMNS": "9"}])
@pytest.mark.parametrize("name", ["environment", "signals"])
def test_a_preloaded_readline_changes_neither_environment_nor_signals(
    bench: Bench, name: str, size: dict[str, str]
) -> None:
    pytest.importorskip("readline")
    _compare(bench, name, SCRIPTS[name], size, ("readline",))


@pytest.mark.parametrize("name", NUMERIC)
def test_numerical_libraries_work_in_forked_scripts(bench: Bench, name: str) -> None:
    pytest.importorskip("sklearn")
    preload = ("numpy", "numpy.random", "sklearn.linear_model", "sklearn.ensemble", "sklearn.cluster", "joblib")
    _compare(bench, name, NUMERIC[name], {}, preload)
