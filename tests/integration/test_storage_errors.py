"""A storage that fails for a moment, as over a network, at any operation: nothing is lost, wrong, twice or counted."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import plain_environment
from tests.faults import storage_errors
from tests.faults.products import ROOT
from tests.faults.storage_errors import StorageErrors
from tests.integration.attempt_site import Site

pytestmark = pytest.mark.skipif(bool(storage_errors.missing()), reason=storage_errors.missing() or "-")

ALL = "STORAGE_ERRORS_ALL"
"""Set to have every error at every operation (some 3,000 runs), instead of one of them."""

Judge = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    """The cases of that kind: attempts of a real worker and real steps on a real storage, in a process of their own."""

    def judge(what: str) -> list[dict[str, Any]]:
        errors = StorageErrors(tmp_path / "control", tmp_path / "storage")
        environment = {**os.environ, **errors.environment(storage_errors.build(tmp_path)), "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            "-m",
            "tests.integration.storage_errors_site",
            str(tmp_path),
            str(tmp_path / "control"),
        ]
        done = subprocess.run([*command, what], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return judge


def test_an_error_at_any_operation_of_an_attempt_changes_nothing(judged: Judge) -> None:
    """Each run ends as it would, with all metrics and files, of one attempt and one execution of each step."""
    cases = judged("all" if os.environ.get(ALL) else "some")
    assert len(cases) > 200
    assert [case for case in cases if case["problems"]] == []
    assert sum(case["last"] != "nothing failed" for case in cases) > 0.9 * len(cases)


def test_while_a_storage_is_away_the_worker_takes_nothing_and_nothing_counts(judged: Judge) -> None:
    """For longer than an operation is repeated, from any moment of an attempt on."""
    cases = judged("away")
    assert [case for case in cases if case["problems"]] == []
    assert sum("Error" in case["last"] or "cannot be read" in case["last"] for case in cases) > 3


def test_a_manifest_that_is_not_to_be_seen_yet_is_waited_for(judged: Judge) -> None:
    """Whether it appears while it is waited for or after that, the run's end has the metrics of every step."""
    cases = judged("hidden")
    assert len(cases) == 2 and [case for case in cases if case["problems"]] == []


# What looks.


@pytest.fixture
def ask(site: Site, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command about the site's storage, of which it fails as said."""
    errors = StorageErrors(tmp_path / "control", site.storage.root)
    library = storage_errors.build(tmp_path)

    def ask(*words: str, **fields: int) -> subprocess.CompletedProcess[str]:
        errors.arm(**fields)
        environment = plain_environment(**site.settings.environment(), **errors.environment(library))
        command = [sys.executable, "-m", "pipeline_queue", *words]
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    return ask


@pytest.mark.parametrize("command", ["status", "results", "outputs", "logs", "trace"])
def test_what_looks_survives_a_storage_that_fails_for_a_moment(
    site: Site, tmp_path: Path, command: str, ask: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    code = "import json; print('it says so'); json.dump({'loss': 0.5}, open('metrics.json', 'w'))"
    run = site.submit(f"pipeline:\n  steps:\n  - one: {{run: [python, -c, {code!r}]}}\n")
    assert run.attempt(site.worker(), "one").kind == "go_on"
    subject = run.id.sweep if command == "results" else str(run.id)
    well = ask(command, subject)
    count = StorageErrors(tmp_path / "control", site.storage.root).read("seen")
    assert well.returncode == 0 and count > 3
    for first in range(1, count + 1, max(1, count // 4)):
        told = ask(command, subject, first=first, length=4, number=errno.ESTALE)
        assert (told.returncode, told.stdout) == (0, well.stdout), (first, told.stderr)
    away = ask(command, subject, first=1, length=1_000_000, number=errno.EIO)
    assert away.returncode == 3 and "Traceback" not in away.stderr
    assert "Input/output error" in away.stderr
