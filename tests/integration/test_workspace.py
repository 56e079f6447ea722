"""Working directories: what a step finds, what of it is new, and that nothing stays behind."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.records import StepRecord
from pipeline_queue.storage.attempt_folder import put_files
from pipeline_queue.storage.file_tree import copy_entry, remove_tree
from pipeline_queue.storage.snapshot import take_snapshot
from pipeline_queue.storage.step_folder import StepFolder
from pipeline_queue.storage.storage import Storage
from tests.integration.attempt_site import names_in
from tests.limits import LIMIT_SECONDS, join_all
from workers.outputs import Found, Workspace, find_outputs
from workers.workspace import Workspaces, private_folder


class Bench:
    """Stages, lets a test play the step, publishes: steps of one run, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "project"
        self.source.mkdir()
        self.scratch = folder / "scratch"
        self.storage = Storage.open(folder / "storage")
        self.workspaces = Workspaces(self.scratch, self.storage)
        self.published: list[StepFolder] = []

    def digest(self) -> str:
        with take_snapshot(self.source) as snapshot:
            snapshot.store(self.storage)
            return snapshot.digest

    def stage(self, uid: str) -> Workspace:
        return self.workspaces.stage(uid, self.digest(), self.published)

    def step(self, play: Callable[[Path], object], declared: tuple[str, ...] = ()) -> Found:
        """What was found after `play` did to the folder whatever it does."""
        uid = f"{len(self.published):012x}"
        workspace = self.stage(uid)
        play(workspace.folder)
        found = find_outputs(workspace, declared)
        self.workspaces.note_changes(uid, found.changes)  # so that the next step has the same folder
        step = self.storage.root / f"step-{len(self.published)}"
        step.mkdir()
        put_files(workspace.folder, found.outputs, step / "outputs")
        manifest = StepRecord(run="train-7k3m9q2x.0", step="one", attempt=1, uid=uid, state="succeeded",
                              outputs=found.outputs, deleted=found.deleted, notes=found.notes)  # fmt: skip
        (step / "step.json").write_bytes(manifest.model_dump_json().encode())
        self.published.append(StepFolder(step))
        self.workspaces.discard(uid)
        return found

    def next_finds(self) -> dict[str, str | None]:
        """Name -> content (None: a folder; `-> x`: a link) of what a further step would find."""
        workspace = self.stage("ffffffffffff")
        found: dict[str, str | None] = {}
        for path in sorted(workspace.folder.rglob("*")):
            name = str(path.relative_to(workspace.folder))
            found[name] = f"-> {path.readlink()}" if path.is_symlink() else None if path.is_dir() else path.read_text()
        self.workspaces.discard("ffffffffffff")
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _paths(found: Found) -> list[str]:
    return [file.path for file in found.outputs]


def test_only_what_is_new_or_changed_is_an_output(bench: Bench) -> None:
    for name in ("same", "changed", "touched", "gone"):
        (bench.source / name).write_text("1234")

    def play(folder: Path) -> None:
        (folder / "changed").write_text("4321")
        (folder / "touched").touch()
        (folder / "gone").unlink()
        (folder / "new").write_text("")
        (folder / "folder" / "deep").mkdir(parents=True)

    found = bench.step(play)
    assert _paths(found) == ["changed", "folder/deep/", "new", "touched"]
    assert found.deleted == ("gone",)
    assert bench.next_finds() == {
        "same": "1234", "changed": "4321", "touched": "1234", "new": "", "folder": None, "folder/deep": None,
    }  # fmt: skip


def test_a_change_of_the_same_size_right_after_staging_is_seen(bench: Bench) -> None:
    for number in range(50):
        (bench.source / str(number)).write_text("a")
    workspace = bench.stage("0")
    for number in range(50):
        with (workspace.folder / str(number)).open("r+") as file:
            file.write("b")
    assert len(find_outputs(workspace, ()).outputs) == 50


def test_reading_and_listing_change_nothing(bench: Bench) -> None:
    (bench.source / "a").write_text("x")
    (bench.source / "sub").mkdir()

    def play(folder: Path) -> None:
        (folder / "a").read_text()
        list(folder.iterdir())

    assert bench.step(play) == Found((), (), ())


