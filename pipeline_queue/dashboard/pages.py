"""The pages themselves: shells that their modules fill, and the files that they load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tornado.web

import pipeline_queue.reporting
from pipeline_queue.dashboard.handler import Handler

_FOLDERS = {
    "static": Path(__file__).parent / "static",
    "shared": Path(pipeline_queue.reporting.__file__).parent / "pages",
}
_TYPES = {".js": "text/javascript; charset=UTF-8", ".css": "text/css; charset=UTF-8"}
_TITLES = {"sweeps": "Sweeps", "sweep": "Sweep", "run": "Run", "cluster": "Cluster"}
_TABS = {"sweep": "sweeps", "run": "sweeps"}


class Home(Handler):
    """Leads to the sweeps."""

    @tornado.web.authenticated
    def get(self) -> None:
        self.redirect(f"{self.application.prefix}/sweeps")


class Page(Handler):
    """A page without data: its module asks for that."""

    def initialize(self, kind: str) -> None:
        self.kind = kind

    @tornado.web.authenticated
    def get(self, name: str = "") -> None:
        why_not = self.application.access.why_not_act()
        self.render(
            "pipeline_page.html",
            kind=self.kind,
            name=name,
            title=f"{name} · {_TITLES[self.kind]}" if name else _TITLES[self.kind],
            tab=_TABS.get(self.kind, self.kind),
            prefix=self.application.prefix,
            may_act="no" if why_not else "yes",
            why_not=why_not,
        )


class Asset(Handler):
    """A module or style sheet; no data of anybody, so it needs no sign-in."""

    def get(self, room: str, name: str) -> None:
        path = _FOLDERS[room] / name
        kind = _TYPES.get(path.suffix)
        if kind is None or not path.is_file():
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", "no-cache")
        self.write(path.read_bytes())

    def write_error(self, status_code: int, **details: Any) -> None:
        self.set_header("Content-Type", "text/plain")
        self.finish("There is no such file.")
