"""The lab's own parts: what they say is what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline_queue.index.connection import connect
from tests.conftest import wait_until
from tests.faults import clocks, disk, namespaces
from tests.faults.due_retries import judge
from tests.faults.edge_names import EDGES
from tests.faults.edge_worker import find
from tests.faults.namespaces import Network
from tests.faults.products import ROOT
from tests.faults.proxy import LossyProxy
from tests.faults.schedule import Fault, lasting, single
from tests.faults.server import FaultServer
from tests.limits import kill_and_wait


def test_the_same_seed_gives_the_same_faults_and_another_others() -> None:
    def drawn(seed: int) -> tuple[Fault, ...]:
        return single(seed, ("a", "b"), ("m1", "m2"), 3.0, 20)

    assert drawn(1) == drawn(1) != drawn(2)
    assert [fault.second for fault in drawn(1)] == sorted(fault.second for fault in drawn(1))


def test_a_machine_has_one_lasting_fault_at_a_time() -> None:
    faults = lasting(3, ("cut", "heal"), ("m1", "m2"), 1.0, 10.0, 30)
    for machine in ("m1", "m2"):
        kinds = [fault.kind for fault in faults if fault.target == machine]
        assert kinds == ["cut", "heal"] * (len(kinds) // 2)


def test_only_so_many_machines_are_broken_at_once() -> None:
    down: set[str] = set()
    most = 0
    for fault in lasting(5, ("cut", "heal"), ("m1", "m2", "m3", "m4"), 3.0, 60.0, 30, at_once=2):
        (down.add if fault.kind == "cut" else down.remove)(fault.target)
        most = max(most, len(down))
    assert most == 2


def _flaky(*waits: float) -> list[str]:
    at, lines = 100.0, [("begin", 99.8)]
    for wait in waits:
        lines += [("failed", at), ("begin", at + wait)]
        at += wait + 0.2
    return [json.dumps({"n": 0, "event": event, "boot": boot, "machine": "m1"}) for event, boot in lines]


def test_retries_at_their_time_are_fine_and_early_missing_and_late_ones_are_told() -> None:
    right = judge(_flaky(1.0, 2.01, 4.3))
    assert (right.red, right.short) == ([], [])
    assert "0.90 s after failure 1, not 1 s" in judge(_flaky(0.9, 2.0, 4.0)).red[0]
    assert "failed 2 times, not 3" in judge(_flaky(1.0, 2.0)).red[0]
    assert judge(_flaky(1.0, 2.0, 99.0)).short


def test_a_failure_on_a_machine_that_was_killed_right_then_may_never_have_been_known() -> None:
    early = _flaky(0.9, 2.0, 4.0)
    assert not judge(early, [("m1", 100.1)]).red
    assert judge(early, [("m2", 100.1)]).red and judge(early, [("m1", 110.0)]).red


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.name)
def test_every_edge_is_a_place_in_the_product(edge) -> None:  # type: ignore[no-untyped-def]
    owner, name = find(edge)
    assert callable(getattr(owner, name))


def test_an_edge_ends_its_process_as_often_as_wanted_and_no_more(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.faults.edge_worker import Edges\n"
        "edges = Edges(Path(sys.argv[1]), 'kill', 2, 0.5)\n"
        "for _ in range(50): edges.meet('here')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FAULT_LAB_MACHINE": "m1"}

    def ended() -> int:
        time.sleep(0.5)
        return subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=False).returncode

    assert [ended() for _ in range(3)] == [-signal.SIGKILL, -signal.SIGKILL, 0]


def test_a_server_that_was_killed_comes_back_with_what_it_had_written(tmp_path: Path) -> None:
    server = FaultServer(tmp_path / "server")
    try:
        server.start()
        client = server.client()
        client.set("known", "1")
        client.bgrewriteaof()
        wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "it is on disk")
        server.kill()
        server.start()
        assert client.get("known") == "1"
        client.close()
    finally:
        server.kill()


def test_a_reply_that_the_proxy_loses_was_carried_out(tmp_path: Path) -> None:
    server = FaultServer(tmp_path / "server")
    proxy = LossyProxy(server.socket, 1.0, seed=1)
    try:
        server.start()
        client = connect(server.url_at("127.0.0.1", proxy.start()))
        client.connection_pool.connection_kwargs["retry"] = None
        assert client.set("kept", "1")
        with pytest.raises(Exception, match=r"[Cc]losed|reset"):
            client.lpush("queue", "message")
        assert server.client().llen("queue") >= 1 and proxy.lost >= 1
    finally:
        proxy.stop()
        server.kill()


@pytest.mark.skipif(bool(clocks.missing()), reason=clocks.missing())
def test_a_wrong_clock_tells_another_time_and_sleeps_as_long(tmp_path: Path) -> None:
    program = "import time; a = time.monotonic(); time.sleep(0.1); print(time.time(), time.monotonic() - a)"
    environment = {**os.environ, **clocks.environment(clocks.build(tmp_path), 3600)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True).stdout
    wall, slept = map(float, said.split())
    assert 3500 < wall - time.time() < 3700 and slept >= 0.1


@pytest.mark.skipif(bool(disk.missing()), reason=disk.missing())
def test_a_full_disk_takes_nothing_until_it_is_emptied(tmp_path: Path) -> None:
    disk.mount(tmp_path)
    try:
        for fill in (disk.fill_bytes, disk.fill_inodes):
            fill(tmp_path)
            with pytest.raises(OSError, match="No space left"):
                (tmp_path / "file").write_bytes(b"x" * 8192)
            disk.empty(tmp_path)
            (tmp_path / "file").write_bytes(b"x" * 8192)
            (tmp_path / "file").unlink()
    finally:
        disk.unmount(tmp_path)


@pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing())
def test_a_machine_that_is_cut_off_hears_nothing_until_it_is_healed() -> None:
    network = Network(f"pqf-parts-{os.getpid()}")
    probe = "import socket; socket.create_connection(('{}', 7777), 1).close()"
    try:
        network.build()
        enter = network.add_machine("m1")
        listen = "import socket, time; s = socket.create_server(('', 7777)); print(1, flush=True); time.sleep(60)"
        command = [*network.server_prefix, sys.executable, "-c", listen]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout and server.stdout.readline()

                def reached() -> bool:
                    command = [*enter, sys.executable, "-c", probe.format(network.server_host)]
                    return subprocess.run(command, capture_output=True, check=False).returncode == 0

                assert reached()
                network.cut("m1")
                assert not reached()
                network.heal("m1")
                assert reached()
            finally:
                kill_and_wait(server)
    finally:
        network.remove()
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert network.lab not in listed


def test_a_lab_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    before = {path.name for path in Path("/tmp").glob("pqf-*")}
    command = [sys.executable, "-m", "tests.faults", "--only", "kills"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )

    def begun() -> list[Path]:
        own = [path for path in Path("/tmp").glob("pqf-*") if path.name not in before]
        return [path for path in own if (path / "witness").exists()]

    (folder, *_) = wait_until(begun, "its steps run")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert not folder.exists()
    marks = f"FAULT_LAB={folder.name}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert marks not in environ.read_bytes()
        except OSError:
            continue
