"""What the conformance suite does with a store: a sweep of one step `one`, and attempts that publish it."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import OutputFile, RunRecord, StepRecord, SweepRecord
from pipeline_queue.storage.run_store import AttemptSlot, RunStore, StoredRun

SWEEP = "train-7k3m9q2x"
RUN = RunId(SWEEP, 0)
STEP = "one"
FILES = ("a", "below/b")
LOG_BYTES = b"printed\n"


def sweep_record(name: str = SWEEP) -> SweepRecord:
    return SweepRecord(
        id=name,
        pipeline={"name": "train", "steps": [{"name": STEP, "argv": [["true"]]}]},
        snapshot="ab" * 32,
        space={"v": 1, "kind": "points", "points": [{}]},
        total=1,
        created_at=1.0,
        source="pipeline.yaml",
    )


def run_of(store: RunStore) -> StoredRun:
    return store.run(RUN, {})


def uid_of(attempt: int) -> str:
    return f"{attempt:012x}"


def filled_slot(store: RunStore, attempt: int, workspace: Path) -> AttemptSlot:
    """A slot with a log, two outputs whose content is the attempt's uid, and a manifest; made in the workspace."""
    uid = uid_of(attempt)
    for name in FILES:
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(uid)
    slot = run_of(store).begin_attempt(STEP, attempt, uid)
    slot.make()
    slot.append_to_log(LOG_BYTES)
    outputs = tuple(OutputFile(path=name, size=len(uid)) for name in FILES)
    slot.put_outputs(workspace, outputs)
    slot.share_access()
    slot.write_record(StepRecord(run=str(RUN), step=STEP, attempt=attempt, uid=uid, state="succeeded", outputs=outputs))
    return slot


def end_record(message: str = "") -> RunRecord:
    return RunRecord(sweep=SWEEP, run=str(RUN), index=0, state="succeeded", parameters={}, steps=(), message=message)


def published_uid(store: RunStore, target: Path) -> str | None:
    """Whose step it is, None while it is not published. Raises AssertionError when the step is not whole.

    `target`: a new folder of this machine to fetch its outputs to.
    """
    step = run_of(store).step(STEP)
    if not step.is_published():
        return None
    record = step.record()
    assert record is not None, "the step is published without its manifest"
    (target / "below").mkdir(parents=True)
    for file in record.outputs:
        step.fetch(file.path, target / file.path)
        content = (target / file.path).read_text()
        assert content == record.uid, f"{file.path} of attempt {record.uid} holds {content!r}"
    assert [file.path for file in record.outputs] == list(FILES), "outputs are missing from the manifest"
    return record.uid


def new_folder(above: Path) -> Path:
    """A new, empty folder below."""
    folder = above / os.urandom(8).hex()
    folder.mkdir(parents=True)
    return folder
