"""Every row of the table: what is broken, how often, and at which size."""

from __future__ import annotations

from tests.faults.bad_hosts import few_wasted
from tests.faults.counts import counted_at_the_end, watch_counts
from tests.faults.cuts import dead_after_cut
from tests.faults.due_retries import retries_in_time, retry_steps
from tests.faults.edge_names import EDGES, WRITE_EDGES, EdgePlan
from tests.faults.edges import edges_hit, pause_machines
from tests.faults.failing_storage import fail_storage
from tests.faults.interpreters import BREAK, MEND
from tests.faults.lab import BadSteps, Plan
from tests.faults.meddling import meddle_with_messages
from tests.faults.misbehaviour import misbehave
from tests.faults.planting import plant_garbage
from tests.faults.play import Work
from tests.faults.scenario import Limits, Scenario, Size
from tests.faults.schedule import Fault, Schedule, lasting, single
from tests.faults.warmth import KILL, warm_processes_killed

_LEASE_SECONDS = 15.0
_CUT_AT_ONCE = 2
"""Half of the machines of a full lab: the others have to take over."""
_SEVERAL_AT_ONE_RUN = Limits(recovery_seconds=None)
"""Faults come so close that one run may meet a second before it has begun again."""


def _kills(size: Size, seed: int) -> Schedule:
    return single(seed, ("kill worker", "kill supervisor", "kill both"), size.plan.names(), 3.0, size.faults)


def _warm_kills(size: Size, seed: int) -> Schedule:
    kinds = (KILL, "kill worker", "kill supervisor", "kill both")
    return single(seed, kinds, size.plan.names(), 3.0, size.faults)


def _power(size: Size, seed: int) -> Schedule:
    return lasting(seed, ("power off", "power on"), size.plan.names(), 5.0, 3.0, size.faults)


def _restarts(every_seconds: float, size: Size, seed: int) -> Schedule:
    return single(seed, ("restart server",), ("",), every_seconds, size.faults)


def _flushes(size: Size, seed: int) -> Schedule:
    every = 3.0 if size.work.runs < 200 else 20.0
    return single(seed, ("flush",), ("",), every, size.faults)


def _cuts(seconds: float, size: Size, seed: int) -> Schedule:
    return lasting(seed, ("cut", "heal"), size.plan.names(), 3.0, seconds, size.faults, _CUT_AT_ONCE)


def _pauses(seconds: float, size: Size, seed: int) -> Schedule:
    return lasting(seed, ("pause", "continue"), size.plan.names(), 2.0, seconds, size.faults, _CUT_AT_ONCE)


def _full_disks(seconds: float, size: Size, seed: int) -> Schedule:
    faults = []
    for number in range(size.faults):
        second = 2.0 + number * (seconds + 5.0)
        kind = ("fill bytes", "fill inodes")[(number + seed) % 2]
        faults += [Fault(second, kind), Fault(second + seconds, "empty disk")]
    return tuple(faults)


def _broken_interpreters(seconds: float, size: Size, seed: int) -> Schedule:
    return lasting(seed, (BREAK, MEND), size.plan.names(), 2.0, seconds, size.faults, at_once=1)


def _old_memories(size: Size, _: int) -> Schedule:
    """An older dump is restored; then the append-only file is cut, and emptied a moment later."""
    lost, pause = (2.0, 2.5) if size.work.runs < 200 else (10.0, 10.0)
    faults: list[Fault] = []
    for number in range(size.faults):
        began = pause + number * 2 * (lost + pause)
        faults += [Fault(began, "remember"), Fault(began + lost, "restore dump")]
        began += lost + pause
        faults += [Fault(began, "remember"), Fault(began + lost, "cut log"), Fault(began + lost + 0.7, "flush")]
    return tuple(faults)


def _away_twice(size: Size, seed: int) -> Schedule:
    """The server is away for a second, back for less than half of one, and away again."""
    faults: list[Fault] = []
    for number in range(size.faults):
        began = 2.5 + number * 6.0
        back = (0.1, 0.2, 0.4)[(number + seed) % 3]
        kinds = ((0.0, "kill server"), (1.0, "start server"), (1.0 + back, "kill server"), (2.0 + back, "start server"))
        faults += [Fault(round(began + second, 2), kind) for second, kind in kinds]
    return tuple(faults)


def _nothing(_: Size, __: int) -> Schedule:
    return ()


