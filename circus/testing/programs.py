"""Room: front -- what programs do: users' functions, played by the simulated kernel.

Knows:     replay.kernel.lives (plays data), replay.kernel.scripts (the small language).
Known by:  circus.testing.setting, users' programs.
Never:     runs a user's code inside a call of production code: each step is a happening of its own.

    def shop(life: Life) -> Plot:
        yield 2.5                   # for 2.5 s, or until a signal comes: that is the answer
        signum = yield None         # until a signal comes
        yield from life.work(4)     # it takes 4 s to finish what was begun, whatever comes
        return 0                    # the exit code
"""

from __future__ import annotations

import random
import signal
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias

import attr

from circus.bus.record import Record
from circus.bus.values import seconds_to_ns
from circus.process.launch import Launch
from circus.process.reaper import Reaper
from circus.replay.kernel.kin import Process
from circus.replay.kernel.lives import Lives
from circus.replay.kernel.notices import Host, Notices
from circus.replay.kernel.processes import ProcessTable
from circus.replay.kernel.scripts import SCRIPTS, SECOND, Script, script_of
from circus.replay.kernel.signals import ENDING
from circus.replay.sim.agenda import BOOT_START
from circus.replay.sim.bus import SimLink

# Variables of a simulated launch, which no program sees: who is started.
WATCHER: Final = "circus.testing.watcher"
SLOT: Final = "circus.testing.slot"
STEADY: Final = "steady"

Plot: TypeAlias = Generator[float | None, int | None, int | None]
"""A life: it yields seconds to work, or None to wait for a signal; returns the exit code."""

Program: TypeAlias = "str | Script | Callable[[Life], Plot | Script | str | None]"
"""What a watcher's processes do: a line of the small language, a value, or a function of a life."""


class Died(Exception):
    """A program of the test has killed itself."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Life:
    """One process, as the function that plays it sees it.

    `watcher` and `slot`: whose it is. `number`: 1 for the watcher's first process of this world, 2
    for the next one. `random`: the world's dice; use them and no others, and one seed is one run.
    """

    def __init__(
        self, watcher: str, slot: int, *, number: int, tell: Callable[[Life, str], None]
    ) -> None:
        self.watcher = watcher
        self.slot = slot
        self.number = number
        self.pid = 0
        self._tell = tell
        self._stage: Stage | None = None
        self._process: Process | None = None

    @property
    def random(self) -> random.Random:
        """The world's dice."""
        assert self._stage is not None
        return self._stage.agenda.chance

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        assert self._stage is not None
        return (self._stage.agenda.boot - BOOT_START) / SECOND

    def say(self, text: str) -> None:
        """A line for the story of the test, `web[1]: text`."""
        self._tell(self, text)

    def work(self, seconds: float) -> Generator[float | None, int | None, tuple[int, ...]]:
        """`heard = yield from life.work(5)`: five seconds of work, whatever signals come meanwhile.

        The signals that came, in order; () if none did.
        """
        assert self._stage is not None
        agenda = self._stage.agenda
        until = agenda.boot + seconds_to_ns(seconds)
        heard: list[int] = []
        while agenda.boot < until:
            signum = yield (until - agenda.boot) / SECOND
            heard += [] if signum is None else [signum]
        return tuple(heard)

    def ignore(self, *signums: int) -> None:
        """From now on these signals do nothing. ValueError: KILL and STOP cannot be ignored."""
        for signum in signums:
            if self._living().signals.ignore(int(signum)):
                raise ValueError(f"cannot ignore {signal.Signals(signum).name}: nobody can")

    def fork(self, program: str | Script = STEADY) -> None:
        """A child in this process's group; it may outlive it. BlockingIOError: no pid is free."""
        assert self._stage is not None
        script = script_named(program, self.random) if isinstance(program, str) else program
        child = self._stage.table.fork(self._living(), script, self._stage.tick())
        self._stage.begin(child)

    def crash(self, signum: int = signal.SIGSEGV) -> NoReturn:
        """End here, killed by a signal of its own making."""
        raise Died(int(signum))

    def cast(self, stage: Stage, process: Process | None) -> None:
        """For the stage: where it is played, and once it runs, by which process."""
        self._stage, self._process = stage, process
        self.pid = 0 if process is None else process.pid

    def _living(self) -> Process:
        assert self._process is not None, "it has not been started yet"
        return self._process


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Played(Script):
    """A script that a user's generator plays."""

    life: Life | None = None
    plot: Plot | None = None


