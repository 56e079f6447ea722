"""The rows and lists that the pages read, on a real storage: what ends is seen, and nothing else changes an answer."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.records import RunRecord, Scalar, StepSummary
from pipeline_queue.dashboard import ended_rows
from pipeline_queue.dashboard.ended_rows import EndedRows
from pipeline_queue.dashboard.reading import Reading
from pipeline_queue.dashboard.run_table import page_of, plot_of
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.model.conditions import parse
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.results import find_columns, read_rows, sort_rows
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.submission import prepare_sweep
from tests.conftest import Cluster, wait_until, write_folder

_GATED = """\
pipeline:
  name: gated
  parameters:
    - {name: n, type: int}
    - {name: gate, type: string}
  steps:
    - train: {run: train.py, args: "${{ parameters.n }} ${{ parameters.gate }}"}
"""
_SCRIPT = """\
import json, pathlib, sys, time
n, gate = int(sys.argv[1]), pathlib.Path(sys.argv[2])
while n >= 3 and not gate.exists():
    time.sleep(0.02)
if n == 1 and not gate.exists():
    sys.exit("one is too few")
json.dump({"loss": n / 10}, open("metrics.json", "w"))
"""
_PLAIN = """\
pipeline:
  name: plain
  parameters:
    - {name: n, type: int}
    - {name: kind, type: string, default: x}
  steps:
    - train: {run: "true"}
  sweep: {unused: allow}