_KILLS = Scenario(
    name="kills",
    fault="SIGKILL of a random worker, its supervisor, or both at once, every 3 s",
    quick=Size(Plan(machines=3), Work(40), 4),
    full=Size(Plan(machines=4), Work(1000), 400),
    schedule=_kills,
)
_WARM_KILLS = Scenario(
    name="warm kills",
    fault="SIGKILL of a random warm process, worker, supervisor, or these two at once, every 3 s, with warm steps",
    quick=Size(Plan(machines=3), Work(40, "0.7:0.7:0.7"), 6),
    full=Size(Plan(machines=4), Work(1000), 400),
    schedule=_warm_kills,
    look_closer=warm_processes_killed,
    baseline=False,
    warm=True,
)
_POWER = Scenario(
    name="power loss",
    fault="a machine loses its power (its pid namespace is killed)",
    quick=Size(Plan(machines=3, isolated=True), Work(30), 2),
    full=Size(Plan(machines=4, isolated=True), Work(500, "0.5:0.5:0.5"), 20),
    schedule=_power,
    limits=Limits(all_faults=True),
)
_SERVER = Scenario(
    name="server kill",
    fault="Redis is killed (-9) and started again, append-only file every second",
    quick=Size(Plan(machines=2), Work(40), 2),
    full=Size(Plan(machines=4), Work(500, "1:1:1"), 50),
    schedule=lambda size, seed: _restarts(3.0 if size.work.runs < 200 else 20.0, size, seed),
    limits=Limits(standstill_seconds=10.0, exits=0),
)
_FLUSH = Scenario(
    name="flushall",
    fault="Redis is emptied in mid-sweep, twice",
    quick=Size(Plan(machines=2), Work(40, overlap_allowed_seconds=_LEASE_SECONDS), 2),
    full=Size(Plan(machines=4), Work(500, overlap_allowed_seconds=_LEASE_SECONDS), 2),
    schedule=_flushes,
    limits=Limits(recovery_seconds=60.0, standstill_seconds=60.0, exits=0),
)
_MEMORY = Scenario(
    name="old memory",
    fault="Redis comes back with an older dump, or an append-only file cut by seconds and then emptied",
    quick=Size(Plan(machines=2), Work(36, overlap_allowed_seconds=_LEASE_SECONDS), 1),
    full=Size(Plan(machines=4), Work(300, "1:1:1", overlap_allowed_seconds=_LEASE_SECONDS), 2),
    schedule=_old_memories,
    limits=Limits(recovery_seconds=60.0, standstill_seconds=60.0, exits=0),
    meddle=watch_counts,
    look_closer=counted_at_the_end,
    baseline=False,
)
_AWAY = Scenario(
    name="broker away",
    fault="Redis goes away twice in short order",
    quick=Size(Plan(machines=2), Work(30), 1),
    full=Size(Plan(machines=4), Work(300, "1:1:1"), 15),
    schedule=_away_twice,
    limits=Limits(standstill_seconds=15.0, exits=0),
)
_GARBAGE = Scenario(
    name="garbage in keys",
    fault="other types and bad entries in our own keys of Redis, while a sweep runs",
    quick=Size(Plan(machines=2), Work(40, overlap_allowed_seconds=_LEASE_SECONDS), 0),
    full=Size(Plan(machines=4), Work(300, "1:1:1", overlap_allowed_seconds=_LEASE_SECONDS), 0),
    schedule=_nothing,
    limits=Limits(recovery_seconds=60.0, exits=0),
    meddle=lambda lab, seed: plant_garbage(*((12, 0.5) if len(lab.machines) < 4 else (150, 0.6)))(lab, seed),
    look_closer=counted_at_the_end,
    baseline=False,
)
_PARTITION = Scenario(
    name="partition",
    fault="a machine is cut off from Redis without a word, in mid-step",
    quick=Size(Plan(machines=3, isolated=True), Work(6, "0.2:13:0.2"), 1),
    full=Size(Plan(machines=4, isolated=True), Work(400, "0.2:13:0.2"), 30),
    schedule=lambda size, seed: _cuts(25.0 if size.faults == 1 else 60.0, size, seed),
    limits=Limits(exits=0, all_faults=True),
    look_closer=dead_after_cut,
)
_PAUSE = Scenario(
    name="pause",
    fault="a whole machine is stopped (SIGSTOP) at random and goes on later",
    quick=Size(Plan(machines=3), Work(24, "0.9:0.9:0.9"), 3),
    full=Size(Plan(machines=4), Work(500, "4:4:4"), 50),
    schedule=lambda size, seed: _pauses(18.0 if size.faults <= 3 else 45.0, size, seed),
    # A run's second machine may be paused as well: how long that takes is told, and not asked.
    limits=Limits(recovery_seconds=None, all_faults=True),
)
_MESSAGES = Scenario(
    name="messages",
    fault="10 % of the replies to pushes and pops lost, 5 % of queued messages deleted, 5 % tripled",
    quick=Size(Plan(machines=2, lossy=0.1), Work(60, "0.2:0.2:0.2"), 0),
    full=Size(Plan(machines=4, lossy=0.1), Work(1000), 0),
    schedule=_nothing,
    limits=Limits(extra_share=0.01),
    meddle=meddle_with_messages,
)
_DISK = Scenario(
    name="disk full",
    fault="the storage is full, in bytes and in inodes",
    quick=Size(Plan(machines=2, small_disk=True), Work(40), 2),
    full=Size(Plan(machines=4, small_disk=True), Work(200, idle_seconds=120.0), 2),
    schedule=lambda size, seed: _full_disks(5.0 if size.work.runs < 100 else 30.0, size, seed),
    limits=Limits(recovery_seconds=None, after_seconds=60.0, exits=0),
)
_STORAGE_ERRORS = Scenario(
    name="transient storage errors",
    fault="1 % of the operations on the storage fail, all of them for 2 s every 5 s, manifests are hidden for 2 s",
    quick=Size(Plan(machines=2, storage_errors=True), Work(24, "0.2:0.2:0.2"), 0),
    full=Size(Plan(machines=4, storage_errors=True), Work(600, "0.5:0.5:0.5", idle_seconds=120.0), 0),
    schedule=_nothing,
    # What passes while it is waited for costs no execution.
    limits=Limits(recovery_seconds=None, extra_share=0.0, exits=0),
    meddle=fail_storage,
)
_CLOCKS = Scenario(
    name="clocks",
    fault="one machine's clock an hour ahead, another's an hour behind",
    quick=Size(Plan(machines=3, clocks={"m1": 3600, "m2": -3600}), Work(30), 1),
    full=Size(Plan(machines=4, clocks={"m1": 3600, "m2": -3600}), Work(500), 20),
    schedule=_kills,
    meddle=retry_steps(20),
    look_closer=retries_in_time,
)