@pytest.mark.parametrize("name", ["a b", "line\nline", "-rf", "x" * 255, "päß🦊", "back\\slash", "*", " ", "..."])
def test_odd_names_are_staged_found_and_published(bench: Bench, name: str) -> None:
    (bench.source / name).write_text("staged")
    (bench.source / f"d{name[:200]}").mkdir()
    found = bench.step(lambda folder: (folder / f"d{name[:200]}" / name).write_text("new"))
    assert _paths(found) == [f"d{name[:200]}/{name}"]
    assert bench.next_finds() == {name: "staged", f"d{name[:200]}": None, f"d{name[:200]}/{name}": "new"}


def test_a_name_that_is_not_utf_8_is_noted_and_the_rest_published(bench: Bench) -> None:
    def play(folder: Path) -> None:
        (folder / "good").write_text("x")
        odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))
        odd.mkdir()
        (odd / "below").write_text("x")

    found = bench.step(play)
    assert _paths(found) == ["good"]
    assert len(found.notes) == 2 and all("UTF-8" in note for note in found.notes)
    assert bench.next_finds() == {"good": "x"}


def test_many_things_that_cannot_be_published_are_noted_shortly(bench: Bench) -> None:
    def play(folder: Path) -> None:
        for number in range(100):
            os.mkfifo(folder / str(number))

    found = bench.step(play)
    assert found.outputs == () and len(found.notes) == 21 and found.notes[-1] == "and 80 more were not published"


def _file_by_folder(folder: Path) -> None:
    (folder / "thing").unlink()
    (folder / "thing").mkdir()
    (folder / "thing" / "inside").write_text("new")


def _file_by_empty_folder(folder: Path) -> None:
    (folder / "thing").unlink()
    (folder / "thing").mkdir()


def _folder_by_file(folder: Path) -> None:
    shutil.rmtree(folder / "sub")
    (folder / "sub").write_text("new")


def _folder_by_link(folder: Path) -> None:
    shutil.rmtree(folder / "sub")
    (folder / "sub").symlink_to("thing")


def _file_by_link(folder: Path) -> None:
    (folder / "thing").unlink()
    (folder / "thing").symlink_to("sub/deep/x")


def _folder_removed(folder: Path) -> None:
    shutil.rmtree(folder / "sub")


def _folder_emptied(folder: Path) -> None:
    shutil.rmtree(folder / "sub" / "deep")


REPLACED: list[tuple[Callable[[Path], None], dict[str, str | None]]] = [
    (_file_by_folder, {"thing": None, "thing/inside": "new", "sub": None, "sub/deep": None, "sub/deep/x": "x"}),
    (_file_by_empty_folder, {"thing": None, "sub": None, "sub/deep": None, "sub/deep/x": "x"}),
    (_folder_by_file, {"thing": "thing", "sub": "new"}),
    (_folder_by_link, {"thing": "thing", "sub": "-> thing"}),
    (_file_by_link, {"thing": "-> sub/deep/x", "sub": None, "sub/deep": None, "sub/deep/x": "x"}),
    (_folder_removed, {"thing": "thing"}),
    (_folder_emptied, {"thing": "thing", "sub": None}),
]


