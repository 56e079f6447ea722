"""Warm Python: which process a step is forked from, and everything that can go wrong on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.integration.step_bench import PYTHON, WARM, Bench, bench_in, children_named, eventually, watchdog_of
from tests.limits import signal_process
from workers import supervisor_link
from workers.supervisor.process_tree import children_of
from workers.supervisor.protocol import ATTEMPT_MARKER, Cause, ExecutionResult, StartOrder
from workers.supervisor.warm_pool import MAX_PROCESSES

LATE = frozenset({ATTEMPT_MARKER, "LATE"})


class WarmBench:
    """Runs scripts that are forked from a warm process with modules of the test's own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.packages = bench.folder / "packages"
        self.packages.mkdir()
        self.step = bench.folder / "step"
        self.step.mkdir()

    def module(self, name: str, text: str = "") -> str:
        (self.packages / f"{name}.py").write_text(text)
        return name

    def request(self, script: str, *preload: str, args: tuple[str, ...] = (), **changes: Any) -> StartOrder:
        (self.step / "script.py").write_text(script)
        base = self.bench.request().env
        env = {**base, "PYTHONPATH": str(self.packages), **changes.pop("env", {})}
        values: dict[str, Any] = {"cwd": str(self.step), "env": env, "preload": preload, "late": LATE, **changes}
        return self.bench.request(PYTHON, "script.py", *args, **values)

    def begin(self, script: str, *preload: str, **changes: Any) -> tuple[StartOrder, Future[ExecutionResult]]:
        request = self.request(script, *preload, **changes)
        return request, self.bench.begin(request)

    def run(self, script: str, *preload: str, **changes: Any) -> ExecutionResult:
        return self.bench.executor.run(self.request(script, *preload, **changes))

    def said(self) -> str:
        """What was logged since it was last asked."""
        text = self.bench.log.read_text()
        self.bench.log.unlink()
        return text

    def supervisor(self) -> int:
        return self.bench.supervisor()

    def warm_processes(self) -> list[int]:
        return children_named(self.supervisor(), WARM)

    def sleeping(self, *preload: str, **changes: Any) -> tuple[StartOrder, Future[ExecutionResult]]:
        """A forked step that sleeps, once it does."""
        script = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(1000)"
        request, future = self.begin(script, *preload, args=(str(self.bench.ready),), **changes)
        eventually(lambda: self.bench.ready.exists() or future.done())
        assert not future.done(), future.result(0)
        return request, future


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmBench]:
    for bench in bench_in(tmp_path):
        yield WarmBench(bench)
        bench.executor.close()
        assert bench.new_zombies() == []


COUNTED = "import os; print('imported by', os.getpid())"
STUBBORN = """
import os, pathlib, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for number in range(3):
    if os.fork() == 0:
        if number == 1:
            os.setsid()
        if os.fork() == 0 and number == 2:
            os.setpgid(0, 0)
        break
pathlib.Path(sys.argv[1] + str(os.getpid())).touch()
time.sleep(1000)
"""
DAEMON = """
import os, pathlib, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (1, 2):
        os.dup2(os.open("/dev/null", os.O_WRONLY), number)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(1000)
os.wait()
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.005)
if len(sys.argv) > 2:
    time.sleep(1000)
"""

# Of C alone, as libraries have them: Python knows nothing of it.
LIBRARY_THREAD = """
import ctypes, os
libc, thread = ctypes.CDLL(None), ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
assert libc.pthread_setname_np(thread, b"{}") == 0
"""
FIRST_USED = """
import functools, os
@functools.cache
def once(): os.write(1, b"first used by %d\\n" % os.getpid())
def is_into_dataframe(thing): once()
"""


def test_steps_share_one_import_and_each_logs_what_it_said(warm: WarmBench) -> None:
    warm.module("counted", COUNTED)
    said = set()
    for _ in range(3):
        assert warm.run("import counted, os; print('run by', os.getpid())", "counted").exit_code == 0
        imported, run = warm.said().splitlines()
        said.add(imported)
        assert imported.split()[-1] != run.split()[-1]
    assert len(said) == 1
    assert len(warm.warm_processes()) == 1
    facts = warm.bench.executor.warm_facts()
    assert (facts["processes"], facts["forked"], facts["cold"]) == (1, 3, 0)
    assert facts["shared_bytes"] > 1_000_000


