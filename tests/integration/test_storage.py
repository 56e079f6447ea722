"""The shared storage: exclusive creation, one publication, records that are whole or refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import StepRecord, SweepRecord
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.atomic import create_exclusive, replace_file
from pipeline_queue.storage.layout import run_folder
from pipeline_queue.storage.reading import read_step
from pipeline_queue.storage.run_folder import RunFolder
from pipeline_queue.storage.step_folder import publish
from pipeline_queue.storage.storage import Storage
from tests.integration.attempt_site import names_in
from tests.limits import LIMIT_SECONDS, join_all

SWEEP = "train-7k3m9q2x"
PIPELINE = {"name": "train", "steps": [{"name": "one", "argv": [["true"]]}]}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.open(tmp_path / "storage")


def _record(sweep: str = SWEEP, source: str = "pipeline.yaml") -> SweepRecord:
    space = {"v": 1, "kind": "points", "points": [{}]}
    return SweepRecord(
        id=sweep, pipeline=PIPELINE, snapshot="ab" * 32, space=space, total=1, created_at=1.0, source=source
    )


def _attempt(folder: Path, uid: str, content: str = "x") -> Path:
    attempt = folder / f"one.attempt-1-{uid}"
    (attempt / "outputs").mkdir(parents=True)
    (attempt / "outputs" / "file").write_text(content)
    manifest = StepRecord(run=f"{SWEEP}.0", step="one", attempt=1, uid=uid, state="succeeded")
    (attempt / "step.json").write_text(manifest.model_dump_json())
    return attempt


def _together(count: int, work: Callable[[int], object]) -> list[object]:
    """What each of some threads got, all let go at the same moment."""
    gate = threading.Barrier(count)
    results: list[object] = [None] * count

    def one(number: int) -> None:
        gate.wait(LIMIT_SECONDS)
        results[number] = work(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    join_all(threads)
    return results


def test_of_many_writers_one_creates_and_its_content_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    won = _together(16, lambda number: create_exclusive(path, b"%d" % number * 100_000, durable=number % 2 == 0))
    assert won.count(True) == 1
    assert path.read_bytes() == b"%d" % won.index(True) * 100_000
    assert names_in(tmp_path) == ["file"]


def test_a_link_that_was_made_though_an_error_says_it_exists_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS answers so when it sees a request twice."""
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    assert create_exclusive(tmp_path / "file", b"ours") is True
    assert create_exclusive(tmp_path / "file", b"late") is False
    assert (tmp_path / "file").read_bytes() == b"ours"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_without_hard_links_creation_is_exclusive_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    won = _together(8, lambda writer: create_exclusive(tmp_path / "file", b"%d" % writer * 1000))
    assert won.count(True) == 1
    assert (tmp_path / "file").read_bytes() == b"%d" % won.index(True) * 1000
    assert names_in(tmp_path) == ["file"]


SMALL_FILES = """
import errno, os, resource, signal, sys
from pathlib import Path
from pipeline_queue.storage.atomic import create_exclusive, replace_file
from tests.integration.attempt_site import names_in
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
(folder / "kept").write_bytes(b"as it was")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
def without_links(source, target):
    raise OSError(errno.EPERM, "no links")
for write in (lambda: create_exclusive(folder / "new", b"x" * 5000), lambda: replace_file(folder / "kept", b"x" * 5000)):
    try:
        write()
    except OSError as error:
        print(error.errno == errno.EFBIG)
os.link = without_links
import pipeline_queue.storage.atomic as atomic
atomic._write_beside = lambda path, data, durable: path.with_name("beside")
try:
    create_exclusive(folder / "in place", b"x" * 5000)
except OSError as error:
    print(error.errno == errno.EFBIG)
print(sorted(os.listdir(folder)), (folder / "kept").read_bytes())
"""


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["True", "True", "True", "['kept'] b'as it was'"]


def test_of_many_attempts_one_is_published_whole(tmp_path: Path) -> None:
    uids = [f"{number:012x}" for number in range(8)]
    attempts = [_attempt(tmp_path, uid, content=uid) for uid in uids]
    won = _together(8, lambda number: publish(attempts[number], tmp_path / "one", uids[number]))
    assert won.count(True) == 1
    winner = read_step(tmp_path / "one")
    assert winner is not None and winner.uid == uids[won.index(True)]
    assert (tmp_path / "one" / "outputs" / "file").read_text() == winner.uid


def test_a_rename_that_happened_though_it_reported_an_error_is_a_publication(tmp_path: Path) -> None:
    attempt = _attempt(tmp_path, "aa")
    attempt.rename(tmp_path / "one")
    assert publish(attempt, tmp_path / "one", "aa") is True
    assert publish(attempt, tmp_path / "one", "bb") is False


def test_an_attempt_that_cannot_be_published_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "absent", tmp_path / "one", "aa")


