"""A step's folder that is put back and used again: the next step finds in it what a plain copy holds."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_queue.contract.records import OutputFile, StepRecord
from pipeline_queue.storage.attempt_folder import put_files
from pipeline_queue.storage.snapshot import take_snapshot
from pipeline_queue.storage.storage import Storage
from tests.integration.attempt_site import names_in
from tests.integration.store_site import RUN, STEP, run_of, sweep_record, uid_of
from workers.folder_pool import FolderPool, can_see_changes
from workers.outputs import Workspace, find_outputs
from workers.workspace import Workspaces

Program = tuple[tuple[str, str, str], ...]

_NAMES = ("a", "b", "sub", "sub/x", "sub/deep", "sub/deep/y", "empty", "link", "link/y", "link/new", "new", "sub/new")
_BIND = 4096  # MS_BIND


class Place:
    """Stages one snapshot again and again, as attempts of many runs do."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "project"
        self.outside = folder / "outside"
        for made in (self.source / "sub" / "deep", self.source / "empty", self.outside):
            made.mkdir(parents=True)
        for name, text in (("a", "a" * 5000), ("b", ""), ("sub/x", "x"), ("sub/deep/y", "y" * 70_000)):
            (self.source / name).write_text(text)
        (self.source / "sub" / "x").chmod(0o755)
        (self.source / "link").symlink_to("sub/deep")
        (self.outside / "precious").write_text("precious")
        self.storage = Storage.open(folder / "storage")
        self.scratch = folder / "scratch"
        with take_snapshot(self.source) as snapshot:
            snapshot.store(self.storage)
            self.digest = snapshot.digest
        self.plain = _seen(Workspaces(folder / "other", self.storage).stage("0", self.digest, []).folder)
        self.begin()
        self._attempts = 0

    def begin(self) -> None:
        """As another worker."""
        self.workspaces = Workspaces(self.scratch, self.storage, max_idle_folders=4)

    def stage(self) -> tuple[str, Workspace]:
        self._attempts += 1
        uid = f"{os.getpid()}-{self._attempts}"
        return uid, self.workspaces.stage(uid, self.digest, [])

    def play(self, act: Callable[[Path], object]) -> bool:
        """One attempt whose step does that, and publishes; whether its folder waits for the next one."""
        uid, workspace = self.stage()
        assert _seen(workspace.folder) == self.plain
        act(workspace.folder)
        found = find_outputs(workspace, ())
        self.workspaces.note_changes(uid, found.changes)
        published = self.scratch.parent / f"published-{uid}"
        published.mkdir()
        with suppress(OSError):
            put_files(workspace.folder, found.outputs, published / "outputs")
        self.workspaces.discard(uid)
        assert uid not in names_in(self.scratch / "work")
        return bool(self.waiting())

    def waiting(self) -> list[Path]:
        """The folders in the pool."""
        return [path for owner in (self.scratch / "pool").glob("*") for path in owner.iterdir()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    if not can_see_changes(tmp_path):
        pytest.skip("this file system does not show every change of a file, so no folder is used again")
    return Place(tmp_path)


def _seen(folder: Path) -> dict[str, object]:
    """All that a step can see of its folder, but for inodes and the times of folders."""
    found: dict[str, object] = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        found[str(path.relative_to(folder))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink if not stat.S_ISDIR(status.st_mode) else None,
            status.st_mtime_ns if is_file else None,
            path.read_bytes() if is_file else str(path.readlink()) if path.is_symlink() else None,
            sorted(os.listxattr(path, follow_symlinks=False)),
        )
    return {**found, **{name: _without_time(found[name]) for name in found}}


def _without_time(seen: object) -> object:
    # Each worker extracts the snapshot for itself, so that the times of its copies are its own.
    assert isinstance(seen, tuple)
    return seen[:4] + seen[5:]


def _append(path: Path, _: Path, __: Path) -> None:
    with path.open("a") as file:
        file.write("+")


def _map(path: Path, is_read_first: bool = False) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        if is_read_first:
            mapped.read(1)
        mapped[0] = 33


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _make_folder(path: Path, _: Path, __: Path) -> None:
    path.mkdir()
    (path / "within").write_text("new")


def _replace(path: Path, _: Path, __: Path) -> None:
    status = path.stat()
    swap = path.with_name("swap")
    swap.write_bytes(b"z" * status.st_size)
    os.utime(swap, ns=(status.st_atime_ns, status.st_mtime_ns))
    swap.rename(path)


def _reset_times(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"z" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _write_outside(path: Path, _: Path, outside: Path) -> None:
    """Through a link in the place of a folder."""
    with suppress(OSError):
        _delete(path)
    path.symlink_to(outside)
    (path / "made").write_text("outside")


ACTS: dict[str, Callable[[Path, Path, Path], object]] = {
    "write": lambda path, other, outside: path.write_text("other"),
    "append": _append,
    "truncate": lambda path, other, outside: os.truncate(path, 3),
    "map": lambda path, other, outside: _map(path),
    "map after reading": lambda path, other, outside: _map(path, True),
    "delete": lambda path, other, outside: _delete(path),
    "make folder": _make_folder,
    "rename": lambda path, other, outside: path.rename(other),
    "link to": lambda path, other, outside: path.symlink_to(outside),
    "hard link": lambda path, other, outside: os.link(path, other, follow_symlinks=False),
    "hard link to outside": lambda path, other, outside: os.link(path, outside / f"kept-{path.name}"),
    "rights": lambda path, other, outside: path.chmod(0o600),
    "folder rights": lambda path, other, outside: path.parent.chmod(0o700),
    "no rights": lambda path, other, outside: path.chmod(0),
    "times": lambda path, other, outside: os.utime(path, ns=(1, 1), follow_symlinks=False),
    "replace": _replace,
    "reset times": lambda path, other, outside: _reset_times(path),
    "attribute": lambda path, other, outside: os.setxattr(path, "user.note", b"x"),
    "write outside by link": _write_outside,
}
"""What steps do to a path, with another one, and with a folder outside; an OSError leaves it undone."""


def _run(program: Program, outside: Path) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        for kind, name, other in program:
            with suppress(OSError, ValueError):
                ACTS[kind](folder / name, folder / other, outside)

    return act


programs = st.lists(
    st.tuples(st.sampled_from(list(ACTS)), st.sampled_from(_NAMES), st.sampled_from(_NAMES)), max_size=8
).map(tuple)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=programs, second=programs)
def test_a_step_finds_a_plain_copy_whatever_the_step_before_it_did(
    place: Place, first: Program, second: Program
) -> None:
    for program in (first, second, ()):
        place.play(_run(program, place.outside))
    assert (place.outside / "precious").read_text() == "precious"


@pytest.mark.parametrize("kind", ACTS)
@pytest.mark.parametrize("name", ["a", "sub", "sub/x", "sub/deep", "link", "new"])
def test_after_each_single_change_the_folder_is_used_again_as_a_plain_copy(place: Place, kind: str, name: str) -> None:
    place.play(_run(((kind, name, "other"),), place.outside))
    assert place.play(lambda folder: None)


def test_the_same_folder_serves_attempt_after_attempt_and_every_change_is_seen(place: Place) -> None:
    inodes = set()
    for _ in range(5):
        uid, workspace = place.stage()
        inodes.add((workspace.folder / "a").stat().st_ino)
        (workspace.folder / "sub" / "x").write_text("!")
        found = find_outputs(workspace, ())
        assert found.outputs == (OutputFile(path="sub/x", size=1),)
        place.workspaces.note_changes(uid, found.changes)
        place.workspaces.discard(uid)
    assert len(inodes) == 1
    assert len(place.waiting()) == 1


def test_a_change_in_the_first_moment_with_its_time_reset_is_seen(place: Place) -> None:
    for _ in range(100):
        uid, workspace = place.stage()
        _reset_times(workspace.folder / "sub" / "x")
        found = find_outputs(workspace, ())
        assert [file.path for file in found.outputs] == ["sub/x"]
        place.workspaces.note_changes(uid, found.changes)
        place.workspaces.discard(uid)


def test_nothing_is_shared_with_the_extracted_snapshot(place: Place) -> None:
    place.play(lambda folder: (folder / "a").write_text("changed"))
    _, workspace = place.stage()
    extracted = {path.stat().st_ino for path in (place.scratch / "snapshots" / place.digest).rglob("*")}
    assert not extracted & {path.lstat().st_ino for path in workspace.folder.rglob("*")}


def test_a_folder_is_not_used_again_unless_its_processes_are_known_to_be_dead(place: Place) -> None:
    uid, workspace = place.stage()
    find_outputs(workspace, ())
    place.workspaces.discard(uid)
    assert place.waiting() == []


@pytest.mark.parametrize("spoil", ["remove", "link", "above"])
def test_a_step_that_replaced_its_own_folder_leaves_none_to_use_again(place: Place, spoil: str) -> None:
    def act(folder: Path) -> None:
        if spoil == "above":
            shutil.rmtree(folder.parent)
        else:
            shutil.rmtree(folder)
            if spoil == "link":
                folder.symlink_to(place.outside)

    assert not place.play(act)
    assert (place.outside / "precious").read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount and give files away")
@pytest.mark.parametrize("spoil", ["mount", "owner of a folder", "attribute of a folder"])
def test_what_cannot_be_put_back_with_certainty_is_not_used_again(place: Place, spoil: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    mounted: list[Path] = []

    def act(folder: Path) -> None:
        if spoil == "mount":
            target = os.fsencode(folder / "empty")
            if libc.mount(target, target, None, _BIND, None) != 0:
                pytest.skip("cannot mount here")
            mounted.append(folder / "empty")
        elif spoil == "owner of a folder":
            os.chown(folder / "sub", 12345, -1)
        else:
            os.setxattr(folder / "sub", "user.note", b"x")

    uid, workspace = place.stage()
    act(workspace.folder)
    found = find_outputs(workspace, ())
    place.workspaces.note_changes(uid, found.changes)
    try:
        place.workspaces.discard(uid)
        assert place.waiting() == []
    finally:
        for target in mounted:
            libc.umount2(os.fsencode(target), 2)
        shutil.rmtree(place.scratch / "work" / uid, ignore_errors=True)


def test_somebody_who_tidies_the_pool_up_costs_a_copy_and_nothing_else(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.play(lambda folder: None)
    shutil.rmtree(place.scratch / "pool")
    place.play(lambda folder: None)
    monkeypatch.setattr("workers.folder_pool._SURE_SECONDS", -1.0)
    assert place.play(lambda folder: None)
    (waiting,) = place.waiting()
    (waiting / "sub" / "x").unlink()
    assert place.play(lambda folder: None)


def _replace_link_by_copy(link: Path) -> None:
    """As `rm data && cp -r /mnt/dataset data` does."""
    target = link.resolve()
    link.unlink()
    shutil.copytree(target, link)


def _make_dataset(place: Place) -> dict[str, object]:
    (place.outside / "train" / "deep").mkdir(parents=True)
    (place.outside / "train" / "deep" / "one").write_text("one")
    (place.outside / "train" / "two").write_text("two")
    return _seen(place.outside)


def test_a_step_that_replaces_a_link_to_data_by_a_copy_leaves_the_data_alone(place: Place) -> None:
    dataset, links = _make_dataset(place), {"data": str(place.outside)}
    for uid in ("1", "2"):
        workspace = place.workspaces.stage(uid, place.digest, [], links=links)
        assert (workspace.folder / "data").is_symlink()
        _replace_link_by_copy(workspace.folder / "data")
        place.workspaces.note_changes(uid, find_outputs(workspace, ()).changes)
        place.workspaces.discard(uid)
        assert _seen(place.outside) == dataset
        assert len(place.waiting()) == 1


def test_a_step_after_one_that_published_such_a_copy_leaves_the_data_alone(place: Place) -> None:
    dataset, links = _make_dataset(place), {"data": str(place.outside)}
    place.storage.commit_sweep(sweep_record(), b"text")
    run = run_of(place.storage)
    workspace = place.workspaces.stage("1", place.digest, [], links=links)
    _replace_link_by_copy(workspace.folder / "data")
    found = find_outputs(workspace, ())
    slot = run.begin_attempt(STEP, 1, uid_of(1))
    slot.make()
    slot.put_outputs(workspace.folder, found.outputs)
    slot.write_record(
        StepRecord(
            run=str(RUN), step=STEP, attempt=1, uid=uid_of(1), state="succeeded", outputs=found.outputs,
            deleted=found.deleted,
        )
    )  # fmt: skip
    assert slot.publish(run.step(STEP))
    place.workspaces.discard("1")
    later = place.workspaces.stage("2", place.digest, [run.step(STEP)], links=links)
    assert not (later.folder / "data").is_symlink() and (later.folder / "data" / "train" / "two").exists()
    place.workspaces.note_changes("2", find_outputs(later, ()).changes)
    place.workspaces.discard("2")
    assert _seen(place.outside) == dataset
    assert (place.workspaces.stage("3", place.digest, [], links=links).folder / "data").is_symlink()


def test_a_link_of_the_snapshot_that_became_a_folder_takes_nothing_from_where_it_leads(place: Place) -> None:
    assert place.play(lambda folder: _replace_link_by_copy(folder / "link"))
    assert place.play(lambda folder: None)


def test_a_folder_that_is_too_large_to_wait_drives_no_other_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.play(lambda folder: None)
    before = place.waiting()
    uid, workspace = place.stage()
    place.workspaces.note_changes(uid, find_outputs(workspace, ()).changes)
    other = place.workspaces.stage("other", place.digest, [])
    place.workspaces.note_changes("other", find_outputs(other, ()).changes)
    place.workspaces.discard("other")
    assert len(before) == 1 and len(place.waiting()) == 1
    monkeypatch.setattr("workers.folder_pool._MAX_INODES", 3)
    place.workspaces.discard(uid)
    assert len(place.waiting()) == 1 == place.workspaces.idle().folders


def test_a_folder_that_cannot_be_moved_leaks_none_that_made_room_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.workspaces = Workspaces(place.scratch, place.storage, max_idle_folders=1)
    uids = [place.stage() for _ in range(2)]
    for uid, workspace in uids:
        place.workspaces.note_changes(uid, find_outputs(workspace, ()).changes)
    place.workspaces.discard(uids[0][0])
    assert len(place.waiting()) == 1

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, "no rename now", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        place.workspaces.discard(uids[1][0])
    assert len(place.waiting()) == place.workspaces.idle().folders
    assert names_in(place.scratch / "work") == []


def test_a_fault_while_a_folder_is_put_back_costs_the_folder_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, workspace = place.stage()
    place.workspaces.note_changes(uid, find_outputs(workspace, ()).changes)

    def break_down(*_: object) -> bool:
        raise IndexError("a fault of ours")

    monkeypatch.setattr("workers.staged_folder.holds_mount", break_down)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    place.workspaces.discard(uid)
    assert place.waiting() == [] and names_in(place.scratch / "work") == []
    assert len(os.listdir("/proc/self/fd")) < before  # noqa: PTH208


def test_no_more_folders_wait_than_allowed_and_idle_ones_go(place: Place) -> None:
    place.workspaces = Workspaces(place.scratch, place.storage, max_idle_folders=2)
    held = [place.stage() for _ in range(4)]
    for uid, workspace in held:
        place.workspaces.note_changes(uid, find_outputs(workspace, ()).changes)
        place.workspaces.discard(uid)
    assert len(place.waiting()) == 2
    assert str(place.workspaces.idle()) == "2 staged folders wait for the next step (147 KiB)"
    place.workspaces.remove_idle(0.0)
    assert place.waiting() == []


DIE_IN_PUT_BACK = """
import os, signal, sys
from pathlib import Path
from tests.integration.test_folder_reuse import Place
from workers import staged_folder
place = Place.__new__(Place)
place.__dict__.update(eval(sys.argv[1], {"Path": Path, "PosixPath": Path}))
from pipeline_queue.storage.storage import Storage
place.storage = Storage.open(place.source.parent / "storage")
place.begin()
place._attempts = 0
def act(folder):
    (folder / "a").write_text("changed")
    (folder / "sub" / "x").unlink()
    (folder / "new").mkdir()
    (folder / "sub" / "deep").chmod(0o700)
left = int(sys.argv[2])
def counted(call):
    def wrapper(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return wrapper
place.play(lambda folder: None)
P = Path
for owner, name in (
    (staged_folder, "remove_entry"), (staged_folder, "copy_entry"), (os, "utime"), (P, "chmod"), (P, "rename"), (P, "mkdir")
):
    setattr(owner, name, counted(getattr(owner, name)))
uid, workspace = place.stage()
act(workspace.folder)
from workers.outputs import find_outputs
place.workspaces.note_changes(uid, find_outputs(workspace, ()).changes)
print("begun", flush=True)
place.workspaces.discard(uid)
print("done", left)
"""


def test_a_worker_killed_anywhere_in_putting_back_leaves_no_wrong_byte(place: Place) -> None:
    known = repr({name: getattr(place, name) for name in ("source", "outside", "scratch", "digest", "plain")})
    killed = 0
    for number in range(100):
        done = subprocess.run(
            [sys.executable, "-c", DIE_IN_PUT_BACK, known, str(number)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        place.begin()
        assert place.play(lambda folder: None), done.stderr
        if "done" in done.stdout:
            break
        killed += "begun" in done.stdout
    assert done.returncode == 0, done.stderr
    assert killed >= 5


def test_what_a_killed_worker_left_waiting_is_removed_and_never_used(place: Place, tmp_path: Path) -> None:
    place.play(lambda folder: None)
    (waiting,) = place.waiting()
    pool = place.workspaces._pool
    assert isinstance(pool, FolderPool)
    other = Workspaces(place.scratch, place.storage, max_idle_folders=4)
    old = waiting.parent.stat().st_mtime - 3600
    os.utime(waiting.parent, (old, old))
    assert other.remove_abandoned() == 0
    os.close(pool._lock)  # as its death does
    assert other.remove_abandoned() == 1
    assert place.waiting() == []
    pool._lock = -1
