"""The reading half of the JSON API: sweeps, their runs and plots, one run with its logs, and the workers."""

from __future__ import annotations

from typing import Any

from pipeline_queue.dashboard.handler import JsonHandler
from pipeline_queue.dashboard.reading import Reading
from pipeline_queue.dashboard.run_table import MAX_PLOTTED, page_of, plot_of
from pipeline_queue.dashboard.sweep_detail import sweep_detail
from pipeline_queue.dashboard.sweep_row import possible_actions
from pipeline_queue.reporting.log_part import read_log
from pipeline_queue.reporting.run_detail import run_detail

_MAX_ROWS = 1_000
_MAX_COUNT = 10**12


class Sweeps(JsonHandler):
    """`GET /api/sweeps`."""

    async def get(self) -> None:
        search, state = self.text("search"), self.text("state")
        offset, limit = self.count("offset", 0, _MAX_COUNT), self.count("limit", 50, _MAX_ROWS)
        listed = await self.read(lambda: self.application.reading.sweeps.page(search, state, offset, limit))
        rows = [row.as_json() for row in listed.rows]
        self.answer({"sweeps": rows, "matched": listed.matched, "total": listed.total, "read": listed.read})


class OneSweep(JsonHandler):
    """`GET /api/sweeps/<id>`."""

    async def get(self, name: str) -> None:
        self.answer(await self.read(lambda: read_sweep_detail(self.application.reading, name)))


class SweepRuns(JsonHandler):
    """`GET /api/sweeps/<id>/runs`."""

    async def get(self, name: str) -> None:
        where, sort = self.text("where"), self.text("sort")
        offset, limit = self.count("offset", 0, _MAX_COUNT), self.count("limit", 100, _MAX_ROWS)
        reading = self.application.reading
        self.answer(await self.read(lambda: page_of(reading.recent_rows(name), where, sort, offset, limit)))


class SweepPlot(JsonHandler):
    """`GET /api/sweeps/<id>/plot`."""

    async def get(self, name: str) -> None:
        where, most = self.text("where"), max(1, self.count("most", MAX_PLOTTED, MAX_PLOTTED))
        reading = self.application.reading
        self.answer(await self.read(lambda: plot_of(reading.recent_rows(name), where, most)))


class OneRun(JsonHandler):
    """`GET /api/runs/<id>`."""

    async def get(self, name: str) -> None:
        self.answer(await self.read(lambda: read_run_detail(self.application.reading, name)))


class RunLog(JsonHandler):
    """`GET /api/runs/<id>/log`."""

    async def get(self, name: str) -> None:
        step, attempt = self.text("step"), self.text("try") or None
        offset = self.count("from", 0, _MAX_COUNT) if self.text("from") else None
        reading = self.application.reading

        def read() -> dict[str, Any]:
            storage = reading.storage()
            sweep, run = reading.find_run(name)
            part = read_log(storage, sweep, run, step, attempt, offset)
            return {
                "from": part.offset,
                "next": part.next,
                "size": part.size,
                "text": part.text,
                "is_over": part.is_over,
            }

        self.answer(await self.read(read))


class Pipelines(JsonHandler):
    """`GET /api/pipelines`."""

    async def get(self) -> None:
        reading = self.application.reading

        def read() -> dict[str, Any]:
            storage = reading.storage()
            found = [storage.published_pipeline(name) for name in storage.published_pipelines()]
            return {"pipelines": [one.model_dump(exclude={"v", "text", "snapshot", "sources"}) for one in found]}

        self.answer(await self.read(read))


class Cluster(JsonHandler):
    """`GET /api/cluster`."""

    async def get(self) -> None:
        self.answer(await self.read(lambda: read_cluster(self.application.reading)))


def read_sweep_detail(reading: Reading, name: str) -> dict[str, Any]:
    """Raises NotFoundError, BrokerError and StorageError."""
    known = reading.known(name)
    return sweep_detail(reading.storage(), known.current, known.sweep)


def read_run_detail(reading: Reading, name: str) -> dict[str, Any]:
    """Raises NotFoundError, BrokerError and StorageError."""
    storage = reading.storage()
    sweep, run = reading.find_run(name)
    detail = run_detail(storage, reading.run_index, sweep, run)
    counts = {"failed": detail["state"] == "failed", "cancelled": detail["state"] == "cancelled"}
    may = possible_actions(detail["state"], counts, 1)
    declared = [parameter.model_dump(exclude={"default"}) for parameter in sweep.pipeline.parameters]
    return {**detail, "declared": declared, "may": [one for one in may if one != "forget"]}


def read_cluster(reading: Reading) -> dict[str, Any]:
    """Raises BrokerError and StorageError."""
    report: dict[str, Any] = reading.cluster.read().as_json()
    return {**report, "strip": reading.strip.seen(report)}
