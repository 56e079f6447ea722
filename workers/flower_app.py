"""Flower as it is started here, in every way: without its own controls, and with links that browsers can log in by."""

from __future__ import annotations

import os
import socket
from typing import Any

import flower.command
from flower.api import BaseApiHandler
from flower.app import Flower
from flower.options import default_options
from tornado.httpserver import HTTPServer

from pipeline_queue.contract.settings import FLOWER_SOCKET


class PipelineFlower(Flower):  # type: ignore[misc]
    """Serves on a socket that its parent listens on already, if it was given one."""

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


def use_our_flower() -> None:
    """Has Celery's `flower` command of this process start ours. Call it before the command reads its options."""
    flower.command.Flower = PipelineFlower
    # Terminate, pool, rate and time limits do nothing here, and workers refuse the rest; FLOWER_READ_ONLY still wins.
    default_options.read_only = True
    BaseApiHandler.write_error = _write_error


_write_plain_error = BaseApiHandler.write_error


def _write_error(handler: Any, status_code: int, **details: Any) -> None:
    """Asked for by this header only, a browser sends the name and password of a link to the pages' own requests too."""
    if status_code == 401 and handler.application.options.basic_auth:
        handler.set_header("WWW-Authenticate", 'Basic realm="flower"')
    _write_plain_error(handler, status_code, **details)
