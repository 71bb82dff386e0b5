"""Room: replay -- invariants 1 to 10 (RELIABILITY.md 4.3): counts, lives, exits, zombies, orphans.

Knows:     replay.checkers, replay.truth, the vocabulary.
Known by:  replay.world.
Never:     believes the ledger about the kernel, or the kernel about the ledger: it compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attr

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.values import watcher_address
from circus.replay.checkers import ENDS, OUTCOMES, Checker, Truth
from circus.replay.invariants_signals import SIGNAL_CHECKERS
from circus.replay.truth import (
    CoreLost,
    Fact,
    Forked,
    Misused,
    Noted,
    Obeyed,
    OrphanReaped,
    Reaped,
    Settled,
    Told,
)  # fmt: skip

if TYPE_CHECKING:
    from circus.replay.world import World


@attr.s(auto_attribs=True, slots=True, eq=False)
class Limit:
    """How many processes one watcher may have: `old` ones were there before it was lowered, or
    before a reload began."""

    numprocesses: int
    singleton: bool
    old: set[int] = attr.Factory(set)
    rolling: set[int] = attr.Factory(set)  # seqs of reloads under way


class Limits:
    """The limits of all watchers, folded from the record."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.of: dict[str, Limit] = {}

    def fold(self, record: Record) -> None:
        """Believe one record."""
        body = record.body
        if isinstance(body, events.WatcherAdded):
            spec = body.spec
            address = watcher_address(str(spec["name"]), record.seq)
            self.of[address] = Limit(spec["numprocesses"], spec["singleton"])
        elif isinstance(body, events.WatcherResized):
            self._resize(record.actor, body.numprocesses)
        elif isinstance(body, events.WatcherUpdated) and "numprocesses" in body.options:
            self._resize(record.actor, body.options["numprocesses"])
        elif isinstance(body, commands.WatcherReload | commands.WatcherSet):
            limit = self.of.get(record.to or "")
            if limit is not None:
                limit.rolling.add(record.seq)
        elif isinstance(body, events.CommandFinished | events.CommandRefused):
            self._over(record.actor, body.command)

    def _resize(self, address: str, number: int) -> None:
        limit = self.of.get(address)
        if limit is not None:
            limit.old |= self._present(address)
            limit.numprocesses = number

    def _over(self, address: str, command: int) -> None:
        limit = self.of.get(address)
        if limit is not None and command in limit.rolling:
            limit.rolling.discard(command)
            limit.old |= self._present(address)

    def _present(self, address: str) -> set[int]:
        """Spawns of this watcher that are not known to be over."""
        truth = self.truth
        return {
            spawn_id
            for spawn_id, spawn in truth.spawns.items()
            if spawn.actor == address
            and (spawn_id not in truth.by_spawn or truth.by_spawn[spawn_id].lives)
        }


class Max(Checker):
    """Live workers of a watcher are at most `numprocesses`, and its old ones during a reload."""

    id = "I-MAX"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.limits = Limits(truth)

    def recorded(self, record: Record) -> None:
        self.limits.fold(record)

    def happened(self, fact: Fact) -> None:
        if not isinstance(fact, Settled):
            return
        for address, limit in self.limits.of.items():
            living = [worker.spawn_id for worker in self.truth.living_of(address)]
            old = sum(spawn_id in limit.old for spawn_id in living)
            allowed = max(limit.numprocesses, old)
            if limit.rolling:
                allowed = 2 * max(limit.numprocesses, old)
            self.claim(
                len(living) <= allowed,
                f"{address} has {len(living)} live workers, {allowed} allowed",
                max(living, default=0),
            )


class Single(Checker):
    """A singleton never has two live processes."""

    id = "I-SINGLE"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.limits = Limits(truth)

    def recorded(self, record: Record) -> None:
        self.limits.fold(record)

    def happened(self, fact: Fact) -> None:
        if not isinstance(fact, Settled):
            return
        for address, limit in self.limits.of.items():
            if limit.singleton:
                living = [worker.spawn_id for worker in self.truth.living_of(address)]
                text = f"{address} is a singleton and has {len(living)} live processes"
                self.claim(len(living) <= 1, text, max(living, default=0))


