"""Room: replay -- the lives of processes, told once for every picture: from the wish to the end.

Knows:     bus.commands, bus.events, bus.record.
Known by:  replay.pictures.timeline, perfetto and stats.
Never:     keeps a life that has ended: it is given away; guesses an end that is not on record.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple

from circus.bus.commands import ProcessSpawn
from circus.bus.events import (
    ProcessExited,
    ProcessLost,
    ProcessNeverRun,
    ProcessSpawned,
    ProcessSpawnFailed,
    SlotFilled,
    SlotStopping,
)
from circus.bus.record import Body, Record
from circus.bus.shapes import mutable


class Outcome(Enum):
    """How a life went. The values are words of the pictures and of their tables."""

    RUNNING = "running"  # as far as the record goes
    ASKED = "asked"  # it ended as it was asked to
    FORCED = "forced"  # asked, but only SIGKILL ended it
    CLEAN = "clean"  # by itself, with code 0
    FAILED = "failed"  # by itself, with another code
    KILLED = "killed"  # by a signal that the watcher did not ask for
    LOST = "lost"  # nobody can say how
    UNBORN = "unborn"  # it never ran its program


MEANINGS: Final = {
    Outcome.RUNNING: "runs as far as the record goes",
    Outcome.ASKED: "ended as it was asked to",
    Outcome.FORCED: "asked to end, ended by SIGKILL",
    Outcome.CLEAN: "ended by itself with code 0",
    Outcome.FAILED: "ended by itself with another code",
    Outcome.KILLED: "ended by a signal nobody here asked for",
    Outcome.LOST: "gone, and nobody can say how",
    Outcome.UNBORN: "never ran its program",
}
# Ends that somebody should look at.
UNWANTED: Final = frozenset({Outcome.FAILED, Outcome.KILLED, Outcome.LOST, Outcome.UNBORN})
# So many ended lives are remembered: what is late about one is within a few decisions.
LATE_MAX: Final = 4096


class Mark(NamedTuple):
    """One moment of a life: the record that says so, and when it was."""

    seq: int
    at: int


@mutable
class Life:
    """One process of one slot. A mark is None where the record does not have that moment."""

    spawn_id: int
    watcher: str
    slot: int
    wanted: Mark | None = None
    spawned: Mark | None = None
    filled: Mark | None = None
    stopping: Mark | None = None
    ended: Mark | None = None
    pid: int = 0
    attempt: int = 1
    replaces: int | None = None
    adopted: bool = False
    reason: str = ""  # why it was asked to end
    outcome: Outcome = Outcome.RUNNING
    how: str = ""  # `code 1`, `SIGSEGV, core dumped`, `exec: no such program`

    @property
    def begins(self) -> int:
        """When the record first knows of it."""
        marks = (self.wanted, self.spawned, self.filled, self.stopping, self.ended)
        return min(mark.at for mark in marks if mark is not None)

    @property
    def uptime(self) -> int | None:
        """Nanoseconds that it ran; None while it runs, or if it never did."""
        if self.spawned is None or self.ended is None:
            return None
        return max(0, self.ended.at - self.spawned.at)

    @property
    def readiness(self) -> int | None:
        """Nanoseconds from the wish to the watcher's word that the slot is filled."""
        if self.wanted is None or self.filled is None:
            return None
        return max(0, self.filled.at - self.wanted.at)


Told = Callable[[Life], None]