_EDGES = Scenario(
    name="edges",
    fault="a worker is killed at each edge of the protocol",
    quick=Size(Plan(edges=EdgePlan("kill", 1, EDGES)), Work(60, "0.1:0.1:0.1"), 0),
    full=Size(Plan(machines=4, edges=EdgePlan("kill", 20, EDGES)), Work(3000, "0.1:0.1:0.1"), 0),
    schedule=_nothing,
    limits=_SEVERAL_AT_ONE_RUN,
    look_closer=edges_hit,
    baseline=False,
)
_WRITES = Scenario(
    name="pause at writes",
    fault="a machine is stopped at each of its writes and goes on when its lease is gone",
    quick=Size(Plan(edges=EdgePlan("pause", 1, WRITE_EDGES[1::3], spacing_seconds=0.2)), Work(24, "0.1:0.1:0.1"), 0),
    # About four of six machines sleep at a time.
    full=Size(
        Plan(machines=6, edges=EdgePlan("pause", 6, WRITE_EDGES, 45.0, spacing_seconds=11.0)),
        Work(600, "1.5:1.5:1.5", idle_seconds=180.0),
        0,
    ),
    schedule=_nothing,
    limits=_SEVERAL_AT_ONE_RUN,
    meddle=pause_machines,
    look_closer=edges_hit,
    baseline=False,
)
_BAD = Scenario(
    name="bad steps",
    fault="nine kinds of bad steps among good ones",
    quick=Size(Plan(machines=2, bad_steps=BadSteps(1, 200 << 20, "5s")), Work(20), 0),
    full=Size(Plan(machines=4, bad_steps=BadSteps(4, 5 << 30, "2m")), Work(200, idle_seconds=180.0), 0),
    schedule=_nothing,
    meddle=misbehave,
    baseline=False,
)
_BAD_HOST = Scenario(
    name="bad host",
    fault="a machine's interpreter vanishes, exits at once, lacks a library or may not be executed, and comes back later",
    quick=Size(Plan(machines=3, own_interpreters=True), Work(60), 5),
    full=Size(Plan(machines=4, own_interpreters=True), Work(600, "1:1:1"), 25),
    schedule=lambda size, seed: _broken_interpreters(1.5 if size.faults <= 5 else 10.0, size, seed),
    limits=Limits(exits=0),
    look_closer=few_wasted,
    baseline=False,
)

SCENARIOS = (
    _KILLS, _WARM_KILLS, _POWER, _SERVER, _FLUSH, _PARTITION, _PAUSE, _WRITES, _EDGES, _MESSAGES, _DISK,
    _STORAGE_ERRORS, _BAD, _BAD_HOST, _CLOCKS, _MEMORY, _AWAY, _GARBAGE,
)  # fmt: skip
