"""Room: replay -- for checkers: processes as the kernel has them, watchers as on record.

Knows:     bus.record, bus.spec, the vocabulary, replay.checks.truth.
Known by:  replay.checks.checkers (keeps them up to date), the invariants (read them).
Never:     asks production code what it believes; each record and each fact costs O(1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.shapes import altered, entity, field
from circus.bus.spec import WatcherSpec, from_data
from circus.bus.values import watcher_address
from circus.replay.checks.truth import (
    Ended,
    Fact,
    Forked,
    KeeperLost,
    OrphanReaped,
    Reaped,
    Signalled,
    Told,
)

if TYPE_CHECKING:
    from circus.replay.world import World

SIGKILL: Final = 9
ATTENTION_NS_MAX: Final = 50_000_000  # between two happenings; what is lost is found at rest
_ABOUT_WORKERS: Final = (Ended, Reaped, OrphanReaped, Signalled)
OF_WORKERS: Final = frozenset(_ABOUT_WORKERS)
OF_KERNEL: Final = OF_WORKERS | {Told, Forked, KeeperLost}


@entity
class Worker:
    """One process that the keeper has started, as the kernel knows it."""

    serial: int
    pid: int
    spawn_id: int = 0
    owner: str = ""
    ending: tuple[int | None, int | None] | None = None
    reaped: bool = False
    bereft: bool = False  # its keeper was killed: how it has ended nobody may know
    killed: bool = False  # it was sent SIGKILL: it ends when the kernel can

    @property
    def lives(self) -> bool:
        return self.ending is None


class Workers:
    """All workers of this boot, by serial and by spawn_id, and the living ones by owner."""

    def __init__(self) -> None:
        self.by_serial: dict[int, Worker] = {}
        self.by_spawn: dict[int, Worker] = {}
        self.spawns: dict[int, Record] = {}  # the spawn commands, by spawn_id
        self.living: dict[str, dict[int, Worker]] = {}  # by owner, then by spawn_id
        self.grown: dict[str, None] = {}  # owners that have got a process in this batch
        self._of_the_lost: set[int] = set()  # numbers that only a killed keeper knew (ADR-0095)

    def fold(self, fact: Fact) -> None:
        """Believe one fact."""
        kind = type(fact)
        if kind in OF_WORKERS:
            assert isinstance(fact, _ABOUT_WORKERS), fact
            worker = self.by_serial.get(fact.serial)
            if worker is not None:
                self._move(worker, fact)
        elif isinstance(fact, Told):
            if fact.report[0] == "spawned":
                self._name(fact.report[1], fact.report[2], fact.report[5])
        elif isinstance(fact, KeeperLost):
            for one in self.by_serial.values():
                one.bereft = one.bereft or not one.reaped
            self._of_the_lost.update(self.by_spawn)
        elif isinstance(fact, Forked):
            self.by_serial[fact.serial] = Worker(fact.serial, fact.pid)

    def _move(self, worker: Worker, fact: Ended | Reaped | OrphanReaped | Signalled) -> None:
        if isinstance(fact, Ended):
            worker.ending = (fact.code, fact.signum)
            self.living.get(worker.owner, {}).pop(worker.spawn_id, None)
        elif not isinstance(fact, Signalled):
            worker.reaped = True
        elif fact.signum == SIGKILL:
            worker.killed = True

    def may_run(self, spawn_id: int) -> bool:
        """Whether this spawn, which has no outcome or no end on record, may have a process."""
        worker = self.by_spawn.get(spawn_id)
        return worker is None or worker.lives

    def _name(self, spawn_id: int, owner: str, serial: int) -> None:
        worker = self.by_serial.get(serial)
        if worker is None or worker.spawn_id:
            return
        worker.spawn_id, worker.owner = spawn_id, owner
        if spawn_id not in self.by_spawn or spawn_id in self._of_the_lost:
            self._of_the_lost.discard(spawn_id)
            self.by_spawn[spawn_id] = worker
        if worker.lives:
            self.living.setdefault(owner, {})[spawn_id] = worker
            self.grown[owner] = None


class Attention:
    """The time that a core has had to react: no suspend, no pause, no death of it counts, nor a
    time in which mail between its hosts was late (replay.sim.bus)."""

    def __init__(self) -> None:
        self.ns = 0
        self._boot = 0

    def at(self, world: World) -> int:
        """Up to now; asked by several after the same step."""
        boot = world.agenda.boot
        passed, self._boot = boot - self._boot, boot
        core = world.core
        held = max(world.stops.until, world.bus.late_until) > boot
        if core is not None and core.runtime.awake and not held:
            self.ns += min(passed, ATTENTION_NS_MAX)
        return self.ns


@entity
class Watched:
    """One watcher: the spec in force, and the spawns that have neither failed nor ended."""

    address: str
    spec: WatcherSpec
    digest: str
    open: dict[int, None] = field(factory=dict)
    removed: bool = False
    phase: str = "stopped"


PHASES: Final[Mapping[type[Body], str]] = {
    events.WatcherStarting: "starting", events.WatcherStarted: "active",
    events.WatcherStopping: "stopping", events.WatcherStopped: "stopped",
    events.WatcherFailed: "failed",
}  # fmt: skip


class Watchers:
    """All watchers that the record has given birth to, by address."""

    def __init__(self, workers: Workers) -> None:
        self.of: dict[str, Watched] = {}
        self._workers = workers
        self._folds: Mapping[type[Body], Callable[[Record, Any], None]] = {
            events.WatcherAdded: self._added,
            events.WatcherUpdated: self._updated,
            events.WatcherResized: self._resized,
            events.WatcherRemoved: self._removed,
            **dict.fromkeys(PHASES, self._moved),
            commands.ProcessSpawn: self._spawned,
            events.ProcessSpawnFailed: self._over,
            events.ProcessNeverRun: self._over,
            events.ProcessExited: self._over,
            events.ProcessLost: self._over,
        }

    def fold(self, record: Record) -> None:
        """Believe one record."""
        fold = self._folds.get(type(record.body))
        if fold is not None:
            fold(record, record.body)

    def present(self, address: str) -> set[int]:
        """Spawns of this watcher that are not known to be over."""
        watched = self.of.get(address)
        return {s for s in watched.open if self._workers.may_run(s)} if watched else set()

    def _added(self, record: Record, body: Any) -> None:
        address = watcher_address(str(body.spec["name"]), record.seq)
        self.of[address] = Watched(address, from_data(body.spec), body.digest)

    def _updated(self, record: Record, body: Any) -> None:
        watched = self.of.get(record.actor)
        if watched is not None:
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in body.options.items()}
            watched.spec = altered(watched.spec, **values)
            watched.digest = body.digest

    def _resized(self, record: Record, body: Any) -> None:
        watched = self.of.get(record.actor)
        if watched is not None:
            watched.spec = altered(watched.spec, numprocesses=body.numprocesses)

    def _moved(self, record: Record, body: Any) -> None:
        watched = self.of.get(record.actor)
        if watched is not None:
            watched.phase = PHASES[type(body)]

    def _removed(self, record: Record, body: Any) -> None:
        watched = self.of.get(body.address)
        if watched is not None:
            watched.removed = True

    def _spawned(self, record: Record, body: Any) -> None:
        self._workers.spawns[record.seq] = record
        watched = self.of.get(record.actor)
        if watched is not None:
            watched.open[record.seq] = None

    def _over(self, record: Record, body: Any) -> None:
        spawn = self._workers.spawns.get(record.spawn_id or 0)
        if spawn is not None and spawn.actor in self.of:
            self.of[spawn.actor].open.pop(spawn.seq, None)
