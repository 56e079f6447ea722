"""Attempts at their edges: duplicates, races, cancels and losses at exactly chosen moments."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Ignore

from pipeline_queue.broker.app import make_app
from pipeline_queue.broker.message import TASK_NAME, StepMessage
from pipeline_queue.contract.errors import BrokerError, InputError, MessageError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index import run_index as run_index_module
from pipeline_queue.index.keys import run_key
from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.local.server import start_server
from pipeline_queue.storage.attempt_folder import AttemptFolder
from pipeline_queue.storage.reading import read_step
from pipeline_queue.submitting.recovery import recover_unfinished
from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder
from tests.integration.attempt_site import Attempting, Site, SubmittedRun, alone, names_in, new_site
from tests.limits import join_all, signal_process
from workers import recording
from workers.agents import disk_monitor
from workers.agents.reconciler import Reconciler
from workers.attempt import attempt_step
from workers.context import SweepCache, WorkerContext
from workers.outcome import Outcome
from workers.outputs import Workspace
from workers.tasks import register
from workers.workspace import Workspaces


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Steps append to it, outside the storage: what really ran."""
    path = tmp_path / "witness"
    path.touch()
    return path


def _two_steps(witness: Path, first: str = "", second: str = "") -> str:
    """YAML of two steps that write their names to the witness and a file each."""

    def line(name: str, more: str) -> str:
        code = f"open({str(witness)!r}, 'a').write('{name} '); open('{name}', 'w').write('{name}')\n{more}"
        return f"  - {name}: {{run: [python, -c, {json.dumps(code)}]}}\n"

    return f"pipeline:\n  parameters:\n  - {{name: x, type: float, default: 0.5}}\n  steps:\n{line('one', first)}{line('two', second)}"


def _waits_for(gate: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"


def test_a_run_goes_step_by_step_and_leaves_only_its_publications(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    assert [run.attempt(worker, step).kind for step in ("one", "two")] == ["go_on", "go_on"]
    assert run.states() == ("succeeded", ["succeeded", "succeeded"])
    assert names_in(run.paths.folder) == ["one", "run.json", "two"]
    assert names_in(site.settings.scratch / "work") == []
    assert {key for key, ttl in site.keys().items() if ttl < 0} <= {"pq1:token", "pq1:server"}


def test_a_step_never_runs_before_the_one_before_it_is_published(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    outcome = run.attempt(worker, "two")
    assert (outcome.kind, outcome.text) == ("dropped", "step one is not published")
    assert witness.read_text() == "" and not run.paths.folder.exists()
    assert run.states() == ("queued", ["waiting", "waiting"])
    assert [run.attempt(worker, step).kind for step in ("one", "two")] == ["go_on", "go_on"]
    assert site.redis.zcard("pq1:retries") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda values: {},
        lambda values: {**values, "y": 1},
        lambda values: {"X": 0.5},
        lambda values: {"x": 0.25},
        lambda values: {"x": "0.5"},
        lambda values: {"x": "0.5; rm -rf /"},
        lambda values: {"x": True},
        lambda values: {"x": 1},
        lambda values: {"x": float("nan")},
        lambda values: {"../" * 1000: 1},
    ],
)
def test_values_that_were_not_accepted_are_refused_and_nothing_happens(
    site: Site, witness: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    message, before = run.message("one"), site.run_index.run(run.id)
    with pytest.raises(MessageError, match="submit a new run") as caught:
        attempt_step(worker, alone(replace(message, parameters=change(message.parameters))))
    assert len(str(caught.value)) < 1000
    assert witness.read_text() == "" and not run.paths.folder.exists()
    assert site.run_index.run(run.id) == before and run.states()[0] == "queued"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 1),
        ("int", 0),
        ("int", 10**99),
        ("float", 1),
        ("float", 1.0),
        ("float", 0.1),
        ("float", 1e300),
        ("float", 5e-324),
    ],
)
def test_every_accepted_number_is_recognised_in_its_message(site: Site, kind: str, value: Any) -> None:
    text = f"pipeline:\n  parameters:\n  - {{name: x, type: {kind}}}\n  steps:\n  - one: {{run: /bin/true}}\n"
    run = site.submit(text, x=value)
    again = json.loads(json.dumps(run.message("one").parameters))
    # Values as the submitter had them, and as a worker reads them from the storage.
    assert attempt_step(site.worker(), alone(StepMessage(run.id, "one", again))).kind == "go_on"


