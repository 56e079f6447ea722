"""Every way a step's whole process tree is ended: deadline, order, lease, and the deaths of its keepers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import SupervisorError
from tests.integration.step_bench import PYTHON, WATCHDOG, Bench, alive, bench_in, command_of, eventually, watchdog_of
from tests.limits import kill_and_wait, signal_process
from workers.supervisor.process_tree import children_of, reap
from workers.supervisor.protocol import Cause

STUBBORN_TREE = """
import os, pathlib, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        if _ == 1:
            os.setsid()
        if os.fork() == 0 and _ == 2:
            os.setpgid(0, 0)
        break
pathlib.Path(sys.argv[1] + str(os.getpid())).touch()
time.sleep(1000)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from bench_in(tmp_path)


def _begin_stubborn(bench: Bench, **changes: object):  # type: ignore[no-untyped-def]
    request = bench.request(PYTHON, "-S", "-c", STUBBORN_TREE, str(bench.folder / "up-"), **changes)
    future = bench.begin(request)
    eventually(lambda: len(list(bench.folder.glob("up-*"))) == 7 or future.done())
    return request, future


def test_a_timeout_ends_a_tree_that_ignores_term(bench: Bench) -> None:
    _, future = _begin_stubborn(bench, timeout_seconds=3.0, grace_seconds=0.3)
    result = future.result(60)
    assert (result.cause, result.signal) == (Cause.TIMEOUT, signal.SIGKILL)
    assert result.seconds >= 3.3
    assert bench.alive() == []


def test_a_timeout_stays_a_timeout_when_the_step_then_exits_with_0(bench: Bench) -> None:
    script = "trap 'echo bye; exit 0' TERM; touch ready; while :; do sleep 0.02; done"
    result = bench.sh(script, timeout_seconds=1.0, grace_seconds=1000.0)
    assert (result.cause, result.exit_code) == (Cause.TIMEOUT, 0)
    assert "bye" in bench.log.read_text()


def test_a_stopped_process_group_is_ended(bench: Bench) -> None:
    result = bench.sh("sleep 1000 & kill -STOP $! $$", timeout_seconds=0.5, grace_seconds=0.5)
    assert result.cause is Cause.TIMEOUT
    assert bench.alive() == []


def test_stop_gives_the_step_its_grace(bench: Bench) -> None:
    script = "trap 'echo cleaned; exit 3' TERM; touch ready; while :; do sleep 0.02; done"
    request, future = bench.begin_ready("sh", "-c", script, grace_seconds=30.0)
    bench.executor.stop(request.id, "cancelled by a test")
    result = future.result(60)
    assert (result.cause, result.reason, result.exit_code) == (Cause.STOPPED, "cancelled by a test", 3)
    assert "cleaned" in bench.log.read_text()


def test_stop_then_kill_does_not_wait_for_the_grace(bench: Bench) -> None:
    request, future = _begin_stubborn(bench, grace_seconds=1000.0)
    bench.executor.stop(request.id, "first")
    bench.executor.kill(request.id, "second")
    result = future.result(60)
    assert (result.cause, result.reason, result.signal) == (Cause.STOPPED, "first", signal.SIGKILL)
    assert bench.alive() == []


def test_end_all_ends_every_step_and_starts_no_other(bench: Bench) -> None:
    futures = [
        bench.begin(bench.request("sleep", "1000", env={"PATH": "/bin:/usr/bin", "W": bench.token})) for _ in range(5)
    ]
    eventually(lambda: len(bench.alive()) == 5)
    bench.executor.end_all("closing")
    assert {(one.cause, one.signal) for one in (future.result(60) for future in futures)} == {
        (Cause.STOPPED, signal.SIGTERM)
    }
    with pytest.raises(SupervisorError, match="no step is started"):
        bench.executor.run(bench.request("true"))
    assert bench.alive() == []


def test_background_children_end_with_the_main_process(bench: Bench) -> None:
    result = bench.sh("(trap '' TERM; exec sleep 1000) & sleep 1000 & sleep 0.2; exit 5")
    assert (result.cause, result.exit_code) == (Cause.EXITED, 5)
    assert bench.alive() == []


def test_what_background_children_say_when_ended_is_in_the_log(bench: Bench) -> None:
    script = "(trap 'echo last words; exit' TERM; touch ready; while :; do sleep 0.02; done) & "
    bench.sh(script + "until [ -e ready ]; do sleep 0.02; done")
    assert "last words" in bench.log.read_text()


