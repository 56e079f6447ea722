"""A hundred runs of which seven fail: `retry` executes those and what follows them, and touches nothing else."""

from __future__ import annotations

from benchmarks.command import run_command
from benchmarks.figures import Figure, exactly
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError
from benchmarks.site import Site
from benchmarks.witness import MARKED, Witness, tally
from pipeline_queue.storage.storage import Storage

_LIMIT_SECONDS = 300.0

_Inodes = dict[str, tuple[int, int]]
"""Path -> inode and time of the last change."""


def measure(conditions: Conditions) -> list[Figure]:
    runs = 20 if conditions.is_quick else 100
    bad = [n for n in range(runs) if n % 14 == 5]  # as check.sh says
    witness = conditions.witness
    with conditions.site() as site:
        site.start_workers(1)
        words = ("sweep", str(MARKED / "checked.yaml"), "-p", f"n=range(0,{runs})", "--json")
        report = run_command(site, *words, limit_seconds=_LIMIT_SECONDS, exit_code=1).json()
        if report["counts"]["failed"] != len(bad):
            raise BenchmarkError(f"{len(bad)} runs were to fail: {report['counts']}")
        say(f"  {len(bad)} of {runs} have failed; retrying")
        witness.clear()
        before = _published(site, report["sweep"])
        witness.path.with_name(f"{witness.path.name}.mended").touch()
        retried = run_command(site, "retry", report["sweep"], "--json", limit_seconds=_LIMIT_SECONDS).json()
        after = _published(site, report["sweep"])
    changed = sum(after.get(path) != inode for path, inode in before.items())
    succeeded = retried["counts"]["succeeded"]
    return [*_execute(witness, bad), *_files(len(before), changed), Figure("succeeded", succeeded, "", exactly(runs))]


def _execute(witness: Witness, bad: list[int]) -> list[Figure]:
    found = tally(witness.executed(), [f"{step} {n}" for step in ("two", "three") for n in bad])
    return [
        Figure("steps that `retry` executed, as they tell", found.executed, "", exactly(2 * len(bad))),
        Figure("of those that failed or follow: not executed", found.lost, "", exactly(0)),
        Figure("executed twice", found.doubled, "", exactly(0)),
        Figure("others executed", found.strange, "", exactly(0)),
    ]


def _files(known: int, changed: int) -> list[Figure]:
    return [
        Figure("files of what had succeeded", known),
        Figure("of these with another inode or content afterwards", changed, "", exactly(0)),
    ]


def _published(site: Site, sweep: str) -> _Inodes:
    """Every file of the runs that succeeded, and of the published steps of those that failed."""
    files: _Inodes = {}
    for _, paths in Storage(site.settings.storage).runs(sweep):
        end = paths.end()
        kept = paths.folder if end and end.state == "succeeded" else paths.folder / "one"
        for path in (path for path in kept.rglob("*") if path.is_file()):
            status = path.stat()
            files[str(path)] = (status.st_ino, status.st_mtime_ns)
    return files
