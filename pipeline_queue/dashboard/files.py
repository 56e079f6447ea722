"""Downloads: a sweep's runs as a file, whole logs, published outputs, and the description of the API."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote

from pipeline_queue.contract.errors import InputError
from pipeline_queue.dashboard.handler import JsonHandler
from pipeline_queue.dashboard.run_table import select
from pipeline_queue.reporting.formats import to_csv, to_json, to_parquet
from pipeline_queue.reporting.log_part import open_log
from pipeline_queue.reporting.output_files import open_output
from pipeline_queue.reporting.results import Row

_BLOCK_BYTES = 1 << 18
_VIEWED_BYTES = 1 << 18
_IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_FORMATS: dict[str, tuple[str, Callable[[list[Row]], bytes]]] = {
    "csv": ("text/csv; charset=UTF-8", lambda rows: to_csv(rows).encode(errors="replace")),
    "json": ("application/json", lambda rows: to_json(rows).encode(errors="replace")),
    "parquet": ("application/vnd.apache.parquet", to_parquet),
}
_SANDBOX = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"


class Download(JsonHandler):
    """A file to keep, or to look at in a sandbox without scripts."""

    def name_file(self, name: str, kind: str, is_viewed: bool = False) -> None:
        self.set_header("Content-Type", kind)
        self.set_header("Content-Security-Policy", _SANDBOX)
        shown = "inline" if is_viewed else "attachment"
        self.set_header("Content-Disposition", f"{shown}; filename*=UTF-8''{quote(name, safe='')}")

    async def send(
        self, open_file: Callable[[], tuple[IO[bytes], int, str]], kind: str = "", most: int | None = None
    ) -> None:
        """In blocks, so that a large file takes no memory. A viewed file ends after `most` bytes."""
        file, size, name = await self.read(open_file)
        try:
            self.name_file(name, kind or "application/octet-stream", is_viewed=bool(kind))
            left = size if most is None else min(size, most)
            while left > 0:
                block = await self.read(functools.partial(file.read, min(left, _BLOCK_BYTES)))
                if not block:
                    break
                left -= len(block)
                self.write(block)
                await self.flush()
        finally:
            file.close()


class SweepDownload(Download):
    """`GET /api/sweeps/<id>/runs.csv`, `.json` and `.parquet`."""

    async def get(self, name: str, form: str) -> None:
        where, sort, reading = self.text("where"), self.text("sort"), self.application.reading
        kind, make = _FORMATS[form]

        def read() -> bytes:
            table = select(reading.refresh_rows(name), where, sort)
            return make([one.row for one in table.runs])

        data = await self.read(read)
        self.name_file(f"{name}.{form}", kind)
        self.finish(data)


class LogDownload(Download):
    """`GET /api/runs/<id>/log.txt`."""

    async def get(self, name: str) -> None:
        step, attempt, reading = self.text("step"), self.text("try") or None, self.application.reading

        def open_file() -> tuple[IO[bytes], int, str]:
            storage = reading.storage()
            sweep, run = reading.find_run(name)
            file, size = open_log(storage, sweep, run, step, attempt)
            return file, size, f"{run}.{step}.log"

        await self.send(open_file)


class OutputDownload(Download):
    """`GET /api/runs/<id>/files/<step>/<path>`; `view=1` shows images as images, all else as text."""

    async def get(self, name: str, step: str, path: str) -> None:
        reading = self.application.reading

        def open_file() -> tuple[IO[bytes], int, str]:
            storage = reading.storage()
            sweep, run = reading.find_run(name)
            return open_output(storage, sweep, run, step, path)

        if self.text("view") != "1":
            await self.send(open_file)
        elif image := _IMAGES.get(Path(path).suffix.lower()):
            await self.send(open_file, image)
        else:
            await self.send(open_file, "text/plain; charset=UTF-8", _VIEWED_BYTES)


class Description(JsonHandler):
    """`GET /api/openapi.yaml`."""

    def get(self) -> None:
        path = Path(__file__).parent / "openapi.yaml"
        if not path.exists():
            raise InputError("the description of the API is missing")
        self.set_header("Content-Type", "application/yaml; charset=UTF-8")
        self.finish(path.read_bytes())
