"""The acting half of the JSON API: each action is checked, done, and written down with who asked for it."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable, Container, Iterable
from typing import Any

import tornado.web

from pipeline_queue.contract.errors import InputError, PipelineFileError, Place, StorageError, ValuesError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import ActionRecord
from pipeline_queue.contract.wording import counted
from pipeline_queue.dashboard.access import why_refused
from pipeline_queue.dashboard.handler import JsonHandler
from pipeline_queue.dashboard.reading import Reading
from pipeline_queue.model.parameters import Given
from pipeline_queue.submitting.published import Wanted, run_again, start_published

_MAX_BODY_BYTES = 1 << 20


class Action(JsonHandler):
    """A POST of somebody who may act."""

    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "POST" and (why := self.application.access.why_not_act()):
            raise tornado.web.HTTPError(403, _plain(why))

    def check_xsrf_cookie(self) -> None:
        """Stricter than Flower's, which trusts every request with a name and password."""
        why = why_refused(self.request.headers, self.request.host, self.get_cookie("_xsrf"))
        if why:
            raise tornado.web.HTTPError(403, _plain(why))
        if self.request.headers.get("X-XSRFToken"):
            tornado.web.RequestHandler.check_xsrf_cookie(self)

    def body(self) -> dict[str, Any]:
        """Raises InputError for what is no JSON object."""
        if len(self.request.body) > _MAX_BODY_BYTES:
            raise InputError("the body is larger than 1 MB")
        try:
            body = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise InputError("the body is no JSON") from error
        if not isinstance(body, dict):
            raise InputError("the body must be a JSON object")
        return body

    def who(self) -> str:
        """The name that somebody signed in with, as the record of actions shows it."""
        user = self.current_user
        if isinstance(user, str):
            return user[:200]
        authorization = self.request.headers.get("Authorization", "")
        return b64decode(authorization.split()[-1]).decode(errors="replace").partition(":")[0][:200]

    async def act(self, action: str, sweep: str, run: str, do: Callable[[Reading], str]) -> str:
        """What `do` says it has done; an action that failed is written down, too."""
        reading, who = self.application.reading, self.who()

        def work() -> str:
            detail = "failed"
            try:
                detail = do(reading)
            finally:
                _note(
                    reading, ActionRecord(at=time.time(), who=who, action=action, sweep=sweep, run=run, detail=detail)
                )
            return detail

        # Deleting a large sweep takes minutes, and is not undone by giving up on it.
        return await self.read(work, None)


class SweepAction(Action):
    """`POST /api/sweeps/<id>/pause`, `resume`, `cancel`, `retry` and `forget`."""

    async def post(self, name: str, action: str) -> None:
        where = self.body().get("where") or None
        if where is not None and not isinstance(where, str):
            raise InputError("where must be a text")
        reading = self.application.reading
        sweep = (await self.read(lambda: reading.sweep(name))).record.id

        def do(reading: Reading) -> str:
            return _DO[action](reading, sweep, where)

        done = await self.act(action, sweep, "", do)
        row = None if action == "forget" else (await self.read(lambda: reading.sweeps.row(sweep))).as_json()
        self.answer({"done": done, "sweep": row})


class RunAction(Action):
    """`POST /api/runs/<id>/cancel` and `retry`."""

    async def post(self, name: str, action: str) -> None:
        self.body()
        reading = self.application.reading
        _, run = await self.read(lambda: reading.find_run(name))

        def do(reading: Reading) -> str:
            if action == "cancel":
                reading.client.cancel(str(run))
                return f"Asked run {run} to stop."
            return _retry(reading, str(run), None)

        self.answer({"done": await self.act(action, run.sweep, str(run), do)})


class RunAgain(Action):
    """`POST /api/runs/<id>/again`: a new run of the same pipeline and snapshot."""

    async def post(self, name: str) -> None:
        values = self.body().get("values", {})
        if not isinstance(values, dict):
            raise InputError("values must be an object")
        given = {str(key): Given(value, Place(str(key))) for key, value in values.items()}
        reading, who = self.application.reading, self.who()
        sweep, source = await self.read(lambda: reading.find_run(name))
        made: list[RunId] = []

        def do(reading: Reading) -> str:
            made.append(run_again(reading.run_index, reading.storage(), sweep, given, who, reading.environments))
            return f"Started run {made[0]} with the values of {source}, changed."

        try:
            await self.act("again", sweep.record.id, str(source), do)
        except ValuesError as error:
            names = [one.name for one in sweep.pipeline.parameters]
            self.answer({"error": "Some values are wrong.", "problems": _problems(error, given, names)}, 422)
            return
        self.answer({"run": str(made[0])}, 201)


class PublishedRuns(Action):
    """`POST /api/pipelines/<name>/runs`: a run or sweep of a published pipeline."""

    async def post(self, name: str) -> None:
        wanted, reading, who = Wanted.of(self.body()), self.application.reading, self.who()
        record = await self.read(lambda: reading.storage().published_pipeline(name))
        made: list[tuple[str, bool]] = []

        def do(reading: Reading) -> str:
            made.append(start_published(reading.run_index, reading.storage(), record, wanted, who))
            return f"Started {made[0][0]} of the published pipeline {name}."

        try:
            await self.act("start", name, "", do)
        except (ValuesError, PipelineFileError) as error:
            names = [str(one["name"]) for one in record.pipeline.get("parameters", [])]
            self.answer({"error": "Some values are wrong.", "problems": _problems(error, wanted.values, names)}, 422)
            return
        started, is_new = made[0]
        self.answer({"sweep" if wanted.is_sweep else "run": started}, 201 if is_new else 200)


def _problems(
    error: ValuesError | PipelineFileError, given: Container[str], declared: Iterable[str]
) -> list[dict[str, str | None]]:
    """Each problem with the parameter that it is about, None where it is about none."""
    return [
        {
            "parameter": one.place.source if one.place.source in given else _named_in(one.message, declared),
            "problem": one.message + (f" ({one.hint})" if one.hint else ""),
        }
        for one in error.problems
    ]


def _named_in(message: str, declared: Iterable[str]) -> str | None:
    return next((name for name in declared if f"'{name}'" in message), None)


def _plain(sentence: str) -> str:
    return sentence.replace("%", "%%")


def _note(reading: Reading, record: ActionRecord) -> None:
    try:
        reading.storage().note_action(record)
    except OSError as error:
        raise StorageError(f"the action cannot be written down: {error.strerror or error}") from error


def _pause(reading: Reading, sweep: str, where: str | None) -> str:
    reading.client.pause_sweep(sweep)
    return "Paused: no more steps start; running ones continue."


def _resume(reading: Reading, sweep: str, where: str | None) -> str:
    reading.client.resume_sweep(sweep)
    return "Resumed."


def _cancel(reading: Reading, sweep: str, where: str | None) -> str:
    if len(reading.sweep(sweep).space) == 1:
        reading.client.cancel(f"{sweep}.0")
    else:
        reading.client.cancel_sweep(sweep)
    return "Cancelled: no more steps start, and running ones stop within seconds."


def _retry(reading: Reading, text: str, where: str | None) -> str:
    counts: list[int] = []
    reading.client.retry(text, where, counts.append)
    return f"Retrying {counted(sum(counts), 'run')}." if sum(counts) else "There was nothing to retry."


def _forget(reading: Reading, sweep: str, where: str | None) -> str:
    reading.client.forget(sweep)
    reading.forget(sweep)
    return "Deleted with all its files."


_DO: dict[str, Callable[[Reading, str, str | None], str]] = {
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "retry": _retry,
    "forget": _forget,
}
