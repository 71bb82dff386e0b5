"""Room: process -- the life of one process as a table, decided and never touched.

Knows:     bus.events, bus.record.
Known by:  process.reaper (what a report adds to the record), process.process (standalone), replay.
Never:     forks, waits, signals, reads a clock, logs.

A report that is no news, because the keeper tells again what an earlier core recorded, has no
move in the table, and so nothing is said about it: that is the whole of "exactly once".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from circus.bus import events
from circus.bus.record import Body


class Phase(Enum):
    """Where a process is in its life, as far as it is on record."""

    # Members are single objects; the enum's own hash is a Python function, called for every fact.
    __hash__ = object.__hash__

    REQUESTED = "requested"
    RUNNING = "running"
    ADOPTED = "adopted"  # runs, held by a keeper that is not its parent
    EXITED = "exited"  # a zombie: it keeps its pid until the exit is acknowledged
    REAPED = "reaped"
    FAILED = "failed"  # not one instruction ran
    NEVER_RUN = "never run"
    LOST = "lost"


LIFE: Final[Mapping[Phase, Mapping[type[Body], Phase]]] = {
    Phase.REQUESTED: {
        events.ProcessSpawned: Phase.RUNNING,
        events.ProcessSpawnFailed: Phase.FAILED,
        events.ProcessNeverRun: Phase.NEVER_RUN,
    },
    Phase.RUNNING: {
        events.ProcessSignalled: Phase.RUNNING,
        events.ProcessAdopted: Phase.ADOPTED,
        events.ProcessExited: Phase.EXITED,
        events.ProcessLost: Phase.LOST,
    },
    Phase.ADOPTED: {
        events.ProcessSignalled: Phase.ADOPTED,
        events.ProcessExited: Phase.EXITED,
        events.ProcessLost: Phase.LOST,
    },
    Phase.EXITED: {
        events.ProcessSignalled: Phase.EXITED,
        events.ProcessReaped: Phase.REAPED,
    },
    Phase.REAPED: {},
    Phase.FAILED: {},
    Phase.NEVER_RUN: {},
    Phase.LOST: {},
}
OVER: Final = frozenset({Phase.REAPED, Phase.FAILED, Phase.NEVER_RUN, Phase.LOST})


class Life(NamedTuple):
    """What is on record about one process."""

    phase: Phase = Phase.REQUESTED
    pid: int = 0


def decide(life: Life, fact: Body) -> tuple[Body, ...]:
    """The fact, if it is news for this life; nothing if it is a repeat."""
    return (fact,) if type(fact) in LIFE[life.phase] else ()


def evolve(life: Life, fact: Body) -> Life:
    """The life after `fact`; unchanged by what has no move."""
    phase = LIFE[life.phase].get(type(fact), life.phase)
    pid = fact.pid if isinstance(fact, events.ProcessSpawned) else life.pid
    return Life(phase, pid)
