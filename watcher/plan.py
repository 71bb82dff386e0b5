"""Room: watcher -- one decision in the making: its drafts, and the counts as they will be then.

Knows:     bus.commands, bus.events, watcher.state.
Known by:  watcher.operations, watcher.lives, watcher.core.
Never:     changes a state: what it looks ahead to is folded when the ledger has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final

from circus.bus.chance import Chance
from circus.bus.commands import Continue, ProcessSignal, ProcessSpawn, TimerArm, TimerDisarm
from circus.bus.events import CommandFinished, SlotStopping, SlotVacated
from circus.bus.record import Body, Command, Draft, Record
from circus.bus.spec import WatcherSpec
from circus.bus.values import CLOCK, EFFECTS_PER_DECISION_MAX, REAPER
from circus.watcher.state import (
    Mode,
    Operation,
    Phase,
    Slot,
    SlotPhase,
    State,
    mode_of,
    untouched_of,
)

# Kept free in each decision for the timers that go with its spawns and signals.
TIMERS_PER_DECISION_MAX: Final = 4


class Sheet:
    """What one decision says, in order, and how many effects it has."""

    __slots__ = (
        "_going_on", "chance", "digest", "drafts", "effects", "finished", "record", "spec", "state",
    )  # fmt: skip

    def __init__(self, state: State, record: Record, chance: Chance) -> None:
        self.state = state
        self.record = record
        self.chance = chance
        self.spec = state.spec  # as it will be
        self.digest = state.digest
        self.drafts: list[Draft] = []
        self.effects = 0
        self.finished: set[int] = set()  # commands
        self._going_on = False

    @property
    def room(self) -> int:
        """Effects that still fit into this decision."""
        return max(0, EFFECTS_PER_DECISION_MAX - TIMERS_PER_DECISION_MAX - self.effects)

    def note(self, body: Command) -> None:
        """Write the operation's body into our own record (ADR-0030); its delivery means nothing."""
        self.drafts.append(Draft(body, self.state.address, self.state.spec.name))

    def tell(self, body: Body, slot: int | None = None, spawn_id: int | None = None) -> None:
        """A fact about the watcher or one of its slots."""
        self.drafts.append(Draft(body, None, self.state.spec.name, slot, spawn_id))

    def ask(
        self, to: str, body: Command, slot: int | None = None, spawn_id: int | None = None
    ) -> None:
        """An effect: the reaper or the clock is to do something."""
        self.effects += 1
        self.drafts.append(Draft(body, to, self.state.spec.name, slot, spawn_id))

    def signal(self, spawn_id: int, body: ProcessSignal) -> None:
        """Ask for a signal to one process."""
        self.ask(REAPER, body, self.state.spawns[spawn_id], spawn_id)

    def arm(self, timer: str, duration: int, slot: int | None = None, *, bound: str) -> None:
        """Ask to be woken."""
        self.ask(CLOCK, TimerArm(timer, duration, bound), slot)

    def disarm(self, timer: str) -> None:
        """Sleep on."""
        self.ask(CLOCK, TimerDisarm(timer))

    def go_on(self) -> None:
        """More follows in a decision of its own; once is enough."""
        if not self._going_on:
            self._going_on = True
            self.drafts.append(Draft(Continue(), self.state.address, self.state.spec.name))


class Task:
    """What the operation in hand has still to do, as it will be: see `Operation`."""

    __slots__ = ("mode", "olds", "owed", "pending")

    def __init__(self, op: Operation | None) -> None:
        self.mode = op.mode if op else Mode.PLAIN
        self.olds = len(op.olds) if op else 0
        self.owed = op.owed if op else 0
        self.pending: Mapping[int, None] = op.pending if op else {}

    def begin(self, state: State, spec: WatcherSpec, body: Command) -> None:
        """As the fold of the note that begins an operation will have it."""
        self.mode = mode_of(spec, body)
        self.olds = len(state.spawns)
        self.owed = spec.numprocesses if self.mode is not Mode.PLAIN else 0
        self.pending = untouched_of(state, state.spawns)


class Numbers:
    """The free numbers of slots, the lowest first, as Circus counts wids."""

    __slots__ = ("_free", "_slots", "freed")

    def __init__(self, slots: Mapping[int, Slot]) -> None:
        self.freed: set[int] = set()
        self._slots = slots
        self._free: Iterator[int] | None = None

    def take(self) -> int:
        """The next one."""
        if self._free is None:
            slots, freed = self._slots, self.freed
            self._free = (wid for wid in count(1) if wid not in slots or wid in freed)
        return next(self._free)


