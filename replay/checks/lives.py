"""Room: replay -- invariants 1 to 10 (RELIABILITY.md 4.3): counts, lives, exits, zombies, orphans.

Knows:     replay.checks.checkers, replay.checks.truth, replay.checks.witness, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     believes the ledger about the kernel, or the kernel about the ledger: it compares.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.shapes import entity, field
from circus.bus.spec import OPTIONS, Change
from circus.bus.values import NS_PER_SECOND
from circus.replay.checks.checkers import ENDS, OUTCOMES, Checker, Truth
from circus.replay.checks.truth import (
    CoreLost,
    Fact,
    Forked,
    KeeperLost,
    Misused,
    Noted,
    Obeyed,
    OrphanReaped,
    Reaped,
    Settled,
    Told,
)  # fmt: skip
from circus.replay.checks.witness import Watched
from circus.replay.kernel.kernel import zombies

if TYPE_CHECKING:
    from circus.replay.world import World

# From the keeper's scan to the record: the link, the bus and a pause of the machine lie between.
ORPHAN_NS_MAX: Final = 2 * NS_PER_SECOND


@entity
class Overlap:
    """Which processes one watcher may have beyond `numprocesses`.

    `old`: they were there when the number was lowered, or when a reload ended without them being
    gone. `rolling`: the reloads under way that keep old processes until the new ones run;
    `replaced`: those that the newest of them found.
    """

    old: set[int] = field(factory=set)
    rolling: set[int] = field(factory=set)
    replaced: set[int] = field(factory=set)


class Max(Checker):
    """Live workers are at most `numprocesses`; during a graceful reload also those it replaces."""

    id = "I-MAX"
    hears = (
        events.SlotStopping, events.WatcherResized, events.WatcherUpdated, events.CommandFinished,
        events.CommandRefused, commands.WatcherReload, commands.WatcherSet, Settled,
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._overlaps: dict[str, Overlap] = {}
        self._stopping: set[int] = set()

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.SlotStopping):
            self._stopping.add(record.spawn_id or 0)
            return
        if isinstance(body, commands.WatcherReload | commands.WatcherSet):
            self._replaces(record, body)
        elif isinstance(body, events.CommandFinished | events.CommandRefused):
            overlap = self._overlaps.get(record.actor)
            if overlap is not None and body.command in overlap.rolling:
                overlap.rolling.discard(body.command)
                self._grow_old(record.actor)
        else:
            self._grow_old(record.actor)

    def happened(self, fact: Fact) -> None:
        for address in self.truth.workers.grown:
            watched = self.truth.watchers.of.get(address)
            living = self.truth.workers.living.get(address, ())
            if watched is not None and len(living) > watched.spec.numprocesses:
                self._judge(watched, set(living))

    def _judge(self, watched: Watched, living: set[int]) -> None:
        overlap, number = self._overlap(watched.address), watched.spec.numprocesses
        if overlap.rolling:
            allowed = number + len(living & (overlap.old | overlap.replaced))
        else:
            # A reload that was given up still has some of those on the way out that it replaced.
            leaving = living & overlap.replaced & self._stopping
            allowed = max(number + len(leaving), len(living & overlap.old))
        text = f"{watched.address} has {len(living)} live workers, {allowed} allowed"
        self.claim(len(living) <= allowed, text, max(living))

    def _replaces(self, record: Record, body: Any) -> None:
        address = record.to or ""
        watched = self.truth.watchers.of.get(address)
        if watched is None or not _overlaps(watched, body):
            return
        overlap = self._overlap(address)
        if record.actor == address:  # its own note: it has begun, or will when it notes it again
            overlap.replaced = self.truth.watchers.present(address)
        else:
            overlap.rolling.add(record.seq)

    def _grow_old(self, address: str) -> None:
        self._overlap(address).old = self.truth.watchers.present(address)

    def _overlap(self, address: str) -> Overlap:
        return self._overlaps.setdefault(address, Overlap())


def _overlaps(watched: Watched, body: commands.WatcherReload | commands.WatcherSet) -> bool:
    """Whether old processes may stay until the new ones run; `send_hup` may change till then."""
    if watched.spec.singleton:
        return False
    if isinstance(body, commands.WatcherSet):
        return any(OPTIONS[name].metadata["change"] is Change.RELOAD for name in body.options)
    return body.graceful and not body.sequential


class Single(Checker):
    """A singleton never has two live processes."""

    id = "I-SINGLE"
    hears = (Settled,)

    def happened(self, fact: Fact) -> None:
        for address in self.truth.workers.grown:
            watched = self.truth.watchers.of.get(address)
            living = self.truth.workers.living.get(address, ())
            if watched is not None and watched.spec.singleton and len(living) > 1:
                text = f"{address} is a singleton and has {len(living)} live processes"
                self.fail(text, max(living))


class SpawnOnce(Checker):
    """A spawn_id produces at most one fork, and no fork is without one."""

    id = "I-SPAWN1"
    outlives_holes = True
    hears = (Forked, (Told, "spawned"), Settled, KeeperLost)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._unnamed: set[int] = set()
        self._serial_of: dict[int, int] = {}

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Forked):
            self._unnamed.add(fact.serial)
        elif isinstance(fact, KeeperLost):
            # A number that no record has kept may be given again (ADR-0095).
            self._serial_of.clear()
        elif isinstance(fact, Settled):
            if self._unnamed:
                self.fail(f"processes without a spawn_id: {self._unnamed}")
        elif isinstance(fact, Told):
            self._named(fact.report[1], fact.report[5])

    def _named(self, spawn_id: int, serial: int) -> None:
        if self._serial_of.setdefault(spawn_id, serial) != serial:
            self.fail(f"spawn {spawn_id} made two processes", spawn_id)
        self._unnamed.discard(serial)


class Resolved(Checker):
    """Every spawn gets exactly one of spawned, spawn_failed, never_run."""

    id = "I-RES"
    hears = (commands.ProcessSpawn, *OUTCOMES)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._outcomes: dict[int, str] = {}
        self._open: dict[int, None] = {}

    def recorded(self, record: Record) -> None:
        if isinstance(record.body, commands.ProcessSpawn):
            self._open[record.seq] = None
            return
        spawn_id = record.spawn_id or 0
        first = self._outcomes.get(spawn_id)
        if first is not None:
            self.fail(f"spawn {spawn_id} is decided again: {record.name} after {first}", spawn_id)
        if spawn_id not in self._open:
            self.fail(f"{record.name} without a spawn", spawn_id)
        self._outcomes[spawn_id] = record.name
        del self._open[spawn_id]

    def rested(self, world: World) -> None:
        for spawn_id in self._open:
            self.fail(f"spawn {spawn_id} has no outcome", spawn_id)


class EndedOnce(Checker):
    """Every process has exactly one end on record, and is reaped once."""

    id = "I-REAP1"
    hears = (events.ProcessSpawned, *ENDS, events.ProcessReaped, Misused)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._ends: set[int] = set()
        self._reaps: set[int] = set()
        self._running: dict[int, None] = {}  # started, and no end on record
        self._exited: dict[int, None] = {}  # and not yet reaped

    def recorded(self, record: Record) -> None:
        spawn_id, body = record.spawn_id or 0, record.body
        if isinstance(body, events.ProcessSpawned):
            self._running[spawn_id] = None
        elif isinstance(body, events.ProcessReaped):
            if spawn_id in self._reaps:
                self.fail(f"{spawn_id} was reaped twice", spawn_id)
            self._reaps.add(spawn_id)
            self._exited.pop(spawn_id, None)
        else:
            if spawn_id in self._ends:
                self.fail(f"{spawn_id} has ended twice", spawn_id)
            self._ends.add(spawn_id)
            self._running.pop(spawn_id, None)
            if isinstance(body, events.ProcessExited):
                self._exited[spawn_id] = None

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Misused), fact
        self.fail(f"the keeper misused the kernel: {fact.what} (pid {fact.pid})")

    def rested(self, world: World) -> None:
        for spawn_id in self._running:
            worker = self.truth.workers.by_spawn.get(spawn_id)
            text = f"{spawn_id} is gone, and no record says how"
            self.claim(worker is not None and worker.lives, text, spawn_id)
        if world.ended is None:
            for spawn_id in self._exited:
                self.fail(f"no record says that {spawn_id} was reaped", spawn_id)


class Status(Checker):
    """A recorded status is what the kernel gave; `lost` is never said of what the keeper holds."""

    id = "I-STATUS"
    hears = (*ENDS, (Obeyed, "list"))

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._listed = False  # what follows is of this boot: a core has asked what is there

    def recorded(self, record: Record) -> None:
        body, spawn_id = record.body, record.spawn_id or 0
        worker = self.truth.workers.by_spawn.get(spawn_id)
        if isinstance(body, events.ProcessLost):
            if worker is not None and not worker.bereft:
                self.fail(f"{spawn_id} is said to be lost, but the keeper lives", spawn_id)
            return
        assert isinstance(body, events.ProcessExited), record
        if worker is None:
            # Of an earlier boot: the kernel that knew is gone, so nobody can say it now.
            text = f"{spawn_id} has a status, but this kernel never had it"
            self.claim(not self._listed, text, spawn_id)
        elif worker.ending != (body.code, body.signal):
            said = (body.code, body.signal)
            self.fail(f"{spawn_id} ended with {worker.ending}, recorded is {said}", spawn_id)

    def happened(self, fact: Fact) -> None:
        self._listed = True


class Ordered(Checker):
    """requested < spawned < exited < reaped, for every spawn_id."""

    id = "I-ORDER"
    RANKS: Final[Mapping[type[Body], int]] = {
        events.ProcessSpawned: 1, events.ProcessSpawnFailed: 1, events.ProcessNeverRun: 1,
        events.ProcessExited: 2, events.ProcessLost: 2, events.ProcessReaped: 3,
    }  # fmt: skip
    hears = tuple(RANKS)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._ranks: dict[int, int] = {}

    def recorded(self, record: Record) -> None:
        rank, spawn_id = self.RANKS[type(record.body)], record.spawn_id or 0
        if self._ranks.get(spawn_id, 0) != rank - 1 or spawn_id not in self.truth.workers.spawns:
            self.fail(f"{record.name} of {spawn_id} is out of order", spawn_id)
        self._ranks[spawn_id] = rank


class NoPeek(Checker):
    """No zombie is let go before its exit is in the ledger, or in the keeper's last words."""

    id = "I-NOPEEK"
    hears = (*ENDS, (Noted, "exited"), Reaped)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._kept: set[int] = set()

    def recorded(self, record: Record) -> None:
        self._kept.add(record.spawn_id or 0)

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Reaped):
            spawn_id = self.truth.workers.by_serial[fact.serial].spawn_id
            if spawn_id not in self._kept:
                self.fail(f"{spawn_id} was reaped before its exit was on record", spawn_id)
            self._kept.discard(spawn_id)
        elif isinstance(fact, Noted):
            self._kept.add(fact.report[1])


