"""The reconciler's look at what waits, is due or lost: what it reads, what it enqueues, what does not stop it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from pipeline_queue.broker.message import lists_of, run_of
from pipeline_queue.client import Client
from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.keys import flight_key
from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.sweep_index import SweepIndex
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.canvas import enqueue
from pipeline_queue.submitting.recovery import recover_unfinished
from pipeline_queue.submitting.retry import retry
from pipeline_queue.submitting.submission import prepare_sweep
from tests.conftest import wait_until, write_folder
from tests.integration.attempt_site import Attempting, Site, SubmittedRun, alone, run_paths
from workers.agents.reconciler import Reconciler
from workers.agents.sweep_monitor import SweepMonitor
from workers.attempt import attempt_step
from workers.context import SweepCache
from workers.outcome import Outcome

PIPELINE = "pipeline:\n  parameters:\n  - {name: n, type: int, default: 0}\n  steps:\n  - one: {run: /bin/true}\n"


@pytest.fixture
def read_lists(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each list of a queue was read."""
    counted: Counter[str] = Counter()
    real = SweepIndex.queued_messages

    def counting(self: SweepIndex, name: str) -> Iterator[str]:
        counted[name] += 1
        return real(self, name)

    monkeypatch.setattr(SweepIndex, "queued_messages", counting)
    return counted


def _sweep_monitor(site: Site) -> SweepMonitor:
    return SweepMonitor(site.run_index, site.storage, SweepCache(site.storage))


def _long_ago(site: Site) -> None:
    """Every run in flight was looked at long ago."""
    for key in site.redis.scan_iter(flight_key("*")):
        site.redis.zadd(key, dict.fromkeys(map(str, site.redis.zrange(key, 0, -1)), 1))


def _queued(site: Site) -> list[str]:
    return sorted(str(run_of(str(one))) for name in lists_of("default") for one in site.redis.lrange(name, 0, -1))


def _submit_sweep(site: Site, folder: Path, runs: int, pipeline: str = PIPELINE) -> Sweep:
    """Committed, and nobody was told of it."""
    write_folder(folder, pipeline_yaml=pipeline)
    loaded = load_pipeline(folder / "pipeline.yaml")
    built = build_space(loaded, SweepRequest(texts=(f"n=range(0,{runs})",), unused="allow"))
    submission = prepare_sweep(loaded, built, "", site.storage.root)
    with submission.snapshot:
        return submission.commit(site.storage)