class SpawnOnce(Checker):
    """A spawn_id produces at most one fork, and no fork is without one."""

    id = "I-SPAWN1"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._unnamed: set[int] = set()
        self._serial_of: dict[int, int] = {}

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Forked):
            self._unnamed.add(fact.serial)
        elif isinstance(fact, Told) and fact.report[0] == "spawned":
            self._named(fact.report[1], fact.report[5])
        elif isinstance(fact, Settled):
            self.claim(not self._unnamed, f"processes without a spawn_id: {self._unnamed}")

    def _named(self, spawn_id: int, serial: int) -> None:
        first = self._serial_of.setdefault(spawn_id, serial)
        self.claim(first == serial, f"spawn {spawn_id} made two processes", spawn_id)
        self._unnamed.discard(serial)


class Resolved(Checker):
    """Every spawn gets exactly one of spawned, spawn_failed, never_run."""

    id = "I-RES"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._outcomes: dict[int, str] = {}

    def recorded(self, record: Record) -> None:
        if isinstance(record.body, OUTCOMES):
            spawn_id = record.spawn_id or 0
            first = self._outcomes.get(spawn_id)
            text = f"spawn {spawn_id} has a second outcome: {record.name} after {first}"
            self.claim(first is None, text, spawn_id)
            self.claim(spawn_id in self.truth.spawns, f"{record.name} without a spawn", spawn_id)
            self._outcomes[spawn_id] = record.name

    def rested(self, world: World) -> None:
        for spawn_id in self.truth.spawns:
            self.claim(spawn_id in self._outcomes, f"spawn {spawn_id} has no outcome", spawn_id)


class EndedOnce(Checker):
    """Every process has exactly one end on record, and is reaped once."""

    id = "I-REAP1"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._ends: set[int] = set()
        self._exits: set[int] = set()
        self._reaps: set[int] = set()
        self._started: set[int] = set()

    def recorded(self, record: Record) -> None:
        spawn_id, body = record.spawn_id or 0, record.body
        if isinstance(body, ENDS):
            self.claim(spawn_id not in self._ends, f"{spawn_id} has ended twice", spawn_id)
            self._ends.add(spawn_id)
            if isinstance(body, events.ProcessExited):
                self._exits.add(spawn_id)
        elif isinstance(body, events.ProcessReaped):
            self.claim(spawn_id not in self._reaps, f"{spawn_id} was reaped twice", spawn_id)
            self._reaps.add(spawn_id)
        elif isinstance(body, events.ProcessSpawned):
            self._started.add(spawn_id)

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Misused):
            self.claim(False, f"the keeper misused the kernel: {fact.what} (pid {fact.pid})")

    def rested(self, world: World) -> None:
        for spawn_id in self._started - self._ends:
            worker = self.truth.by_spawn.get(spawn_id)
            text = f"{spawn_id} is gone, and no record says how"
            self.claim(worker is not None and worker.lives, text, spawn_id)
        if world.ended is None:
            for spawn_id in self._exits - self._reaps:
                self.claim(False, f"no record says that {spawn_id} was reaped", spawn_id)


class Status(Checker):
    """A recorded status is what the kernel gave; `lost` is never said of what the keeper holds."""

    id = "I-STATUS"

    def recorded(self, record: Record) -> None:
        body, spawn_id = record.body, record.spawn_id or 0
        worker = self.truth.by_spawn.get(spawn_id)
        if worker is None:
            return  # Of an earlier boot: the kernel that knew is gone.
        if isinstance(body, events.ProcessExited):
            said = (body.code, body.signal)
            text = f"{spawn_id} ended with {worker.ending}, recorded is {said}"
            self.claim(worker.ending == said, text, spawn_id)
        elif isinstance(body, events.ProcessLost):
            self.claim(False, f"{spawn_id} is said to be lost, but the keeper lives", spawn_id)