"""


@pytest.fixture
def gated(cluster: Cluster, tmp_path: Path) -> tuple[str, Path]:
    """A sweep of 6 runs: 0, 1 (which fails) and 2 end at once, the others when the gate is made; and the gate."""
    project, gate = write_folder(tmp_path / "project", pipeline_yaml=_GATED, train_py=_SCRIPT), tmp_path / "gate"
    cluster.start_worker("--concurrency", "3")
    return _submit(cluster, project, "n=range(0,6)", f"gate={gate}"), gate


def test_rows_appear_while_runs_end(cluster: Cluster, gated: tuple[str, Path]) -> None:
    (sweep, gate), reading = gated, Reading(cluster.settings, writes=True)
    wait_until(lambda: _states(reading, sweep) == {0: "succeeded", 1: "failed", 2: "succeeded"}, "three have ended")
    version = reading.rows(sweep).version
    assert reading.refresh_rows(sweep).version == version
    gate.touch()
    wait_until(lambda: len(_states(reading, sweep)) == 6, "all have ended")
    assert reading.rows(sweep).version > version
    assert _as_in_results(reading, sweep)
    reading.close()


def test_rows_are_right_after_the_server_lost_everything(cluster: Cluster, gated: tuple[str, Path]) -> None:
    (sweep, gate), reading = gated, Reading(cluster.settings, writes=True)
    wait_until(lambda: len(_states(reading, sweep)) == 3, "three have ended")
    redis: Redis = cluster.redis()
    redis.flushall()
    assert len(_states(reading, sweep)) == 3
    gate.touch()
    wait_until(lambda: len(read_rows(Storage(cluster.settings.storage), sweep)) == 6, "all have ended")
    wait_until(lambda: len(_states(reading, sweep)) == 6, "the pages know", ended_rows.RESCAN_SECONDS + 10)
    assert _as_in_results(reading, sweep)
    reading.close()


def test_what_a_retry_changed_is_seen(cluster: Cluster, gated: tuple[str, Path]) -> None:
    (sweep, gate), reading = gated, Reading(cluster.settings, writes=True)
    wait_until(lambda: _states(reading, sweep).get(1) == "failed", "one has failed")
    gate.touch()
    cluster.client.wait_sweep(sweep)
    wait_until(lambda: len(_states(reading, sweep)) == 6, "all have ended")
    cluster.client.retry(sweep)
    wait_until(lambda: _states(reading, sweep) == dict.fromkeys(range(6), "succeeded"), "the retried one succeeded")
    assert _as_in_results(reading, sweep)
    reading.close()


def test_a_retry_of_a_sweep_that_goes_on_is_seen(
    cluster: Cluster, gated: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended_rows, "RESCAN_SECONDS", 1.0)
    (sweep, _), reading = gated, Reading(cluster.settings, writes=True)
    wait_until(lambda: _states(reading, sweep).get(1) == "failed", "one has failed")
    paths = Sweep.read(reading.storage(), sweep)
    run = paths.paths(reading.storage(), paths.run_id(1))
    end = run.end()
    assert end is not None
    Path(run.where("run.json")).write_text(end.model_copy(update={"state": "succeeded"}).model_dump_json())
    wait_until(lambda: _states(reading, sweep).get(1) == "succeeded", "its new end is seen")
    Path(run.where("run.json")).unlink()
    reading.close()


def test_a_damaged_end_is_left_out_and_not_read_again_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, sweep = _ended_sweep(tmp_path, [{"loss": 1.0}] * 5)
    Path(sweep.paths(storage, sweep.run_id(2)).where("run.json")).write_text('{"v": 1, "index": "two')
    rows = EndedRows(sweep)
    index: Any = None  # an ended sweep asks no server
    rows.refresh(storage, index, 1.0, 5)
    assert [one.row.index for one in rows.all()] == [0, 1, 3, 4]
    monkeypatch.setattr(Storage, "run_ends", None)
    time.sleep(1.0)  # after which it looks again
    rows.refresh(storage, index, 1.0, 5)


def test_the_table_filters_and_sorts_as_results_do(tmp_path: Path) -> None:
    chance = random.Random(7)
    names = ("loss", "accuracy", "n", "state")

    def metrics() -> dict[str, float]:
        return {name: chance.choice([0, 1, -2.5, 1e9, chance.random()]) for name in names if chance.random() < 0.8}

    storage, sweep = _ended_sweep(tmp_path, [metrics() for _ in range(200)], chance)
    rows, index = EndedRows(sweep), None
    rows.refresh(storage, index, 1.0, 200)  # type: ignore[arg-type]
    expected = read_rows(storage, sweep.record.id)
    known = find_columns(expected).every
    wheres = ("", "loss<0.5", "kind = a or metrics.n > 0", "not accuracy >= 0", "state = failed and index < 100")
    sorts = ("", "loss", "-loss", "kind,-accuracy", "-metrics.state,metrics.n", "-state,index", "seconds")
    for where in wheres:
        for sort in sorts:
            keys = [key for key in sort.split(",") if key]
            kept = [row for row in expected if not where or parse(where, known).holds(row.as_dict())]
            wanted = [row.run for row in sort_rows(kept, keys)]
            pages = [page_of(rows, where, sort, offset, 30) for offset in range(0, 200, 30)]
            assert [row[0] for page in pages for row in page["rows"]] == wanted, (where, sort)
            assert {page["matched"] for page in pages} == {len(wanted)}
    names_shown = [column["name"] for column in page_of(rows, "", "", 0, 1)["columns"]]
    assert [name for name in names_shown if name != "cause"] == list(known) and "cause" in names_shown
    for number, row in enumerate(page_of(rows, "", "", 0, 200)["rows"]):
        flat = expected[number].as_dict()
        assert dict(zip(names_shown, row, strict=True)) == {name: flat.get(name) for name in known} | {
            "cause": expected[number].cause or None
        }


def test_the_plot_keeps_the_best_of_the_runs_that_it_leaves_out(tmp_path: Path) -> None:
    losses = [float(50 + number % 7) for number in range(300)]
    losses[123], losses[211] = -4.0, 999.0
    storage, sweep = _ended_sweep(tmp_path, [{"loss": loss} for loss in losses])
    rows = EndedRows(sweep)
    rows.refresh(storage, None, 1.0, 300)  # type: ignore[arg-type]
    plot = plot_of(rows, "", 20)
    column = [one["name"] for one in plot["columns"]].index("loss")
    shown = [row[column] for row in plot["rows"]]
    assert plot["sampled_from"] == 300 and 20 <= len(shown) <= 22 and len(plot["ended_at"]) == len(shown)
    assert min(shown) == -4.0 and max(shown) == 999.0


def test_a_wrong_column_or_condition_is_said(tmp_path: Path) -> None:
    storage, sweep = _ended_sweep(tmp_path, [{"loss": 1.0}] * 2)
    rows = EndedRows(sweep)
    rows.refresh(storage, None, 1.0, 2)  # type: ignore[arg-type]
    for where, sort in (("", "losss"), ("losss > 1", ""), ("loss >", "")):
        with pytest.raises(InputError):
            page_of(rows, where, sort, 0, 10)


def test_many_questions_keep_few_answers(tmp_path: Path) -> None:
    storage, sweep = _ended_sweep(tmp_path, [{"loss": 1.0}] * 3)
    rows = EndedRows(sweep)
    rows.refresh(storage, None, 1.0, 3)  # type: ignore[arg-type]
    for number in range(200):
        assert page_of(rows, f"loss > -{number + 1}", "", 0, 10)["matched"] == 3
    assert len(rows._answers) < 50


def test_the_list_is_searched_paged_and_loses_what_is_deleted(cluster: Cluster, tmp_path: Path) -> None:
    project = write_folder(tmp_path / "project", pipeline_yaml=_PLAIN)
    words = {1: "alone-try", 2: "second-try", 3: "third-try", 12: "last-try"}
    names = [_submit(cluster, project, f"n=range(0,{size})", name=f"{word} of plain") for size, word in words.items()]
    listed, reading = list(reversed(names)), Reading(cluster.settings, writes=True)
    assert [row.id for row in reading.sweeps.page("", "", 0, 10).rows] == sorted(listed, key=listed.index)
    pages = [reading.sweeps.page("", "", offset, 3) for offset in (0, 3, 6)]
    assert [[row.id for row in page.rows] for page in pages] == [listed[:3], listed[3:], []]
    assert {page.matched for page in pages} == {page.total for page in pages} == {4}
    for search, wanted in (
        ("-TRY", listed),
        ("of second-", [names[1]]),
        ("last-try plain", [names[3]]),
        ("other-", []),
    ):
        page = reading.sweeps.page(search, "", 0, 10)
        assert [row.id for row in page.rows] == wanted and page.matched == len(wanted)
    assert [row.id for row in reading.sweeps.page("-try", "active", 1, 2).rows] == listed[1:3]
    for name in names[1:3]:
        cluster.client.cancel_sweep(name)
        wait_until(lambda name=name: reading.sweeps.row(name).state == "cancelled", "it is cancelled")
    assert {row.id for row in reading.sweeps.page("", "cancelled", 0, 10).rows} == set(names[1:3])
    cluster.client.forget(names[1])
    wait_until(lambda: reading.sweeps.page("", "", 0, 10).total == 3, "the deleted one is gone")
    assert names[1] not in {row.id for row in reading.sweeps.page("-try", "", 0, 10).rows}
    assert reading.sweeps.page("", "", 0, 10).read == 3
    reading.close()


def _submit(cluster: Cluster, project: Path, *texts: str, name: str = "") -> str:
    pipeline = cluster.client.load(project / "pipeline.yaml")
    return cluster.client.submit_sweep(
        prepare_sweep(pipeline, build_space(pipeline, SweepRequest(texts=texts)), name, None)
    )


def _ended_sweep(
    folder: Path, metrics: Sequence[Mapping[str, float]], chance: random.Random | None = None
) -> tuple[Storage, Sweep]:
    """A sweep on a storage whose runs have ended with these metrics; by `chance`, with other states and values."""
    storage = Storage.open(folder / "storage")
    pipeline = load_pipeline(write_folder(folder / "ended", pipeline_yaml=_PLAIN) / "pipeline.yaml")
    built = build_space(pipeline, SweepRequest(texts=(f"n=range(0,{len(metrics)})",)))
    with (submission := prepare_sweep(pipeline, built, "", None)).snapshot:
        sweep = submission.commit(storage)
    for index, values in enumerate(metrics):
        run, failed = sweep.run_id(index), chance is not None and chance.random() < 0.2
        seconds = round(chance.random(), 3) if chance and chance.random() < 0.9 else None
        kinds: list[Scalar] = ["a", "b", 3, 2.5, True]
        paths = sweep.paths(storage, run)
        Path(paths.where()).mkdir(parents=True)
        paths.write_end(
            RunRecord(
                sweep=run.sweep,
                run=str(run),
                index=index,
                state="failed" if failed else "succeeded",
                parameters={"n": index % 9, "kind": chance.choice(kinds) if chance else "x"},
                steps=(StepSummary(name="train", state="failed" if failed else "succeeded", seconds=seconds),),
                metrics=dict(values),
                message=f"the loss is nan after {index} epochs" if failed else "",
                ended_at=1_000.0 + index,
            )
        )
    return storage, sweep


def _states(reading: Reading, sweep: str) -> dict[int, str]:
    return {one.row.index: one.row.state for one in reading.refresh_rows(sweep).all()}


def _as_in_results(reading: Reading, sweep: str) -> bool:
    return [one.row for one in reading.rows(sweep).all()] == read_rows(reading.storage(), sweep)
