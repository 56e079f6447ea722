"""Our own Celery messages: the same, field by field, as Celery and kombu write; sent, and found when they are lost."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Signature
from redis import Redis

from pipeline_queue.broker.app import make_app
from pipeline_queue.broker.message import TASK_NAME, Message, ParentTask, decode, list_of, lists_of
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.connection import connect
from pipeline_queue.index.keys import flight_key
from pipeline_queue.index.leases import Ending, Lease
from pipeline_queue.planning.planner import messages
from pipeline_queue.submitting.canvas import START_PRIORITY, chain, enqueue, enqueue_new
from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder
from tests.integration.attempt_site import Site, SubmittedRun
from workers.agents.reconciler import Reconciler
from workers.context import SweepCache

THREE_STEPS = """\
pipeline:
  name: three
  parameters:
    - {name: rate, type: float, default: 0.5}
    - {name: word, type: string, default: "it's \\"q\\" ü \\n $HOME"}
    - {name: big, type: int, default: 9007199254740993}
    - {name: flag, type: bool, default: true}
  steps:
    - one: {run: 'true'}
    - two: {run: 'true', queue: other}
    - three: {run: 'true'}
"""
# What Celery leaves among the properties by accident, and the queue of its answers, which we have none of.
_UNUSED = {"argsrepr": None, "kwargsrepr": None, "reply_to": ""}


def _opened(payload: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(payload)
    message["body"] = json.loads(base64.b64decode(message["body"]))
    message["properties"].update(_UNUSED)
    message["properties"].pop("delivery_tag")
    return message


def _signatures(app: Celery, message: dict[str, Any], run: SubmittedRun) -> list[Signature]:
    """What one would hand to Celery for this chain; the ids are those of our message."""
    headers, later = message["headers"], message["body"][2]["chain"] or []
    ids = [headers["id"], *(signature["options"]["task_id"] for signature in reversed(later))]
    every = messages(run.sweep.pipeline, run.id, run.sweep.parameters(run.id))
    return [
        app.signature(
            TASK_NAME, args=(one.envelope(),), kwargs=one.parameters, immutable=True, task_id=id, ignore_result=True,
            queue="other" if one.step == "two" else "default", shadow=f"three.{one.step}",
            argsrepr=headers["argsrepr"], kwargsrepr=headers["kwargsrepr"],
        )
        for one, id in zip(every[-len(ids):], ids, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("priority", sorted({0, *START_PRIORITY.values()}))
def test_a_chain_of_ours_is_what_celery_writes(site: Site, priority: int) -> None:
    run = site.submit(THREE_STEPS)
    ours = chain(run.sweep.pipeline, messages(run.sweep.pipeline, run.id, run.sweep.parameters(run.id)), priority)
    with make_app(site.settings.broker_url) as app:
        first, *rest = _signatures(app, _opened(ours.encode()), run)
        first.apply_async(chain=[dict(signature) for signature in reversed(rest)], priority=priority)
        assert [name for name in lists_of("default") if site.redis.llen(name)] == [ours.list]
        assert _opened(ours.encode()) == _opened(str(site.redis.lpop(ours.list)))


@pytest.mark.parametrize("position", [1, 2])
def test_a_message_that_follows_another_is_what_celery_dispatches(site: Site, position: int) -> None:
    run = site.submit(THREE_STEPS)
    later = messages(run.sweep.pipeline, run.id, run.sweep.parameters(run.id))[position:]
    ours = chain(run.sweep.pipeline, later, parent=ParentTask("the-caller", "the-root"))
    with make_app(site.settings.broker_url) as app:
        first, *rest = _signatures(app, _opened(ours.encode()), run)
        following = [dict(signature) for signature in reversed(rest)]
        # As `celery.app.trace` calls it.
        first.apply_async(("a result",), chain=following, parent_id="the-caller", root_id="the-root", priority=None)
        theirs = _opened(str(site.redis.lpop(ours.list)))
    # Celery hands on an empty chain where there was none before.
    theirs["body"][2]["chain"] = theirs["body"][2]["chain"] or None
    assert _opened(ours.encode()) == theirs


def test_kombu_reads_the_lists_that_we_write(site: Site) -> None:
    run = site.submit(THREE_STEPS)
    with make_app(site.settings.broker_url) as app, app.connection() as connection:
        channel = connection.channel()
        assert [channel._q_for_pri("default", priority) for priority in channel.priority_steps] == lists_of("default")
        first = messages(run.sweep.pipeline, run.id, run.sweep.parameters(run.id))
        enqueue_new(site.run_index, run.sweep.pipeline, [first], START_PRIORITY["low"])
        enqueue(site.run_index, run.sweep.pipeline, first[2:])
        with connection.SimpleQueue("default") as queue:
            steps = [queue.get(timeout=10).payload[0][0]["step"] for _ in range(2)]
        assert steps == ["three", "one"]


def test_what_a_worker_took_and_did_not_end_is_put_back_when_it_stops(site: Site) -> None:
    run = site.submit(THREE_STEPS)
    enqueue(site.run_index, run.sweep.pipeline, messages(run.sweep.pipeline, run.id, run.sweep.parameters(run.id)))
    sent = _opened(str(site.redis.lindex("default", 0)))
    with make_app(site.settings.broker_url) as app:
        with app.connection() as connection, connection.SimpleQueue("default") as queue:
            queue.get(timeout=10)
            assert not site.redis.exists("default", "unacked", "unacked_index")
        put_back = _opened(str(site.redis.lindex("default", 0)))
    assert put_back.pop("redelivered")
    assert put_back == sent


def _begin(site: Site) -> tuple[SubmittedRun, Lease]:
    run = site.submit(THREE_STEPS)
    lease = site.run_index.claim(run.id, "one", "holder", "worker")
    assert isinstance(lease, Lease)
    return run, lease


def _recorded(site: Site, run: SubmittedRun, lease: Lease) -> bool:
    later = messages(run.sweep.pipeline, run.id, run.sweep.parameters(run.id))[1:]
    return site.run_index.record(lease, Ending("succeeded", "running"), chain(run.sweep.pipeline, later))


def test_a_record_and_the_next_message_are_one_step(site: Site) -> None:
    run, lease = _begin(site)
    assert _recorded(site, run, lease)
    assert _recorded(site, run, lease)  # its answer was lost
    assert site.redis.llen("other") == 1


def test_without_the_lease_nothing_is_sent(site: Site) -> None:
    run, lease = _begin(site)
    site.redis.hset(f"pq1:run:{run.id}", "one|token", "9999")
    assert not _recorded(site, run, lease)
    assert site.redis.llen("other") == 0


@pytest.mark.parametrize("outcome", [None, "retrying", "succeeded"])
def test_a_step_under_way_or_done_is_not_sent_again(site: Site, outcome: Any) -> None:
    run, _ = _begin(site)
    following = site.run_index.claim(run.id, "two", "holder", "worker")
    assert isinstance(following, Lease)
    if outcome:
        site.run_index.record(following, Ending(outcome, "running"))
    assert _recorded(site, run, Lease.decided(run.id, "one"))
    assert site.redis.llen("other") == 0


def _newest(redis: Redis, name: str) -> str:
    """What was put on a list last."""
    (entry,) = redis.lrange(name, 0, 0)
    return entry.decode() if isinstance(entry, bytes) else entry


def _submitted(cluster: Cluster, tmp_path: Path) -> tuple[str, str, str]:
    """A run, the list that its message lies in, and that message."""
    file = write_folder(tmp_path / "project", pipeline_yaml=THREE_STEPS) / "pipeline.yaml"
    run = cluster.client.submit(cluster.client.load(file))
    redis = cluster.redis()
    (name,) = [name for name in lists_of("default") if redis.llen(name)]
    return run, name, _newest(redis, name)


def _message_of_two(cluster: Cluster) -> Message:
    """The message that a worker of the first step's queue alone sends for the second."""
    cluster.start_worker("--queues", "default")
    redis = cluster.redis()
    wait_until(lambda: redis.llen("other") == 1, "the second step's message is sent")
    return decode(_newest(redis, "other"))


