"""Room: replay -- one machine: its disk, its keeper, the cores that come and go, and their time.

Knows:     replay.sim.incarnation, replay.sim.keeper, the disk, the bus, the checkers.
Known by:  replay.world, which is a machine with an operator and with bad luck.
Never:     helps the core: what it may do is what the real world does, at bad moments.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attr

from circus.bus import commands
from circus.bus.ledger import SEGMENT_BYTES_MAX, StorageFailed
from circus.bus.vault import Vault
from circus.process.children import Children
from circus.process.link import LinkClosed
from circus.process.reaper import Reaper
from circus.replay.checks.checkers import Checker, Truth, Violation
from circus.replay.checks.invariants import every_checker
from circus.replay.checks.laws import laws
from circus.replay.checks.panel import Panel
from circus.replay.checks.subscribers import TAINTS
from circus.replay.checks.truth import Fact
from circus.replay.kernel.kernel import MakeLives
from circus.replay.kernel.lives import Lives
from circus.replay.sim.agenda import Agenda, Crash, Dice, PowerCut
from circus.replay.sim.bus import SimBus, SimExchange, SimLink
from circus.replay.sim.clock import Stops
from circus.replay.sim.disk import SimDisk
from circus.replay.sim.front import SimOptions
from circus.replay.sim.incarnation import (
    MakeExchange,
    MakeReaper,
    Silence,
    SimCore,
    Surroundings,
    Tally,
)
from circus.replay.sim.keeper import MakeChildren, SimKeeper
from circus.replay.sim.platter import TEARS
from circus.replay.sim.readings import Readings
from circus.replay.sim.snapshots import Restarts, SimSnapshots
from circus.replay.sim.strangers import Strangers

SIGKILL: Final = 9
START_DELAY_MAX: Final = 50_000_000  # from fork to the first look at the ledger
TRACEBACK: Final = 1  # what Python ends with
RELAPSE_CALLS_MAX: Final = 150  # touches of a seam
POWER_OFF_NS: Final = 5_000_000_000
BLINK_NS: Final = 100_000_000  # a virtual machine that others look at while it starts again
SEGMENT_SIZES: Final = (4096, 65536, SEGMENT_BYTES_MAX)
FAULTS: Final = ("core.crash", "power.cut")
# What may cost a ledger some of its records. Of what was not synced a power cut may keep the later
# and lose the earlier writes: that looks like corruption, and is told so (RELIABILITY.md, 2.3).
HARM: Final = (
    "disk.full", "disk.dead", "disk.write_error", "disk.name_error", "disk.sync_error",
    "disk.read_error", "disk.rot", "ledger.trimmed", *(f"disk.torn_{name}" for name in TEARS),
)  # fmt: skip
NO_CONFIGURATION: Final = commands.ArbiterConfigure((), {"warmup_delay": 0})


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Cast:
    """Who plays: production's classes, or a mutant to see a checker fail."""

    make_children: MakeChildren = Children
    make_reaper: MakeReaper = Reaper
    make_exchange: MakeExchange = SimExchange
    make_lives: MakeLives = Lives
    checkers: Callable[[Truth], Sequence[Checker]] = every_checker


