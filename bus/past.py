"""Room: bus -- from a ledger back to a living bus: states, inboxes, timers, open spawns.

Knows:     bus.machine, bus.routing, bus.timers, the vocabulary.
Known by:  the runtime and the simulator at every start, replay's laws.
Never:     acts: what it finds is data for those who do.

One pass, in ledger order. An actor's state is the fold of its own records; the inputs that it has
not answered are those routed to it after the highest cause of its frames, in order (DESIGN.md, 3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from circus.bus import commands, events
from circus.bus.machine import Actor
from circus.bus.record import Body, Record
from circus.bus.routing import addressee
from circus.bus.shapes import entity, field
from circus.bus.timers import OF_TIMERS, Timers
from circus.bus.values import Address


class Unfoldable(RuntimeError):
    """A fact that no core of this version can believe: it would not at the next start either."""

    def __init__(self, record: Record, error: Exception) -> None:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        super().__init__(
            f"cannot believe record {record.seq} ({record.name}) of {record.actor}: {what}; "
            "run the version that wrote it, or move ledger/ away to begin anew"
        )


# A fold over a long ledger asks these of every record: one look at its kind says who cares.
OF_THE_CORE: Final = frozenset(
    (events.CoreStarted, events.ArbiterStopped, events.ArbiterConfigured, events.CoreStopped)
)


@entity
class Spawns:
    """Which spawns have no outcome yet, which processes are not reaped yet, which signals are open.

    `undecided`: spawn_id → its command. `alive`: spawn_id → the `process.spawned` of a process that
    has not been reaped. `exited`: those of `alive` whose exit is in the ledger. `signals`: seq →
    the command of a signal whose outcome is not in the ledger. `lost_until`: boot ns at which the
    newest core had ended that is on record as lost: a keeper tells of each until one is ready.
    `adopted`: those of `alive` that the present keeper has taken over from one that was killed.
    `reconciled`: boot ns at which a keeper's list was compared last; one that was started after
    that holds nothing of what was alive then. `bereft`: since then that is on record.
    """

    undecided: dict[int, Record] = field(factory=dict)
    alive: dict[int, Record] = field(factory=dict)
    exited: set[int] = field(factory=set)
    signals: dict[int, Record] = field(factory=dict)
    lost_until: int = 0
    adopted: set[int] = field(factory=set)
    reconciled: int = 0
    bereft: bool = False

    @property
    def settled(self) -> bool:
        """Nothing is on its way: no outcome, no reap, no answer to a signal is still to come."""
        return not (self.undecided or self.exited or self.signals)

    def fold(self, record: Record) -> None:
        """Believe one record; those that are not about processes change nothing."""
        fold = _FOLDS.get(type(record.body))
        if fold is not None:
            fold(self, record)

    def begin_boot(self) -> None:
        """Times of another boot mean nothing in this one."""
        self.lost_until = self.reconciled = 0

    def folds(self) -> dict[type[Body], Callable[[Record], None]]:
        """The same by kind, for those who know it already."""
        return {kind: partial(fold, self) for kind, fold in _FOLDS.items()}


def _asked(spawns: Spawns, record: Record) -> None:
    spawns.undecided[record.seq] = record


def _signal_asked(spawns: Spawns, record: Record) -> None:
    spawns.signals[record.seq] = record


def _signalled(spawns: Spawns, record: Record) -> None:
    assert isinstance(record.body, events.ProcessSignalled), record
    spawns.signals.pop(record.body.signal, None)


def _spawned(spawns: Spawns, record: Record) -> None:
    if record.spawn_id is not None:
        spawns.undecided.pop(record.spawn_id, None)
        spawns.alive[record.spawn_id] = record


def _not_spawned(spawns: Spawns, record: Record) -> None:
    spawns.undecided.pop(record.spawn_id or 0, None)


def _exited(spawns: Spawns, record: Record) -> None:
    # Behind a hole in the ledger there are ends of processes that it has forgotten.
    if record.spawn_id in spawns.alive:
        spawns.exited.add(record.spawn_id)


def _gone(spawns: Spawns, record: Record) -> None:
    spawns.alive.pop(record.spawn_id or 0, None)
    spawns.exited.discard(record.spawn_id or 0)
    spawns.adopted.discard(record.spawn_id or 0)


def _core_lost(spawns: Spawns, record: Record) -> None:
    assert isinstance(record.body, events.CoreLost), record
    spawns.lost_until = max(spawns.lost_until, record.body.observed)


def _keeper_lost(spawns: Spawns, record: Record) -> None:
    spawns.bereft = True
    spawns.adopted.clear()


def _reconciled(spawns: Spawns, record: Record) -> None:
    spawns.reconciled, spawns.bereft = record.boot, False


def _adopted(spawns: Spawns, record: Record) -> None:
    if record.spawn_id is not None:
        spawns.adopted.add(record.spawn_id)


_FOLDS: Final[Mapping[type[Body], Callable[[Spawns, Record], None]]] = {
    commands.ProcessSpawn: _asked,
    commands.ProcessSignal: _signal_asked,
    events.ProcessSignalled: _signalled,
    events.ProcessSpawned: _spawned,
    events.ProcessSpawnFailed: _not_spawned,
    events.ProcessNeverRun: _not_spawned,
    events.ProcessExited: _exited,
    events.ProcessReaped: _gone,
    events.ProcessLost: _gone,
    events.CoreLost: _core_lost,
    events.ProcessAdopted: _adopted,
    events.KeeperLost: _keeper_lost,
    events.ReaperReconciled: _reconciled,
}
# What a life consists of on record, from the request to the reap; and the ends of cores.
OF_THE_KEEPER: Final = tuple(_FOLDS)


@entity
class Past:
    """What a core needs to go on where the ledger ends."""

    actors: dict[Address, Actor] = field(factory=dict)
    unanswered: dict[Address, deque[Record]] = field(factory=dict)
    timers: Timers = field(factory=Timers)
    spawns: Spawns = field(factory=Spawns)
    leaving: bool = False  # the arbiter has stopped everything, the core has not said its last
    incarnation: int = 0
    after: int = 0  # what was said before is not believed: the ledger has a hole there
    boot_id: str = ""
    last: Record | None = None

    def mail(self, address: Address, record: Record) -> None:
        """Into the inbox of an actor."""
        inbox = self.unanswered.get(address)
        if inbox is None:
            inbox = self.unanswered[address] = deque()
        inbox.append(record)

    def inputs(self) -> list[Record]:
        """Every record that its addressee has not answered, in ledger order."""
        waiting = {
            record.seq: record
            for address, inbox in self.unanswered.items()
            if address in self.actors
            for record in inbox
        }
        return [waiting[seq] for seq in sorted(waiting)]


class Fold:
    """The fold over a whole ledger. `initial` makes the actors that no record gives birth to."""

    def __init__(self, initial: Iterable[Actor], birth: Callable[[Record], Actor]) -> None:
        self.found = Past({actor.address: actor for actor in initial})
        self._birth = birth

    def fold(self, record: Record) -> None:
        """Believe one record of the past; Unfoldable names the one that cannot be believed."""
        try:
            self._fold(record)
        except Exception as error:
            raise Unfoldable(record, error) from error

    def _fold(self, record: Record) -> None:
        found = self.found
        kind = type(record.body)
        if kind in OF_THE_CORE:
            self.turn_over(record, record.body)
        found.last = record
        found.incarnation = record.incarnation
        if kind in OF_TIMERS:
            found.timers.fold(record)
        if kind in _FOLDS:
            found.spawns.fold(record)
        actor = found.actors.get(record.actor)
        if actor is not None:
            actor.state = actor.core.evolve(actor.state, record)
            inbox = found.unanswered.get(record.actor)
            while inbox and inbox[0].seq <= record.cause:
                inbox.popleft()
        self.route(record, record.body)

    def turn_over(self, record: Record, body: object) -> None:
        """A core begins or ends."""
        found = self.found
        if isinstance(body, events.CoreStarted):
            if found.last is not None and body.boot_id != found.boot_id:
                # Due times are boot times, and those of another boot mean nothing in this one.
                found.timers.rebase(found.last.boot, record.boot)
            if body.boot_id != found.boot_id:
                found.spawns.begin_boot()
            found.boot_id = body.boot_id
        else:
            found.leaving = isinstance(body, events.ArbiterStopped)

    def route(self, record: Record, body: object) -> None:
        """A birth, an end, or mail for the one whom it concerns."""
        found = self.found
        if isinstance(body, events.WatcherAdded):
            newborn = self._birth(record)
            found.actors[newborn.address] = newborn
        elif isinstance(body, events.WatcherRemoved):
            found.actors.pop(body.address, None)
            found.unanswered.pop(body.address, None)
        else:
            address = addressee(record)
            if address is not None and address in found.actors:
                found.mail(address, record)
