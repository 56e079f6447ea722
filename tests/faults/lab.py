"""One lab: server, storage, machines, witness; all named after it, all removed with it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import clocks, disk, namespaces, storage_errors
from tests.faults.edge_names import EdgePlan
from tests.faults.machine import Machine
from tests.faults.namespaces import PREFIX, Network
from tests.faults.processes import LAB, MACHINE, WITNESS, end_all
from tests.faults.products import Product
from tests.faults.proxy import LossyProxy
from tests.faults.server import FaultServer
from tests.faults.storage_errors import StorageErrors
from tests.own_interpreter import make_interpreter

_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class BadSteps:
    """How many of each kind misbehave, how much each big log holds, and when the product is to end them."""

    copies: int
    log_bytes: int
    timeout: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a lab is made of."""

    machines: int = 3
    slots: int = 2
    isolated: bool = False
    """Machines have a network and processes of their own."""
    small_disk: bool = False
    storage_errors: bool = False
    """Machines reach the storage through a library that can make operations fail."""
    lossy: float = 0.0
    """The share of replies to pushes and pops that get lost between workers and server."""
    clocks: Mapping[str, int] = field(default_factory=dict)
    """Machine -> by how many seconds its clock is wrong."""
    edges: EdgePlan | None = None
    bad_steps: BadSteps | None = None
    own_interpreters: bool = False
    """Each machine's worker and steps have an interpreter that can be broken alone."""

    def names(self) -> tuple[str, ...]:
        return tuple(f"m{number + 1}" for number in range(self.machines))

    def missing(self) -> str:
        """Why this cannot be built here, empty when it can."""
        reasons = [
            namespaces.missing() if self.isolated else "",
            disk.missing() if self.small_disk else "",
            clocks.missing() if self.clocks else "",
            storage_errors.missing() if self.storage_errors else "",
        ]
        return "; ".join(filter(None, reasons))


class Lab:
    """Built by entering it."""

    def __init__(self, plan: Plan, product: Product, server: str | None = None, seed: int = 0) -> None:
        self.plan = plan
        self.product = product
        self.folder, self._held = _locked_folder()
        self.name = self.folder.name
        self.storage = self.folder / "storage"
        self.witness = self.folder / "witness"
        self.edge_hits = self.folder / "edges"
        self.machines: dict[str, Machine] = {}
        self.broken_interpreters = 0
        self.proxy: LossyProxy | None = None
        self.storage_errors: StorageErrors | None = None
        self.network = Network(self.name) if plan.isolated else None
        self._seed = seed
        self._binary = server
        self._failing: Mapping[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self) -> None:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._stack.callback(os.close, self._held)
        self.storage.mkdir()
        self.edge_hits.mkdir()
        if self.plan.small_disk:
            disk.mount(self.storage)
            self._stack.callback(disk.unmount, self.storage)
        if self.plan.storage_errors:
            self.storage_errors = StorageErrors(self.folder / "storage-errors", self.storage)
            self._failing = self.storage_errors.environment(storage_errors.build(self.folder))
        prefix: tuple[str, ...] = ()
        host = ""
        if self.network:
            self._stack.callback(self.network.remove)
            self.network.build()
            prefix, host = self.network.server_prefix, self.network.server_host
        self.server = FaultServer(self.folder / "server", self._binary, prefix, host)
        self._stack.callback(self.server.kill)
        self.server.start()
        self._url = self.server.network_url
        if self.plan.lossy:
            self.proxy = LossyProxy(self.server.socket, self.plan.lossy, self._seed)
            self._stack.callback(self.proxy.stop)
            self._url = self.server.url_at("127.0.0.1", self.proxy.start())
        self._stack.callback(end_all, self.name)
        for name in self.plan.names():
            self.machines[name] = self._machine(name)
            self.machines[name].start()
        for machine in self.machines.values():
            machine.wait_until_ready()

    def _machine(self, name: str) -> Machine:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIPELINE_QUEUE_", LAB))}
        wrong = self.plan.clocks.get(name)
        environment = {
            **kept,
            **self.product.environment(self._url, self.storage, self.folder / f"{name}-scratch"),
            **(self.plan.edges.environment(self.edge_hits) if self.plan.edges else {}),
            **self._failing,
            **(clocks.environment(clocks.build(self.folder), wrong) if wrong else {}),
            LAB: self.name,
            MACHINE: name,
            WITNESS: str(self.witness),
        }
        prefix = self.network.add_machine(name) if self.network else ()
        command = self.product.command(name, self.plan.slots, at_edges=self.plan.edges is not None)
        if self.plan.own_interpreters:
            command[0] = str(make_interpreter(self.folder / f"{name}-python"))
        return Machine(self.name, name, self.folder, command, environment, prefix)

    def before_end(self, call: Callable[[], None]) -> None:
        """Has this called while everything of the lab is still there."""
        self._stack.callback(call)

    def submit(self, runs: int, seconds: str) -> Path:
        """Accepts the runs; where their folders will be."""
        project = self.folder / "project"
        project.mkdir()
        return self.product.submit(self.server.url, self.storage, project, runs, seconds)


def remove_leftovers() -> None:
    """Of labs whose command was killed: their locks are free."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        with suppress(OSError):
            os.close(_lock(folder))
            end_all(folder.name)
            namespaces.remove_namespaces(folder.name)
            disk.unmount(folder / "storage")
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder() -> tuple[Path, int]:
    """Gets its name when it is locked, so that nobody ever takes it for a leftover."""
    hidden = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir="/tmp"))
    lock = _lock(hidden)
    return hidden.rename(hidden.with_name(f"{PREFIX}{secrets.token_hex(4)}")), lock


def _lock(folder: Path) -> int:
    """Raises BlockingIOError when a lab that lives has it."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