class Machine:
    """What stays when a core dies, and what a power cut leaves."""

    def __init__(self, agenda: Agenda, cast: Cast) -> None:
        self.agenda = agenda
        self.cast = cast
        self.disk = SimDisk(agenda)
        self.readings = Readings()
        self.truth = self._new_truth()
        self.panel = Panel(self.truth)
        self._calls: Counter[str] = Counter()
        self.core: SimCore | None = None
        self._starting: SimLink | None = None
        self.ended: int | None = None
        self.boots = 1
        self.words: list[Sequence[Any]] = []
        self.relapse = 0.0  # how often the power fails again while the core starts
        self.tally = Tally(Silence())
        self.stops = Stops(agenda)
        self.vault = Vault.in_memory()
        for taint in TAINTS:
            self.vault.seal(taint.decode())
        self.options = SimOptions(lambda: self.configuration, self.vault)
        self.snapshots = SimSnapshots(agenda, self.disk)
        self.restarts = Restarts(agenda)
        self.strangers = Strangers(agenda, self._turn, self.happened, read=self.readings.records)
        self.bus = SimBus(agenda)
        self._configured: commands.ArbiterConfigure | None = None
        self._segment_bytes_max = agenda.chance.choice(SEGMENT_SIZES)
        self.keeper = SimKeeper(agenda, self, cast.make_children, cast.make_lives)
        agenda.coverage.expect(*FAULTS)

    # --- what the keeper asks (replay.sim.keeper.Host) --------------------------------------------

    def core_due(self) -> None:
        """A core is started; it takes a while until it looks at its ledger."""
        link = SimLink(self.agenda, self.keeper.hear, self._turn)
        pid = self.keeper.connect(link)
        self._starting = link
        delay = self.agenda.some(START_DELAY_MAX)
        self.agenda.later(delay, lambda: self._start(link, pid))

    def core_killed(self) -> None:
        """The keeper does not wait for it any longer."""
        self._core_over(None, SIGKILL)

    def happened(self, fact: Fact) -> None:
        """The kernel's or the keeper's."""
        self.truth.happened(fact)

    def keep_words(self, reports: Sequence[Sequence[Any]]) -> None:
        """DIR/last-words, synced; whoever records them forgets them."""
        self.words += reports

    def over(self, code: int) -> None:
        """The keeper has ended."""
        self.ended = code

    def holed(self) -> None:
        """Of what the ledger has lost nobody can say more: until the next boot nothing is checked.

        A hole is declared (I-CHAIN); what a core did whose disk had failed goes with the core.
        """
        if not any(self.agenda.coverage.faults[name] for name in HARM):
            text = "I-PREFIX: the ledger has a hole, and no fault of a disk has made it"
            raise Violation(f"{text}\nseed {self.truth.seed}\n{self.truth.repeat}")
        self._calls += self.panel.calls()
        self.truth.look_away()
        self.panel = Panel(self.truth)

    # --- bad luck ---------------------------------------------------------------------------------

    def crash(self) -> None:
        """The core dies between two wake-ups."""
        if self.core is not None:
            self.agenda.coverage.faults["core.crash"] += 1
            self._core_over(None, SIGKILL)

    def kill_keeper(self) -> None:
        """kill -9 of the keeper; the service manager ends the rest of the service and starts it."""
        if self.keeper.down or self.ended is not None:
            return
        self.agenda.coverage.faults["keeper.killed"] += 1
        self._core_gone()
        self.keeper.die()

    def cut_power(self) -> None:
        """Everything stops; the machine comes back with what the platter has."""
        agenda = self.agenda
        agenda.coverage.faults["power.cut"] += 1
        self.core = self._starting = None
        agenda.cancel()
        self.disk.lose_power(agenda.chance)
        agenda.pause(BLINK_NS if self.strangers.afar else POWER_OFF_NS)
        self.boots += 1
        self.stops = Stops(agenda)
        self.bus.lose()
        weather = self.keeper.kernel.lives.weather
        self.keeper = SimKeeper(agenda, self, self.cast.make_children, self.cast.make_lives)
        self.keeper.kernel.lives.weather = weather
        self._begin_truth()
        self.strangers.lose_power()
        if self.ended is None and self._configured is not None:
            self.switch_on()
            self._perhaps_relapse(agenda.stream("relapse"))

    def _perhaps_relapse(self, dice: Dice) -> None:
        if self.relapse and dice.random() < self.relapse:
            self.agenda.coverage.faults["power.relapse"] += 1
            self.agenda.crash_at = self.agenda.touched + dice.randrange(1, RELAPSE_CALLS_MAX)
            self.agenda.crash = PowerCut

    def switch_on(self) -> None:
        """The service manager starts the keeper, and that its first core."""
        self.agenda.later(0, self.keeper.turn)

    def guarded(self, happening: Callable[[], None]) -> None:
        """Let something happen in which the core may die, or the power fail."""
        try:
            happening()
        except PowerCut:
            self.cut_power()
        except Crash:
            if self._starting is not None:  # Else it was a stranger that touched the disk.
                self.agenda.coverage.faults["core.crash"] += 1
                self._core_over(None, SIGKILL)

    @contextmanager
    def unseen(self) -> Generator[None, None, None]:
        """To look at the disk without touching the world."""
        agenda, disk = self.agenda, self.disk
        kept = (agenda.touched, agenda.crash_at, disk.trouble)
        agenda.crash_at = disk.trouble = None
        try:
            yield
        finally:
            agenda.touched, agenda.crash_at, disk.trouble = kept

    @property
    def configuration(self) -> commands.ArbiterConfigure:
        """What the file says; nothing until there is one."""
        return self._configured or NO_CONFIGURATION

    def calls(self) -> Counter[str]:
        """How often each checker was asked or told anything."""
        return self._calls + self.panel.calls()

    # --- the life of the core ---------------------------------------------------------------------

    def _begin_truth(self) -> None:
        """A new boot: nothing that lived before it does."""
        self.truth = self._new_truth(before=self.truth)
        self.panel = Panel(self.truth)

    def _new_truth(self, before: Truth | None = None) -> Truth:
        make = self.cast.checkers
        return Truth(self.agenda.seed, lambda truth: (*make(truth), *laws(truth)), before)

    def _start(self, link: SimLink, pid: int) -> None:
        if self._starting is not link:
            return  # It was killed before it came to that.
        around = Surroundings(
            agenda=self.agenda, disk=self.disk, bus=self.bus, network=self.strangers.network,
            readings=self.readings, options=self.options, secrets=self.vault.reveal,
            boot_id=f"boot-{self.boots}",
            pid=pid, configure=self.configuration, segment_bytes_max=self._segment_bytes_max,
            publisher=self.tally, make_reaper=self.cast.make_reaper,
            make_exchange=self.cast.make_exchange, wake=self._turn,
            holed=self.holed, unseen=self.unseen, given=self.keeper.children.numbers.given,
            words=self.words, keeper_began=self.keeper.began,
        )  # fmt: skip
        try:
            self.core = SimCore(around, link, self.truth)
        except StorageFailed:
            self._core_over(os.EX_CANTCREAT, None)
        except OSError:
            self._core_over(TRACEBACK, None)  # A disk that cannot be read: the next one may.
        else:
            self._turn()

    def _turn(self) -> None:
        core = self.core
        if core is None or self.stops.holds(self._turn):
            return
        try:
            core.turn()
        except LinkClosed:
            if self.core is core:
                self._core_over(os.EX_SOFTWARE, None)  # As the engine: the keeper is gone.
        if self.core is core:
            if core.ended is not None:
                self._core_over(core.ended, None)
            else:
                self._wake(core)

    def _wake(self, core: SimCore) -> None:
        """Let it be woken when it wants to; one alarm at a time, the earliest."""
        due = core.next_due()
        if due is None:
            return
        alarm = due - self.agenda.slept
        if core.alarm is None or alarm < core.alarm:
            core.alarm = alarm
            self.agenda.later(due - self.agenda.boot, lambda: self._ring(core, alarm))

    def _ring(self, core: SimCore, alarm: int) -> None:
        if self.core is core and core.alarm == alarm:
            core.alarm = None
            self._turn()

    def _core_over(self, code: int | None, signum: int | None) -> None:
        self._core_gone()
        self.keeper.lose_core(code, signum)

    def _core_gone(self) -> None:
        if self.core is not None and self.core.ledger.degraded:
            self.holed()
            self.bus.lose()  # The next core may have the same incarnation.
        self.core = self._starting = None
        self.strangers.network.fall_silent()
        self.stops.forget()
        self.disk.lose_process()