class Plan(Sheet):
    """A sheet that looks ahead: `occupied` and its like are what they will be once it is folded."""

    __slots__ = (
        "filled", "gone", "occupied", "op", "phase", "stopping", "task", "unsettled", "warmup",
        "wids",
    )  # fmt: skip

    def __init__(self, state: State, record: Record, chance: Chance) -> None:
        super().__init__(state, record, chance)
        self.phase = state.phase
        self.occupied = len(state.slots)
        self.unsettled = state.unsettled
        self.stopping = state.stopping
        self.warmup = state.warmup
        self.wids = Numbers(state.slots)
        self.gone: Slot | None = None  # whose process this input has ended
        self.filled = 0  # the pid that this input has brought
        self.op = state.queue[0] if state.queue and state.queue[0].begun else None
        self.task = Task(self.op)

    # --- the operation in hand --------------------------------------------------------------------

    def begin(self, op: Operation, body: Command) -> None:
        """Work on this operation, as the state will have it when its note is folded."""
        self.op = op
        self.task.begin(self.state, self.spec, body)
        self.note(body)

    def finish(
        self, op: Operation, reply: Mapping[str, Any] | None = None, *, outcome: str = "done"
    ) -> None:
        """The one end of an accepted command; the next in the queue follows."""
        body = CommandFinished(op.command, outcome, reply)
        name = self.state.spec.name
        self.drafts.append(Draft(body, op.asker, name, id=op.id))
        self.finished.add(op.command)
        if op is self.op:
            self.op, self.task = None, Task(None)
            if any(later.command not in self.finished for later in self.state.queue):
                self.go_on()

    # --- slots ------------------------------------------------------------------------------------

    def spawn(self, wid: int, attempt: int = 1, replaces: int | None = None) -> None:
        """Ask for a process in `wid`, whose count as occupied is the caller's care."""
        self.unsettled += 1
        self.ask(REAPER, ProcessSpawn(self.digest, attempt, replaces), wid)

    def stop(self, wid: int, slot: Slot, reason: str, signal: ProcessSignal) -> None:
        """Ask the process in `wid` to end, under the grace timer that was armed last."""
        self.unsettled -= slot.phase is SlotPhase.SPAWNING
        self.stopping += 1
        self.tell(SlotStopping(reason), wid, slot.spawn_id)
        self.signal(slot.spawn_id, signal)

    def vacate(self, wid: int, slot: Slot, *, short: bool = False) -> None:
        """The slot is empty now."""
        self.leave(slot)
        self.occupied -= 1
        self.wids.freed.add(wid)
        self.tell(SlotVacated(short), wid, slot.spawn_id or None)

    def leave(self, slot: Slot) -> None:
        """Count the slot's process, or its wait, as over."""
        waits = slot.phase is SlotPhase.WAITING
        self.unsettled -= slot.attempt > 0 if waits else slot.phase is SlotPhase.SPAWNING
        self.stopping -= slot.phase is SlotPhase.STOPPING
        if not waits:
            self.gone = slot
            self.task.olds -= self.op is not None and slot.spawn_id in self.op.olds

    # --- what will be ---------------------------------------------------------------------------

    def missing(self) -> int:
        """How many processes have still to be spawned; old ones under reload do not count."""
        need = self.spec.numprocesses - (self.occupied - self.overlap())
        if not self.spec.respawn:
            need = min(need, self.task.owed)
        return max(0, need)

    def surplus(self) -> int:
        """How many there are beyond `numprocesses`, if those that stop are not counted."""
        return self.occupied - self.stopping - self.spec.numprocesses

    def overlap(self) -> int:
        """Processes beyond `numprocesses` that a graceful reload keeps until the new ones run."""
        return self.task.olds if self.task.mode is Mode.ROLLING else 0

    def is_spare(self, slot: Slot) -> bool:
        """Whether there are enough without the slot, whose process has not come."""
        is_old = self.op is not None and slot.spawn_id in self.op.olds
        return self.surplus() > max(0, self.overlap() - is_old)

    def runs(self) -> bool:
        """Whether the watcher keeps processes."""
        return self.phase is Phase.ACTIVE or self.phase is Phase.STARTING
