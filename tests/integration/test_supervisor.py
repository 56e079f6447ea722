"""Steps through a real supervisor: how they start, what they get, what their end looks like."""

from __future__ import annotations

import base64
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.step_bench import PYTHON, Bench, bench_in, eventually, zombies
from workers.supervisor.protocol import Cause

ECHO_ARGV = "import os, sys; open(sys.argv[1], 'wb').write(b'\\0'.join(map(os.fsencode, sys.argv[2:])))"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from bench_in(tmp_path)


@pytest.mark.parametrize("code", [0, 1, 2, 127, 255])
def test_an_exit_code_is_reported(bench: Bench, code: int) -> None:
    result = bench.sh(f"exit {code}")
    assert (result.cause, result.exit_code, result.signal) == (Cause.EXITED, code, None)
    assert result.seconds > 0
    assert result.max_rss_bytes > 0


def test_a_timeout_of_a_thousand_years_is_fine(bench: Bench) -> None:
    assert bench.sh("exit 0", timeout_seconds=3.2e10).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_of_somebody_else_is_reported(bench: Bench, number: signal.Signals) -> None:
    result = bench.sh(f"kill -{int(number)} $$")
    assert (result.cause, result.exit_code, result.signal) == (Cause.SIGNALLED, None, number)


HOSTILE = [
    "a b",
    "it's",
    '"quoted"',
    "$HOME",
    "`id`",
    "; echo no",
    "line\nbreak",
    "back\\slash",
    "a=b",
    "${{ parameters.x }}",
    "-1e-3",
    "--",
    "",
    "0",
    "false",
    "*",
    "\t",
    "\x7f\x01",
    "undecodable \udcff byte",
    "x" * 100_000,
]


def test_argv_arrives_byte_exact(bench: Bench) -> None:
    printable = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if c.isprintable())
    words = HOSTILE + [printable[at : at + 30_000] for at in range(0, len(printable), 30_000)]
    target = bench.folder / "argv"
    result = bench.run(PYTHON, "-S", "-c", ECHO_ARGV, str(target), *words)
    assert result.exit_code == 0, bench.log.read_text()
    assert target.read_bytes() == b"\0".join(word.encode("utf-8", "surrogateescape") for word in words)


def test_the_environment_is_exactly_what_was_asked_for(bench: Bench) -> None:
    env = {"A": "1\n2", "EMPTY": "", "ÜMLAUT": "ü\udcff", "PATH": "/usr/bin:/bin"}
    request = bench.request("cat", "/proc/self/environ", env=env)
    assert bench.executor.run(request).exit_code == 0
    expected = {**env, "PIPELINE_QUEUE_ATTEMPT": request.id}
    assert set(bench.log.read_bytes().split(b"\0")) - {b""} == {
        f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in expected.items()
    }


def test_a_step_starts_clean(bench: Bench) -> None:
    """Own session, no input, three descriptors, default signals, its working directory."""
    script = """
import os, signal
print(os.getsid(0) == os.getpid() == os.getpgrp(), os.read(0, 10), os.getcwd())
for number in range(100):
    try:
        print(number, os.readlink(f"/proc/self/fd/{number}").split(":")[0])
    except FileNotFoundError:
        pass
print(signal.pthread_sigmask(0, []))
"""
    assert bench.run(PYTHON, "-S", "-c", script).exit_code == 0
    expected = [f"True b'' {bench.folder}", "0 /dev/null", "1 pipe", "2 pipe", "set()"]
    assert bench.log.read_text().splitlines() == expected


def test_a_step_has_default_signals(bench: Bench) -> None:
    bench.sh("cat /proc/self/status")
    status = dict(line.split(":", 1) for line in bench.log.read_text().splitlines())
    # Numbers 32 and 33 are the C library's own; it leaves them ignored in what it spawns.
    internal = 1 << 31 | 1 << 32
    assert (int(status["SigIgn"], 16) | internal, int(status["SigBlk"], 16)) == (internal, 0)


