"""Room: replay -- programs at work in the simulated kernel.

Knows:     its processes, notices, scripts and spawn (the weather), replay.checks.truth.
Known by:  replay.kernel.kernel.
Never:     decides about a process what Linux decides: the process table does.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from circus.process.launch import Launch
from circus.replay.checks.truth import ClosedStdout, Ready
from circus.replay.kernel.kin import STOPPED, UNINTERRUPTIBLE, ZOMBIE, Act, Process
from circus.replay.kernel.notices import Host, Notices
from circus.replay.kernel.processes import ProcessTable
from circus.replay.kernel.scripts import Script, script_of
from circus.replay.kernel.signals import ENDING, KILL, STOP
from circus.replay.kernel.spawn import (
    DIES_UNBORN,
    DIES_UNTOLD,
    EARLY_DEATH_MAX,
    KernelWeather,
)

TICK_NS: Final = 10_000_000
BIRTH_DELAY_MAX: Final = 10_000_000
UNBORN_SHARE: Final = 0.5
PAUSE_AFTER_REFUSAL: Final = 10
FORK_REFUSED: Final = "fork in a worker refused"


class Lives:
    """Plays the scripts of all processes. `calm`: nobody ends by himself any more."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.agenda = host.agenda
        self.calm = False
        self.weather = KernelWeather()
        self.notices = Notices(host, self)
        self.table = ProcessTable(self.notices, self.agenda.coverage.edges)
        self._faults = self.agenda.coverage.faults

    def script_of(self, launch: Launch) -> Script:
        """What the program that is to be started would do. Raises NotExecutable."""
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
            (script.stops_after, partial(self._signal, STOP)),
            (script.stuck_after, self._get_stuck),
            (script.forks_every, self._bear_again),
            (script.ready_after or None, partial(self._say, Ready)),
            (script.closes_stdout_after, partial(self._say, ClosedStdout)),
            (script.lifetime, self._finish),
        ):
            if delay is not None:
                self._later(delay, process, act)

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
            self.agenda.later(delay, partial(self._signal, KILL, process))

    # --- what programs do -------------------------------------------------------------------------

    def _later(self, delay: int, process: Process, act: Act) -> None:
        self.agenda.later(delay, partial(self.when_running, process, act))

    def when_running(self, process: Process, act: Act) -> None:
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

    def leave(self, process: Process) -> None:
        """It was asked to, and has taken its time."""
        self.table.exit(process, 0)

    def _signal(self, signum: int, process: Process) -> None:
        self.table.kill(process, signum)

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

    def wait_for(self, child: Process, mother: Process) -> None:
        """Unless somebody else has become its parent meanwhile."""
        if child.mother is mother and child.serial in self.table.processes:
            self.table.ends.release(child)

    def _say(self, what: type[Ready | ClosedStdout], process: Process) -> None:
        self.host.happened(what(process.serial, process.pid))

    def tick(self) -> int:
        """Start times have hundredths of a second: many processes share one."""
        return self.agenda.boot // TICK_NS * TICK_NS
