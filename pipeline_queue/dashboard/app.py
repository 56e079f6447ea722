"""Flower with our pages: without its own controls unless asked for, and with links that browsers can log in by."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import flower
import flower.command
from flower.api import BaseApiHandler
from flower.app import Flower, rewrite_handler
from flower.options import default_options
from tornado.httpserver import HTTPServer
from tornado.template import Loader, Template
from tornado.web import url

from pipeline_queue.contract.settings import FLOWER_SOCKET, settings_from
from pipeline_queue.dashboard import actions, api, files, live, pages
from pipeline_queue.dashboard.access import Access
from pipeline_queue.dashboard.reading import Reading

_OWN_TEMPLATES = Path(__file__).parent / "templates"
_FLOWER_TEMPLATES = Path(flower.__file__).parent / "templates"
_NAV_START = '<ul class="app-nav navbar-nav">'
_NAV_ENTRY = """
        <li class="nav-item">
          <a class="nav-link{{% if active_tab == '{name}' %}} active{{% end %}}"
            href="{{{{ reverse_url('pq_{name}') }}}}"
            {{% if active_tab == '{name}' %}}aria-current="page"{{% end %}}>{title}</a>
        </li>"""
_NAV = "".join(_NAV_ENTRY.format(name=name, title=name.capitalize()) for name in ("sweeps", "cluster"))
_TASK_START = '<div class="detail-actions">'
_TASK_LINK = """
      {% import re %}{% set run = re.match(r"\\('([A-Za-z0-9_-]+[.][0-9]+)'", task.args or "") %}
      {% if run %}<a class="btn btn-outline-secondary"
        href="{{ handler.application.prefix }}/runs/{{ run[1] }}">Run {{ run[1] }}</a>{% end %}"""
_ADDED = {"navbar.html": {_NAV_START: _NAV}, "task.html": {_TASK_START: _TASK_LINK}}
"""Flower's template -> a text in it, and what we add behind that."""
_ID = r"([A-Za-z0-9_.-]{1,120})"

HANDLERS = [
    url(r"/", pages.Home),
    url(r"/sweeps", pages.Page, {"kind": "sweeps"}, name="pq_sweeps"),
    url(rf"/sweeps/{_ID}", pages.Page, {"kind": "sweep"}),
    url(rf"/runs/{_ID}", pages.Page, {"kind": "run"}),
    url(r"/cluster", pages.Page, {"kind": "cluster"}, name="pq_cluster"),
    url(r"/pq/(static|shared)/([a-z0-9_.-]+)", pages.Asset),
    url(r"/api/sweeps", api.Sweeps),
    url(rf"/api/sweeps/{_ID}", api.OneSweep),
    url(rf"/api/sweeps/{_ID}/runs", api.SweepRuns),
    url(rf"/api/sweeps/{_ID}/plot", api.SweepPlot),
    url(rf"/api/sweeps/{_ID}/runs\.(csv|json|parquet)", files.SweepDownload),
    url(rf"/api/sweeps/{_ID}/(pause|resume|cancel|retry|forget)", actions.SweepAction),
    url(rf"/api/runs/{_ID}", api.OneRun),
    url(rf"/api/runs/{_ID}/log", api.RunLog),
    url(rf"/api/runs/{_ID}/log\.txt", files.LogDownload),
    url(rf"/api/runs/{_ID}/files/([^/]{{1,255}})/(.{{1,3000}})", files.OutputDownload),
    url(rf"/api/runs/{_ID}/(cancel|retry)", actions.RunAction),
    url(rf"/api/runs/{_ID}/again", actions.RunAgain),
    url(r"/api/pipelines", api.Pipelines),
    url(rf"/api/pipelines/{_ID}/runs", actions.PublishedRuns),
    url(r"/api/cluster", api.Cluster),
    url(r"/api/events", live.Events),
    url(r"/api/openapi\.yaml", files.Description),
]


class TemplateLoader(Loader):
    """Our templates, then Flower's with our links in them."""

    def __init__(self) -> None:
        super().__init__(str(_FLOWER_TEMPLATES))

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        return name

    def _create_template(self, name: str) -> Template:
        own = _OWN_TEMPLATES / name
        text = (own if own.exists() else _FLOWER_TEMPLATES / name).read_text("utf-8")
        for start, more in _ADDED.get(name, {}).items():
            text = text.replace(start, start + more, 1)
        return Template(text, name=name, loader=self)


class PipelineFlower(Flower):  # type: ignore[misc]
    """Serves on a socket that its parent listens on already, if it was given one."""

    def __init__(self, options: Any = None, **rest: Any) -> None:
        # Terminate, pool, rate and time limits do nothing here, and workers refuse the rest, so Flower's own controls
        # are shown only if somebody asks for them. None: the option was not given.
        chosen = (options or default_options).read_only
        (options or default_options).read_only = chosen is not False
        super().__init__(options=options, template_loader=TemplateLoader(), **rest)
        self.access = Access(bool(self.options.basic_auth or self.options.auth), bool(chosen))
        self.reading = Reading(settings_from(os.environ), writes=not self.access.why_not_act())
        self.feed = live.Feed(self.reading)
        prefix = self.options.url_prefix
        self.prefix = f"/{prefix.strip('/')}" if prefix else ""
        self.add_handlers(r".*", [rewrite_handler(one, prefix) if prefix else one for one in HANDLERS])

    def start_http_server(self) -> Any:
        """The port. Taking over a socket, nobody else can be listening where the link of `up` leads to."""
        descriptor = os.environ.get(FLOWER_SOCKET)
        if not descriptor:
            return super().start_http_server()
        taken_over = socket.socket(fileno=int(descriptor))
        taken_over.setblocking(False)
        server = HTTPServer(self, xheaders=self.options.xheaders)
        server.add_socket(taken_over)
        return taken_over.getsockname()[1]

    def stop(self) -> None:
        self.reading.close()
        super().stop()


def use_our_flower() -> None:
    """Has Celery's `flower` command of this process start ours. Call it before the command reads its options."""
    flower.command.Flower = PipelineFlower
    default_options.read_only = None
    BaseApiHandler.write_error = _write_error


_write_plain_error = BaseApiHandler.write_error


def _write_error(handler: Any, status_code: int, **details: Any) -> None:
    """Asked for by this header only, a browser sends the name and password of a link to the pages' own requests too."""
    if status_code == 401 and handler.application.options.basic_auth:
        handler.set_header("WWW-Authenticate", 'Basic realm="flower"')
    _write_plain_error(handler, status_code, **details)
