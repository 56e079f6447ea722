"""A step's memory limit: the whole tree's memory, ended in time, and the system's own kills told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.step_bench import PYTHON, Bench, bench_in, eventually
from workers.supervisor.protocol import Cause

_MB = 10**6

# argv: bytes to fill, processes that do
FILL = """
import os, sys, time
size, processes = int(sys.argv[1]), int(sys.argv[2])
for _ in range(processes - 1):
    if os.fork() == 0:
        break
block = bytearray(size)
for at in range(0, size, 4096):
    block[at] = 1
time.sleep(1000)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from bench_in(tmp_path)


@pytest.mark.parametrize(("size", "processes"), [(300 * _MB, 1), (60 * _MB, 6)])
def test_a_tree_over_its_limit_is_ended_whole_and_says_how_much_it_held(
    bench: Bench, size: int, processes: int
) -> None:
    result = bench.run(PYTHON, "-S", "-c", FILL, str(size), str(processes), memory_bytes=150 * _MB)
    assert (result.cause, result.signal, result.infrastructure) == (Cause.MEMORY, signal.SIGKILL, False)
    assert 150 * _MB < (result.memory_bytes or 0) < size * processes + 200 * _MB
    assert bench.alive() == []


def test_a_tree_over_its_limit_gets_no_grace(bench: Bench) -> None:
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FILL
    result = bench.run(PYTHON, "-S", "-c", code, str(300 * _MB), "1", memory_bytes=100 * _MB, grace_seconds=1000.0)
    assert result.cause is Cause.MEMORY


def test_what_a_stopping_step_takes_counts_too(bench: Bench) -> None:
    code = f"""
import pathlib, signal, sys, time
def fill(*_):
    block = b'x' * {300 * _MB}
    time.sleep(1000)
signal.signal(signal.SIGTERM, fill)
pathlib.Path("ready").touch()
time.sleep(1000)
"""
    request, future = bench.begin_ready(PYTHON, "-S", "-c", code, memory_bytes=100 * _MB, grace_seconds=1000.0)
    bench.executor.stop(request.id, "cancelled")
    result = future.result(60)
    assert (result.cause, result.signal) == (Cause.STOPPED, signal.SIGKILL)


def test_a_daemon_counts_with_the_step_it_came_from(bench: Bench) -> None:
    code = f"""
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    block = b'x' * {300 * _MB}
    time.sleep(1000)
os.wait()
time.sleep(1000)
"""
    result = bench.run(PYTHON, "-S", "-c", code, memory_bytes=100 * _MB)
    assert result.cause is Cause.MEMORY
    assert bench.alive() == []


def test_memory_that_processes_share_counts_once(bench: Bench) -> None:
    """Eight processes with one block of 80 MB between them, and one of 200 MB that is only mapped from a file."""
    code = f"""
import mmap, os, pathlib, time
block = b'x' * {80 * _MB}
with open("data", "w+b") as file:
    file.truncate({200 * _MB})
    file.write(b'x' * {200 * _MB})
    file.flush()
    view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    sum(view[at] for at in range(0, len(view), 4096))
children = []
for _ in range(7):
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    children.append(pid)
pathlib.Path("ready").touch()
while not os.path.exists("go"):
    time.sleep(0.02)
"""
    # Writing the file takes 200 MB for a moment.
    _, future = bench.begin_ready(PYTHON, "-S", "-c", code, memory_bytes=400 * _MB)
    eventually(lambda: len(bench.alive()) == 8)
    looked = 3 * 0.5  # several looks of the supervisor
    with pytest.raises(TimeoutError):
        future.result(looked)
    (bench.folder / "go").touch()
    result = future.result(60)
    assert (result.cause, result.exit_code) == (Cause.EXITED, 0)
    assert 80 * _MB < (result.memory_bytes or 0) < 400 * _MB


def test_a_step_within_its_limit_just_runs(bench: Bench) -> None:
    result = bench.sh("exit 3", memory_bytes=100 * _MB)
    assert (result.cause, result.exit_code) == (Cause.EXITED, 3)


def test_without_a_limit_nobody_looks(bench: Bench) -> None:
    result = bench.run(PYTHON, "-S", "-c", f"block = b'x' * {300 * _MB}")
    assert (result.cause, result.exit_code, result.memory_bytes) == (Cause.EXITED, 0, None)


def test_the_system_would_kill_a_step_before_its_worker(bench: Bench) -> None:
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    # The step is marked right after its start: it may look before.
    look = f'until [ "$(cat /proc/$$/oom_score_adj)" -gt {ours} ]; do sleep 0.01; done; cat /proc/self/oom_score_adj'
    bench.sh(look, timeout_seconds=30)
    assert int(bench.log.read_text()) > ours


def test_a_kill_by_somebody_else_is_no_lack_of_memory(bench: Bench) -> None:
    result = bench.sh("kill -9 $$")
    assert (result.cause, result.signal) == (Cause.SIGNALLED, signal.SIGKILL)


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group whose memory runs out soon; whoever writes its pid there is in it."""
    group = _new_group("/sys/fs/cgroup/memory", "memory.limit_in_bytes") or _new_group("/sys/fs/cgroup", "memory.max")
    if group is None:
        pytest.skip("control groups of memory cannot be made here")
    yield group
    eventually(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def _new_group(root: str, limit: str) -> Path | None:
    group = Path(root) / f"pipeline-queue-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
    except OSError:
        return None
    try:
        (group / limit).write_text(str(64 * 1024 * 1024))
    except OSError:
        group.rmdir()
        return None
    return group


@pytest.mark.parametrize("shell", [False, True])
def test_a_kill_by_the_system_for_lack_of_memory_is_named(bench: Bench, small_group: Path, shell: bool) -> None:
    code = f"open({str(small_group / 'cgroup.procs')!r}, 'w').write('0')\n" + FILL
    argv = [PYTHON, "-S", "-c", code, str(300 * _MB), "1"]
    if shell:
        argv = ["sh", "-c", '"$@"; exit $?', "sh", *argv]
    result = bench.run(*argv, lease_seconds=100.0)
    assert result.cause is Cause.OUT_OF_MEMORY
    assert bench.alive() == []


def test_the_supervisor_reads_of_a_process_what_the_system_says(tmp_path: Path) -> None:
    from workers.supervisor.memory import MemoryWatch

    code = f"block = b'x' * {200 * _MB}; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert MemoryWatch(200 * _MB).is_over([process.pid])
        assert not MemoryWatch(400 * _MB).is_over([process.pid])
        assert not MemoryWatch(10**15).is_over([process.pid, os.getpid(), 2**22 + 1])
        process.kill()
