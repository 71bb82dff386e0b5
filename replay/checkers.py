"""Room: replay -- what every checker shares: the witness of records and facts, and the violation.

Knows:     bus.record, replay.truth.
Known by:  replay.invariants, replay.invariants_signals, replay.world.
Never:     changes the world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import attr

from circus.bus import commands, events
from circus.bus.record import Record
from circus.replay.truth import Ended, Fact, Forked, OrphanReaped, Reaped, Told

if TYPE_CHECKING:
    from circus.replay.world import World

STORY_RECORDS_MAX: Final = 40
RECORDS_KEPT: Final = 50_000  # at least so many are at hand for stories


class Violation(AssertionError):
    """An invariant does not hold: which, about what, in which run, and how to see it again."""


@attr.s(auto_attribs=True, slots=True, eq=False)
class Worker:
    """One process that the keeper has started, as the kernel knows it."""

    serial: int
    pid: int
    spawn_id: int = 0
    ending: tuple[int | None, int | None] | None = None
    reaped: bool = False

    @property
    def lives(self) -> bool:
        return self.ending is None


class Truth:
    """All records and all workers of this boot; hands every record to every checker."""

    def __init__(self, seed: int, make_checkers: Callable[[Truth], Sequence[Checker]]) -> None:
        self.seed = seed
        self.repeat = f"python -m circus.replay {seed}"
        self.records: list[Record] = []  # the latest; older ones are in the ledger
        self.seen = 0  # how many records there have been
        self.workers: dict[int, Worker] = {}  # by serial
        self.by_spawn: dict[int, Worker] = {}
        self.spawns: dict[int, Record] = {}  # the spawn commands, by spawn_id
        self.checkers = make_checkers(self)

    def observe(self, record: Record) -> None:
        """Every record once, whether it is appended now or found in recovery."""
        records = self.records
        if records and record.seq <= records[-1].seq:
            return
        self.seen += 1
        records.append(record)
        if len(records) > 2 * RECORDS_KEPT:
            del records[:RECORDS_KEPT]
        if isinstance(record.body, commands.ProcessSpawn):
            self.spawns[record.seq] = record
        for checker in self.checkers:
            checker.recorded(record)

    def happened(self, fact: Fact) -> None:
        """Keep what the kernel did, then let the checkers look."""
        if isinstance(fact, Forked):
            self.workers[fact.serial] = Worker(fact.serial, fact.pid)
        elif isinstance(fact, Ended):
            worker = self.workers.get(fact.serial)
            if worker is not None:
                worker.ending = (fact.code, fact.signum)
        elif isinstance(fact, Reaped | OrphanReaped) and fact.serial in self.workers:
            self.workers[fact.serial].reaped = True
        elif isinstance(fact, Told) and fact.report[0] == "spawned":
            self._name(fact.report[1], fact.report[5])
        for checker in self.checkers:
            checker.happened(fact)

    def living_of(self, owner: str) -> list[Worker]:
        """The workers of one watcher that run."""
        return [
            worker
            for spawn_id, worker in self.by_spawn.items()
            if worker.lives and self.owner_of(spawn_id) == owner
        ]

    def owner_of(self, spawn_id: int) -> str:
        """The address of the watcher that asked for this spawn."""
        spawn = self.spawns.get(spawn_id)
        return spawn.actor if spawn is not None else ""

    def story(self, spawn_id: int) -> list[str]:
        """What the ledger says about one process, line by line."""
        records = [r for r in self.records if spawn_id in (r.spawn_id, r.seq)]
        lines = [
            f"{r.seq:>6} {r.boot / 1e9:9.3f}s #{r.incarnation} {r.actor}: {r.name} {r.body!r}"
            f" (because of {r.cause})"
            for r in records
        ]
        return lines[-STORY_RECORDS_MAX:]

    def _name(self, spawn_id: int, serial: int) -> None:
        worker = self.workers.get(serial)
        if worker is not None and not worker.spawn_id:
            worker.spawn_id = spawn_id
            self.by_spawn.setdefault(spawn_id, worker)


class Checker:
    """One invariant: told of every record and fact, asked after every step and at rest."""

    id: ClassVar[str]

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def recorded(self, record: Record) -> None:
        """A record is in the ledger."""

    def happened(self, fact: Fact) -> None:
        """Something happened in the kernel or on the link."""

    def stepped(self, world: World) -> None:
        """One happening is over."""

    def examined(self, world: World) -> None:
        """Every 10,000 decisions and at the end of a run: a look at the whole history is allowed."""

    def rested(self, world: World) -> None:
        """Faults and commands have stopped, and everybody had time to react."""

    def claim(self, holds: object, text: str, spawn_id: int = 0) -> None:
        """Raise the violation with its story where something does not hold."""
        if holds:
            return
        story = self.truth.story(spawn_id) if spawn_id else []
        lines = [f"{self.id}: {text}", f"seed {self.truth.seed}", *story, self.truth.repeat]
        raise Violation("\n".join(lines))


ENDS: Final = (events.ProcessExited, events.ProcessLost)
OUTCOMES: Final = (events.ProcessSpawned, events.ProcessSpawnFailed, events.ProcessNeverRun)