def test_a_submission_exists_once_and_survives_beside_one_that_was_cut_short(storage: Storage) -> None:
    won = _together(8, lambda _: storage.commit_sweep(_record(), b"text"))
    assert won.count(True) == 1
    assert storage.read_sweep(SWEEP) == _record()
    (storage.root / "sweeps" / "cut-00000000").mkdir()
    with pytest.raises(NotFoundError):
        storage.read_sweep("cut-00000000")


@pytest.mark.parametrize(
    "source",
    ["pipeline.yaml", "sweep.json", "runs", "", "a b\n.yaml", "-rf", "../../x.yaml", "x" * 255, "päß🦊.yml"],
    ids=lambda name: ascii(name)[:20],
)
def test_a_pipeline_file_of_any_name_is_kept_beside_its_sweep(storage: Storage, source: str) -> None:
    assert storage.commit_sweep(_record(source=source), b"the text")
    sweep = Sweep.read(storage, SWEEP)
    folder = storage.sweep(SWEEP)
    assert len(names_in(folder)) == 2
    assert {path.read_bytes() for path in folder.iterdir() if path.name != "sweep.json"} == {b"the text"}
    Path(sweep.paths(storage, RunId(SWEEP, 0)).where()).mkdir(parents=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"v": 2}', b'{"v": 1}', b"\xff", b"null",
     _record().model_dump_json().replace('"v":1', '"v":2').encode(),
     _record().model_dump_json().replace("ab" * 32, "../../../etc/passwd").encode(),
     _record().model_dump_json().replace('"steps"', '"stops"').encode(),
     _record().model_dump_json().replace('"kind":"points"', '"kind":"other"').encode(),
     _record().model_dump_json().replace('"points":[{}]', '"dots":[{}]').encode()],
    ids=lambda content: ascii(content)[:30],
)  # fmt: skip
def test_a_damaged_or_newer_record_is_a_storage_error_with_its_path(storage: Storage, content: bytes) -> None:
    storage.sweep(SWEEP).mkdir()
    (storage.sweep(SWEEP) / "sweep.json").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        Sweep.read(storage, SWEEP)
    assert "version" in str(caught.value) and len(str(caught.value)) < 500


def test_a_damaged_manifest_or_end_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text("{")
    (tmp_path / "run.json").write_text("{")
    for read in (lambda: read_step(tmp_path), lambda: RunFolder(tmp_path, tmp_path / "sweep.json").end()):
        with pytest.raises(StorageError, match=str(tmp_path)):
            read()


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../x", "/etc", "train-7k3m9q2x/..", "train-7k3m9q2x\n", "\0", "x" * 9999]
)
def test_no_name_leads_out_of_the_storage(storage: Storage, name: str) -> None:
    with pytest.raises(NotFoundError):
        storage.sweep(name)


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ({}, "7"),
        ({"learning_rate": "0.01", "optimizer": "adam"}, "7-learning_rate=0.01,optimizer=adam"),
        ({"path": "../../etc/passwd"}, "7-path=.._.._etc_passwd"),
        ({"text": "a b\n\0🦊'\"$;"}, "7-text=a_b_______"),
        ({"x": "y" * 1000}, "7-x=" + "y" * 118),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_runs_folder_is_one_plain_name_that_begins_with_its_index(label: dict[str, str], folder: str) -> None:
    assert run_folder(7, label) == folder


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"v": 99}', b"no json"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pipeline_queue.json").write_bytes(content)
    with pytest.raises(StorageError, match=str(tmp_path)):
        Storage.open(tmp_path)


def test_a_storage_that_is_a_file_or_lies_below_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="cannot be written"):
            Storage.open(root)


def test_many_may_open_a_new_storage_at_once_and_agree_on_it(tmp_path: Path) -> None:
    _together(16, lambda _: Storage.open(tmp_path / "new" / "storage"))
    assert names_in(tmp_path / "new" / "storage") == ["pipeline_queue.json", "snapshots", "sweeps"]


def test_replacing_a_file_is_never_seen_half_done(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0" * 100_000)
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        replace_file(path, b"%d" % (number % 10) * 100_000)
    done.set()
    join_all([reader])
    assert {(len(content), len(set(content))) for content in seen} == {(100_000, 1)}


def test_only_attempts_that_began_before_lose_their_folders(tmp_path: Path) -> None:
    """Whoever fences off may have been paused, and another attempt may run by now."""
    names = ["one.attempt-1-aa", "one.attempt-2-bb", "one.attempt-4-cc", "two.attempt-1-dd"]
    for name in names:
        (tmp_path / name).mkdir()
    RunFolder(tmp_path, tmp_path / "sweep.json").fence_off("one", 3)
    assert RunFolder(tmp_path, tmp_path / "sweep.json").names() == {f"{names[0]}.lost", f"{names[1]}.lost", *names[2:]}