class Ordered(Checker):
    """requested < spawned < exited < reaped, for every spawn_id."""

    id = "I-ORDER"
    RANKS: Final[Mapping[type[Body], int]] = {
        events.ProcessSpawned: 1, events.ProcessSpawnFailed: 1, events.ProcessNeverRun: 1,
        events.ProcessExited: 2, events.ProcessLost: 2, events.ProcessReaped: 3,
    }  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._ranks: dict[int, int] = {}

    def recorded(self, record: Record) -> None:
        rank = self.RANKS.get(type(record.body))
        spawn_id = record.spawn_id or 0
        if rank is None:
            return
        before = self._ranks.get(spawn_id, 0)
        self.claim(before == rank - 1, f"{record.name} of {spawn_id} is out of order", spawn_id)
        self._ranks[spawn_id] = rank


class NoPeek(Checker):
    """No zombie is let go before its exit is in the ledger, or in the keeper's last words."""

    id = "I-NOPEEK"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._kept: set[int] = set()

    def recorded(self, record: Record) -> None:
        if isinstance(record.body, ENDS):
            self._kept.add(record.spawn_id or 0)

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Noted) and fact.report[0] == "exited":
            self._kept.add(fact.report[1])
        elif isinstance(fact, Reaped):
            spawn_id = self.truth.workers[fact.serial].spawn_id
            text = f"{spawn_id} was reaped before its exit was on record"
            self.claim(spawn_id in self._kept, text, spawn_id)


class NoZombies(Checker):
    """At rest there are no zombies; an acknowledged one is gone at once."""

    id = "I-ZOMBIE"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._acknowledged: set[int] = set()

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed) and fact.operation[0] == "ack":
            self._acknowledged.update(fact.operation[1])
        elif isinstance(fact, Settled):
            for spawn_id in self._acknowledged:
                worker = self.truth.by_spawn.get(spawn_id)
                left = worker is not None and not worker.lives and not worker.reaped
                self.claim(not left, f"{spawn_id} is acknowledged and still a zombie", spawn_id)
            self._acknowledged.clear()

    def rested(self, world: World) -> None:
        zombies = [one.pid for one in world.keeper.kernel.zombies()]
        self.claim(not zombies, f"zombies at rest: pids {zombies}")


class Orphans(Checker):
    """Every orphan that ended is reaped and on record; none is counted as a worker."""

    id = "I-ORPHAN"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._reaped: list[int] = []
        self._told: list[int] = []
        self._forgiven = 0

    def recorded(self, record: Record) -> None:
        if isinstance(record.body, events.OrphanReaped):
            self._told.append(record.body.pid)

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, OrphanReaped):
            text = f"worker {fact.pid} was reaped as an orphan"
            self.claim(fact.serial not in self.truth.workers, text)
            self._reaped.append(fact.pid)
        elif isinstance(fact, CoreLost):
            # Told, and not on record when the core died: an orphan is told once (RELIABILITY.md
            # promises exactly once for workers only).
            self._forgiven = len(self._reaped)

    def rested(self, world: World) -> None:
        if world.ended is None:
            missing: list[Any] = sorted(self._reaped[self._forgiven :])
            for pid in self._told:
                if pid in missing:  # Others are of an earlier boot.
                    missing.remove(pid)
            self.claim(not missing, f"orphans reaped without a record: pids {missing}")


CHECKERS = (
    Max, Single, SpawnOnce, Resolved, EndedOnce, Status, Ordered, NoPeek, NoZombies, Orphans,
    *SIGNAL_CHECKERS,
)  # fmt: skip


def every_checker(truth: Truth) -> Sequence[Checker]:
    """One of each."""
    return tuple(checker(truth) for checker in CHECKERS)
