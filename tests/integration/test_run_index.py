"""The live index: claims, renewals and endings as single decisions, and nothing kept for ever."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.idle_folders import IdleFolders
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index import run_index as run_index_module
from pipeline_queue.index.leases import Ending, Lease, Refusal
from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.local.server import start_server
from tests.conftest import wait_until
from tests.integration.attempt_site import Site
from tests.limits import LIMIT_SECONDS, join_all

RUN = RunId("train-7k3m9q2x", 0)
OTHER = RunId("train-7k3m9q2x", 1)


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index_module, "LEASE_SECONDS", 0.05)


def _claim(site: Site, step: str = "one", holder: str = "h", **more: Any) -> Lease:
    lease = site.run_index.claim(RUN, step, holder, "worker", **more)
    assert isinstance(lease, Lease), lease
    return lease


def _refused(site: Site, step: str = "one", holder: str = "other") -> Refusal:
    refusal = site.run_index.claim(RUN, step, holder, "worker")
    assert isinstance(refusal, Refusal), refusal
    return refusal


def test_of_many_claims_one_is_granted_and_the_others_are_told_where(site: Site) -> None:
    gate = threading.Barrier(8)
    answers: list[Lease | Refusal] = []

    def claim(number: int) -> None:
        gate.wait(LIMIT_SECONDS)
        answers.append(site.run_index.claim(RUN, "one", f"h{number}", f"w{number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    join_all(threads)
    leases = [answer for answer in answers if isinstance(answer, Lease)]
    assert len(leases) == 1 and leases[0].attempt == 1
    assert {answer.reason for answer in answers if isinstance(answer, Refusal)} == {"elsewhere"}


def _open(site: Site, total: int = 1) -> None:
    """The sweep of RUN, with all its runs in flight."""
    site.run_index.sweeps.open(Opening(RUN.sweep, total))
    site.run_index.sweeps.allot(RUN.sweep, 100, 100)


def test_a_claim_whose_answer_was_lost_may_be_made_again(site: Site) -> None:
    assert _claim(site) == _claim(site)


def test_tokens_only_grow_even_when_the_server_was_emptied(site: Site) -> None:
    first = int(_claim(site).token)
    site.redis.flushall()
    assert int(_claim(site).token) > first
    site.redis.set("pq1:token", 2**52)
    assert int(_claim(site, "two").token) == 2**52 + 1


def test_attempts_go_on_from_what_the_storage_knows(site: Site) -> None:
    assert _claim(site, attempts=4).attempt == 5


@pytest.mark.usefixtures("short_leases")
def test_a_lease_that_ran_out_is_claimed_again_counted_as_a_death_and_the_third_is_the_last(site: Site) -> None:
    for attempt in (1, 2, 3):
        assert _claim(site, holder=f"h{attempt}").attempt == attempt
        wait_until(lambda: site.run_index.due() == [(RUN, "one")], "the lease ran out")
    refusal = _refused(site)
    assert (refusal.reason, refusal.detail) == ("exhausted", "3 worker ")


def test_given_up_says_why_when_that_is_known(site: Site) -> None:
    for number in (1, 2, 3):
        lease = _claim(site, holder=f"h{number}")
        assert site.run_index.record(lease, Ending("retrying", "running", message="disk full\nand more", deaths=1))
    assert _refused(site).detail == "3 worker disk full\nand more"


def test_a_renewal_tells_what_became_of_each_lease(site: Site) -> None:
    held, cancelled = _claim(site), site.run_index.claim(OTHER, "one", "h", "worker")
    assert isinstance(cancelled, Lease)
    assert site.run_index.cancel(OTHER) == "running"
    stale = Lease(RUN, "one", 1, "1", 0)
    assert site.run_index.renew([held, cancelled, stale]) == ["held", "cancelled", "lost"]
    assert site.run_index.renew([]) == []
    site.redis.flushall()
    assert site.run_index.renew([held], "worker") == ["held"], "a server that was emptied is told of it"
    assert site.run_index.renew([stale]) == ["lost"]
    assert _refused(site).reason == "elsewhere"
    assert site.run_index.record(held, Ending("succeeded", "running"))


@pytest.mark.usefixtures("short_leases")
def test_leases_are_renewed_while_the_server_is_out_of_memory(site: Site) -> None:
    lease = site.run_index.claim(RunId("train-00000000", 0), "one", "a", "one@test")
    assert isinstance(lease, Lease)
    site.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(BrokerError, match="maxmemory"):
            site.run_index.claim(RunId("train-00000000", 1), "one", "b", "one@test")
        assert site.run_index.renew([lease]) == ["held"]
    finally:
        site.redis.config_set("maxmemory", "0")


def test_an_ending_counts_only_while_the_lease_is_the_own_one(site: Site) -> None:
    old = _claim(site)
    wait_until(site.run_index.due, "the lease ran out")
    new = _claim(site, holder="new")
    assert site.run_index.record(old, Ending("failed", "failed")) is False
    assert site.run_index.record(new, Ending("succeeded", "running", seconds=1.5, exit_code=0)) is True
    assert site.run_index.record(new, Ending("succeeded", "running")) is True, "a repeated call is no error"
    assert site.run_index.record(new, Ending("failed", "failed")) is False
    assert _refused(site).reason == "published"


def test_a_retry_waits_is_enqueued_when_due_and_leaves_the_list_when_it_runs(site: Site) -> None:
    lease = _claim(site)
    assert site.run_index.record(lease, Ending("retrying", "running", failures=1, retry_seconds=0.2))
    assert _refused(site).reason == "waiting"
    assert site.run_index.due() == []
    assert wait_until(site.run_index.due, "the retry is due") == [(RUN, "one")]
    assert site.run_index.due() == [], "put off while the message is under way"
    again = _claim(site, holder="again")
    assert (again.attempt, again.failures) == (2, 1)
    assert site.redis.zcard("pq1:retries") == 0


def test_a_cancelled_run_that_waits_for_a_retry_is_idle_and_never_claimed(site: Site) -> None:
    site.run_index.record(_claim(site), Ending("retrying", "running", failures=1, retry_seconds=0))
    assert site.run_index.cancel(RUN) == "idle"
    assert _refused(site).reason == "ended"
    assert site.run_index.cancel(RUN) == "ended"
    assert site.run_index.active() == 0


@pytest.mark.usefixtures("short_leases")
def test_a_cancelled_step_whose_worker_died_is_idle(site: Site) -> None:
    _claim(site)
    assert site.run_index.cancel(RUN) == "running"
    wait_until(site.run_index.due, "the lease ran out")
    assert _refused(site).reason == "cancelled"
    assert site.run_index.cancel(RUN) == "idle"


def test_a_run_that_has_ended_is_not_opened_again(site: Site) -> None:
    _open(site)
    assert site.run_index.active() == 1
    site.run_index.record(_claim(site), Ending("succeeded", "succeeded"))
    _open(site)
    live = site.run_index.run(RUN)
    assert site.run_index.active() == 0 and live is not None and live.state == "succeeded"


def test_a_run_that_ended_on_the_storage_is_closed(site: Site) -> None:
    _open(site)
    _claim(site)
    site.run_index.close_run(RUN, "failed")
    live = site.run_index.run(RUN)
    assert live is not None and live.state == "failed" and site.run_index.active() == 0
    assert site.keys()[f"pq1:run:{RUN}"] > 0
    site.run_index.close_run(OTHER, "failed")
    assert site.run_index.run(OTHER) is None


def test_after_a_flush_a_claim_makes_the_run_visible_again(site: Site) -> None:
    _open(site)
    site.redis.flushall()
    _claim(site)
    assert site.run_index.active() == 1


def test_a_enqueued_message_for_later_is_due_once_and_not_put_off_by_asking_again(site: Site) -> None:
    site.run_index.enqueue_later(RUN, "one", 0.05)
    for _ in range(5):
        site.run_index.enqueue_later(RUN, "one", 3600)
    assert wait_until(site.run_index.due, "it is due") == [(RUN, "one")]


def test_nothing_of_a_run_stays_for_ever(site: Site) -> None:
    _open(site, total=20)
    for index in range(20):
        run = RunId(RUN.sweep, index)
        if index % 4 == 0:
            site.run_index.cancel(run)
            continue
        lease = site.run_index.claim(run, "one", "h", "worker")
        assert isinstance(lease, Lease)
        site.run_index.record(lease, Ending("retrying", "running", deaths=1))
        if index % 4 == 1:
            site.run_index.close_run(run, "failed")
            site.run_index.forget_due(run, "one")
        else:
            site.run_index.record(Lease.decided(run, "one"), Ending("succeeded", "succeeded"))
    # The sweep is kept until its end is written down.
    assert {key for key, ttl in site.keys().items() if ttl < 0} == {"pq1:token", "pq1:sweeps"}
    site.run_index.sweeps.forget_ended(RUN.sweep)
    assert site.run_index.active() == 0


def test_a_server_that_is_emptied_while_it_is_filled_is_not_complete(site: Site) -> None:
    assert not site.run_index.server.is_complete()
    filling = site.run_index.server.begin_filling()
    site.redis.flushall()
    assert not site.run_index.server.note_complete(filling) and not site.run_index.server.is_complete()
    # Two at once do not keep each other from it.
    first, second = site.run_index.server.begin_filling(), site.run_index.server.begin_filling()
    assert site.run_index.server.note_complete(first) and site.run_index.server.note_complete(second)
    assert site.run_index.server.is_complete() and set(site.keys()) == {"pq1:server"}


def test_one_reconciler_holds_and_another_takes_over_when_it_is_silent(site: Site) -> None:
    assert site.run_index.server.hold_reconciler("one", 0.2) and site.run_index.server.hold_reconciler("one", 0.2)
    assert not site.run_index.server.hold_reconciler("two", 0.2)
    assert wait_until(lambda: site.run_index.server.hold_reconciler("two", 60), "the first was silent")
    assert not site.run_index.server.hold_reconciler("one", 60)


@pytest.mark.parametrize("step", ["state", "a|b", "created", "-", "x" * 64, "cancel", "(%a+)"])
def test_a_step_of_any_name_keeps_to_its_own_fields(site: Site, step: str) -> None:
    _open(site)
    lease = site.run_index.claim(RUN, step, "h", "worker")
    assert isinstance(lease, Lease)
    assert site.run_index.cancel(RUN) == "running"
    live = site.run_index.run(RUN)
    assert live is not None and live.state == "running" and live.steps[step].state == "running"


def test_workers_come_and_go(site: Site) -> None:
    facts = {"queues": ["default"], "slots": 2, "busy": 0, "version": "1", "clock_seconds": 0.0}
    site.run_index.workers.announce("one@x", facts)
    site.run_index.workers.announce("two@x", facts)
    site.run_index.workers.withdraw("two@x")
    assert [worker.name for worker in site.run_index.workers.live()] == ["one@x"]


def test_a_worker_says_which_folders_wait(site: Site) -> None:
    facts = {"queues": ["default"], "slots": 2, "busy": 0, "version": "1", "clock_seconds": 0.0}
    site.run_index.workers.announce("old@x", facts)
    site.run_index.workers.announce("one@x", {**facts, "idle": IdleFolders(3, 5000).as_json()})
    site.run_index.workers.announce("wrong@x", {**facts, "idle": {"folders": "x"}})
    assert [worker.idle for worker in site.run_index.workers.live()] == [IdleFolders(), IdleFolders(3, 5000)]


def test_a_server_that_is_gone_is_a_broker_error_without_a_password(tmp_path: Path) -> None:
    server = start_server(tmp_path / "log")
    run_index = RunIndex(server.broker_url, timeout_seconds=1.0)
    run_index.time()
    server.stop()
    password = server.broker_url.partition("//:")[2].partition("@")[0]
    for call in (
        run_index.time,
        run_index.active,
        lambda: run_index.claim(RUN, "one", "h", "w"),
        run_index.workers.live,
    ):
        with pytest.raises(BrokerError) as caught:
            call()
        assert password not in str(caught.value)
    run_index.close()


def test_a_wrong_password_is_said_so(site: Site) -> None:
    url = f"redis+socket://:wrong@{site.server.socket}"
    run_index = RunIndex(url)
    with pytest.raises(BrokerError, match="refused the password"):
        run_index.time()
    run_index.close()


def test_a_connection_that_was_cut_is_made_again_by_the_thread_that_keeps_it(site: Site) -> None:
    lease = _claim(site)
    site.redis.client_kill_filter(_type="normal", skipme=True)
    assert _claim(site) == lease
    site.redis.client_kill_filter(_type="normal", skipme=True)
    assert site.run_index.record(lease, Ending("succeeded", "running"))


def test_a_sweep_with_many_runs_in_flight_is_cancelled_whole_and_counted_once(site: Site) -> None:
    index, sweep = site.run_index, "many-1a2b3c4d"
    index.sweeps.open(Opening(sweep, 1_000_000))
    first, *rest = index.sweeps.allot(sweep, 1500, 2000).fresh
    assert len(rest) == 1499
    assert isinstance(index.claim(first, "one", "holder", "worker"), Lease)
    assert index.sweeps.progress(sweep).published == {0: 1500}
    assert index.sweeps.cancel(sweep) == 1
    live = index.sweeps.read(sweep)
    assert live is not None and (live.state, live.ended_at, live.cancelled, live.flight) == ("cancelled", None, 1499, 1)
    assert index.sweeps.cancel(sweep) == 1, "and it may be asked for again"
    assert index.sweeps.allot(sweep, 1500, 2000).fresh == ()
    refused = index.claim(rest[0], "one", "holder", "worker")
    assert isinstance(refused, Refusal) and refused.reason == "ended"
    index.close_run(first, "cancelled")
    live = index.sweeps.read(sweep)
    assert live is not None and live.ended_at is not None and live.cancelled == 1500


def test_an_ended_sweep_whose_counts_lack_a_run_is_read_from_the_storage(site: Site) -> None:
    index, sweep = site.run_index, "few-1a2b3c4d"
    index.sweeps.open(Opening(sweep, 3, cursor=3, succeeded=1, failed=1))
    live = index.sweeps.read(sweep)
    assert live is not None and live.adds_up
    index.sweeps.end(sweep)
    live = index.sweeps.read(sweep)
    assert live is not None and live.ended_at is not None and not live.adds_up
