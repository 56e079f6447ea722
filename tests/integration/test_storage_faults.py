"""Disks that are full, fail, or are not there: work waits and goes on, nothing is blamed on a step, nothing is half."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Reject

from pipeline_queue.broker.app import make_app
from pipeline_queue.broker.message import TASK_NAME
from pipeline_queue.client import Client
from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.settings import Settings
from pipeline_queue.index.storage_match import open_storage
from pipeline_queue.local.server import Server, start_server
from pipeline_queue.storage import attempt_folder
from pipeline_queue.storage.attempt_folder import AttemptFolder
from pipeline_queue.storage.reading import read_step
from pipeline_queue.storage.run_folder import RunFolder
from pipeline_queue.storage.storage import Storage
from tests.conftest import GENEROUS_SECONDS, Cluster, plain_environment, wait_until, write_folder
from tests.integration.attempt_site import Attempting, Site, names_in, new_site
from tests.integration.small_disk import SmallDisk, small_disk
from workers import launch as launch_module
from workers.agents import disk_monitor
from workers.agents import lease_keeper as lease_module
from workers.agents.reconciler import Reconciler
from workers.context import SweepCache
from workers.outputs import Workspace
from workers.tasks import register
from workers.workspace import Workspaces

FILLS = pytest.mark.parametrize("fill", [SmallDisk.fill_bytes, SmallDisk.fill_inodes], ids=["bytes", "inodes"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what runs in this process."""
    monkeypatch.setattr(disk_monitor, "_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(disk_monitor, "_AGREE_SECONDS", 0.05)


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    path = tmp_path / "witness"
    path.touch()
    return path


def _one_step(witness: Path, code: str = "", more: str = "") -> str:
    body = f"open({str(witness)!r}, 'a').write('ran '); open('out', 'wb').write(b'x' * 100_000)\n{code}"
    return f"pipeline:\n  steps:\n  - one: {{run: [python, -c, {body!r}]{more}}}\n"


def _waits_for(gate: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"


@FILLS
def test_an_attempt_whose_storage_is_full_waits_and_publishes_without_running_again(
    server: Server, tmp_path: Path, witness: Path, fill: Callable[[SmallDisk], None], caplog: pytest.LogCaptureFixture
) -> None:
    gate = tmp_path / "gate"
    caplog.set_level(logging.INFO)
    with small_disk(tmp_path / "disk") as disk, new_site(server, disk.folder) as on_disk:
        site = replace(on_disk, settings=replace(on_disk.settings, scratch=tmp_path / "scratch"))
        run, worker = site.submit(_one_step(witness, _waits_for(gate))), site.worker()
        doing = Attempting(run, worker, "one")
        wait_until(lambda: witness.read_text(), "the step runs")
        fill(disk)
        gate.touch()
        wait_until(lambda: not worker.admission.is_open(), "the worker takes no more")
        (reason,) = worker.admission.reasons()
        assert str(site.storage.root) in reason and "full" in reason and " free" in reason and "inodes" in reason
        wait_until(lambda: reason in caplog.text, "it is logged")
        assert doing.is_alive() and not run.paths.step("one").exists()
        disk.free()
        assert doing.outcome().kind == "go_on"
        assert witness.read_text() == "ran "
        assert run.states() == ("succeeded", ["succeeded"])
        record = read_step(run.paths.step("one"))
        assert record is not None and record.attempt == 1
        assert (run.paths.step("one") / "outputs" / "out").read_bytes() == b"x" * 100_000
        assert site.redis.hget(f"pq1:run:{run.id}", "one|deaths") in (None, "0")
        worker.disks.start()
        wait_until(worker.admission.is_open, "the worker takes steps again")
        worker.disks.stop()


def test_an_attempt_that_waits_for_room_ends_with_a_cancel(server: Server, tmp_path: Path, witness: Path) -> None:
    gate = tmp_path / "gate"
    with small_disk(tmp_path / "disk") as disk, new_site(server, disk.folder) as on_disk:
        site = replace(on_disk, settings=replace(on_disk.settings, scratch=tmp_path / "scratch"))
        run, worker = site.submit(_one_step(witness, _waits_for(gate))), site.worker()
        doing = Attempting(run, worker, "one")
        wait_until(lambda: witness.read_text(), "the step runs")
        disk.fill_bytes()
        gate.touch()
        wait_until(lambda: not worker.admission.is_open(), "it waits")
        assert site.run_index.cancel(run.id) == "running"
        held = next(iter(worker.leases._held.values()))
        wait_until(lambda: held.cancelled, "the keeper heard of it")
        disk.free()
        assert doing.outcome().kind == "cancelled"
        assert not run.paths.step("one").exists()


def test_an_attempt_that_waits_for_room_is_handed_back_when_its_worker_stops(
    server: Server, tmp_path: Path, witness: Path
) -> None:
    gate = tmp_path / "gate"
    with small_disk(tmp_path / "disk") as disk, new_site(server, disk.folder) as on_disk:
        site = replace(on_disk, settings=replace(on_disk.settings, scratch=tmp_path / "scratch"))
        run, worker = site.submit(_one_step(witness, _waits_for(gate))), site.worker()
        doing = Attempting(run, worker, "one")
        wait_until(lambda: witness.read_text(), "the step runs")
        disk.fill_bytes()
        gate.touch()
        wait_until(lambda: not worker.admission.is_open(), "it waits")
        worker.executor.close()
        assert doing.outcome().kind == "retry"
        assert site.redis.hget(f"pq1:run:{run.id}", "one|deaths") in (None, "0")
        disk.free()
        assert run.attempt(site.worker("two@test"), "one").kind == "go_on"
        assert run.states() == ("succeeded", ["succeeded"])


@FILLS
def test_a_step_that_meets_a_full_storage_is_tried_again_and_counts_for_nothing(
    server: Server, tmp_path: Path, witness: Path, fill: Callable[[SmallDisk], None]
) -> None:
    with small_disk(tmp_path / "disk") as disk, new_site(server, disk.folder) as on_disk:
        site = replace(on_disk, settings=replace(on_disk.settings, scratch=tmp_path / "scratch"))
        run, worker = site.submit(_one_step(witness)), site.worker()
        run.paths.folder.mkdir(parents=True)
        fill(disk)
        for _ in range(5):
            site.redis.hset(f"pq1:run:{run.id}", "one|due", 0)
            doing = Attempting(run, worker, "one")
            # With inodes gone it does not begin; with bytes gone it may run, and waits to publish.
            wait_until(
                lambda doing=doing: not doing.is_alive() or not worker.admission.is_open(), "the disk is noticed"
            )
            if doing.is_alive():
                break
            assert doing.outcome().kind == "retry" and str(disk.folder) in doing.outcome().text
        assert run.states()[0] == "running" and site.redis.hget(f"pq1:run:{run.id}", "one|deaths") in (None, "0")
        disk.free()
        if not doing.is_alive():
            site.redis.hset(f"pq1:run:{run.id}", "one|due", 0)
            doing = Attempting(run, worker, "one")
        assert doing.outcome().kind == "go_on"
        assert names_in(run.paths.step("one")) == ["outputs", "step.json"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EDQUOT, errno.ENOSPC])
@pytest.mark.parametrize("operation", ["put_outputs", "write_record", "publish", "write_end"])
def test_a_passing_error_at_any_write_is_tried_again_and_executes_nothing_twice(
    site: Site, witness: Path, monkeypatch: pytest.MonkeyPatch, number: int, operation: str
) -> None:
    place = RunFolder if operation == "write_end" else AttemptFolder
    real, failures = getattr(place, operation), [OSError(number, os.strerror(number))] * 2

    def failing(*arguments: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments, **more)

    monkeypatch.setattr(place, operation, failing)
    run, worker = site.submit(_one_step(witness)), site.worker()
    assert run.attempt(worker, "one").kind == "go_on"
    assert failures == [] and witness.read_text() == "ran "
    assert run.states() == ("succeeded", ["succeeded"])


def test_an_output_that_the_storage_cannot_take_is_the_steps_failure(
    site: Site, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt elsewhere would do better: it fails with its name, and no worker is blamed."""

    def too_large(source: Path, *more: Any) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(source))

    monkeypatch.setattr(attempt_folder, "move_entry", too_large)
    worker = site.worker()
    for _ in range(6):
        run = site.submit(_one_step(witness))
        outcome = run.attempt(worker, "one")
        assert outcome.kind == "failed" and "its output 'out'" in outcome.text and "File too large" in outcome.text
        assert run.states() == ("failed", ["failed"]) and run.paths.end() is not None
        assert site.redis.hget(f"pq1:run:{run.id}", "one|deaths") in (None, "0")
    assert worker.admission.is_open(), worker.admission.reasons()


def test_a_passing_error_after_much_has_been_moved_is_tried_again(
    site: Site, witness: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_monitor, "_PASSING_SECONDS", 0.5)
    real, failures = AttemptFolder.put_outputs, [OSError(errno.ESTALE, os.strerror(errno.ESTALE))]

    def slow(*arguments: Any) -> Any:
        if failures:
            time.sleep(1)
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(AttemptFolder, "put_outputs", slow)
    run, worker = site.submit(_one_step(witness)), site.worker()
    assert run.attempt(worker, "one").kind == "go_on"
    assert failures == [] and witness.read_text() == "ran "


def test_a_move_that_failed_half_way_goes_on_where_it_was(
    site: Site, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across file systems, where files are copied: the second has no room at first."""
    import shutil

    real, failures = shutil.copy2, [OSError(errno.ENOSPC, "no room")]
    copied: list[str] = []

    def copying(source: Path, destination: Path) -> None:
        if source.name == "second" and failures:
            destination.write_text("ha")
            raise failures.pop()
        copied.append(source.name)
        real(source, destination)

    def across(self: Path, target: Path) -> Path:
        if "work" in self.parts and self.parent.parent.name == "work":
            raise OSError(errno.EXDEV, "another disk")
        return real_rename(self, target)

    real_rename = Path.rename
    monkeypatch.setattr(shutil, "copy2", copying)
    monkeypatch.setattr(Path, "rename", across)
    code = "[open(name, 'w').write(name) for name in ('first', 'second', 'third')]; import os; os.symlink('first', 'a')"
    run, worker = site.submit(_one_step(witness, code)), site.worker()
    assert run.attempt(worker, "one").kind == "go_on"
    assert copied == ["first", "out", "second", "third"]
    outputs = run.paths.step("one") / "outputs"
    assert [(outputs / name).read_text() for name in ("a", "first", "second", "third")] == [
        "first", "first", "second", "third",
    ]  # fmt: skip


def test_a_full_scratch_disk_is_named_and_is_not_the_steps_failure(
    server: Server, tmp_path: Path, witness: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk, new_site(server, tmp_path) as on_disk:
        site = replace(on_disk, settings=replace(on_disk.settings, scratch=disk.folder / "scratch"))
        code = "open('big', 'wb').write(b'x' * 50_000_000)"
        run, worker = site.submit(_one_step(witness, code)), site.worker()
        outcome = run.attempt(worker, "one")
        assert outcome.kind == "retry"
        assert f"the scratch disk {disk.folder / 'scratch'} is full" in outcome.text and " free" in outcome.text
        assert not worker.admission.is_open()
        assert site.redis.hget(f"pq1:run:{run.id}", "one|failures") in (None, "0")
        worker.disks.start()
        wait_until(worker.admission.is_open, "its folder was removed: there is room again")
        worker.disks.stop()


def test_a_scratch_disk_that_is_full_before_the_step_counts_for_nothing(
    server: Server, tmp_path: Path, witness: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk, new_site(server, tmp_path) as on_disk:
        site = replace(on_disk, settings=replace(on_disk.settings, scratch=disk.folder / "scratch"))
        run, worker = site.submit(_one_step(witness)), site.worker()
        disk.fill_inodes()
        outcome = run.attempt(worker, "one")
        assert outcome.kind == "retry" and "scratch disk" in outcome.text and "0 inodes" in outcome.text
        assert witness.read_text() == "" and site.redis.hget(f"pq1:run:{run.id}", "one|deaths") in (None, "0")


def test_a_message_that_meets_a_held_worker_goes_back_to_the_queue(site: Site, witness: Path) -> None:
    worker = site.worker()
    worker.admission.hold("storage", "it is full")
    app = make_app("redis://nowhere")
    app.worker_context = worker
    register(app)
    app.finalize()
    run = site.submit(_one_step(witness))
    with pytest.raises(Reject) as caught:
        app.tasks[TASK_NAME](run.message("one").envelope())
    assert caught.value.requeue and witness.read_text() == "" and run.states()[0] == "queued"


def test_what_a_failed_step_left_is_not_kept_where_little_room_is_left(
    server: Server, tmp_path: Path, witness: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk, new_site(server, tmp_path) as plain:
        storage = Storage.open(disk.folder / "storage")
        site = replace(plain, storage=storage, settings=replace(plain.settings, storage=storage.root))
        run = site.submit(_one_step(witness, "raise SystemExit(3)"))
        assert run.attempt(site.worker(), "one").kind == "failed"
        (step,) = run.report().steps
        assert step.kept is None
        assert any(note.startswith("not kept of what it left: 1 file (the storage has only ") for note in step.notes)
        assert not list(storage.root.rglob("kept"))


def test_a_damaged_output_fails_the_runs_that_need_it_and_pauses_no_worker(site: Site, witness: Path) -> None:
    text = _one_step(witness) + "  - two: {run: [cat, out]}\n"
    worker = site.worker()
    for _ in range(6):
        run = site.submit(text)
        assert run.attempt(worker, "one").kind == "go_on"
        (run.paths.step("one") / "outputs" / "out").write_bytes(b"y" * 100_000)
        outcome = run.attempt(worker, "two")
        assert outcome.kind == "retry"
        assert "outputs/out is damaged: it is not what its step published (sha256)" in outcome.text
    assert worker.admission.is_open(), worker.admission.reasons()


class _Broken(Workspaces):
    def stage(self, uid: str, *more: object, **others: object) -> Workspace:
        raise RuntimeError("no step can be begun here")


def test_a_worker_on_which_five_steps_in_a_row_die_takes_no_more(site: Site, witness: Path) -> None:
    worker = site.worker()
    broken = replace(worker, workspaces=_Broken(site.settings.scratch, site.storage))
    for number in range(5):
        assert worker.admission.is_open(), number
        with pytest.raises(RuntimeError):
            site.submit(_one_step(witness)).attempt(broken, "one")
    (reason,) = worker.admission.reasons()
    assert "5 steps in a row" in reason and "no step can be begun here" in reason


def test_a_worker_that_was_cut_off_from_the_broker_takes_steps_again(
    site: Site, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that ran on it has ended at once, for lack of a lease: that says nothing about this machine."""
    for module in (lease_module, launch_module):
        monkeypatch.setattr(module, "TRUSTED_SECONDS", 1.0)
    worker = site.worker(keeps_leases=False)
    runs = [site.submit(_one_step(witness, _waits_for(tmp_path / "never"))) for _ in range(6)]
    doing = [Attempting(run, worker, "one") for run in runs]
    assert [one.outcome().kind for one in doing] == ["dropped"] * 6
    assert worker.admission.is_open(), worker.admission.reasons()


# The right storage.


def test_an_empty_folder_is_no_new_storage_where_the_broker_knows_another(site: Site, tmp_path: Path) -> None:
    open_storage(site.storage.root, site.run_index)
    empty = tmp_path / "not mounted"
    empty.mkdir()
    with pytest.raises(StorageError, match=r"is it mounted\?"):
        open_storage(empty, site.run_index)
    assert names_in(empty) == []
    with pytest.raises(StorageError, match=r"is it mounted\?"):
        open_storage(tmp_path / "missing", site.run_index)
    assert not (tmp_path / "missing").exists()
    other = Storage.open(tmp_path / "other")
    with pytest.raises(StorageError, match=f"{other.token()}.*{site.storage.token()}"):
        open_storage(other.root, site.run_index)
    assert open_storage(site.storage.root, site.run_index) == site.storage


def test_a_submitter_without_the_mount_is_refused_and_writes_nothing(site: Site, tmp_path: Path) -> None:
    open_storage(site.storage.root, site.run_index)
    folder = write_folder(tmp_path / "project", pipeline_yaml="pipeline:\n  steps:\n  - one: {run: /bin/true}\n")
    (tmp_path / "empty").mkdir()
    client = Client(tmp_path / "empty", replace(site.settings, storage=tmp_path / "empty"))
    with client, pytest.raises(StorageError, match="is it mounted"):
        client.submit(client.load(folder / "pipeline.yaml"))
    assert names_in(tmp_path / "empty") == [] and site.run_index.active() == 0


def test_a_storage_that_vanishes_holds_the_worker_until_it_is_back(site: Site, witness: Path) -> None:
    run, worker = site.submit(_one_step(witness)), site.worker()
    worker.disks.start()
    away = site.storage.root.with_name("away")
    site.storage.root.rename(away)
    site.storage.root.mkdir()
    wait_until(lambda: not worker.admission.is_open(), "it is noticed")
    assert "is it mounted?" in worker.admission.reasons()[0]
    with pytest.raises(StorageError, match=r"is it mounted\?"):
        run.attempt(worker, "one")
    assert names_in(site.storage.root) == [] and witness.read_text() == ""
    site.storage.root.rmdir()
    away.rename(site.storage.root)
    wait_until(worker.admission.is_open, "it is back")
    worker.disks.stop()


def test_a_sweep_that_is_known_is_not_begun_where_the_storage_is_not(site: Site, witness: Path) -> None:
    run, worker = site.submit(_one_step(witness)), site.worker()
    worker.sweeps.get(run.id.sweep)
    away = site.storage.root.with_name("away")
    site.storage.root.rename(away)
    site.storage.root.mkdir()
    outcome = run.attempt(worker, "one")
    assert outcome.kind == "retry" and "is the storage mounted?" in outcome.text
    assert names_in(site.storage.root) == [] and witness.read_text() == ""


def test_the_reconciler_forgets_nothing_while_the_storage_is_not_there(site: Site, witness: Path) -> None:
    run = site.submit(_one_step(witness))
    site.run_index.enqueue_later(run.id, "one", 0)
    away = site.storage.root.with_name("away")
    site.storage.root.rename(away)
    site.storage.root.mkdir()
    reconciler = Reconciler("one@test", site.run_index, site.storage, SweepCache(site.storage))
    reconciler.start()
    wait_until(
        lambda: (site.redis.zscore("pq1:retries", f"{run.id} one") or 0) > site.run_index.time() * 1000, "it has looked"
    )
    reconciler.stop()
    assert site.run_index.run(run.id) is not None and site.run_index.active() == 1


def test_a_worker_whose_broker_came_to_another_storage_takes_nothing(site: Site) -> None:
    worker = site.worker()
    worker.disks.start()
    site.run_index.server.agree_on_storage("another", anew=True)
    wait_until(lambda: not worker.admission.is_open(), "it is noticed")
    assert "another" in worker.admission.reasons()[0]
    worker.disks.stop()


# With Celery in between.


@pytest.fixture
def small_cluster(tmp_path: Path) -> Iterator[tuple[Cluster, SmallDisk]]:
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", size="64m", inodes=20_000))
        server = start_server(tmp_path / "server.log")
        stack.callback(server.stop)
        settings = Settings(server.broker_url, disk.folder / "storage", tmp_path / "scratch")
        client = stack.enter_context(Client(settings.storage, settings))
        yield Cluster(settings, client, stack), disk


@FILLS
def test_a_sweep_over_a_disk_that_is_full_for_a_while_succeeds_whole(
    small_cluster: tuple[Cluster, SmallDisk], tmp_path: Path, witness: Path, fill: Callable[[SmallDisk], None]
) -> None:
    cluster, disk = small_cluster
    code = (
        f"open({str(witness)!r}, 'a').write('x')\nimport time; time.sleep(0.2); open('out', 'wb').write(b'x' * 50_000)"
    )
    text = (
        "pipeline:\n  parameters:\n  - {name: x, type: int}\n  steps:\n"
        f"  - one: {{run: [python, -c, {code!r}], args: ['${{{{ parameters.x }}}}']}}\n"
    )
    folder = write_folder(tmp_path / "project", pipeline_yaml=text)
    for name in ("one", "two"):
        cluster.start_worker(name=name)
    shell = cluster.shell(folder)
    shell("sweep", "pipeline.yaml", "-p", "x=range(0,30)", "--name", "night", "--detach")
    wait_until(lambda: len(witness.read_text()) >= 4, "steps run")
    fill(disk)
    wait_until(lambda: len(cluster.client.holds()) >= 2, "both workers are held")
    doctor = shell("doctor", exit_code=None).stdout
    assert "takes no steps: the storage" in doctor and "inodes free" in doctor
    status = shell("status")
    assert f"takes no steps: the storage {cluster.settings.storage} is full" in status.stderr
    before = len(witness.read_text())
    assert cluster.client.sweep("last").counts["failed"] == 0
    disk.free()
    report = cluster.client.wait_sweep("last", GENEROUS_SECONDS)
    assert (report.state, report.counts["succeeded"]) == ("succeeded", 30)
    wait_until(lambda: not cluster.client.holds(), "both say that they take steps again")
    assert before <= len(witness.read_text()) <= 34


def test_a_worker_without_the_mount_refuses_to_start_and_says_why(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml="pipeline:\n  steps:\n  - one: {run: /bin/true}\n")
    cluster.client.submit(cluster.client.load(folder / "pipeline.yaml"))
    (tmp_path / "empty").mkdir()
    settings = replace(cluster.settings, storage=tmp_path / "empty")
    command = [sys.executable, "-P", "-m", "workers", "worker", "--concurrency", "1"]
    done = subprocess.run(
        command,
        env=plain_environment(**settings.environment()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3 and "is it mounted?" in done.stderr and "Traceback" not in done.stderr
    assert names_in(tmp_path / "empty") == []
    shell = replace(cluster.shell(folder), environment=plain_environment(**settings.environment()))
    assert "storage of the broker" in shell("doctor", exit_code=3).stdout
    assert names_in(tmp_path / "empty") == []
    assert "storage of the broker: now " in shell("doctor", "--adopt-storage", exit_code=None).stdout
    assert shell("run", "pipeline.yaml", "--detach").returncode == 0
