"""Room: watcher -- the nouns of one watcher: its slots, its operations, and both life tables.

Knows:     bus.record, bus.spec, bus.values.
Known by:  watcher.fold (changes them), watcher.plan, watcher.operations, watcher.core (read them).
Never:     decides, reads a clock, knows a process other than by its spawn_id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final

from circus.bus.commands import ProcessSpawn, WatcherReload, WatcherSet
from circus.bus.events import (
    SlotFilled,
    SlotStopping,
    SlotVacated,
    SlotWaiting,
    WatcherFailed,
    WatcherRemoved,
    WatcherStarted,
    WatcherStarting,
    WatcherStopped,
    WatcherStopping,
)
from circus.bus.record import Body, Command
from circus.bus.shapes import field, mutable
from circus.bus.spec import OPTIONS, Change, WatcherSpec


class Phase(Enum):
    """The watcher's life; the values are what `status` says."""

    # As in process.core: the enum's own hash is a Python function, called for every fact.
    __hash__ = object.__hash__

    STOPPED = "stopped"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"
    FAILED = "failed"
    REMOVED = "removed"


class SlotPhase(Enum):
    """A slot's life. An absent slot is vacant: nothing is kept about it but its short lives."""

    __hash__ = object.__hash__

    VACANT = "vacant"
    SPAWNING = "spawning"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"


# What a slot's own records make of it. Absent is impossible: the core never says it.
SLOT_LIFE: Final[Mapping[SlotPhase, Mapping[type[Body], SlotPhase]]] = {
    SlotPhase.VACANT: {ProcessSpawn: SlotPhase.SPAWNING, SlotWaiting: SlotPhase.WAITING},
    SlotPhase.SPAWNING: {
        SlotFilled: SlotPhase.RUNNING,
        SlotStopping: SlotPhase.STOPPING,
        SlotVacated: SlotPhase.VACANT,
        SlotWaiting: SlotPhase.WAITING,
        ProcessSpawn: SlotPhase.SPAWNING,
    },
    SlotPhase.RUNNING: {
        SlotStopping: SlotPhase.STOPPING,
        SlotVacated: SlotPhase.VACANT,
        ProcessSpawn: SlotPhase.SPAWNING,
    },
    SlotPhase.STOPPING: {
        SlotFilled: SlotPhase.STOPPING,
        SlotStopping: SlotPhase.STOPPING,
        SlotVacated: SlotPhase.VACANT,
        ProcessSpawn: SlotPhase.SPAWNING,
    },
    SlotPhase.WAITING: {ProcessSpawn: SlotPhase.SPAWNING, SlotVacated: SlotPhase.VACANT},
}

WATCHER_LIFE: Final[Mapping[Phase, Mapping[type[Body], Phase]]] = {
    Phase.STOPPED: {WatcherStarting: Phase.STARTING, WatcherRemoved: Phase.REMOVED},
    Phase.STARTING: {
        WatcherStarting: Phase.STARTING,
        WatcherStarted: Phase.ACTIVE,
        WatcherStopping: Phase.STOPPING,
        WatcherFailed: Phase.FAILED,
        WatcherRemoved: Phase.REMOVED,
    },
    Phase.ACTIVE: {
        WatcherStarting: Phase.STARTING,
        WatcherStopping: Phase.STOPPING,
        WatcherStopped: Phase.STOPPED,
        WatcherFailed: Phase.FAILED,
        WatcherRemoved: Phase.REMOVED,
    },
    Phase.STOPPING: {WatcherStopped: Phase.STOPPED, WatcherRemoved: Phase.REMOVED},
    Phase.FAILED: {
        WatcherStarting: Phase.STARTING,
        WatcherStopping: Phase.STOPPING,
        WatcherRemoved: Phase.REMOVED,
    },
    Phase.REMOVED: {},
}


