"""Room: replay -- who hears of what happens to a simulated process: SIGCHLD, pidfds, its parent.

Knows:     its ends (what it witnesses) and spawn (the weather), replay.checks.truth.
Known by:  replay.kernel.lives, whose process table tells it.
Never:     loses the news of an end: it may come late, merged with other news, or for nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from circus.replay.checks.truth import Ended, Fact
from circus.replay.kernel.ends import Witness
from circus.replay.kernel.kin import KEEPER, Process
from circus.replay.kernel.spawn import (
    PIDFD_LATE,
    PIDFD_LATE_MAX,
    SIGCHLD_LATE,
    SIGCHLD_LATE_MAX,
    SIGCHLD_MERGED,
    SIGCHLD_SPURIOUS,
    TRACED,
    TRACED_MAX,
)
from circus.replay.sim.agenda import Agenda

if TYPE_CHECKING:
    from circus.replay.kernel.lives import Lives


class Host(Protocol):
    """What the kernel asks of the keeper's machine."""

    @property
    def agenda(self) -> Agenda: ...
    def happened(self, fact: Fact, /) -> None: ...
    def readable(self, pidfd: int, /) -> None: ...
    def child_ended(self) -> None: ...


class Notices(Witness):
    """Tells the keeper, or the program that is the parent."""

    def __init__(self, host: Host, lives: Lives) -> None:
        self.lives = lives
        self.watched: set[int] = set()  # pidfds
        self._host = host
        self._agenda = host.agenda
        self._faults = host.agenda.coverage.faults
        self._sigchld_due = False

    def struck(self, rate: float, fault: str) -> bool:
        """Does this happen now?"""
        if rate and self._agenda.chance.random() < rate:
            self._faults[fault] += 1
            return True
        return False

    def perhaps_disturb(self) -> None:
        """A SIGCHLD for nothing: somebody else's child, or a stop that nobody asked about."""
        if self.struck(self.lives.weather.sigchld_spurious, SIGCHLD_SPURIOUS):
            self._raise_sigchld()

    # --- what the table tells (sim_ends.Witness) --------------------------------------------------

    def ended(self, process: Process) -> None:
        assert process.ending is not None, process
        code, signum, _, _ = process.ending
        self._host.happened(Ended(process.serial, process.pid, code, signum))
        if process.pidfd and self.struck(self.lives.weather.traced, TRACED):
            process.traced = True
            self._agenda.later(
                self._agenda.chance.randrange(TRACED_MAX),
                partial(self.lives.table.ends.detach, process),
            )
            if process.pidfd in self.watched:
                self.show(process.pidfd)  # poll shows what waitid does not yet tell

    def child_ended(self, process: Process) -> None:
        mother = process.mother
        assert mother is not None, process
        if mother.serial == KEEPER:
            self._raise_sigchld()
            if process.pidfd in self.watched:
                self._show(process)
        elif mother.script.waits:
            self.lives.when_running(mother, partial(self.lives.wait_for, process))

    def caught(self, process: Process, signum: int) -> None:
        self._agenda.later(
            process.script.slowness, partial(self.lives.when_running, process, self.lives.leave)
        )

    def resumed(self, process: Process) -> None:
        overdue, process.overdue = process.overdue, []
        for act in overdue:
            self.lives.when_running(process, act)

    # --- who hears of an end ----------------------------------------------------------------------

    def _raise_sigchld(self) -> None:
        """One bit: a second one before the first was taken is none."""
        if self._sigchld_due:
            self._faults[SIGCHLD_MERGED] += 1
        elif self.struck(self.lives.weather.sigchld_late, SIGCHLD_LATE):
            self._sigchld_due = True
            self._agenda.later(self._agenda.chance.randrange(SIGCHLD_LATE_MAX), self._sigchld)
        else:
            self._host.child_ended()

    def _sigchld(self) -> None:
        self._sigchld_due = False
        self._host.child_ended()

    def _show(self, process: Process) -> None:
        if self.struck(self.lives.weather.pidfd_late, PIDFD_LATE):
            delay = self._agenda.chance.randrange(PIDFD_LATE_MAX)
            self._agenda.later(delay, partial(self._show_late, process))
        else:
            self.show(process.pidfd)

    def _show_late(self, process: Process) -> None:
        if process.pidfd in self.watched:
            self.show(process.pidfd)

    def show(self, pidfd: int) -> None:
        """Once: whoever finds nothing to peek at must watch on."""
        self.watched.discard(pidfd)
        self._host.readable(pidfd)
