"""What every handler of ours shares: who asks, JSON answers, and errors as one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import tornado.web
from flower.views import BaseHandler

from pipeline_queue.contract.errors import (
    InputError,
    NotFoundError,
    PipelineQueueError,
    UnreachableError,
)
from pipeline_queue.dashboard.reading import DEADLINE_SECONDS

_T = TypeVar("_T")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Handler(BaseHandler):  # type: ignore[misc]
    """Answers only those who are signed in, where Flower asks for it."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    async def read(self, read: Callable[[], _T], deadline_seconds: float | None = DEADLINE_SECONDS) -> _T:
        """The result of `read` in a thread. Raises the project's errors, StorageAwayError after the deadline."""
        result: _T = await self.application.reading.run(read, deadline_seconds)
        return result


class JsonHandler(Handler):
    """Answers in JSON; `{"error": sentence}` for whatever goes wrong."""

    def prepare(self) -> None:
        if not self.current_user:
            raise tornado.web.HTTPError(401)

    def answer(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(
            json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        )

    def text(self, name: str, default: str = "") -> str:
        """A value of the query as it was sent: Tornado's own way replaces control characters, which values may have."""
        values = self.request.query_arguments.get(name)
        return values[-1].decode(errors="replace") if values else default

    def count(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most`. Raises InputError."""
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise InputError(f"{name} must be a whole number, not '{text[:40]}'")
        return min(int(text), most)

    def write_error(self, status_code: int, **details: Any) -> None:
        error = (details.get("exc_info") or (None, None))[1]
        if isinstance(error, PipelineQueueError):
            status_code, sentence = _status_of(error), str(error)
        elif isinstance(error, tornado.web.HTTPError):
            sentence = error.log_message or _REASONS.get(status_code, error.reason or "The request failed.")
        else:
            sentence = "The dashboard failed; its log names the cause."
        if status_code == 401 and self.application.options.basic_auth:
            self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.answer({"error": sentence}, status_code)

    def log_exception(self, kind: Any, value: Any, trace: Any) -> None:
        if not isinstance(value, PipelineQueueError):  # a user's mistake, or a service that is away: told to who asked
            super().log_exception(kind, value, trace)


_REASONS = {401: "Sign in first.", 403: "Not allowed.", 404: "There is no such page.", 405: "Not allowed here."}


def _status_of(error: PipelineQueueError) -> int:
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, InputError):
        return 422
    return 503 if isinstance(error, UnreachableError) else 500
