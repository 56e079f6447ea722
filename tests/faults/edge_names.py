"""The edges of the protocol: between which two effects a worker can be killed, and where that is in the product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline_queue.contract.settings import REUSE_FOLDERS

HITS = "FAULT_LAB_EDGE_HITS"
ACTION = "FAULT_LAB_EDGE_ACTION"
TIMES = "FAULT_LAB_EDGE_TIMES"
NAMES = "FAULT_LAB_EDGE_NAMES"
SPACING = "FAULT_LAB_EDGE_SPACING_SECONDS"


@dataclass(frozen=True, slots=True)
class Edge:
    """`place` is `module:name` or `module:Class.name`; the edge lies before or after a call of it, by
    that thread if one is named."""

    name: str
    place: str
    when: Literal["before", "after"]
    thread: str = ""


EDGES = (
    Edge("before claim", "pipeline_queue.index.run_index:RunIndex.claim", "before"),
    Edge("after claim", "pipeline_queue.index.run_index:RunIndex.claim", "after"),
    Edge("before start", "workers.attempt:run_step", "before"),
    Edge("after start", "workers.supervisor_link:SupervisorLink.start", "after"),
    Edge("after end", "workers.attempt:run_step", "after"),
    Edge("after outputs", "pipeline_queue.storage.attempt_folder:AttemptFolder.put_outputs", "after"),
    Edge("before manifest", "pipeline_queue.storage.attempt_folder:AttemptFolder.write_record", "before"),
    Edge("after manifest", "pipeline_queue.storage.attempt_folder:AttemptFolder.write_record", "after"),
    Edge("before rename", "pipeline_queue.storage.attempt_folder:AttemptFolder.publish", "before"),
    Edge("after rename", "pipeline_queue.storage.attempt_folder:AttemptFolder.publish", "after"),
    Edge("after run end", "pipeline_queue.storage.run_folder:RunFolder.write_end", "after"),
    Edge("before record", "pipeline_queue.index.run_index:RunIndex.record", "before"),
    Edge("after record", "pipeline_queue.index.run_index:RunIndex.record", "after"),
    Edge("before dispatch", "pipeline_queue.index.run_index:RunIndex.send", "before"),
    Edge("after dispatch", "pipeline_queue.index.run_index:RunIndex.send", "after"),
    Edge("after put back", "workers.staged_folder:StagedFolder.put_back", "after"),
    Edge("before ack", "pipeline_queue.broker.transport:Taken.ack", "before"),
    Edge("after ack", "pipeline_queue.broker.transport:Taken.ack", "after"),
    Edge("after allot", "pipeline_queue.index.sweep_index:SweepIndex.allot", "after"),
    Edge("reconcile read", "pipeline_queue.index.run_index:RunIndex.due", "after"),
    Edge("reconcile before write", "pipeline_queue.index.run_index:RunIndex.send", "before", thread="reconciler"),
    Edge("reconcile after write", "pipeline_queue.index.run_index:RunIndex.send", "after", thread="reconciler"),
)
_WRITES = (
    "before start",
    "after end",
    "after outputs",
    "before manifest",
    "before rename",
    "after rename",
    "after run end",
    "before record",
    "before dispatch",
)
WRITE_EDGES = tuple(edge for edge in EDGES if edge.name in _WRITES)


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """What workers do to themselves at these edges; at each so often in the whole lab."""

    action: Literal["kill", "pause"]
    times: int
    edges: tuple[Edge, ...]
    pause_seconds: float = 18.0
    """A little more than a lease."""
    spacing_seconds: float = 0.7
    """At least so long lies between two hits in the lab."""

    def environment(self, folder: Path) -> dict[str, str]:
        """Of such a worker."""
        names = ",".join(edge.name for edge in self.edges)
        numbers = {TIMES: str(self.times), SPACING: str(self.spacing_seconds)}
        # One of the edges lies where a folder is put back, which workers do not do beside a container engine.
        return {HITS: str(folder), ACTION: self.action, NAMES: names, REUSE_FOLDERS: "1", **numbers}
