"""Room: replay -- programs at work in the simulated kernel, and who hears of what they do.

Knows:     replay.sim_processes, replay.scripts, replay.sim_spawn (the weather), replay.truth.
Known by:  replay.sim_kernel.
Never:     decides about a process what Linux decides: the process table does.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from circus.process.launch import Launch
from circus.replay.agenda import Agenda
from circus.replay.scripts import Script, script_of
from circus.replay.sim_kin import KEEPER, STOPPED, UNINTERRUPTIBLE, ZOMBIE, Act, Process
from circus.replay.sim_processes import ProcessTable, Witness
from circus.replay.sim_signals import ENDING, KILL, STOP
from circus.replay.sim_spawn import (
    DIES_UNBORN,
    DIES_UNTOLD,
    EARLY_DEATH_MAX,
    PIDFD_LATE,
    PIDFD_LATE_MAX,
    SIGCHLD_LATE,
    SIGCHLD_LATE_MAX,
    SIGCHLD_MERGED,
    SIGCHLD_SPURIOUS,
    TRACED,
    TRACED_MAX,
    KernelWeather,
)
from circus.replay.truth import ClosedStdout, Ended, Fact, Ready

TICK_NS: Final = 10_000_000
BIRTH_DELAY_MAX: Final = 10_000_000
UNBORN_SHARE: Final = 0.5
PAUSE_AFTER_REFUSAL: Final = 10
FORK_REFUSED: Final = "fork in a worker refused"


class Host(Protocol):
    """What the kernel asks of the keeper's machine."""

    @property
    def agenda(self) -> Agenda: ...
    def happened(self, fact: Fact, /) -> None: ...
    def readable(self, pidfd: int, /) -> None: ...
    def child_ended(self) -> None: ...