def test_what_matters_before_the_import_has_a_process_of_its_own(warm: WarmBench) -> None:
    warm.module("counted", "import os; print(os.getpid(), os.environ.get('OMP_NUM_THREADS'), os.environ.get('LATE'))")
    script = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['LATE'])"
    imports = []
    for threads, late in [("1", "a"), ("1", "b"), ("2", "a")]:
        warm.run(script, "counted", env={"OMP_NUM_THREADS": threads, "LATE": late})
        imported, run = warm.said().splitlines()
        assert run == f"{threads} {late}"
        assert imported.split()[1:] == [threads, "None"]
        imports.append(imported)
    assert imports[0] == imports[1] != imports[2]


def test_a_step_that_changes_its_modules_changes_nothing_for_the_next(warm: WarmBench) -> None:
    warm.module("state", "values = []")
    for _ in range(2):
        warm.run("import state; state.values.append(1); print(state.values)", "state")
        assert warm.said() == "[1]\n"


def test_what_a_library_puts_off_to_its_first_use_is_done_before_the_fork(warm: WarmBench) -> None:
    folder = warm.packages / "narwhals"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "dependencies.py").write_text(FIRST_USED)
    script = "import narwhals.dependencies as first, os, sys; first.is_into_dataframe(1); print(os.getpid())"
    first_uses = set()
    for _ in range(2):
        warm.run(script, "narwhals.dependencies")
        used, run = warm.said().splitlines()
        assert used.split()[-1] != run
        first_uses.add(used)
    assert len(first_uses) == 1


def test_a_first_use_that_fails_is_left_to_the_step(warm: WarmBench) -> None:
    warm.module("argparse", "def __getattr__(name): raise LookupError(name)")
    assert warm.run("import argparse; print('runs')", "argparse").exit_code == 0
    assert warm.said() == "runs\n"
    assert warm.bench.executor.warm_facts()["forked"] == 1


STRICT = """
import argparse
begin = argparse.ArgumentParser.__init__
def strict(self, *args, **options):
    begin(self, *args, **options)
    self.add_argument("--config", required=True)
argparse.ArgumentParser.__init__ = strict
"""


def test_a_first_use_that_exits_is_not_seen(warm: WarmBench) -> None:
    warm.run("print('runs')", warm.module("strict", STRICT))
    assert warm.said() == "runs\n"
    assert warm.bench.executor.warm_facts()["forked"] == 1


def test_only_so_many_warm_processes_are_kept(warm: WarmBench) -> None:
    for number in range(MAX_PROCESSES + 2):
        warm.run("", warm.module(f"m{number}"))
    eventually(lambda: len(warm.warm_processes()) == MAX_PROCESSES)
    assert warm.bench.executor.warm_facts()["processes"] == MAX_PROCESSES
    # The least recently used went: the last one is still there.
    before = set(warm.warm_processes())
    warm.run("", f"m{MAX_PROCESSES + 1}")
    assert set(warm.warm_processes()) == before