class Mode(Enum):
    """How an operation replaces processes."""

    PLAIN = "plain"  # it does not, or stops all first
    ROLLING = "rolling"  # new ones first, then the old ones end
    STEPPING = "stepping"  # one after the other: end, then spawn
    HANGUP = "hangup"  # SIGHUP, the processes stay


@mutable
class Slot:
    """One place for a process. Owned by the state and changed in place (a fold of thousands)."""

    phase: SlotPhase
    spawn_id: int = 0
    pid: int = 0
    since: int = 0  # boot ns at which the spawn was asked for: never after the real start
    attempt: int = 0  # failed spawns in a row, the one under way included
    timer: int = 0  # seq of the arming in force: of `retry` while waiting, of `age` while running
    batch: str = ""  # the grace timer that it stops under; "" once SIGKILL is on its way


@mutable
class Batch:
    """Processes that share one grace timer."""

    armed: int
    due: int
    members: dict[int, None] = field(factory=dict)  # spawn_ids, in the order of their signals


@mutable
class Operation:
    """One accepted command, from acceptance to its only `command.finished`.

    `olds` are the processes that were there when it began and are not gone; `pending` those of
    them that it has still to signal. `owed` spawns are its own, whatever `respawn` says.
    """

    command: int
    asker: str
    id: bytes | str | None
    body: Command | None = None
    begun: bool = False
    mode: Mode = Mode.PLAIN
    owed: int = 0
    olds: dict[int, None] = field(factory=dict)
    pending: dict[int, None] = field(factory=dict)
    stopped: list[int] = field(factory=list)
    started: list[int] = field(factory=list)


@mutable
class State:
    """One watcher: the fold of its own records, beginning with `watcher.added`."""

    address: str
    spec: WatcherSpec
    digest: str
    phase: Phase = Phase.STOPPED
    slots: dict[int, Slot] = field(factory=dict)  # by wid
    spawns: dict[int, int] = field(factory=dict)  # wid by spawn_id, oldest first
    failures: dict[int, int] = field(factory=dict)  # short lives in a row by wid
    unsettled: int = 0  # slots that are spawning or wait after a failed spawn
    stopping: int = 0  # slots that are stopping
    warmup: int = 0  # seq of the arming of the warm-up timer, 0: none
    graces: dict[str, Batch] = field(factory=dict)
    grace: str = ""  # the batch that was armed last: the next stopping slots join it
    queue: deque[Operation] = field(factory=deque)
    asides: dict[int, Operation] = field(factory=dict)  # signal and kill: they never queue

    @property
    def status(self) -> str:
        """What `circusctl status` shows."""
        return self.phase.value

    @property
    def name(self) -> str:
        """The watcher's name, as its spec has it."""
        return self.spec.name


def mode_of(spec: WatcherSpec, body: Command) -> Mode:
    """How this command replaces processes. A singleton never has two (I-SINGLE): it steps."""
    if isinstance(body, WatcherSet):
        costs = (OPTIONS[name].metadata["change"] for name in body.options)
        if Change.RELOAD not in costs:
            return Mode.PLAIN
        return Mode.STEPPING if spec.singleton else Mode.ROLLING
    if not isinstance(body, WatcherReload) or not body.graceful:
        return Mode.PLAIN
    if spec.send_hup:
        return Mode.HANGUP
    return Mode.STEPPING if body.sequential or spec.singleton else Mode.ROLLING


def untouched_of(
    state: State, spawn_ids: Mapping[int, None] | Mapping[int, int]
) -> dict[int, None]:
    """Those that nobody has asked to end yet, oldest first."""
    slots, spawns = state.slots, state.spawns
    return {s: None for s in spawn_ids if slots[spawns[s]].phase is not SlotPhase.STOPPING}


def targets_of(state: State, body: Command) -> dict[int, None]:
    """The spawn_ids that a `signal` or a `kill` means; one pid is looked for, rarely."""
    pid: int | None = getattr(body, "pid", None)
    if pid is None:
        return dict.fromkeys(state.spawns)
    return {s: None for s, wid in state.spawns.items() if state.slots[wid].pid == pid}