class Playbook:
    """Which program each watcher's processes play, by name without case; it survives power cuts."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._programs: dict[str, Program] = {}
        self._numbers: Counter[str] = Counter()
        self._tell = tell
        # A plot that is thrown away runs its `finally`, which a killed process never does.
        self._begun: list[Plot] = []

    def learn(self, programs: Mapping[str, Program]) -> None:
        """These watchers play these programs from their next spawn on. ValueError: no such."""
        for watcher, program in programs.items():
            if isinstance(program, str):
                check_script(program)
            self._programs[watcher.lower()] = program

    def script_for(self, watcher: str, slot: int, stage: Stage) -> Script:
        """For one process that is about to start. Raises NotExecutable."""
        key = watcher.lower()
        self._numbers[key] += 1
        program = self._programs.get(key, STEADY)
        if isinstance(program, str):
            return script_named(program, stage.agenda.chance)
        if isinstance(program, Script):
            return program
        life = Life(watcher, slot, number=self._numbers[key], tell=self._said)
        life.cast(stage, None)
        return self._script_of(program(life), life)

    def _script_of(self, made: Plot | Script | str | None, life: Life) -> Script:
        if made is None:
            return Script()
        if isinstance(made, str):
            return script_named(made, life.random)
        if isinstance(made, Script):
            return made
        self._begun.append(made)
        return Played(life=life, plot=made)

    def _said(self, life: Life, text: str) -> None:
        self._tell(life.watcher, f"{life.watcher}[{life.slot}]: {text}")


class Stage(Lives):
    """The simulated kernel's lives, some of them played by users' programs."""

    def __init__(self, host: Host, playbook: Playbook) -> None:
        super().__init__(host)
        self.plays: dict[int, Play] = {}
        self.notices = Prompter(host, self)
        self.table = ProcessTable(self.notices, self.agenda.coverage.edges)
        self._playbook = playbook

    def script_of(self, launch: Launch) -> Script:
        return self._playbook.script_for(launch.env[WATCHER], int(launch.env[SLOT]), self)

    def begin(self, process: Process) -> None:
        super().begin(process)
        script = process.script
        if isinstance(script, Played):
            assert script.life is not None
            assert script.plot is not None
            process.signals.caught |= ENDING
            script.life.cast(self, process)
            self.plays[process.serial] = play = Play(self, process, script.plot)
            self.soon(process, play.begin)

    def soon(self, process: Process, act: Callable[[Process], None], delay: int = 0) -> None:
        """Let a living process do this, later if it is stopped then."""
        self._later(delay, process, act)


class Prompter(Notices):
    """Tells a plot of the signals that its process has caught."""

    def __init__(self, host: Host, stage: Stage) -> None:
        super().__init__(host, stage)
        self._stage = stage

    def caught(self, process: Process, signum: int) -> None:
        play = self._stage.plays.get(process.serial)
        if play is None:
            super().caught(process, signum)
        else:
            play.hear(signum)


class Play:
    """One plot in one process: it is resumed by time or by a signal, one at a time."""

    def __init__(self, stage: Stage, process: Process, plot: Plot) -> None:
        self._stage = stage
        self._process = process
        self._plot = plot
        self._heard: deque[int] = deque()
        self._scene = 0  # how often it was resumed; an alarm of an earlier scene means nothing

    def begin(self, _process: Process) -> None:
        """The first instruction."""
        self._go(None)

    def hear(self, signum: int) -> None:
        """A signal for which it has a handler."""
        self._heard.append(signum)
        if self._scene:
            self._stage.soon(self._process, self._answer)

    def _answer(self, _process: Process) -> None:
        if self._heard:
            self._go(self._heard.popleft())

    def _go(self, signum: int | None) -> None:
        process = self._process
        self._scene += 1
        try:
            pause = self._plot.send(signum)
        except StopIteration as end:
            self._stage.table.exit(process, int(end.value or 0))
        except Died as death:
            process.signals.default(death.signum)
            self._stage.table.kill(process, death.signum)
        else:
            self._pause(pause)

    def _pause(self, pause: float | None) -> None:
        if self._heard and self._scene == 1:
            self._stage.soon(self._process, self._answer)
        if pause is None:
            return
        if not pause >= 0:
            raise ValueError(f"cannot wait for {pause!r}: yield seconds, or None for a signal")
        wake = partial(self._wake, self._scene)
        self._stage.soon(self._process, wake, seconds_to_ns(pause))

    def _wake(self, scene: int, _process: Process) -> None:
        if scene == self._scene:
            self._go(None)


class Marking:
    """Makes reapers whose launches say for whom they are."""

    def __call__(
        self, link: SimLink, launch_of: Callable[[Record], Any], say: Callable[[Any], None], /
    ) -> Reaper:
        def marked(spawn: Record) -> Launch:
            launch: Launch = launch_of(spawn)
            launch.env = {**launch.env, WATCHER: spawn.watcher or "", SLOT: str(spawn.slot)}
            launch.by_slot = True
            return launch

        return Reaper(link, marked, say)


def check_script(line: str) -> None:
    """ValueError unless the small language has it."""
    words = line.split()
    if not words or words[0] not in SCRIPTS:
        raise ValueError(f"cannot play {line!r}: the scripts are {', '.join(SCRIPTS)}")


def script_named(line: str, chance: random.Random) -> Script:
    """A line of the small language as data: `exits 1 0.5`, `slow 3`, `stubborn` …"""
    check_script(line)
    return script_of(line.split(), chance)