@pytest.mark.parametrize("scrubbed", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_double_forked_daemon_ends_with_its_step(bench: Bench, scrubbed: bool, quiet: bool) -> None:
    result = bench.run(*bench.daemon(scrubbed=scrubbed, quiet=quiet))
    assert (result.cause, result.exit_code) == (Cause.EXITED, 0)
    assert bench.alive() == []


@pytest.mark.parametrize("scrubbed", [False, True])
def test_a_daemon_of_one_step_outlives_no_other(bench: Bench, scrubbed: bool) -> None:
    """Attributed, it ends with its own step; hidden, with the last of those that ran when it appeared."""
    other = bench.request("sleep", "1000", log=str(bench.folder / "other"), env={"PATH": "/bin:/usr/bin"})
    future = bench.begin(other)
    eventually(lambda: (bench.folder / "other").exists())
    result = bench.run(*bench.daemon(scrubbed=scrubbed))
    assert result.is_outlived == scrubbed
    assert scrubbed or bench.alive() == []
    assert not future.done()
    bench.executor.kill(other.id, "done")
    last = future.result(60)
    assert (last.cause, last.is_outlived) == (Cause.STOPPED, False)
    assert bench.alive() == []


def test_a_tree_that_keeps_forking_is_ended(bench: Bench) -> None:
    script = """
import os, pathlib, time
pathlib.Path("ready").touch()
end = time.monotonic() + 60
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.002)
"""
    first = "import subprocess, sys, time; subprocess.Popen([*sys.orig_argv[:3], sys.argv[1]]); time.sleep(1000)"
    request, future = bench.begin_ready(PYTHON, "-S", "-c", first, script)
    bench.executor.kill(request.id, "enough")
    assert future.result(60).cause is Cause.STOPPED
    assert bench.alive() == []


def test_a_lease_that_runs_out_kills_without_grace(bench: Bench) -> None:
    _, future = _begin_stubborn(bench, lease_seconds=3.0, grace_seconds=1000.0)
    result = future.result(60)
    assert (result.cause, result.signal) == (Cause.LEASE_LOST, signal.SIGKILL)
    assert bench.alive() == []


def test_a_renewed_lease_keeps_a_step_alive(bench: Bench) -> None:
    go = bench.folder / "go"
    script = "until [ -e go ]; do sleep 0.02; done"
    request = bench.request("sh", "-c", script, lease_seconds=5.0)
    future = bench.begin(request)
    eventually(lambda: bench.alive() != [])
    bench.executor.renew([request.id, "unknown"], 1000.0)
    renewal = time.monotonic()
    eventually(lambda: time.monotonic() > renewal + 6 or future.done())
    assert not future.done()
    go.touch()
    assert future.result(60).cause is Cause.EXITED


def test_a_renewal_that_comes_late_prolongs_nothing(bench: Bench) -> None:
    """It counts from when the lease was asked for, so a frame may lie in the socket for any time."""
    request = bench.request("sleep", "1000", lease_seconds=1.0)
    future = bench.begin(request)
    bench.executor.renew([request.id], 1000.0, leased_at=time.clock_gettime(time.CLOCK_BOOTTIME) - 1000)
    assert future.result(60).cause is Cause.LEASE_LOST


# The forked copy keeps the worker's end of the socket open after the worker's death.
WORKER = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
from tests.integration.step_bench import Bench
from pathlib import Path
from workers.executor import Executor

def main():
    executor = Executor()
    executor.start()
    bench = Bench(Path(sys.argv[2]), executor)
    bench.token, lease = sys.argv[3], float(sys.argv[4]) or None
    request = bench.request(*sys.argv[5:], lease_seconds=lease, grace_seconds=1000.0)
    def renew():
        while lease:
            executor.renew([request.id], lease)
            time.sleep(lease / 10)
    threading.Thread(target=renew, daemon=True).start()
    copy = os.fork()
    if copy == 0:
        os.close(1)
        time.sleep(1000)
        os._exit(0)
    print(executor.supervisor_pid(), copy, flush=True)
    print(executor.run(request).cause, flush=True)
main()
"""


@contextmanager
def _worker(bench: Bench, lease: float, *argv: str) -> Iterator[tuple[subprocess.Popen[str], int, set[int]]]:
    """A worker process that runs one step, its supervisor, and the pids that are no part of the step."""
    home = str(Path(__file__).parent)
    command = [PYTHON, "-c", WORKER, home, str(bench.folder), bench.token, str(lease), *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        copy = 0
        try:
            assert worker.stdout is not None
            supervisor, copy = map(int, worker.stdout.readline().split())
            yield worker, supervisor, {worker.pid, copy}
        finally:
            worker.kill()
            if copy:
                signal_process(copy, signal.SIGKILL)
    # The bench's own executor made this process the parent of what the worker left.
    for pid in (supervisor, copy):
        eventually(lambda pid=pid: reap(pid))


@pytest.mark.parametrize("kind", ["stubborn", "scrubbed daemon"])
def test_a_killed_worker_leaves_no_process_of_its_step(
    bench: Bench, kind: str, record_property: Callable[[str, object], None]
) -> None:
    argv: tuple[str, ...] = (PYTHON, "-S", "-c", STUBBORN_TREE, str(bench.folder / "up-"))
    if kind != "stubborn":
        daemon = bench.daemon(scrubbed=True)
        argv = (*daemon[:3], daemon[3] + "\ntime.sleep(1000)", *daemon[4:])
    with _worker(bench, 0, *argv) as (worker, _, others):
        eventually(lambda: bench.ready.exists() or len(list(bench.folder.glob("up-*"))) == 7)
        assert set(bench.alive()) - others
        worker.kill()
        seconds = eventually(lambda: not set(bench.alive()) - others)
    record_property("seconds_until_dead", seconds)


@pytest.mark.parametrize("kind", ["stubborn", "scrubbed daemon"])
def test_worker_and_supervisor_killed_in_the_same_moment_leave_no_process_of_the_step(bench: Bench, kind: str) -> None:
    argv: tuple[str, ...] = (PYTHON, "-S", "-c", STUBBORN_TREE, str(bench.folder / "up-"))
    if kind != "stubborn":
        daemon = bench.daemon(scrubbed=True)
        argv = (*daemon[:3], daemon[3] + "\ntime.sleep(1000)", *daemon[4:])
    with subprocess.Popen(["sleep", "1000"]) as unrelated, _worker(bench, 0, *argv) as (worker, supervisor, others):
        eventually(lambda: bench.ready.exists() or len(list(bench.folder.glob("up-*"))) == 7)
        watchdog = watchdog_of(supervisor)
        # Stopped first, neither can do anything about the death of the other.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            signal_process(supervisor, number)
            worker.send_signal(number)
        eventually(lambda: not set(bench.alive()) - others)
        eventually(lambda: os.waitpid(watchdog, os.WNOHANG)[0] == watchdog)
        assert unrelated.poll() is None
        unrelated.kill()


MANY = """
import os, pathlib, sys, time
if all(os.fork() for _ in range(150)):
    pathlib.Path(sys.argv[1]).touch()
time.sleep(1000)
"""


@pytest.mark.parametrize("first", ["worker", "supervisor"])
def test_the_second_one_killed_while_it_ends_steps_leaves_none_either(bench: Bench, first: str) -> None:
    with _worker(bench, 0, PYTHON, "-S", "-c", MANY, str(bench.ready)) as (worker, supervisor, others):
        eventually(bench.ready.exists)
        watchdog = watchdog_of(supervisor)
        killed, second = (worker.pid, supervisor) if first == "worker" else (supervisor, worker.pid)
        signal_process(killed, signal.SIGKILL)
        eventually(lambda: not command_of(watchdog))
        signal_process(second, signal.SIGKILL)
        eventually(lambda: not set(bench.alive()) - others, 10)


WITHOUT_ITS_FIRST_THREAD = """
import ctypes, pathlib, sys, threading, time
def work():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(1000)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(60, 0)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of the call that ends one thread")
def test_a_watchdog_ends_a_process_whose_first_thread_has_ended(bench: Bench) -> None:
    with _worker(bench, 0, PYTHON, "-c", WITHOUT_ITS_FIRST_THREAD, str(bench.ready)) as (worker, supervisor, _):
        eventually(bench.ready.exists)
        (step,) = [pid for pid in children_of(supervisor) if pid != watchdog_of(supervisor)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            signal_process(supervisor, number)
            worker.send_signal(number)
        eventually(lambda: len(list(Path(f"/proc/{step}").glob("task/*"))) < 2, 10)
    eventually(lambda: os.waitpid(step, os.WNOHANG)[0] == step)


def test_a_supervisor_ends_with_its_watchdog_and_so_does_a_worker(bench: Bench) -> None:
    bench.sh("exit 0")
    supervisor = bench.supervisor()
    watchdog = watchdog_of(supervisor)
    assert command_of(watchdog) == WATCHDOG.encode()
    signal_process(supervisor, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{watchdog}").exists())
    eventually(lambda: bench.executor.supervisor_pid() != supervisor)
    bench.sh("exit 0")
    watchdog = watchdog_of(bench.supervisor())
    bench.executor.close()
    eventually(lambda: not Path(f"/proc/{watchdog}").exists())


def test_a_paused_workers_step_ends_with_its_lease(bench: Bench) -> None:
    with _worker(bench, 3.0, *bench.sleeper()) as (worker, _, others):
        eventually(bench.ready.exists)
        held = time.monotonic() + 4
        eventually(lambda: time.monotonic() > held)
        assert set(bench.alive()) - others
        worker.send_signal(signal.SIGSTOP)
        eventually(lambda: not set(bench.alive()) - others)
        worker.send_signal(signal.SIGCONT)
        output, _ = worker.communicate(timeout=60)
    assert output.strip() == Cause.LEASE_LOST


@pytest.mark.parametrize("kind", ["stubborn", "daemon", "scrubbed daemon"])
def test_a_killed_supervisor_takes_its_steps_with_it_and_is_replaced(bench: Bench, kind: str) -> None:
    unrelated = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        if kind == "stubborn":
            _, future = _begin_stubborn(bench)
        else:
            daemon = bench.daemon(scrubbed=kind == "scrubbed daemon")
            _, future = bench.begin_ready(*daemon[:3], daemon[3] + "\ntime.sleep(1000)", *daemon[4:])
        first = bench.executor.supervisor_pid()
        assert first is not None
        signal_process(first, signal.SIGKILL)
        with pytest.raises(SupervisorError, match="was ended by SIGKILL; its steps were ended with it"):
            future.result(60)
        assert bench.alive() == []
        assert unrelated.poll() is None
        assert bench.sh("exit 6").exit_code == 6
        assert bench.executor.supervisor_pid() != first
        assert bench.new_zombies() == []
    finally:
        kill_and_wait(unrelated)


def test_a_supervisor_that_dies_is_replaced_each_time(bench: Bench) -> None:
    """Whether a worker is to go on after so many is for its admission to say, not for the step that comes next."""
    for _ in range(4):
        _, future = bench.begin_ready(*bench.sleeper())
        signal_process(bench.executor.supervisor_pid(), signal.SIGKILL)
        with pytest.raises(SupervisorError):
            future.result(60)
        bench.ready.unlink()
    assert bench.sh("exit 0").exit_code == 0


def test_closing_ends_what_runs(bench: Bench) -> None:
    _, future = _begin_stubborn(bench)
    bench.executor.close()
    with pytest.raises(SupervisorError, match="closing"):
        future.result(60)
    assert bench.alive() == []
    with pytest.raises(SupervisorError, match="closing"):
        bench.sh("exit 0")


def test_signals_for_the_worker_do_not_end_the_supervisor(bench: Bench) -> None:
    supervisor = bench.supervisor()
    bench.sh("exit 0")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal_process(supervisor, number)
    assert bench.sh("exit 7").exit_code == 7
    assert bench.executor.supervisor_pid() == supervisor
    assert os.getsid(supervisor) == supervisor


NONSENSE = [
    b"",
    b"not json",
    b"\xff",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"v": 2, "type": "start"}',
    b'{"v": 1}',
    b'{"v": 1, "type": "dance"}',
    b'{"v": 1, "type": "stop", "id": 3}',
    b'{"v": 1, "type": "renew", "ids": "x"}',
    b'{"v": 1, "type": "kill", "id": "none", "reason": "x"}',
]


def test_frames_that_make_no_sense_are_ignored(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    start = {
        "v": 1, "type": "start", "id": "one", "argv": ["sh", "-c", "exit 9"], "cwd": "/",
        "env": {"PATH": "/bin:/usr/bin"},
        "log": str(tmp_path / "log"), "log_limit_bytes": 10, "timeout_seconds": None, "grace_seconds": 1,
        "lease_seconds": None, "leased_at": None,
    }  # fmt: skip
    with ours, subprocess.Popen(
        [sys.executable, "-m", "workers.supervisor", str(theirs.fileno())], pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE, start_new_session=True,
    ) as supervisor:  # fmt: skip
        try:
            theirs.close()
            ours.settimeout(60)
            malformed = {"v": 1, "type": "start", "id": "two"}
            for line in [*NONSENSE, json.dumps(malformed).encode(), json.dumps(start).encode()]:
                ours.sendall(line + b"\n")
            with ours.makefile() as frames:
                answers = [json.loads(next(frames)) for _ in range(3)]
            ours.shutdown(socket.SHUT_RDWR)
            assert supervisor.wait(60) == 0
            assert supervisor.stderr is not None
            complaints = supervisor.stderr.read().decode()
        finally:
            supervisor.kill()
    assert [(answer["type"], answer["id"]) for answer in answers] == [
        ("ended", "two"), ("started", "one"), ("ended", "one"),
    ]  # fmt: skip
    assert (answers[0]["cause"], answers[0]["infrastructure"]) == ("not_started", True)
    assert set(answers[0]) == set(answers[2])
    assert (answers[2]["cause"], answers[2]["exit_code"]) == ("exited", 9)
    assert "unknown type 'dance'" in complaints
    assert "version 2, expected 1" in complaints
    assert alive("workers.supervisor\0" + str(theirs.fileno())) == []