def test_a_worker_sends_the_very_next_link_of_the_chain_that_it_received(cluster: Cluster, tmp_path: Path) -> None:
    run, _, payload = _submitted(cluster, tmp_path)
    first, *later = decode(payload).links
    following = _message_of_two(cluster)
    assert following == Message(tuple(later), 0, ParentTask(first.id, first.id))
    cluster.start_worker("--queues", "default,other", name="two")
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"


@pytest.mark.parametrize("chain", ["none", "another order", "another run's"])
def test_a_chain_that_does_not_fit_is_made_anew_from_the_storage(cluster: Cluster, tmp_path: Path, chain: str) -> None:
    run, name, payload = _submitted(cluster, tmp_path)
    message = decode(payload)
    first, two, three = message.links
    others = replace(two, message=replace(two.message, run=RunId("three-00000000", 0)))
    later = {"none": (), "another order": (three, two), "another run's": (others, three)}[chain]
    cluster.redis().lset(name, 0, replace(message, links=(first, *later)).encode())
    following = _message_of_two(cluster)
    assert [(str(link.message.run), link.message.step, link.queue) for link in following.links] == [
        (run, "two", "other"), (run, "three", "default"),
    ]  # fmt: skip
    assert following.parent == ParentTask(first.id, first.id)
    assert not {link.id for link in following.links} & {two.id, three.id}
    cluster.start_worker("--queues", "default,other", name="two")
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"