class NoZombies(Checker):
    """At rest there are no zombies; at any time only those whose exit is not acknowledged."""

    id = "I-ZOMBIE"
    outlives_holes = True
    hears = ((Obeyed, "ack"), Settled)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._acknowledged: list[int] = []

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed):
            self._acknowledged += fact.operation[1]
            return
        for spawn_id in self._acknowledged:
            worker = self.truth.workers.by_spawn.get(spawn_id)
            if worker is not None and not (worker.lives or worker.reaped or worker.bereft):
                self.fail(f"{spawn_id} is acknowledged and still a zombie", spawn_id)
        self._acknowledged.clear()

    def rested(self, world: World) -> None:
        left = [one.pid for one in zombies(world.keeper.kernel)]
        self.claim(not left, f"zombies at rest: pids {left}")


class Orphans(Checker):
    """Every orphan that ended is reaped and on record within one scan; none counts as a worker.

    An orphan is told once (ADR-0062): what a core had heard in its last moment dies with it. Only
    that is forgiven; what a living core was told must be on record soon.
    """

    id = "I-ORPHAN"
    hears = (events.OrphanReaped, OrphanReaped, CoreLost, KeeperLost)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._new: list[int] = []  # pids
        self._due: deque[tuple[int, int]] = deque()  # by when which pid must be on record

    def recorded(self, record: Record) -> None:
        assert isinstance(record.body, events.OrphanReaped), record
        pid = record.body.pid
        if pid in self._new:
            self._new.remove(pid)
            return
        for entry in self._due:
            if entry[1] == pid:
                self._due.remove(entry)
                return

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, OrphanReaped):
            text = f"worker {fact.pid} was reaped as an orphan"
            self.claim(fact.serial not in self.truth.workers.by_serial, text)
            self._new.append(fact.pid)
        else:
            self._new.clear()
            self._due.clear()

    def stepped(self, world: World) -> None:
        if not self._new and not self._due:
            return
        now = self.truth.attention.at(world)
        self._due.extend((now + ORPHAN_NS_MAX, pid) for pid in self._new)
        self._new.clear()
        if self._due[0][0] < now and world.ended is None:
            self.fail(f"the orphan {self._due[0][1]} was reaped and is not on record")

    def rested(self, world: World) -> None:
        pids = [pid for _, pid in self._due]
        self.claim(world.ended is not None or not pids, f"orphans without a record: pids {pids}")


LIFE_CHECKERS = (
    Max, Single, SpawnOnce, Resolved, EndedOnce, Status, Ordered, NoPeek, NoZombies, Orphans,
)  # fmt: skip
