"""How many runs of a sweep are in flight, by the workers that are there."""

from __future__ import annotations

from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.submitting.feeder import Window, window_for


def _worker(slots: int, *queues: str) -> LiveWorker:
    return LiveWorker(f"w{slots}", queues, slots, 0, "0", 0.0)


def test_without_workers_a_sweep_still_has_a_small_window() -> None:
    assert window_for([], "default") == Window(unstarted=8, in_flight=200)
    assert window_for([_worker(2, "default")], "default") == Window(unstarted=8, in_flight=200)


def test_first_steps_wait_for_the_slots_that_serve_their_queue_and_runs_for_all() -> None:
    workers = [_worker(10, "default"), _worker(30, "gpu", "default"), _worker(100, "other")]
    assert window_for(workers, "default") == Window(unstarted=80, in_flight=2800)
    assert window_for(workers, "gpu") == Window(unstarted=60, in_flight=2800)
    assert window_for(iter(workers), "unserved") == Window(unstarted=8, in_flight=2800)
