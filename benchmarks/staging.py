"""What staging costs: a step beside 0, 2,000 and 20,000 files and folders, and the start of a step after 1 GB.

    python -m benchmarks.staging [--folder DIR] [--turns N] [--quick | --large-only] [--copies]

One worker with one slot runs chains of `/bin/true`; the sizes take turns. DIR decides which file system is measured:
scratch and storage both lie there. Folders are used again; `--copies` measures a worker that does not. Exit
code 0 when the aims were met, 1 when not, 2 when something failed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, Outcome, as_text, at_most, is_met
from benchmarks.machine import compile_bytecode, describe
from benchmarks.progress import say
from benchmarks.side import BenchmarkError
from benchmarks.site import Site
from pipeline_queue.contract.records import StepRecord

_STEPS = 10
_LIMIT_SECONDS = 600.0
_FILES_PER_FOLDER = 100
_FILE = b"x" * 500
_BIG_BYTES = 1_000_000_000
_AIMS = {2_000: 25.0, 20_000: 200.0}
"""Files and folders in the pipeline's folder (20,000 is the most) -> milliseconds that a step may take longer."""
_BIG_AIM = 100.0

_BIG = """
pipeline:
  name: big
  steps:
    - write: {run: [python, write.py]}
    - read: {run: [python, read.py]}
"""
_WRITE = f"""
with open("big", "wb") as file:
    block = bytes(range(256)) * 4096
    left = {_BIG_BYTES}
    while left:
        left -= file.write(block[:left])
"""
_READ = """
import json, time
json.dump({"begun_at": time.time()}, open("metrics.json", "w"))
"""


def main() -> int:
    options = _options()
    sizes = (2_000,) if options.quick else tuple(_AIMS)
    compile_bytecode()
    folder = Path(tempfile.mkdtemp(prefix="pq-benchmark-", dir=options.folder))
    try:
        with Site(folder / "site") as site:
            site.settings = replace(site.settings, reuses_folders=not options.copies)
            site.start_workers(1, slots=1)
            figures = [] if options.large_only else _small(site, folder, options.turns, sizes)
            if not options.quick:
                figures += _big(site, folder, options.turns)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    outcomes = [Outcome("staging", figures, 0.0)]
    print(as_text(outcomes, describe()))
    return 0 if is_met(outcomes) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where scratch and storage lie (the system's temporary folder)")
    parser.add_argument("--turns", type=int, default=5, help="how often each size takes its turn (5)")
    parser.add_argument("--quick", action="store_true", help="2,000 files only")
    parser.add_argument("--large-only", action="store_true", help="only the step after 1 GB")
    parser.add_argument("--copies", action="store_true", help="copy the folder for every step")
    return parser.parse_args()


def _small(site: Site, folder: Path, turns: int, sizes: tuple[int, ...]) -> list[Figure]:
    """Milliseconds per step above those beside no file, the median of the turns."""
    projects = {size: _project(folder / f"files-{size}", size) for size in (0, *sizes)}
    found: dict[int, list[float]] = {size: [] for size in projects}
    for turn in range(turns + 1):
        for size, project in projects.items():
            ms = _milliseconds_per_step(site, project)
            say(f"turn {turn} {size:6} files: {ms:8.1f} ms per step")
            if turn:  # the first one extracts the snapshot
                found[size].append(ms)
    figures = [Figure("a step beside no file", median(found[0]), "ms")]
    for size in sizes:
        extra = median(many - none for many, none in zip(found[size], found[0], strict=True))
        figures.append(Figure(f"more beside {size:,} files", extra, "ms", at_most(_AIMS[size])))
    return figures


def _project(folder: Path, files: int) -> Path:
    """A pipeline file among so many files and folders, itself included."""
    folder.mkdir()
    for number in range((files - 1) * _FILES_PER_FOLDER // (_FILES_PER_FOLDER + 1)):
        path = folder / f"data-{number // _FILES_PER_FOLDER}" / f"file-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_FILE)
    steps = "".join(f"    - step_{number}: {{run: /bin/true}}\n" for number in range(_STEPS))
    (folder / "pipeline.yaml").write_text(f"pipeline:\n  name: files_{files}\n  steps:\n{steps}")
    return folder / "pipeline.yaml"


def _milliseconds_per_step(site: Site, pipeline: Path) -> float:
    """By the records: from the first step's claim to the last one's."""
    sweep = site.submit(site.client.load(pipeline))
    report = site.wait_for_end(sweep, _LIMIT_SECONDS)
    if report.counts["succeeded"] != 1:
        raise BenchmarkError(f"{sweep} did not succeed: {report.counts}")
    started = [step.started_at for step in _steps(site, sweep)]
    return 1000 * (started[-1] - started[0]) / (len(started) - 1)


def _big(site: Site, folder: Path, turns: int) -> list[Figure]:
    """Milliseconds from the claim of the step after the one that published 1 GB to its first line."""
    project = folder / "big"
    project.mkdir()
    for name, text in (("pipeline.yaml", _BIG), ("write.py", _WRITE), ("read.py", _READ)):
        (project / name).write_text(text)
    found = []
    for turn in range(turns):
        sweep = site.submit(site.client.load(project / "pipeline.yaml"))
        site.wait_for_end(sweep, _LIMIT_SECONDS)
        read = _steps(site, sweep)[1]
        begun_at = read.metrics["begun_at"]
        found.append(1000 * (float(begun_at) - read.started_at))
        say(f"turn {turn} 1 GB: {found[-1]:8.1f} ms from claim to start")
        site.client.forget(sweep)
    return [Figure("start of a step after 1 GB was published", median(found), "ms", at_most(_BIG_AIM))]


def _steps(site: Site, sweep: str) -> list[StepRecord]:
    """The manifests of its only run, in the order in which the steps were claimed."""
    found = (path for path in site.settings.storage.rglob("step.json") if sweep in path.parts)
    return sorted((StepRecord.model_validate_json(path.read_bytes()) for path in found), key=lambda one: one.started_at)


if __name__ == "__main__":
    sys.exit(main())
