"""With CI=true a skipped proof fails the tests, unless a probe agrees that this machine cannot run it.

A pytest plugin; conftest.py takes its hooks. One line at the end says what was skipped and why.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PROBE_SECONDS = 60


def _lacks(*programs: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(program) is None for program in programs)


def _lacks_module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is None


def _is_not_root() -> bool:
    return os.geteuid() != 0


def _cannot_run(*command: str) -> Callable[[], bool]:
    def probe() -> bool:
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return True
        return done.returncode != 0

    return probe


def _redis_lacks_tls() -> bool:
    binary = shutil.which("redis-server")
    return binary is None or b"tls-cert-file" not in Path(binary).read_bytes()


def _has_no_control_groups() -> bool:
    """A control group of memory can be made where its folder may be written, under either layout."""
    folders = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]
    for folder in folders:
        probe = folder / f"pipeline-queue-probe-{os.getpid()}"
        try:
            probe.mkdir()
        except OSError:
            continue
        try:
            if any((probe / limit).exists() for limit in ("memory.limit_in_bytes", "memory.max")):
                return False
        finally:
            probe.rmdir()
    return True


def _has_no_namespaces() -> bool:
    from tests.faults import namespaces

    return bool(namespaces.missing())


_cannot_mount = _cannot_run("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt")

ALLOWED: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("no chromium and chromedriver", _lacks("chromium", "chromedriver")),
    ("no axe-core", _cannot_run("npm", "view", "axe-core", "version")),
    ("no redis-server", _lacks("redis-server")),
    ("no openssl program", _lacks("openssl")),
    ("this redis-server has no TLS", _redis_lacks_tls),
    ("(a small file system cannot be mounted|mount cannot be run)", _cannot_mount),
    ("control groups of memory cannot be made", _has_no_control_groups),
    ("there is no C compiler", _lacks("cc")),
    ("only root may mount", lambda: _is_not_root() or shutil.which("mount") is None),
    ("only root may make namespaces", _is_not_root),
    ("(namespaces are not permitted|.*not installed \\(Debian: iproute2)", _has_no_namespaces),
    ("(only root can|needs root)", _is_not_root),
    ("mounts need root and unshare", lambda: _is_not_root() or shutil.which("unshare") is None),
    ("root reads everything", lambda: os.geteuid() == 0),
    ("the number of the call that ends one thread", lambda: platform.machine() != "x86_64"),
    ("there is no bash", _lacks("bash")),
    ("zsh is not installed", _lacks("zsh")),
    ("fish is not installed", _lacks("fish")),
    (
        "no Python that other users may execute",
        lambda: Path("/root") in Path(os.path.realpath("/proc/self/exe")).parents,
    ),
    ("could not import 'sklearn'", _lacks_module("sklearn")),
    ("could not import 'numpy'", _lacks_module("numpy")),
    ("could not import 'readline'", _lacks_module("readline")),
)
"""How the reason of a skip begins -> whether this machine really cannot. Several reasons are told after one another."""


@dataclass(frozen=True)
class Skips:
    """`refused`: skips that no probe confirmed, `allowed`: reason -> how many."""

    allowed: Counter[str]
    refused: tuple[str, ...]

    def line(self) -> str:
        if not self.allowed and not self.refused:
            return "skipped proofs: none"
        told = [f"{count} because {reason}" for reason, count in sorted(self.allowed.items())]
        told += [f"NOT ALLOWED {one}" for one in self.refused]
        return f"skipped proofs: {'; '.join(told)}"


def judge(skipped: Iterable[tuple[str, str]], allowed: Iterable[tuple[str, Callable[[], bool]]] = ALLOWED) -> Skips:
    """`skipped`: test and reason. Each probe runs once at most."""
    confirmed: dict[str, bool] = {}
    counts, refused = Counter[str](), []
    known = tuple(allowed)

    def is_confirmed(reason: str) -> bool:
        for pattern, probe in known:
            if re.match(pattern, reason):
                if pattern not in confirmed:
                    confirmed[pattern] = probe()
                return confirmed[pattern]
        return False

    for test, reason in skipped:
        if all(is_confirmed(part) for part in reason.split("; ")):
            counts[reason.splitlines()[0][:100]] += 1
        else:
            refused.append(f"{test} ({reason.splitlines()[0][:200]})")
    return Skips(counts, tuple(refused))


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What a skipping test said, without the words that pytest puts before it."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return re.sub(r"\ASkipped: ", "", told) or "no reason"


class SkippedProofs:
    """Collects skips where the results come together, and fails the session for those that no probe confirms."""

    def __init__(self) -> None:
        self._skipped: list[tuple[str, str]] = []
        self._skips = Skips(Counter(), ())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.append((report.nodeid, reason_of(report)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append((report.nodeid, reason_of(report)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._skips = judge(self._skipped)
        if self._skips.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line(self._skips.line())


def register(config: pytest.Config) -> None:
    """In CI only, and not in the processes that xdist has execute the tests."""
    if os.environ.get("CI") == "true" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkippedProofs(), "skipped-proofs")