class Lives:
    """A fold of records into lives; each is given to `told` when it has ended."""

    def __init__(self, told: Told) -> None:
        self.open: dict[int, Life] = {}
        self._ended: dict[int, None] = {}  # the newest, for what is said about them later
        self._told = told

    def take(self, record: Record, at: int) -> None:
        """The next record, if it is a moment of a life; they are to come in their order."""
        step, spawn_id = _STEPS.get(type(record.body)), record.spawn_id
        if step is None or spawn_id is None or spawn_id in self._ended:
            return
        life = self.open.get(spawn_id)
        if life is None:
            life = self.open[spawn_id] = Life(spawn_id, record.watcher or "", record.slot or 0)
        step(life, Mark(record.seq, at), record.body)
        if life.replaces in self.open and isinstance(record.body, ProcessSpawn):
            self._take_place(self.open[life.replaces], Mark(record.seq, at))
        if life.ended is not None:
            self._end(life)

    def finish(self) -> None:
        """The record ends here: what is open runs."""
        for life in self.open.values():
            self._told(life)
        self.open.clear()

    def _take_place(self, life: Life, taken: Mark) -> None:
        """Its place is taken, so it is over, although no record that is left says so."""
        life.ended, life.outcome, life.how = taken, Outcome.LOST, "its end is not on record"
        self._end(life)

    def _end(self, life: Life) -> None:
        """A watcher may see that its slot is filled after the process in it has ended."""
        del self.open[life.spawn_id]
        self._told(life)
        self._ended[life.spawn_id] = None
        if len(self._ended) > LATE_MAX:
            del self._ended[next(iter(self._ended))]


def signal_name(number: int) -> str:
    """`SIGTERM`, or `signal 40` where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _wanted(life: Life, mark: Mark, body: Any) -> None:
    life.wanted, life.attempt, life.replaces = mark, body.attempt, body.replaces


def _spawned(life: Life, mark: Mark, body: Any) -> None:
    if life.spawned is None:
        life.spawned, life.pid = mark, body.pid
    life.adopted = life.adopted or body.adopted


def _filled(life: Life, mark: Mark, body: Any) -> None:
    life.filled = life.filled or mark


def _stopping(life: Life, mark: Mark, body: Any) -> None:
    if life.stopping is None:
        life.stopping, life.reason = mark, body.reason


def _exited(life: Life, mark: Mark, body: Any) -> None:
    life.ended, life.pid, life.how = mark, body.pid, exit_text(body)
    forced = body.signal == signal.SIGKILL
    if life.stopping is not None:
        life.outcome = Outcome.FORCED if forced else Outcome.ASKED
    elif body.signal is not None:
        life.outcome = Outcome.KILLED
    else:
        life.outcome = Outcome.FAILED if body.code else Outcome.CLEAN


def _lost(life: Life, mark: Mark, body: Any) -> None:
    life.ended, life.outcome, life.how = mark, Outcome.LOST, body.reason


def _failed(life: Life, mark: Mark, body: Any) -> None:
    life.ended, life.outcome, life.how = mark, Outcome.UNBORN, failure_text(body)


def _never_ran(life: Life, mark: Mark, body: Any) -> None:
    life.ended, life.outcome, life.how = mark, Outcome.UNBORN, body.reason


def exit_text(body: ProcessExited) -> str:
    """What the kernel gave."""
    if body.signal is None:
        return f"code {body.code}"
    memory = ", out of memory" if body.rusage.get("oom_kill") else ""
    return f"{signal_name(body.signal)}{', core dumped' if body.core else ''}{memory}"


def failure_text(body: ProcessSpawnFailed) -> str:
    """At which step the spawn failed, and why."""
    return f"{body.step}: {body.reason or errno.errorcode.get(body.errno, str(body.errno))}"


_STEPS: Final[dict[type[Body], Callable[[Life, Mark, Any], None]]] = {
    ProcessSpawn: _wanted,
    ProcessSpawned: _spawned,
    SlotFilled: _filled,
    SlotStopping: _stopping,
    ProcessExited: _exited,
    ProcessLost: _lost,
    ProcessSpawnFailed: _failed,
    ProcessNeverRun: _never_ran,
}

__all__ = [
    "MEANINGS", "UNWANTED", "Life", "Lives", "Mark", "Outcome", "exit_text", "failure_text",
    "signal_name",
]  # fmt: skip