def _with_limits(folder: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> Iterator[WarmBench]:
    """A supervisor with other limits."""
    program = f"""
import sys
from workers.supervisor import supervisor, warm_pool
warm_pool.{setting}
supervisor.main(int(sys.argv[1]))
"""

    def spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
        home = str(Path(__file__).resolve().parents[2])
        words = [PYTHON, "-c", program, str(theirs.fileno())]
        env = {**os.environ, "PYTHONPATH": home}
        return subprocess.Popen(words, env=env, pass_fds=[theirs.fileno()], start_new_session=True)

    monkeypatch.setattr(supervisor_link, "_spawn", spawn)
    for bench in bench_in(folder):
        yield WarmBench(bench)


def test_a_warm_process_makes_way_after_so_many_forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for warm in _with_limits(tmp_path, monkeypatch, "MAX_FORKS = 3"):
        warm.module("counted", COUNTED)
        imported = []
        for _ in range(7):
            assert warm.run("", "counted").notes == ()
            imported.append(warm.said())
        assert [imported.index(one) for one in imported] == [0, 0, 0, 3, 3, 3, 6]
        eventually(lambda: len(warm.warm_processes()) == 1)  # noqa: B023


def test_a_warm_process_that_nobody_uses_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for warm in _with_limits(tmp_path, monkeypatch, "IDLE_SECONDS = 1.0"):
        assert warm.run("", warm.module("counted", "import time; time.sleep(1.5)")).notes == ()
        eventually(lambda: warm.warm_processes() == [])  # noqa: B023
        assert warm.run("", "counted").notes == ()


def test_random_draws_differ_between_runs_and_agree_when_seeded(warm: WarmBench) -> None:
    pytest.importorskip("numpy")
    warm.module("torch", "seeds = 0\ndef seed():\n    global seeds\n    seeds += 1\n")
    script = "import random, numpy, torch, uuid, secrets, tempfile, multiprocessing\n"
    drawn = "print(random.random(), numpy.random.rand(), numpy.random.default_rng().random(), uuid.uuid4(), " \
            "secrets.token_hex(), multiprocessing.current_process().authkey.hex(), torch.seeds)"  # fmt: skip
    seeded = "\nrandom.seed(1); numpy.random.seed(1); print(random.random(), numpy.random.rand())"
    preload = ("random", "numpy.random", "torch", "multiprocessing", "tempfile")
    lines = []
    for _ in range(2):
        assert warm.run(script + drawn + seeded, *preload).exit_code == 0
        lines.append(warm.said().splitlines())
    (first, same), (second, again) = lines
    assert same == again
    assert [one for one, two in zip(first.split(), second.split(), strict=True) if one == two] == ["1"]


def test_a_failing_import_fails_the_step_with_its_own_error(warm: WarmBench) -> None:
    warm.module("broken", "import absent_module\n")
    for _ in range(2):
        result = warm.run("print('never')", "json", "broken")
        assert result.exit_code == 1
        assert warm.said() == (
            'Traceback (most recent call last):\n  File "<preload>", line 1, in <module>\n'
            f'  File "{warm.packages}/broken.py", line 1, in <module>\n    import absent_module\n'
            "ModuleNotFoundError: No module named 'absent_module'\n"
        )
    warm.module("broken", "")
    eventually(lambda: warm.run("print('now')", "json", "broken").exit_code == 0)


def test_an_import_that_exits_is_the_steps_exit(warm: WarmBench) -> None:
    warm.module("leaving", "import sys; print('bye'); sys.exit('no licence')")
    assert warm.run("", "leaving").exit_code == 1
    assert warm.said() == "bye\nno licence\n"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True, name='busy').start()",
         "left threads running: busy"),
        (LIBRARY_THREAD.format("pool"), "left threads running that do not end for a fork: pool"),
        ("import socket; left = socket.socketpair()", "open, which its forks would share"),
        ("import tempfile; left = tempfile.TemporaryFile()", "open, which its forks would share"),
        ("import tempfile; left = tempfile.TemporaryDirectory()", "made the temporary folder /"),
        ("import multiprocessing; left = multiprocessing.Lock()", "left memory (/dev/shm/sem."),
        ("import mmap; left = mmap.mmap(-1, 1)", "left memory (/dev/zero)"),
        ("import subprocess; left = subprocess.Popen(['sleep', '1000'])", "started processes"),
        ("import os; os.write(3, b'nonsense\\n')", "died while it imported them"),
        ("import os; os.kill(os.getpid(), 11)", "died while it imported them (SIGSEGV)"),
        ("import os; os._exit(0)", "died while it imported them"),
    ],
)  # fmt: skip
def test_what_cannot_be_forked_is_started_cold_and_says_why(warm: WarmBench, module: str, reason: str) -> None:
    warm.module("unfit", module)
    for _ in range(2):
        result = warm.run("print('ran')", "unfit")
        assert (result.exit_code, len(result.notes)) == (0, 1)
        assert reason in result.notes[0]
        assert warm.said() == "ran\n"
    assert warm.bench.executor.warm_facts()["cold"] == 2
    assert warm.bench.executor.cold_notes() == [result.notes[0]]
    eventually(lambda: warm.warm_processes() == [])


def test_a_thread_that_a_fork_can_do_without_does_not_hinder_it(warm: WarmBench) -> None:
    warm.module("allocating", LIBRARY_THREAD.format("jemalloc_bg_thd"))
    result = warm.run("import os; print(len(os.listdir('/proc/self/task')))", "allocating")
    assert (result.exit_code, result.notes) == (0, ())
    assert warm.said() == "1\n"
    assert warm.bench.executor.warm_facts()["forked"] == 1