class Lives(Witness):
    """Plays the scripts of all processes. `calm`: nobody ends by himself any more."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.agenda = host.agenda
        self.calm = False
        self.weather = KernelWeather()
        self.watched: set[int] = set()  # pidfds
        self.table = ProcessTable(self, self.agenda.coverage.edges)
        self._faults = self.agenda.coverage.faults
        self._sigchld_due = False

    def script_of(self, launch: Launch) -> Script:
        """What the program that is to be started will do. Raises NotExecutable."""
        return script_of(launch.argv, self.agenda.chance)

    def begin(self, process: Process) -> None:
        """The first instruction of its program."""
        script = process.script
        signals = process.signals
        signals.ignored |= script.shy_of
        if script.slowness:
            signals.caught |= ENDING - script.shy_of
        if script.lifetime == 0:
            self._finish(process)
            return
        for _ in range(script.children):
            self._later(self.agenda.chance.randrange(1, BIRTH_DELAY_MAX), process, self._bear)
        for delay, act in (
            (script.stops_after, self._stop_itself),
            (script.stuck_after, self._get_stuck),
            (script.forks_every, self._bear_again),
            (script.ready_after or None, self._say_ready),
            (script.closes_stdout_after, self._close_stdout),
            (script.lifetime, self._finish),
        ):
            if delay is not None:
                self._later(delay, process, act)

    def struck(self, rate: float, fault: str) -> bool:
        """Does this happen now?"""
        if rate and self.agenda.chance.random() < rate:
            self._faults[fault] += 1
            return True
        return False

    def perhaps_disturb(self) -> None:
        """A SIGCHLD for nothing: somebody else's child, or a stop that nobody asked about."""
        if self.struck(self.weather.sigchld_spurious, SIGCHLD_SPURIOUS):
            self._raise_sigchld()

    def perhaps_kill_early(self, process: Process) -> None:
        """No memory: it is killed before its spawn returns, or before anybody is told of it."""
        rate, chance = self.weather.early_death, self.agenda.chance
        if not rate or chance.random() >= rate:
            return
        if chance.random() < UNBORN_SHARE:
            self._faults[DIES_UNBORN] += 1
            self.table.kill(process, KILL)
        else:
            self._faults[DIES_UNTOLD] += 1
            delay = chance.randrange(EARLY_DEATH_MAX)
            self.agenda.later(delay, partial(self._kill, process))

    # --- what the table tells (Witness) -----------------------------------------------------------

    def ended(self, process: Process) -> None:
        assert process.ending is not None, process
        code, signum, _, _ = process.ending
        self.host.happened(Ended(process.serial, process.pid, code, signum))
        if process.pidfd and self.struck(self.weather.traced, TRACED):
            process.traced = True
            self.agenda.later(
                self.agenda.chance.randrange(TRACED_MAX), partial(self.table.detach, process)
            )
            if process.pidfd in self.watched:
                self.host.readable(process.pidfd)  # poll shows what waitid does not yet tell

    def child_ended(self, process: Process) -> None:
        mother = process.mother
        assert mother is not None, process
        if mother.serial == KEEPER:
            self._raise_sigchld()
            if process.pidfd in self.watched:
                self._show(process)
        elif mother.script.waits:
            self._when_running(mother, partial(self._wait_for, process))

    def caught(self, process: Process, signum: int) -> None:
        self.agenda.later(
            process.script.slowness, partial(self._when_running, process, self._leave)
        )

    def resumed(self, process: Process) -> None:
        overdue, process.overdue = process.overdue, []
        for act in overdue:
            self._when_running(process, act)

    # --- who hears of an end ----------------------------------------------------------------------

    def _raise_sigchld(self) -> None:
        """One bit: a second one before the first was taken is none."""
        if self._sigchld_due:
            self._faults[SIGCHLD_MERGED] += 1
        elif self.struck(self.weather.sigchld_late, SIGCHLD_LATE):
            self._sigchld_due = True
            self.agenda.later(self.agenda.chance.randrange(SIGCHLD_LATE_MAX), self._sigchld)
        else:
            self.host.child_ended()

    def _sigchld(self) -> None:
        self._sigchld_due = False
        self.host.child_ended()

    def _show(self, process: Process) -> None:
        if self.struck(self.weather.pidfd_late, PIDFD_LATE):
            delay = self.agenda.chance.randrange(PIDFD_LATE_MAX)
            self.agenda.later(delay, partial(self._show_late, process))
        else:
            self.host.readable(process.pidfd)

    def _show_late(self, process: Process) -> None:
        if process.pidfd in self.watched:
            self.host.readable(process.pidfd)

    # --- what programs do -------------------------------------------------------------------------

    def _later(self, delay: int, process: Process, act: Act) -> None:
        self.agenda.later(delay, partial(self._when_running, process, act))

    def _when_running(self, process: Process, act: Act) -> None:
        """Now, or when it is continued; never if it has ended."""
        if process.state in (STOPPED, UNINTERRUPTIBLE):
            process.overdue.append(act)
        elif process.state != ZOMBIE:
            act(process)

    def _finish(self, process: Process) -> None:
        script = process.script
        if self.calm:
            return
        if script.signum is None:
            self.table.exit(process, script.code)
        else:
            self.table.kill(process, script.signum)

    def _leave(self, process: Process) -> None:
        """It was asked to, and has taken its time."""
        self.table.exit(process, 0)

    def _stop_itself(self, process: Process) -> None:
        self.table.kill(process, STOP)

    def _kill(self, process: Process) -> None:
        self.table.kill(process, KILL)

    def _get_stuck(self, process: Process) -> None:
        self.table.hold(process)
        self.agenda.later(process.script.stuck_for, partial(self.table.let_go, process))
        if not self.calm:
            self._later(process.script.stuck_for * 2, process, self._get_stuck)

    def _bear(self, mother: Process) -> None:
        try:
            child = self.table.fork(mother, mother.script.child or Script(), self.tick())
        except BlockingIOError:
            self._faults[FORK_REFUSED] += 1  # The program notices, and goes on.
            return
        if mother.script.detached:
            self.table.kin.setsid(child)
        self.begin(child)

    def _bear_again(self, mother: Process) -> None:
        if self.calm:
            return
        pause = mother.script.forks_every or 0
        if len(mother.children) < mother.script.forks_max:
            self._bear(mother)
        else:
            self._faults[FORK_REFUSED] += 1  # RLIMIT_NPROC
            pause *= PAUSE_AFTER_REFUSAL
        self._later(pause, mother, self._bear_again)

    def _wait_for(self, child: Process, mother: Process) -> None:
        """Unless somebody else has become its parent meanwhile."""
        if child.mother is mother and child.serial in self.table.processes:
            self.table.release(child)

    def _say_ready(self, process: Process) -> None:
        self.host.happened(Ready(process.serial, process.pid))

    def _close_stdout(self, process: Process) -> None:
        self.host.happened(ClosedStdout(process.serial, process.pid))

    def tick(self) -> int:
        """Start times have hundredths of a second: many processes share one."""
        return self.agenda.boot // TICK_NS * TICK_NS