def test_a_run_or_step_that_does_not_exist_is_an_input_error(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    for message in (
        replace(run.message("one"), step="three"),
        replace(run.message("one"), step="../one"),
        replace(run.message("one"), run=RunId(run.id.sweep, 1)),
        replace(run.message("one"), run=RunId("train-00000000", 0)),
    ):
        with pytest.raises(InputError):
            attempt_step(worker, alone(message))
    assert names_in(site.storage.root / "sweeps") == [run.id.sweep]


@pytest.mark.parametrize("name", ["cancelled", "outputs", "log", "run", "runs", "step", "sweep", "state", "a-b_c", "_"])
def test_a_step_of_any_name_is_published_and_the_next_one_runs(site: Site, name: str) -> None:
    run = site.submit(f"pipeline:\n  steps:\n  - {name}: {{run: /bin/true}}\n  - after: {{run: /bin/true}}\n")
    worker = site.worker()
    assert [run.attempt(worker, step).kind for step in (name, "after")] == ["go_on", "go_on"]
    assert run.states() == ("succeeded", ["succeeded", "succeeded"])


def test_a_message_that_comes_eight_times_at_once_is_executed_once(site: Site, witness: Path) -> None:
    run = site.submit(_two_steps(witness))
    workers = [site.worker("one@test"), site.worker("two@test")]
    attempts = [Attempting(run, workers[number % 2], "one") for number in range(8)]
    kinds = sorted(one.outcome().kind for one in attempts)
    assert kinds.count("go_on") >= 1 and set(kinds) <= {"go_on", "dropped"}
    assert witness.read_text() == "one "
    assert names_in(run.paths.folder) == ["one"]


def test_a_message_for_what_is_published_or_ended_executes_nothing(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    run.attempt(worker, "one")
    assert run.attempt(worker, "one").kind == "go_on"
    run.attempt(worker, "two")
    assert [run.attempt(worker, step).kind for step in ("one", "two")] == ["dropped", "dropped"]
    assert witness.read_text() == "one two "


def test_of_two_workers_that_both_ran_a_step_the_one_with_the_lease_publishes(
    site: Site, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first believes in its lease a moment longer than the server, as one with a stopped clock would."""
    monkeypatch.setattr(run_index_module, "LEASE_SECONDS", 0.05)
    gate = tmp_path / "gate"
    run = site.submit(_two_steps(witness, first=_waits_for(gate)))
    first = Attempting(run, site.worker("one@test", keeps_leases=False), "one")
    wait_until(lambda: witness.read_text() == "one ", "the first runs it")
    wait_until(site.run_index.due, "its lease ran out")
    monkeypatch.setattr(run_index_module, "LEASE_SECONDS", 15.0)
    second = Attempting(run, site.worker("two@test", keeps_leases=False), "one")
    wait_until(lambda: witness.read_text() == "one one ", "the second runs it too")
    gate.touch()
    assert (first.outcome().kind, second.outcome().kind) == ("dropped", "go_on")
    lost = [name for name in names_in(run.paths.folder) if name != "one"]
    assert len(lost) == 1 and lost[0].startswith("one.attempt-1-") and lost[0].endswith(".lost")
    record = read_step(run.paths.step("one"))
    assert record is not None and record.worker == "two@test"
    assert (run.paths.step("one") / "outputs" / "one").read_text() == "one"


def test_a_lease_lost_in_mid_step_ends_the_step_and_writes_nothing(site: Site, witness: Path, tmp_path: Path) -> None:
    run = site.submit(_two_steps(witness, first=_waits_for(tmp_path / "never")))
    doing = Attempting(run, site.worker(), "one")
    wait_until(lambda: witness.read_text() == "one ", "the step runs")
    site.redis.hset(run_key(run.id), "one|token", "another's")
    assert doing.outcome().kind == "dropped"
    (folder,) = run.paths.folder.iterdir()
    assert folder.name.startswith("one.attempt-1-") and names_in(folder) == ["log"]
    assert names_in(site.settings.scratch / "work") == []
    assert site.redis.hget(run_key(run.id), "one|state") == "running", "and nothing is told to the index"


def test_a_lease_that_an_emptied_server_forgot_is_restored_unless_another_claimed(
    site: Site, witness: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = site.submit(_two_steps(witness, first=_waits_for(gate)))
    doing = Attempting(run, site.worker(), "one")
    wait_until(lambda: witness.read_text() == "one ", "the step runs")
    site.redis.flushall()
    wait_until(lambda: site.redis.exists(run_key(run.id)), "its lease is known again")
    assert run.attempt(site.worker("two@test"), "one").text == "elsewhere one@test"
    gate.touch()
    assert doing.outcome().kind == "go_on"
    assert site.redis.zcard("pq1:leases") == 0 and run.states()[1] == ["succeeded", "waiting"]


@pytest.mark.parametrize("ends_badly", [False, True])
def test_a_worker_paused_before_its_last_write_writes_nothing_once_another_has_begun(
    site: Site, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_badly: bool
) -> None:
    """It has looked at its lease, and is stopped until another worker executes the step."""
    gate, stopped, go_on = tmp_path / "gate", threading.Event(), threading.Event()
    place: Any = recording if ends_badly else AttemptFolder
    name = "_end_run" if ends_badly else "publish"
    real = getattr(place, name)

    def paused(*args: Any, **kwargs: Any) -> Any:
        if not stopped.is_set():
            stopped.set()
            assert go_on.wait(60)
        return real(*args, **kwargs)

    monkeypatch.setattr(place, name, paused)
    code = f"import os, sys, time\nfirst = not os.path.exists({str(tmp_path / 'second')!r})\n"
    code += f"open({str(tmp_path / 'second')!r}, 'w')\nfirst and sys.exit({int(ends_badly)})\n" + _waits_for(gate)
    run = site.submit(_two_steps(witness, first=code))
    first = Attempting(run, site.worker("one@test", keeps_leases=False), "one")
    assert stopped.wait(60)
    site.redis.hset(run_key(run.id), "one|until", 0)
    second = Attempting(run, site.worker("two@test"), "one")
    wait_until(lambda: witness.read_text() == "one one ", "the other executes the step")
    go_on.set()
    first.join(60)
    assert not isinstance(first.result, Outcome) or first.result.kind == "dropped", first.result
    assert not run.paths.step("one").exists() and run.paths.end() is None
    gate.touch()
    assert second.outcome().kind == "go_on"
    record = read_step(run.paths.step("one"))
    assert record is not None and (record.worker, record.attempt) == ("two@test", 2)


class _Staging(Workspaces):
    """Stops at the end of staging until it is let go."""

    def __init__(self, scratch: Path, storage: Any) -> None:
        super().__init__(scratch, storage)
        self.staged, self.go_on = threading.Event(), threading.Event()

    def stage(self, *arguments: Any, **more: Any) -> Workspace:
        workspace = super().stage(*arguments, **more)
        self.staged.set()
        assert self.go_on.wait(60)
        return workspace


def _stopping_at_staging(site: Site) -> tuple[WorkerContext, _Staging]:
    staging = _Staging(site.settings.scratch, site.storage)
    return replace(site.worker(), workspaces=staging), staging


def test_a_cancel_while_a_step_is_staged_keeps_it_from_starting(site: Site, witness: Path) -> None:
    run = site.submit(_two_steps(witness))
    worker, staging = _stopping_at_staging(site)
    doing = Attempting(run, worker, "one")
    assert staging.staged.wait(60)
    assert site.run_index.cancel(run.id) == "running"
    held = next(iter(worker.leases._held.values()))
    wait_until(lambda: held.cancelled, "the keeper heard of it")
    staging.go_on.set()
    assert doing.outcome().kind == "cancelled"
    assert witness.read_text() == ""
    assert run.states() == ("cancelled", ["cancelled", "skipped"])


def test_a_lease_lost_while_a_step_is_staged_keeps_it_from_starting(site: Site, witness: Path) -> None:
    run = site.submit(_two_steps(witness))
    worker, staging = _stopping_at_staging(site)
    doing = Attempting(run, worker, "one")
    assert staging.staged.wait(60)
    held = next(iter(worker.leases._held.values()))
    site.redis.hset(run_key(run.id), "one|token", "another's")
    wait_until(lambda: held.lost, "the keeper heard of it")
    staging.go_on.set()
    assert doing.outcome().kind == "dropped" and witness.read_text() == ""


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_lease_given_up_at_the_end_of_an_attempt_is_not_said_to_be_lost(
    site: Site, witness: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, exit_code: int
) -> None:
    """The end is recorded, and the keeper asks once more before the attempt is over."""
    run, worker = site.submit(_two_steps(witness, first=f"import sys; sys.exit({exit_code})")), site.worker()
    answers: list[Sequence[str]] = []
    renew, discard = worker.leases._run_index.renew, worker.workspaces.discard

    def noting_renew(*args: Any) -> Sequence[str]:
        answers.append(renew(*args))
        return answers[-1]

    def late_discard(uid: str) -> None:
        answers.clear()
        # The first may have been asked before; it has been looked at when the next is asked.
        wait_until(lambda: answers.count(["lost"]) >= 2, "the keeper was told twice")
        discard(uid)

    monkeypatch.setattr(worker.leases._run_index, "renew", noting_renew)
    monkeypatch.setattr(worker.workspaces, "discard", late_discard)
    assert run.attempt(worker, "one").kind == ("failed" if exit_code else "go_on")
    assert "lose lease" not in caplog.text


def _request_cancel(run: SubmittedRun) -> None:
    run.paths.folder.mkdir(parents=True, exist_ok=True)
    (run.paths.folder / "cancel.requested").touch()


def test_a_second_message_of_a_run_being_cancelled_leaves_it_to_the_worker_that_runs_it(
    site: Site, witness: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    code = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (open({str(told)!r}, 'w'), sys.exit(3)))\n"
    run = site.submit(_two_steps(witness, first=code + _waits_for(tmp_path / "never")))
    doing = Attempting(run, site.worker("one@test"), "one")
    wait_until(lambda: witness.read_text() == "one ", "the step runs")
    _request_cancel(run)
    assert run.attempt(site.worker("two@test"), "one").kind == "dropped"
    assert doing.outcome().kind == "cancelled"
    assert told.exists(), "the step had its grace"
    assert run.states() == ("cancelled", ["cancelled", "skipped"])


def test_a_cancel_request_on_the_storage_outlives_an_emptied_server(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    run.attempt(worker, "one")
    _request_cancel(run)
    site.redis.flushall()
    assert run.attempt(worker, "two").kind == "cancelled"
    assert run.states() == ("cancelled", ["succeeded", "cancelled"])
    assert witness.read_text() == "one "


def test_a_cancelled_step_with_retries_is_not_tried_again(site: Site, witness: Path, tmp_path: Path) -> None:
    text = _two_steps(witness, first=_waits_for(tmp_path / "never")).replace("one: {", "one: {retries: 5, ")
    run = site.submit(text)
    doing = Attempting(run, site.worker(), "one")
    wait_until(lambda: witness.read_text() == "one ", "the step runs")
    assert site.run_index.cancel(run.id) == "running"
    assert doing.outcome().kind == "cancelled"
    assert site.redis.zcard("pq1:retries") == 0 and site.run_index.active() == 0


def test_a_broker_that_goes_in_mid_step_costs_nothing_that_was_published(tmp_path: Path, witness: Path) -> None:
    gate = tmp_path / "gate"
    server = start_server(tmp_path / "first.log")
    with new_site(server, tmp_path) as site:
        run = site.submit(_two_steps(witness, second=_waits_for(gate)))
        worker = site.worker()
        run.attempt(worker, "one")
        doing = Attempting(run, worker, "two")
        wait_until(lambda: witness.read_text() == "one two ", "the second step runs")
        server.stop()
        gate.touch()
        doing.join(timeout=60)
        assert isinstance(doing.result, BrokerError)
        assert names_in(run.paths.folder) == ["one", "run.json", "two"]
        end = run.paths.end()
        assert end is not None and end.state == "succeeded"


def test_a_storage_that_fails_is_said_so_and_does_not_count_as_the_steps_failure(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    run.attempt(worker, "one")
    manifest = run.paths.step("one") / "step.json"
    kept = manifest.read_bytes()
    manifest.write_text("{")
    outcome = run.attempt(worker, "two")
    assert outcome.kind == "retry" and str(manifest) in outcome.text and "damaged" in outcome.text
    manifest.write_bytes(kept)
    wait_until(site.run_index.due, "it is tried again")
    assert run.attempt(worker, "two").kind == "go_on"
    record = read_step(run.paths.step("two"))
    assert record is not None and record.attempt == 2


def test_a_step_that_the_storage_fails_three_times_is_given_up_with_the_cause(
    site: Site, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    run.attempt(worker, "one")
    (run.paths.step("one") / "step.json").unlink()
    os.utime(run.paths.step("one"), (0, 0))  # too long ago for it to be only hidden from this machine
    monkeypatch.setattr(disk_monitor, "_PASSING_SECONDS", 0.1)
    kinds = []
    for _ in range(4):
        kinds.append(run.attempt(worker, "two").kind)
        if kinds[-1] == "retry":
            wait_until(site.run_index.due, "it is tried again")
    assert kinds == ["retry", "retry", "retry", "failed"]
    assert run.states()[0] == "failed" and "has no manifest" in run.report().message
    assert "one@test" in run.report().message


def test_a_run_folder_that_cannot_be_read_is_a_storage_error(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    run.paths.folder.parent.mkdir(parents=True)
    run.paths.folder.touch()
    with pytest.raises(StorageError, match=str(run.id)):
        run.attempt(worker, "one")


class _Broken(Workspaces):
    def stage(self, *_: Any, **__: Any) -> Workspace:
        raise RuntimeError("a bug of ours")


def test_a_fault_of_this_program_hands_the_step_back_at_once(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    with pytest.raises(RuntimeError, match="a bug of ours"):
        run.attempt(replace(worker, workspaces=_Broken(site.settings.scratch, site.storage)), "one")
    assert run.states() == ("running", ["retrying", "waiting"])
    wait_until(site.run_index.due, "it is tried again")
    assert run.attempt(worker, "one").kind == "go_on"


def _reconciling(site: Site) -> Reconciler:
    return Reconciler("one@test", site.run_index, site.storage, SweepCache(site.storage))


def test_the_reconciler_closes_a_run_whose_worker_died_between_storage_and_index(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    for step in ("one", "two"):
        run.attempt(worker, step)
    site.redis.flushall()
    site.run_index.sweeps.open(Opening(run.id.sweep, 1))
    site.run_index.sweeps.allot(run.id.sweep, 8, 200)
    site.run_index.enqueue_later(run.id, "two", 0)
    reconciler = _reconciling(site)
    reconciler.start()
    wait_until(lambda: site.run_index.active() == 0, "the run is closed")
    reconciler.stop()
    assert {key for key, ttl in site.keys().items() if ttl < 0} <= {"pq1:token", "pq1:server"}


def test_a_run_that_cannot_be_read_does_not_keep_others_from_being_enqueued(site: Site, witness: Path) -> None:
    bad, good, gone = (site.submit(_two_steps(witness)) for _ in range(3))
    (site.storage.sweep(bad.id.sweep) / "sweep.json").write_text("{")
    (site.storage.sweep(gone.id.sweep) / "sweep.json").unlink()
    for delay, run in enumerate((bad, gone, good)):
        site.run_index.enqueue_later(run.id, "one", delay / 1000)
    reconciler = _reconciling(site)
    reconciler.start()
    wait_until(lambda: site.redis.llen("default") == 1, "the good one is enqueued")
    wait_until(lambda: site.run_index.active() == 2, "what is not on the storage is forgotten")
    reconciler.stop()
    assert site.run_index.run(gone.id) is None


def test_a_server_emptied_a_second_time_is_filled_once_its_workers_told_of_their_leases(
    site: Site, witness: Path, tmp_path: Path
) -> None:
    """They renew each second: filled before, it would have what they execute begun a second time."""
    run = site.submit(_two_steps(witness, first=_waits_for(tmp_path / "never")))
    reconciler = _reconciling(site)
    site.redis.flushall()
    reconciler.start()
    for _ in range(2):
        wait_until(site.run_index.server.is_complete, "it is filled")
        emptied = time.monotonic()
        site.redis.flushall()
    wait_until(site.run_index.server.is_complete, "it is filled")
    assert time.monotonic() - emptied > 2
    reconciler.stop()
    assert site.run_index.run(run.id) is not None


@pytest.mark.parametrize(("most_bytes", "kept"), [(1, 4), (2**20, 6)])
def test_of_large_sweeps_fewer_are_kept_in_memory(
    site: Site, witness: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int, kept: int
) -> None:
    monkeypatch.setattr("workers.context._MAX_BYTES", most_bytes)
    names = [site.submit(_two_steps(witness)).id.sweep for _ in range(6)]
    cache = SweepCache(site.storage)
    first = [cache.get(name) for name in names]
    assert [cache.get(name) is one for name, one in reversed(list(zip(names, first, strict=True)))] == [
        number < kept for number in range(6)
    ]


def test_a_sweep_is_read_by_many_threads_at_once(site: Site, witness: Path) -> None:
    runs = [site.submit(_two_steps(witness)) for _ in range(3)]
    cache = SweepCache(site.storage)
    found: list[bool] = []

    def read(number: int) -> None:
        for turn in range(50):
            run = runs[(number + turn) % 3]
            found.append(cache.get(run.id.sweep).record == run.sweep.record)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    join_all(threads)
    assert found == [True] * 300


def _task(worker: WorkerContext) -> Any:
    """The one Celery task, called in this process."""
    app = make_app("redis://nowhere")
    app.worker_context = worker
    register(app)
    app.finalize()
    return app.tasks[TASK_NAME]


def test_a_message_that_meets_a_broker_in_trouble_waits_for_it(
    site: Site, witness: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = site.submit(_two_steps(witness))
    impatient = replace(site.worker(), run_index=RunIndex(site.settings.broker_url, timeout_seconds=0.1))
    message = run.message("one")
    answers: list[str] = []

    def call() -> None:
        try:
            answers.append(_task(impatient)(message.envelope(), **message.parameters))
        except Ignore:
            # A claim whose answer it did not wait for was granted after all: that lease runs out, and the run is enqueued.
            answers.append("dropped")

    caplog.set_level(logging.WARNING, "workers.tasks")
    signal_process(site.server.process.pid, signal.SIGSTOP)
    try:
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        wait_until(lambda: "waiting for the broker" in caplog.text, "the task has met no broker")
    finally:
        signal_process(site.server.process.pid, signal.SIGCONT)
    caller.join(timeout=60)
    assert witness.read_text() == ("" if answers == ["dropped"] else "one ")
    assert len(answers) == 1
    impatient.run_index.close()


def test_a_message_that_meets_a_storage_in_trouble_is_enqueued_again(site: Site, witness: Path) -> None:
    run, worker = site.submit(_two_steps(witness)), site.worker()
    run.paths.folder.parent.mkdir(parents=True)
    run.paths.folder.touch()
    message = run.message("one")
    with pytest.raises(StorageError):
        _task(worker)(message.envelope(), **message.parameters)
    assert site.redis.zrange("pq1:retries", 0, -1) == [f"{run.id} one"]


# With Celery in between.


def _submit(cluster: Cluster, folder: Path, text: str) -> str:
    write_folder(folder, pipeline_yaml=text)
    return cluster.client.submit(cluster.client.load(folder / "pipeline.yaml"))


def test_a_worker_outlives_every_bad_message_and_runs_the_next_good_one(cluster: Cluster, tmp_path: Path) -> None:
    process = cluster.start_worker()
    app = make_app(cluster.settings.broker_url)
    good = {"v": 1, "run": "train-7k3m9q2x.0", "step": "one"}
    bad: list[list[object]] = [
        [],
        [None],
        [[]],
        ["x"],
        [{}],
        [{**good, "v": 2}],
        [{**good, "run": "../../etc.0"}],
        [good],
        [good, good],
    ]
    for args in bad:
        app.send_task(TASK_NAME, args=args, kwargs={"x": 1})
    app.send_task(TASK_NAME, args=[good], kwargs={"x": {"y": [1]}})
    app.send_task(TASK_NAME, args=[good], kwargs={"self": 1, "envelope": 2})
    app.send_task("pipeline_queue.other", args=[good])
    app.send_task(TASK_NAME, args=[good], serializer="pickle")
    app.send_task(TASK_NAME, args=[{**good, "step": "x" * 5_000_000}])
    run = _submit(cluster, tmp_path / "project", "pipeline:\n  steps:\n  - one: {run: /bin/true}\n")
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"
    assert process.poll() is None
    assert names_in(cluster.settings.storage / "sweeps") == [run.rpartition(".")[0]]


def test_after_100_runs_nothing_is_left_in_redis_scratch_or_descriptors(cluster: Cluster, tmp_path: Path) -> None:
    from pipeline_queue.index.connection import connect

    process = cluster.start_worker("--concurrency", "4")
    text = "pipeline:\n  steps:\n  - one: {run: /bin/true}\n"
    assert cluster.client.wait(_submit(cluster, tmp_path / "p", text), GENEROUS_SECONDS).state == "succeeded"
    descriptors = Path(f"/proc/{process.pid}/fd")
    before = len(names_in(descriptors))
    runs = [_submit(cluster, tmp_path / "p", text) for _ in range(100)]
    for run in runs[::10]:
        cluster.client.cancel(run)
    for run in runs:
        cluster.client.wait(run, GENEROUS_SECONDS)
    redis = connect(cluster.settings.broker_url)
    wait_until(lambda: cluster.client.unfinished() == 0, "every run is closed")
    for_ever = {str(key) for key in redis.scan_iter() if redis.ttl(key) == -1 and not str(key).startswith("_kombu.")}
    assert for_ever <= {"pq1:storage", "pq1:token", "pq1:workers", "pq1:server"}
    redis.close()
    assert names_in(cluster.settings.scratch / "work") == []
    # Threads of the pool and connections of its clients come up with the work; runs must not add to them.
    assert len(names_in(descriptors)) < before + 20


def test_a_server_emptied_in_mid_run_is_filled_again_and_nothing_published_runs_twice(
    cluster: Cluster, tmp_path: Path, witness: Path
) -> None:
    from pipeline_queue.index.connection import connect
    from pipeline_queue.index.run_index import RunIndex
    from pipeline_queue.storage.storage import Storage

    gate = tmp_path / "gate"
    cluster.start_worker()
    run = _submit(cluster, tmp_path / "project", _two_steps(witness, second=_waits_for(gate)))
    wait_until(lambda: witness.read_text() == "one two ", "the second step runs")
    redis, run_index = connect(cluster.settings.broker_url), RunIndex(cluster.settings.broker_url)
    redis.flushall()
    redis.close()
    resumed = recover_unfinished(Storage(cluster.settings.storage), run_index)
    assert (resumed.runs, resumed.queues) == (1, {"default"})
    run_index.close()
    gate.touch()
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"
    assert witness.read_text().split().count("one") == 1
    assert sorted(path.name for path in cluster.client.outputs(run)["two"].iterdir()) == ["two"]