def test_a_file_that_an_import_left_open_has_its_own_position_in_each_step(warm: WarmBench) -> None:
    (warm.packages / "data").write_text("first\nsecond\n")
    warm.module("reader", f"import os; file = os.open({str(warm.packages / 'data')!r}, os.O_RDONLY); os.read(file, 6)")
    for _ in range(2):
        assert warm.run("import os, reader; print(os.read(reader.file, 100))", "reader").notes == ()
        assert warm.said() == "b'second\\n'\n"


def test_an_empty_pythonpath_is_none(warm: WarmBench) -> None:
    assert warm.run("", "json", env={"PYTHONPATH": ""}).notes == ()


def test_no_fork_tries_every_descriptor_there_may_be(warm: WarmBench) -> None:
    """As `os.closerange` does in a Python that was built without `close_range`: for minutes, had it no other end."""
    warm.module("old", "import os\ndef closerange(low, high): raise ValueError(high)\nos.closerange = closerange")
    assert warm.run("", "old").notes == ()


@pytest.mark.parametrize("unit", ["int", "float"])
def test_logging_counts_from_the_steps_start_in_the_unit_of_its_python(warm: WarmBench, unit: str) -> None:
    warm.module("logging", f"_startTime = {unit}()")
    warm.run("import logging; print(type(logging._startTime).__name__, logging._startTime)", "logging")
    kind, began = warm.said().split()
    assert kind == unit
    assert 0 < time.time() - float(began) / (1e9 if unit == "int" else 1) < 3600


def test_a_umask_that_an_import_set_holds_in_the_step(warm: WarmBench) -> None:
    warm.module("private", "import os; os.umask(0o077)")
    for preload in ((), ("private",)):
        warm.run("import os, private; print(oct(os.umask(0)))", *preload)
        assert warm.said() == "0o77\n"


def test_a_relative_pythonpath_is_left_to_a_cold_start(warm: WarmBench) -> None:
    warm.module("counted")
    (warm.step / "lib").mkdir(exist_ok=True)
    (warm.step / "lib" / "beside.py").write_text("")
    result = warm.run("import beside", "counted", env={"PYTHONPATH": f"{warm.packages}:lib"})
    assert (result.exit_code, len(result.notes)) == (0, 1)


@pytest.mark.parametrize("change", ["no folder", "nul", "no interpreter", "no script", "long", "long variable"])
def test_what_cannot_be_started_says_the_same_as_a_cold_start(warm: WarmBench, change: str) -> None:
    warm.module("counted")
    answers = []
    for preload in ((), ("counted",)):
        args = {"nul": ("\0",), "long": ("x" * 140_000,)}.get(change, ())
        request = warm.request(
            "", *preload, args=args, env={"LATE": "x" * (140_000 if change == "long variable" else 1)}
        )
        changes: dict[str, dict[str, Any]] = {
            "no folder": {"cwd": str(warm.step / "absent")},
            "no interpreter": {"argv": ("/no/python", "script.py")},
            "no script": {"argv": (PYTHON, "absent.py")},
        }
        values = {name: getattr(request, name) for name in request.__dataclass_fields__}
        result = warm.bench.executor.run(StartOrder(**{**values, **changes.get(change, {})}))
        answers.append((result.cause, result.exit_code, result.error, result.infrastructure, warm.said()))
    assert answers[0] == answers[1]


def test_a_timeout_ends_a_forked_tree_that_ignores_term(warm: WarmBench) -> None:
    warm.run("", warm.module("counted"))
    args = (str(warm.bench.folder / "up-"),)
    _, future = warm.begin(STUBBORN, "counted", args=args, timeout_seconds=3.0, grace_seconds=0.3)
    result = future.result(60)
    assert (result.cause, result.signal) == (Cause.TIMEOUT, signal.SIGKILL)
    assert len(list(warm.bench.folder.glob("up-*"))) == 7
    assert warm.bench.alive() == []


def test_a_forked_steps_log_is_capped(warm: WarmBench) -> None:
    result = warm.run("print('x' * 100_000)", warm.module("counted"), log_limit_bytes=1000)
    assert (result.log_bytes, result.log_dropped_bytes) == (1000, 99_001)