def _reconciling(site: Site) -> Reconciler:
    return Reconciler("one@test", site.run_index, site.storage, SweepCache(site.storage))


def _long_ago(site: Site, *runs: SubmittedRun) -> None:
    """As if the runs were in flight for long, and not looked at since."""
    for run in runs:
        site.redis.zadd(flight_key(run.id.sweep), {"0": 0})


def test_a_message_that_was_lost_is_sent_again_until_somebody_claims_it(site: Site) -> None:
    run, worker = site.submit(THREE_STEPS), site.worker()
    assert run.attempt(worker, "one").kind == "go_on"
    reconciler = _reconciling(site)
    reconciler.start()
    for _ in range(2):
        assert site.redis.lpop("other")  # by a worker that died with it
        _long_ago(site, run)
        wait_until(lambda: site.redis.llen("other") == 1, "it is sent again")
    assert run.attempt(worker, "two").kind == "go_on"
    reconciler.stop()
    assert run.attempt(worker, "three").kind == "go_on"
    assert not site.redis.exists(flight_key(run.id.sweep))


def test_a_first_message_that_was_lost_is_sent_again(cluster: Cluster, tmp_path: Path) -> None:
    write_folder(tmp_path / "project", pipeline_yaml=THREE_STEPS.replace(", queue: other", ""))
    run = cluster.client.submit(cluster.client.load(tmp_path / "project/pipeline.yaml"))
    redis = connect(cluster.settings.broker_url)
    assert redis.delete(*lists_of("default")) == 1
    redis.zadd(f"pq1:flight:{run.rpartition('.')[0]}", {"0": 0})  # long ago
    redis.close()
    cluster.start_worker()
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"


def test_a_message_that_waits_behind_others_is_not_sent_again(site: Site) -> None:
    waiting, lost = site.submit(THREE_STEPS), site.submit(THREE_STEPS)
    worker = site.worker()
    for run in (waiting, lost):
        run.attempt(worker, "one")
    waiting.attempt(worker, "two")
    assert site.redis.llen("default") == 1
    assert site.redis.delete("other")
    _long_ago(site, waiting, lost)
    reconciler = _reconciling(site)
    reconciler.start()
    wait_until(lambda: site.redis.llen("other") == 1, "the lost one is sent again")
    wait_until(lambda: site.redis.zscore(flight_key(waiting.id.sweep), "0"), "the other was looked at")
    reconciler.stop()
    assert site.redis.llen("default") == 1


def test_one_that_cannot_be_read_any_more_is_forgotten(site: Site) -> None:
    run, worker = site.submit(THREE_STEPS), site.worker()
    run.attempt(worker, "one")
    (site.storage.sweep(run.id.sweep) / "sweep.json").unlink()
    site.run_index.enqueue_later(RunId("gone-7k3m9q2x", 0), "one", 0)
    assert site.run_index.active() == 1
    reconciler = _reconciling(site)
    reconciler.start()
    wait_until(lambda: site.run_index.active() == 0 and not site.redis.exists("pq1:retries"), "both are forgotten")
    reconciler.stop()


def test_the_lists_of_a_queue_are_named_once() -> None:
    assert list_of("default", 0) == "default" and len(set(lists_of("default"))) == 4