def test_a_program_is_looked_up_on_the_path_of_the_step(bench: Bench) -> None:
    program = bench.folder / "bin" / "tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert bench.run("tool", env={"PATH": "/nowhere:bin:/bin"}).exit_code == 0
    assert bench.run("bin/tool").exit_code == 0
    assert bench.run("./bin/tool").exit_code == 0
    assert bench.log.read_text() == "found\n" * 3


@pytest.mark.parametrize(
    ("argv", "changes", "sentence"),
    [
        (["no-such-tool"], {}, "program 'no-such-tool' was not found on PATH"),
        (["./missing"], {}, "program './missing' was not found"),
        (["plain"], {"env": {"PATH": "."}}, "was found on PATH as './plain', but is not executable"),
        (["./plain"], {}, "program './plain' is not executable"),
        (["."], {"env": {"PATH": ""}}, "program '.' was not found on PATH"),
        (["./orphaned"], {}, "names an interpreter (its `#!` line) that does not exist"),
        (["./garbage"], {}, "is not a program of this machine and has no `#!` line"),
        (["true", "x" * 131_072], {}, "argument 1 is too long: 131072 bytes"),
        (["true", *["x" * 100_000] * 100], {}, "too long together"),
        (["true"], {"env": {"PATH": "/bin", "BIG": "x" * 200_000}}, "variable 'BIG' is too long"),
        (["true", "a\0b"], {}, "argument 1 holds a NUL character"),
        (["true", "\ud800"], {}, "cannot be written as UTF-8"),
        (["true"], {"env": {"A=B": "c"}}, "'A=B' has an impossible name"),
        ([], {}, "the command is empty"),
        ([""], {}, "the command is empty"),
        (["true"], {"cwd": "/no/such/folder"}, "the working directory '/no/such/folder' does not exist"),
        (["true"], {"cwd": "/dev/null"}, "the working directory '/dev/null' is not a directory"),
    ],
)
def test_what_cannot_start_says_why(bench: Bench, argv: list[str], changes: dict[str, object], sentence: str) -> None:
    (bench.folder / "plain").write_text("text")
    for name, content in (("orphaned", "#!/no/interpreter\n"), ("garbage", "\x01\x02")):
        (bench.folder / name).write_text(content)
        (bench.folder / name).chmod(0o755)
    result = bench.run(*argv, **changes)
    assert result.cause is Cause.NOT_STARTED
    assert sentence in str(result.error)
    assert (result.exit_code, result.signal, result.infrastructure) == (None, None, False)
    assert bench.sh("exit 0").exit_code == 0


def test_a_log_that_cannot_be_opened_is_the_machines_fault(bench: Bench) -> None:
    result = bench.run("true", log="/no/such/folder/log")
    assert result.cause is Cause.NOT_STARTED
    assert result.infrastructure
    target = bench.folder / "target"
    link = bench.folder / "link"
    link.symlink_to(target)
    assert bench.run("true", log=str(link)).cause is Cause.NOT_STARTED
    assert not target.exists()


def test_both_streams_are_kept_in_order_and_byte_exact(bench: Bench) -> None:
    script = """
import os
for number in range(500):
    os.write(1, b"out %d \\xff\\xfe\\0\\r\\n" % number)
    os.write(2, b"err %d\\n" % number)
"""
    result = bench.run(PYTHON, "-S", "-c", script)
    expected = b"".join(b"out %d \xff\xfe\0\r\nerr %d\n" % (number, number) for number in range(500))
    assert bench.log.read_bytes() == expected
    assert (result.log_bytes, result.log_dropped_bytes) == (len(expected), 0)