def test_of_many_runs_that_wait_the_queues_are_read_once_and_what_is_lost_is_enqueued(
    site: Site, read_lists: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is a sweep of its own: a reading for each would take minutes when there are thousands."""
    runs = [site.submit(PIPELINE) for _ in range(20)]
    for run in runs:
        enqueue(site.run_index, run.sweep.pipeline, [run.message("one")])
    monkeypatch.setattr("pipeline_queue.index.sweep_index._PAGE", 3)
    names = sorted(str(run.id) for run in runs)
    sweep_monitor = _sweep_monitor(site)
    _long_ago(site)
    sweep_monitor.look_after_all(lambda: True)
    assert _queued(site) == names
    assert set(read_lists.values()) == {1}
    site.redis.rpop("default", 7)
    assert len(_queued(site)) == 13
    _long_ago(site)
    sweep_monitor.look_after_all(lambda: True)
    assert _queued(site) == names


def test_of_many_runs_that_are_due_the_queue_is_read_once_and_none_is_enqueued_twice(
    site: Site, read_lists: Counter[str]
) -> None:
    runs = [site.submit(PIPELINE) for _ in range(20)]
    enqueue(site.run_index, runs[0].sweep.pipeline, [runs[0].message("one")])
    for run in runs:
        site.run_index.enqueue_later(run.id, "one", 0)
        site.redis.zadd("pq1:leases", {f"{run.id} one": 1})
    reconciler = Reconciler("one@test", site.run_index, site.storage, SweepCache(site.storage))
    reconciler._enqueue_due()
    assert _queued(site) == sorted(str(run.id) for run in runs)
    assert read_lists == {"default": 1}


def test_a_look_ends_when_another_took_over(site: Site) -> None:
    runs = [site.submit(PIPELINE) for _ in range(3)]
    answers = iter([True, False])
    _long_ago(site)
    _sweep_monitor(site).look_after_all(lambda: next(answers))
    assert _queued(site) == [] and len(runs) == 3


def _damage(storage: Storage, sweep: Sweep, index: int) -> None:
    folder = run_paths(storage, sweep, RunId(sweep.record.id, index)).folder
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{")


def test_a_run_that_cannot_be_read_does_not_keep_others_of_its_sweep_from_being_enqueued(
    site: Site, tmp_path: Path
) -> None:
    sweep = _submit_sweep(site, tmp_path / "project", 5)
    site.run_index.sweeps.open(Opening(sweep.record.id, 5))
    site.run_index.sweeps.allot(sweep.record.id, 8, 200)
    _damage(site.storage, sweep, 2)
    _long_ago(site)
    _sweep_monitor(site).look_after_all(lambda: True)
    assert _queued(site) == [f"{sweep.record.id}.{index}" for index in (0, 1, 3, 4)]


def test_a_damaged_run_does_not_keep_its_sweep_from_being_restored(site: Site, tmp_path: Path) -> None:
    sweep = _submit_sweep(site, tmp_path / "project", 5)
    _damage(site.storage, sweep, 2)
    assert recover_unfinished(site.storage, site.run_index).runs == 4
    assert _queued(site) == [f"{sweep.record.id}.{index}" for index in (0, 1, 3, 4)]
    live = site.run_index.sweeps.read(sweep.record.id)
    assert live is not None and live.failed == 1


def test_what_a_submitter_committed_is_started_though_it_was_lost_before_it_could(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    with Client(site.storage.root, site.settings) as client:
        loaded = client.load(tmp_path / "project" / "pipeline.yaml")
        run = client.submit(loaded)
        assert not site.redis.exists("pq1:submitted"), "nothing is left of one that is started"
        site.redis.flushall()
        for lost_in in (
            "pipeline_queue.submitting.starting.start",
            "pipeline_queue.storage.storage.Storage.commit_sweep",
        ):
            with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
                patched.setattr(lost_in, _lost)
                client.submit(loaded)
    assert site.redis.zcard("pq1:submitted") == 2 and _queued(site) == []
    committed = next(name for name in site.storage.sweeps() if name != run.partition(".")[0])
    monkeypatch.setattr("workers.agents.reconciler._SUBMIT_SECONDS", -1.0)
    reconciler = Reconciler("one@test", site.run_index, site.storage, SweepCache(site.storage))
    reconciler._start_submitted()
    assert _queued(site) == [f"{committed}.0"]
    assert not site.redis.exists("pq1:submitted")


def _lost(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


class _Memory:
    """A server's memory at one moment, as a snapshot on disk or an append-only file that was cut keeps it."""

    def __init__(self, site: Site) -> None:
        self._redis = Redis(
            unix_socket_path=urlsplit(site.settings.broker_url).path,
            password=urlsplit(site.settings.broker_url).password,
        )
        self._kept = {key: self._redis.dump(key) for key in self._redis.scan_iter()}

    def restore(self) -> None:
        """The server comes back with it."""
        self._redis.flushall()
        for key, value in self._kept.items():
            self._redis.restore(key, 0, value or b"")
        self._redis.delete("pq1:server")
        self._redis.close()


def test_a_retry_that_a_restarted_server_forgot_is_done(site: Site) -> None:
    """Its memory is of before: it knows the sweep as ended."""
    run = site.submit(PIPELINE.replace("/bin/true", "/bin/false"))
    assert run.attempt(site.worker(), "one").kind == "failed"
    memory = _Memory(site)
    assert retry(site.run_index, site.storage, run.sweep) == 1
    memory.restore()
    assert _queued(site) == []
    assert recover_unfinished(site.storage, site.run_index).runs == 1
    assert _queued(site) == [str(run.id)]
    assert run.attempt(site.worker(), "one").kind == "failed"


@pytest.mark.parametrize("paused", [True, False])
def test_a_pause_or_its_end_that_a_restarted_server_forgot_holds(site: Site, tmp_path: Path, paused: bool) -> None:
    sweep = _submit_sweep(site, tmp_path / "project", 5)
    name = sweep.record.id
    site.run_index.sweeps.open(Opening(name, 5))
    site.storage.set_paused(name, not paused)
    if not paused:
        site.run_index.sweeps.pause(name)
    memory = _Memory(site)
    site.storage.set_paused(name, paused)
    memory.restore()
    recover_unfinished(site.storage, site.run_index)
    live = site.run_index.sweeps.read(name)
    assert live is not None and live.state == ("paused" if paused else "running")
    assert len(_queued(site)) == (0 if paused else 5)


def test_a_shared_step_that_runs_while_redis_is_emptied_is_not_begun_beside(site: Site, tmp_path: Path) -> None:
    witness, gate = tmp_path / "witness", tmp_path / "gate"
    code = f"open({str(witness)!r}, 'a').write('ran ')\nimport os, time\n"
    code += f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    text = PIPELINE.replace("/bin/true", json.dumps(["python", "-c", code]))
    sweep = _submit_sweep(
        site, tmp_path / "project", 2, text + "  - two: {run: /bin/true, args: '${{ parameters.n }}'}\n"
    )
    site.run_index.sweeps.open(Opening(sweep.record.id, 2))
    site.run_index.sweeps.allot(sweep.record.id, 8, 200)
    first, second = (
        SubmittedRun(site, sweep, run, run_paths(site.storage, sweep, run)) for run in map(sweep.run_id, (0, 1))
    )
    worker = site.worker()
    doing = Attempting(first, worker, "one")
    wait_until(witness.exists, "the first runs it")
    site.redis.flushall()
    wait_until(lambda: site.redis.exists(f"pq1:run:{first.id}"), "its lease is known again")
    outcome = Attempting(second, worker, "one").outcome()
    assert (outcome.kind, witness.read_text()) == ("waiting", "ran "), "it waits for the first"
    gate.touch()
    assert doing.outcome().kind == "go_on"
    assert second.attempt(worker, "one").kind == "go_on" and witness.read_text() == "ran "


def test_a_sweep_whose_files_fail_does_not_keep_others_from_being_restored_and_is_tried_again(
    site: Site, tmp_path: Path
) -> None:
    bad, good = (_submit_sweep(site, tmp_path / name, 3) for name in ("bad", "good"))
    runs = site.storage.sweep(bad.record.id) / "runs"
    runs.symlink_to(runs)  # listing it is an OSError, for root too
    reconciler = Reconciler("one@test", site.run_index, site.storage, SweepCache(site.storage))
    reconciler.start()
    wait_until(lambda: len(_queued(site)) == 3, "the good one is restored")
    assert not site.run_index.server.is_complete()
    runs.unlink()
    wait_until(site.run_index.server.is_complete, "the other is restored too")
    reconciler.stop()
    assert _queued(site) == sorted(f"{one.record.id}.{index}" for one in (bad, good) for index in range(3))


def test_a_late_message_of_a_forgotten_sweep_is_no_bad_message(site: Site) -> None:
    run, worker = site.submit(PIPELINE), site.worker()
    assert run.attempt(worker, "one").kind == "go_on"
    with Client(site.storage.root, site.settings) as client:
        client.forget(run.id.sweep)
    assert run.attempt(site.worker("two@test"), "one") == Outcome("dropped", "its sweep was forgotten")
    unknown = replace(run.message("one"), run=RunId("train-00000000", 0))
    with pytest.raises(InputError):
        attempt_step(worker, alone(unknown))
