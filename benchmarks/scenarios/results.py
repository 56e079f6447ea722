"""The table of ten thousand finished runs, by the whole command."""

from __future__ import annotations

from statistics import median

from benchmarks.command import run_command
from benchmarks.figures import Figure, exactly, under
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError
from benchmarks.witness import MARKED, tally

_TIMES = 3
_SECONDS_PER_RUN = 0.2


def measure(conditions: Conditions) -> list[Figure]:
    runs = 100 if conditions.is_quick else 10_000
    with conditions.site() as site:
        site.start_workers(1)
        sweep = site.submit(site.client.load(MARKED / "scored.yaml"), f"n=range(0,{runs})")
        report = site.wait_for_end(sweep, 30 + runs * _SECONDS_PER_RUN)
        if report.counts["succeeded"] != runs:
            raise BenchmarkError(f"{sweep} of {runs} runs ended as {report.counts}")
        tables = [run_command(site, "results", sweep) for _ in range(_TIMES)]
        page = run_command(site, "results", sweep, "--html", "results.html")
    seconds = median(one.seconds for one in tables)
    rows = {line.split()[0] for line in tables[0].out.splitlines() if " succeeded " in line}
    found = tally(conditions.witness.executed(), [str(n) for n in range(runs)])
    return [
        Figure(f"`results` of {runs:,} runs (median of {_TIMES})", seconds, "s", under(2)),
        Figure("rows printed", len(rows), "", exactly(runs)),
        Figure("lost, as the steps tell", found.lost, "", exactly(0)),
        Figure("doubled", found.doubled, "", exactly(0)),
        Figure("`results --html`", page.seconds, "s"),
    ]