def test_output_is_in_the_log_while_the_step_runs(bench: Bench) -> None:
    fifo = bench.folder / "go"
    os.mkfifo(fifo)
    future = bench.begin(bench.request("sh", "-c", "printf early; cat go; printf late"))
    eventually(lambda: bench.log.exists() and bench.log.read_bytes() == b"early")
    fifo.write_bytes(b"")
    assert future.result(60).exit_code == 0
    assert bench.log.read_bytes() == b"earlylate"


def test_a_step_may_close_its_output(bench: Bench) -> None:
    result = bench.sh("exec >&- 2>&-; exit 4")
    assert (result.cause, result.exit_code, result.log_bytes) == (Cause.EXITED, 4, 0)


@pytest.mark.parametrize("limit", [0, 1, 1000])
def test_a_log_is_capped_and_says_so(bench: Bench, limit: int) -> None:
    result = bench.sh("head -c 5000000 /dev/zero", log_limit_bytes=limit)
    assert result.exit_code == 0
    assert (result.log_bytes, result.log_dropped_bytes) == (limit, 5_000_000 - limit)
    note = f"the log reached its limit of {limit} bytes; {5_000_000 - limit} bytes were dropped"
    assert bench.log.read_bytes() == b"\0" * limit + f"\n[pipeline_queue: {note}]\n".encode()


def test_a_full_disk_under_the_log_ends_nothing(bench: Bench) -> None:
    result = bench.sh("echo something", log="/dev/full")
    assert (result.cause, result.exit_code) == (Cause.EXITED, 0)
    # Up to the worker now, which may wait for room.
    assert base64.b64decode(result.log_left) == b"something\n"


def test_a_noisy_step_starves_nobody_and_grows_nothing(bench: Bench) -> None:
    supervisor = bench.executor.supervisor_pid()
    noisy = bench.request("sh", "-c", "exec yes", log_limit_bytes=1000, log=str(bench.folder / "noisy"))
    future = bench.begin(noisy)
    bench.sh("exit 0")
    before = _resident_bytes(supervisor)
    for _ in range(50):
        assert bench.sh("exit 0").exit_code == 0
    timed = bench.run("sleep", "1000", timeout_seconds=0.2)
    assert timed.cause is Cause.TIMEOUT
    assert _resident_bytes(supervisor) < before + (4 << 20)
    bench.executor.stop(noisy.id, "enough")
    result = future.result(60)
    assert (result.cause, result.reason, result.log_bytes) == (Cause.STOPPED, "enough", 1000)
    assert result.log_dropped_bytes > 1 << 20


def test_fifty_steps_run_side_by_side(bench: Bench) -> None:
    """Each waits for all the others, so fewer at a time would never end."""
    script = 'touch "$1"; until [ "$(ls here | wc -l)" -eq 50 ]; do sleep 0.05; done; echo "$1"; exit "$2"'
    (bench.folder / "here").mkdir()
    futures = [
        bench.begin(bench.request("sh", "-c", script, "sh", f"here/{n}", str(n), log=str(bench.folder / f"{n}.log")))
        for n in range(50)
    ]
    assert [future.result(120).exit_code for future in futures] == list(range(50))
    assert [(bench.folder / f"{n}.log").read_text() for n in range(50)] == [f"here/{n}\n" for n in range(50)]
    assert bench.alive() == []


def test_two_hundred_runs_leak_nothing(bench: Bench) -> None:
    supervisor = bench.executor.supervisor_pid()
    for kind in (["true"], ["no-such-tool"], ["sh", "-c", "sleep 1000 & exit 0"]):
        bench.run(*kind)
    folder, own = Path(f"/proc/{supervisor}/fd"), Path("/proc/self/fd")
    before = len(list(folder.iterdir())), len(list(own.iterdir()))
    for number in range(200):
        bench.run("no-such-tool" if number % 10 == 0 else "true")
    assert (len(list(folder.iterdir())), len(list(own.iterdir()))) == before
    assert zombies(supervisor or 0) == []
    assert bench.new_zombies() == []


def _resident_bytes(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