def test_stop_and_kill_and_a_lost_lease_end_a_forked_step(warm: WarmBench) -> None:
    warm.module("counted")
    for end, cause in (("stop", Cause.STOPPED), ("kill", Cause.STOPPED), ("lease", Cause.LEASE_LOST)):
        request, future = warm.sleeping("counted", lease_seconds=2.0 if end == "lease" else None)
        if end != "lease":
            getattr(warm.bench.executor, end)(request.id, "by a test")
        assert future.result(60).cause is cause
        assert warm.bench.alive() == []
        warm.bench.ready.unlink()


def test_a_daemon_of_a_forked_step_ends_with_it_and_no_other_step_does(warm: WarmBench) -> None:
    warm.module("counted")
    other = warm.bench.request("sleep", "1000", log=str(warm.bench.folder / "other"), env={"PATH": "/bin:/usr/bin"})
    running = warm.bench.begin(other)
    result = warm.run(DAEMON, "counted", args=(str(warm.bench.ready),))
    assert (result.cause, result.exit_code) == (Cause.EXITED, 0)
    assert warm.bench.alive() == []
    assert not running.done()
    warm.bench.executor.kill(other.id, "done")
    running.result(60)


SLOW = "import pathlib, time\npathlib.Path({0!r} + '/began').touch()\nwhile not pathlib.Path({0!r} + '/go').exists(): time.sleep(0.01)\n"


def _slow_import(warm: WarmBench) -> Path:
    """The folder in which `began` appears, and `go` lets it end."""
    warm.module("slow", SLOW.format(str(warm.packages)))
    return warm.packages


@pytest.mark.parametrize("end", ["stop", "kill", "timeout", "lease"])
def test_a_step_that_waits_for_an_import_can_be_ended(warm: WarmBench, end: str) -> None:
    folder = _slow_import(warm)
    times: dict[str, object] = {"timeout": {"timeout_seconds": 1.0}, "lease": {"lease_seconds": 1.0}}.get(end, {})  # type: ignore[assignment]
    request, future = warm.begin("print('never')", "slow", **times)
    eventually((folder / "began").exists)
    if end in ("stop", "kill"):
        getattr(warm.bench.executor, end)(request.id, "by a test")
    result = future.result(60)
    causes = {"timeout": Cause.TIMEOUT, "lease": Cause.LEASE_LOST}
    assert (result.cause, result.exit_code, result.signal) == (causes.get(end, Cause.STOPPED), None, None)
    assert warm.said() == ""
    # Another step waits for the same import, others run meanwhile, and it is used once it is there.
    _, second = warm.begin("print('later')", "slow")
    assert warm.bench.sh("echo meanwhile", log=str(warm.bench.folder / "other")).exit_code == 0
    assert not second.done()
    (folder / "go").touch()
    assert second.result(60).exit_code == 0
    assert warm.said() == "later\n"
    assert warm.bench.executor.warm_facts()["forked"] == 1


def test_a_killed_warm_process_does_not_end_its_steps_and_another_takes_over(warm: WarmBench) -> None:
    warm.module("counted", COUNTED)
    request, future = warm.sleeping("counted")
    (first,) = warm.warm_processes()
    signal_process(first, signal.SIGKILL)
    eventually(lambda: first not in warm.warm_processes())
    assert warm.run("", "counted", log=str(warm.bench.folder / "second")).notes == ()
    assert warm.warm_processes() not in ([], [first])
    assert not future.done()
    warm.bench.executor.kill(request.id, "enough")
    assert future.result(60).cause is Cause.STOPPED
    assert warm.bench.alive() == []


def test_a_warm_process_killed_while_it_imports_costs_its_steps_nothing(warm: WarmBench) -> None:
    folder = _slow_import(warm)
    futures = [warm.begin("print('ran')", "slow", log=str(warm.bench.folder / f"log{n}"))[1] for n in range(3)]
    eventually((folder / "began").exists)
    (first,) = warm.warm_processes()
    signal_process(first, signal.SIGKILL)
    for future in futures:
        result = future.result(60)
        assert (result.exit_code, "died while it imported" in result.notes[0]) == (0, True)


def test_a_stopped_warm_process_is_replaced(warm: WarmBench) -> None:
    warm.run("", warm.module("counted"))
    (first,) = warm.warm_processes()
    signal_process(first, signal.SIGSTOP)
    began = time.monotonic()
    assert warm.run("print('ran')", "counted").notes == ()
    assert time.monotonic() - began > 5
    assert first not in warm.warm_processes()