@pytest.mark.parametrize(("play", "expected"), REPLACED, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("made_by_a_step", [False, True], ids=["of the snapshot", "of an earlier step"])
def test_what_a_step_replaces_or_removes_the_next_one_finds_so(
    bench: Bench, play: Callable[[Path], None], expected: dict[str, str | None], made_by_a_step: bool
) -> None:
    def make(folder: Path) -> None:
        (folder / "thing").write_text("thing")
        (folder / "sub" / "deep").mkdir(parents=True)
        (folder / "sub" / "deep" / "x").write_text("x")

    if made_by_a_step:
        bench.step(make)
    else:
        make(bench.source)
    bench.step(play)
    assert bench.next_finds() == expected
    again = bench.step(lambda folder: None)
    assert (again.outputs, again.deleted) == ((), ())
    assert bench.next_finds() == expected


def test_special_files_and_links_to_the_outside_are_noted_not_followed(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")

    def play(folder: Path) -> None:
        os.mkfifo(folder / "fifo")
        (folder / "out").symlink_to(tmp_path / "secret")
        (folder / "up").symlink_to("../..")
        (folder / "proc").symlink_to("/proc/self")
        (folder / "in").symlink_to("good")
        (folder / "loop").symlink_to("loop")
        (folder / "good").write_text("x")

    found = bench.step(play)
    assert _paths(found) == ["good", "in", "loop"]
    assert [note.partition(" ")[0] for note in sorted(found.notes)] == ["fifo", "out", "proc", "up"]
    assert bench.next_finds() == {"good": "x", "in": "-> good", "loop": "-> loop"}


def _removed(folder: Path) -> None:
    shutil.rmtree(folder)


def _link_instead(folder: Path) -> None:
    outside = folder.parents[4] / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    folder.rename(folder.with_name("old"))
    folder.symlink_to(outside)


def _link_above(folder: Path) -> None:
    outside = folder.parents[4] / "outside"
    (outside / "step").mkdir(parents=True)
    (outside / "step" / "precious").write_text("x")
    shutil.rmtree(folder.parent)
    folder.parent.symlink_to(outside)


def _all_removed(folder: Path) -> None:
    shutil.rmtree(folder.parents[2])


@pytest.mark.parametrize("play", [_removed, _link_instead, _link_above, _all_removed])
def test_a_step_that_removes_or_replaces_its_own_folder_publishes_nothing_of_the_outside(
    bench: Bench, play: Callable[[Path], object]
) -> None:
    (bench.source / "a").write_text("x")
    found = bench.step(play)
    assert found.outputs == () and found.deleted == ("a",)
    assert any("removed its own folder" in note for note in found.notes)
    assert all(path.read_text() == "x" for path in bench.scratch.rglob("precious"))
    assert names_in(bench.scratch / "work") == []
    assert bench.next_finds() == {}


def test_what_lies_beside_the_folder_is_noted_however_much_else_is(bench: Bench) -> None:
    def play(folder: Path) -> None:
        for number in range(50):
            os.mkfifo(folder / str(number))
        (folder / ".." / "results").mkdir()
        (folder / ".." / "results" / "a.txt").write_text("x")
        (folder / ".." / ".." / "here").symlink_to("/")

    note = bench.step(play).notes[-1]
    assert note.endswith("and not published: ../results/a.txt, ../../here")


def test_a_set_user_id_of_a_file_outside_stays_and_its_copies_have_none(bench: Bench, tmp_path: Path) -> None:
    outside = bench.scratch / "outside"
    outside.write_text("x")
    outside.chmod(0o4755)
    bench.step(lambda folder: os.link(outside, folder / "tool"))
    assert outside.stat().st_mode & 0o7777 == 0o4755
    assert (bench.published[0].folder / "outputs" / "tool").stat().st_mode & 0o7777 == 0o755


def test_a_file_system_that_cannot_tell_holes_is_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    seek = os.lseek

    def lseek(descriptor: int, position: int, how: int) -> int:
        if how in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, "Invalid argument")
        return seek(descriptor, position, how)

    monkeypatch.setattr(os, "lseek", lseek)
    copy_entry(source, target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("through_a_link", [False, True])
def test_an_absolute_link_to_the_own_folder_is_published_as_a_relative_one(
    tmp_path: Path, through_a_link: bool
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    bench = Bench(tmp_path)
    scratch = tmp_path / ("way" if through_a_link else "real") / "scratch"
    bench.workspaces = Workspaces(scratch, bench.storage)

    def play(folder: Path) -> None:
        (folder / "model").write_text("x")
        here = os.path.realpath(folder)  # what the step's own getcwd says
        (folder / "latest").symlink_to(f"{here}/model")

    bench.step(play)
    assert bench.next_finds() == {"model": "x", "latest": "-> model"}


def test_a_hard_link_to_the_outside_is_published_as_a_copy(bench: Bench, tmp_path: Path) -> None:
    outside = bench.scratch / "outside"
    outside.write_text("then")

    def play(folder: Path) -> None:
        os.link(outside, folder / "linked")
        (folder / "one").write_text("x")
        os.link(folder / "one", folder / "two")

    bench.step(play)
    outside.write_text("now!")
    assert bench.next_finds() == {"linked": "then", "one": "x", "two": "x"}


def test_modes_reach_the_next_step_and_set_user_id_does_not(bench: Bench) -> None:
    def play(folder: Path) -> None:
        for name, mode in (("program", 0o755), ("fixed", 0o444), ("rooted", 0o4755)):
            (folder / name).write_text("x")
            (folder / name).chmod(mode)

    bench.step(play)
    workspace = bench.stage("0")
    modes = {path.name: path.stat().st_mode & 0o7777 for path in workspace.folder.iterdir()}
    assert modes == {"program": 0o755, "fixed": 0o644, "rooted": 0o755}


def test_a_declared_bytecode_file_is_published_and_others_are_not(bench: Bench) -> None:
    def play(folder: Path) -> None:
        (folder / "__pycache__").mkdir()
        for name in ("a.pyc", "b.pyc"):
            (folder / "__pycache__" / name).write_text("x")

    assert _paths(bench.step(play, ("__pycache__/b.pyc",))) == ["__pycache__/b.pyc"]


def _go_deep(folder: Path, levels: int = 1500) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_nesting_deeper_than_any_path_is_noted_and_removed(bench: Bench) -> None:
    def play(folder: Path) -> None:
        (folder / "good").write_text("x")
        _go_deep(folder)

    try:
        found = bench.step(play)
        assert _paths(found) == ["good"] and any("too deep" in note for note in found.notes)
        assert names_in(bench.scratch / "work") == []
    finally:
        # Left behind by a failure, it would break pytest's own tidying for good.
        subprocess.run(["rm", "-rf", str(bench.scratch)], check=True)


AS_NOBODY = """
import os, subprocess, sys
from pathlib import Path
from tests.integration.test_workspace import Bench
os.umask(0o022)
os.setgid(65534); os.setresuid(65534, 65534, 0)  # may become root again, as what a container leaves does
bench = Bench(Path(sys.argv[1]))
def play(folder):
    for name, mode in (("closed", 0o000), ("listed", 0o444), ("unwritable", 0o555)):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
        (folder / name).chmod(mode)
    for name, mode in (("fixed", 0o444), ("unreadable", 0o000)):
        (folder / name).write_text(name)
        (folder / name).chmod(mode)
def play_and_close(folder):
    play(folder)
    for above in list(folder.parents)[:3]:
        above.chmod(0o000)
def play_as_root(folder):
    (folder / "mine").write_text("x")
    os.seteuid(0)
    for name, mode in (("theirs", 0o755), ("theirs_closed", 0o700)):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
        (folder / name).chmod(mode)
    (folder / "tool").write_text("x")
    (folder / "tool").chmod(0o4755)
    (folder / "theirs_unreadable").write_text("x")
    (folder / "theirs_unreadable").chmod(0o600)
    os.seteuid(65534)
Path(sys.argv[1], "other").mkdir()
other = Bench(Path(sys.argv[1], "other"))
found = other.step(play_as_root)
print(([file.path for file in found.outputs], sorted(note.partition(" ")[0] for note in found.notes),
       Path(other.published[0].where("tool")).stat().st_mode & 0o7777))
os.seteuid(0)
subprocess.run(["rm", "-rf", str(other.scratch)], check=True)
os.seteuid(65534)
bench.step(play_and_close)
print(bench.next_finds())
workspace = bench.stage("0")
play(workspace.folder / "unwritable")
(workspace.folder / "unwritable").chmod(0o000)
bench.workspaces.discard("0")
print(os.listdir(bench.scratch / "work"))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_that_is_not_root_publishes_and_removes_what_lacks_rights() -> None:
    folder = Path("/tmp") / f"pq-test-{os.getpid()}"  # pytest's own folders are closed to others
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    try:
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, str(folder)], capture_output=True, text=True,
                              cwd=Path(__file__).resolve().parents[2])  # fmt: skip
        assert done.returncode == 0, done.stderr
        of_root, found, left = done.stdout.splitlines()
        assert eval(of_root) == (
            ["mine", "theirs/file", "tool"], ["theirs_closed", "theirs_unreadable"], 0o755,
        )  # fmt: skip
        assert eval(found) == {
            "closed": None, "closed/file": "closed", "listed": None, "listed/file": "listed", "unwritable": None, "unwritable/file": "unwritable",
            "fixed": "fixed", "unreadable": "unreadable",
        }  # fmt: skip
        assert left == "[]"
    finally:
        remove_tree(folder)


def test_every_file_descriptor_is_given_back(bench: Bench) -> None:
    (bench.source / "a").write_text("x")
    bench.step(lambda folder: (folder / "b").write_text("y"))
    before = len(names_in("/proc/self/fd"))
    for _ in range(20):
        bench.step(lambda folder: (folder / "b").write_text("y"))
    assert len(names_in("/proc/self/fd")) == before


def test_threads_stage_the_same_new_snapshot_at_once(bench: Bench) -> None:
    for number in range(50):
        (bench.source / str(number)).write_text("x")
    digest = bench.digest()
    found: list[int] = []
    workers = [Workspaces(bench.scratch, bench.storage) for _ in range(2)]
    gate = threading.Barrier(8)

    def one(number: int) -> None:
        gate.wait(LIMIT_SECONDS)
        workspace = workers[number % 2].stage(str(number), digest, [])
        found.append(len(list(workspace.folder.iterdir())))
        workers[number % 2].discard(str(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    join_all(threads)
    assert found == [50] * 8
    assert names_in(bench.scratch / "snapshots") == [digest]


@pytest.mark.parametrize("gone", ["one file", "all"])
def test_an_extracted_snapshot_that_somebody_tidied_up_is_extracted_again(bench: Bench, gone: str) -> None:
    for name in ("a", "b"):
        (bench.source / name).write_text(name)
    bench.step(lambda folder: None)
    extracted = bench.scratch / "snapshots" / bench.digest()
    if gone == "all":
        shutil.rmtree(extracted)
    else:
        (extracted / "b").unlink()
    assert bench.next_finds() == {"a": "a", "b": "b"}


def test_a_snapshot_that_is_damaged_or_absent_is_never_run(bench: Bench) -> None:
    digest = bench.digest()
    archive = bench.storage.snapshot(digest)
    archive.write_bytes(archive.read_bytes()[:-512] + b"x" * 512)
    with pytest.raises(StorageError, match="damaged"):
        bench.workspaces.stage("0", digest, [])
    archive.unlink()
    with pytest.raises(StorageError, match="is this the storage of the submitter"):
        bench.workspaces.stage("1", digest, [])
    assert names_in(bench.scratch / "snapshots") == []


def test_an_earlier_step_without_its_manifest_is_a_storage_error(bench: Bench) -> None:
    bench.step(lambda folder: None)
    (bench.published[0].folder / "step.json").unlink()
    with pytest.raises(StorageError, match=r"has no manifest"):
        bench.stage("0")


STAGE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.integration.test_workspace import Bench
bench = Bench(Path(sys.argv[1]))
workspace = bench.stage("dead")
(workspace.folder / "left").write_text("x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_removes_what_a_killed_one_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    repository = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", STAGE_AND_DIE, str(tmp_path)], cwd=repository)
    work = tmp_path / "scratch" / "work"
    assert names_in(work) == ["dead"]
    bench = Workspaces(tmp_path / "scratch", Storage(tmp_path / "storage"))
    (work / "young").mkdir()
    (work / "held").mkdir()
    old = time.time() - 3600
    for name in ("dead", "held"):
        os.utime(work / name, (old, old))
    descriptor = os.open(work / "held", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert bench.remove_abandoned() == 1
        assert names_in(work) == ["held", "young"]
    finally:
        os.close(descriptor)


def test_a_snapshot_nobody_used_for_a_week_is_removed_and_comes_back_when_needed(bench: Bench) -> None:
    (bench.source / "a").write_text("a")
    bench.step(lambda folder: None)
    extracted = bench.scratch / "snapshots" / bench.digest()
    assert bench.workspaces.remove_abandoned() == 0
    old = time.time() - 8 * 24 * 3600
    os.utime(extracted, (old, old))
    assert bench.workspaces.remove_abandoned() == 1
    assert names_in(bench.scratch / "snapshots") == []
    assert bench.next_finds() == {"a": "a"}


def test_a_scratch_folder_of_somebody_else_or_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="not a folder of this user"):
        private_folder(tmp_path / "link")
    made = private_folder(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700


def test_of_many_snapshots_a_worker_remembers_the_latest_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.workspace._MAX_KEPT", 2)
    for number in (1, 2, 3, 4, 1):
        (bench.source / "file").write_text(str(number))
        assert bench.next_finds() == {"file": str(number)}
        assert len(bench.workspaces._known) <= 2
