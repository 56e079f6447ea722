"""What each kind of fault does to a lab; kinds in UNDO mend what another broke."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults import disk
from tests.faults.interpreters import BREAK, MEND, break_interpreter, mend_interpreter
from tests.faults.lab import Lab
from tests.faults.machine import Machine
from tests.faults.schedule import Fault

UNDO = ("power on", "heal", "continue", "start server", "empty disk", MEND)


def apply(lab: Lab, fault: Fault) -> None:
    """Raises KeyError for a kind that there is not."""
    if fault.kind in _ON_MACHINES:
        _ON_MACHINES[fault.kind](lab.machines[fault.target])
    else:
        _ON_LAB[fault.kind](lab, fault.target)


def _flush(lab: Lab, _: str) -> None:
    client = lab.server.client()
    client.flushall()
    client.close()


def _restart_server(lab: Lab, _: str) -> None:
    lab.server.kill()
    lab.server.start()


def _cut(lab: Lab, machine: str) -> None:
    assert lab.network is not None
    lab.network.cut(machine)


def _heal(lab: Lab, machine: str) -> None:
    assert lab.network is not None
    lab.network.heal(machine)


_ON_MACHINES: dict[str, Callable[[Machine], None]] = {
    "kill worker": Machine.kill_worker,
    "kill supervisor": Machine.kill_supervisor,
    "kill both": Machine.kill_worker_and_supervisor,
    "kill warm process": Machine.kill_warm_process,
    "power off": Machine.power_off,
    "power on": Machine.start,
    "pause": Machine.pause,
    "continue": Machine.unpause,
}

_ON_LAB: dict[str, Callable[[Lab, str], None]] = {
    "restart server": _restart_server,
    "kill server": lambda lab, _: lab.server.kill(),
    "start server": lambda lab, _: lab.server.start(),
    "flush": _flush,
    BREAK: break_interpreter,
    MEND: mend_interpreter,
    "remember": lambda lab, _: lab.server.remember(),
    "restore dump": lambda lab, _: lab.server.restore_dump(),
    "cut log": lambda lab, _: lab.server.cut_log(),
    "cut": _cut,
    "heal": _heal,
    "fill bytes": lambda lab, _: disk.fill_bytes(lab.storage),
    "fill inodes": lambda lab, _: disk.fill_inodes(lab.storage),
    "empty disk": lambda lab, _: disk.empty(lab.storage),
}