@pytest.mark.parametrize("kind", ["stubborn", "daemon"])
def test_a_killed_supervisor_takes_forked_steps_and_warm_processes_with_it(warm: WarmBench, kind: str) -> None:
    warm.module("counted")
    if kind == "stubborn":
        args = (str(warm.bench.folder / "up-"),)
        _, future = warm.begin(STUBBORN, "counted", args=args)
        eventually(lambda: len(list(warm.bench.folder.glob("up-*"))) == 7 or future.done())
    else:
        _, future = warm.begin(DAEMON, "counted", args=(str(warm.bench.ready), "stay"))
        eventually(warm.bench.ready.exists)
    old = warm.warm_processes()
    signal_process(warm.supervisor(), signal.SIGKILL)
    with pytest.raises(Exception, match="its steps were ended with it"):
        future.result(60)
    assert warm.bench.alive() == []
    assert [pid for pid in old if Path(f"/proc/{pid}").exists()] == []
    assert warm.run("print('again')", "counted").exit_code == 0
    assert warm.bench.new_zombies() == []


def test_closing_the_worker_ends_steps_and_warm_processes(warm: WarmBench) -> None:
    folder = _slow_import(warm)
    warm.module("counted")
    _, sleeping = warm.sleeping("counted")
    _, waiting = warm.begin("", "slow", log=str(warm.bench.folder / "other"))
    eventually((folder / "began").exists)
    processes = warm.warm_processes()
    assert len(processes) == 2
    warm.bench.executor.close()
    for future in (sleeping, waiting):
        with pytest.raises(Exception, match="closing"):
            future.result(60)
    assert warm.bench.alive() == []
    assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []


def test_many_forks_leave_nothing_behind(warm: WarmBench) -> None:
    warm.run("", warm.module("counted"))
    (process,) = warm.warm_processes()

    def held() -> list[int]:
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (warm.supervisor(), process)]

    before = held()
    for _ in range(50):
        assert warm.run("print(1)", "counted").exit_code == 0
    assert held() == before
    assert warm.warm_processes() == [process]
    assert set(children_of(warm.supervisor())) == {process, watchdog_of(warm.supervisor())}
    assert children_of(process) == []


WORKER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.integration.step_bench import Bench
from tests.integration.test_warm import WarmBench
from workers.executor import Executor

executor = Executor()
executor.start()
bench = Bench(Path(sys.argv[2]), executor)
bench.token = sys.argv[3]
warm = WarmBench(bench)
warm.module("counted")
print(executor.supervisor_pid(), flush=True)
warm.run(sys.argv[4], "counted", args=tuple(sys.argv[5:]), grace_seconds=1000.0)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from bench_in(tmp_path)


@pytest.mark.parametrize("kind", ["stubborn", "daemon"])
def test_a_killed_worker_leaves_neither_forked_steps_nor_warm_processes(bench: Bench, kind: str) -> None:
    folder = bench.folder
    script, args = (STUBBORN, [str(folder / "up-")]) if kind == "stubborn" else (DAEMON, [str(bench.ready), "stay"])
    home = str(Path(__file__).resolve().parents[2])
    command = [PYTHON, "-c", WORKER, home, str(folder), bench.token, script, *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        supervisor = int(worker.stdout.readline())
        eventually(lambda: bench.ready.exists() or len(list(folder.glob("up-*"))) == 7)
        (warm,) = children_named(supervisor, WARM)
        assert set(bench.alive()) - {worker.pid}
        worker.kill()
        eventually(lambda: not set(bench.alive()) - {worker.pid})
        eventually(lambda: not Path(f"/proc/{warm}").exists())
    # The bench's own executor made this process the parent of what the worker left.
    eventually(lambda: os.waitpid(supervisor, os.WNOHANG)[0] == supervisor)


def test_a_forked_step_is_held_under_its_memory_limit(warm: WarmBench) -> None:
    warm.module("counted", "held = bytearray(50_000_000)")
    script = "import time, counted; mine = bytearray(150_000_000); time.sleep(1000)"
    result = warm.run(script, "counted", memory_bytes=120_000_000)
    assert (result.cause, result.notes) == (Cause.MEMORY, ())
    assert warm.run("import counted; print(len(counted.held))", "counted", memory_bytes=120_000_000).exit_code == 0
    assert warm.bench.alive() == []
