"""Room: replay -- one thread, one heap, one seed: production cores between simulated seams.

Knows:     replay.sim_core, replay.sim_keeper, the disk, the bus, the invariants.
Known by:  tests, `python -m circus.replay`, whoever looks for a bug.
Never:     helps the core: what it may do is what the real world does, at bad moments.

    world = World(seed=7)
    world.configure([{"name": "web", "cmd": "moody", "numprocesses": 3}])
    world.command("incr", name="web", nb=2)
    world.crash_at(40)              # the 40th touch of a seam from here on does not return
    world.run(400)
    world.settle()

Faults of the world are its methods; what must hold whatever they do are the checkers, asked after
every step. A failure is a `Violation`; its text has the seed, the story and the way to repeat it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import attr

from circus.arbiter.verbs import Answered, Refusal, wish
from circus.bus import commands
from circus.bus.codec import records_of
from circus.bus.ledger import Ledger
from circus.bus.record import Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import Moment
from circus.process.children import Children
from circus.process.reaper import Reaper
from circus.replay.agenda import Agenda, Crash
from circus.replay.checkers import Checker, Truth, Violation
from circus.replay.invariants import every_checker
from circus.replay.sim_bus import SimBus, SimExchange, SimLink
from circus.replay.sim_core import (
    DIRECTORY,
    LOG_ID,
    MakeExchange,
    MakeReaper,
    SimCore,
    Surroundings,
)
from circus.replay.sim_disk import SimDisk
from circus.replay.sim_keeper import MakeChildren, SimKeeper
from circus.replay.truth import Fact

SIGKILL: Final = 9
SETTLE_STEPS_MAX: Final = 20_000
SETTLE_NS: Final = 40_000_000_000
REST_NS: Final = 300_000_000  # more than any delay on the way to a record
ASK_DELAY_MAX: Final = 2_000_000
POWER_OFF_NS: Final = 5_000_000_000
NO_CONFIGURATION: Final = commands.ArbiterConfigure((), {"warmup_delay": 0})


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Cast:
    """Who plays: production's classes, or a mutant to see a checker fail."""

    make_children: MakeChildren = Children
    make_reaper: MakeReaper = Reaper
    make_exchange: MakeExchange = SimExchange
    checkers: Callable[[Truth], Sequence[Checker]] = every_checker


class World:
    """One machine with one daemon on it."""

    def __init__(self, seed: int, cast: Cast | None = None) -> None:
        self.agenda = Agenda(seed)
        self.disk = SimDisk(self.agenda)
        self.cast = cast or Cast()
        self.truth = Truth(seed, self.cast.checkers)
        self.core: SimCore | None = None
        self.ended: int | None = None
        self.boots = 1
        self._bus = SimBus(self.agenda)
        self._configure = NO_CONFIGURATION
        self.keeper = self._new_keeper()

    # --- what an operator does --------------------------------------------------------------------

    def configure(self, specs: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        """The configuration file; read at every start of the core."""
        whole = tuple(to_data(_spec(one)) for one in specs)
        self._configure = commands.ArbiterConfigure(whole, {"warmup_delay": 0, **settings})
        if self.core is None and self.ended is None and self.keeper.link is None:
            self.agenda.later(0, self.core_due)

    def command(self, verb: str, /, **properties: Any) -> bool:
        """A client's command, by Circus's name; False if nobody was there or it was refused.

        It is lost if the core dies before it is in the ledger, as in the real world.
        """
        core = self.core
        if core is None or self.ended is not None:
            return False
        try:
            wished = wish(verb, properties, core.projection, _Options(self._configure))
        except Refusal:
            return False
        if isinstance(wished, Answered):
            return True
        identity = self.agenda.chance.randbytes(16)
        draft = Draft(wished.body, to=wished.to, id=identity)
        self.agenda.later(self.agenda.some(ASK_DELAY_MAX), lambda: self._ask(core, draft))
        return True

    def signal(self, signum: int) -> None:
        """To the daemon itself."""
        self.keeper.receive_signal(signum)

    def kill(self, pid: int, signum: int = SIGKILL) -> bool:
        """To some process, by somebody else."""
        return self.keeper.kernel.kill(pid, signum)

    # --- faults -----------------------------------------------------------------------------------

    def crash_at(self, calls: int) -> None:
        """The core dies instead of making the `calls`-th touch of a seam from here on."""
        self.agenda.crash_at = self.agenda.touched + calls

    def crash(self) -> None:
        """The core dies between two wake-ups."""
        if self.core is not None:
            self._lose_core()

    def cut_power(self) -> None:
        """Everything stops; the machine comes back with what the platter has."""
        self.core = None
        self.agenda.cancel()
        self.disk.lose_power(self.agenda.chance)
        self.agenda.pause(POWER_OFF_NS)
        self.boots += 1
        self._bus = SimBus(self.agenda)
        self.keeper = self._new_keeper()
        self.truth = Truth(self.truth.seed, self.cast.checkers)
        if self.ended is None:
            self.agenda.later(0, self.core_due)

    # --- time -------------------------------------------------------------------------------------

    def run(self, steps: int) -> int:
        """At most so many happenings; how many there were."""
        for done in range(steps):
            if not self.step():
                return done
        return steps

    def run_for(self, duration: int, steps: int = SETTLE_STEPS_MAX) -> None:
        """Until so much time has passed."""
        until = self.agenda.boot + duration
        for _ in range(steps):
            due = self.agenda.next_due()
            if due is None or due > until:
                self.agenda.pause(max(0, until - self.agenda.boot))
                return
            self.step()
        raise AssertionError(f"no rest after {steps} steps: {self.truth.repeat}")

    def step(self) -> bool:
        """One happening, and every question that may be asked after it."""
        happening = self.agenda.advance()
        if happening is None:
            return False
        self._guard(happening)
        for checker in self.truth.checkers:
            checker.stepped(self)
        return True

    def settle(self) -> None:
        """Faults are over: the world comes to rest, and what must be true at rest is."""
        self.agenda.crash_at = None
        self.keeper.kernel.become_calm()
        self.run_for(SETTLE_NS)
        self._come_to_rest()
        for checker in self.truth.checkers:
            checker.rested(self)

    def _come_to_rest(self) -> None:
        """Workers may still grow too old; between two such events nothing is under way."""
        for _ in range(SETTLE_STEPS_MAX):
            due = self.agenda.next_due()
            if due is None or due > self.agenda.boot + REST_NS:
                return
            self.step()
        raise AssertionError(f"no rest: {self.truth.repeat}")

    # --- what there is to see ---------------------------------------------------------------------

    def records(self) -> list[Record]:
        """The whole ledger as it can be read now."""
        ledger = self.core.ledger if self.core is not None else self._opened()
        return [r for frame in ledger.frames() for r in records_of(frame.payload)]

    def digest(self) -> str:
        """Of every byte on the disk: two runs with one seed have one digest."""
        digest = blake2b(digest_size=16)
        for path, content in self.disk.contents().items():
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()

    # --- the life of the core ---------------------------------------------------------------------

    def core_due(self) -> None:
        """The keeper starts a core."""
        if self.core is not None or self.ended is not None or self.keeper.link is not None:
            return
        link = SimLink(self.agenda, self.keeper.hear, self._turn)
        around = Surroundings(
            agenda=self.agenda, disk=self.disk, bus=self._bus, boot_id=f"boot-{self.boots}",
            configure=self._configure, make_reaper=self.cast.make_reaper,
            make_exchange=self.cast.make_exchange,
        )  # fmt: skip
        self.keeper.connect(link)
        try:
            self.core = SimCore(around, link, self.truth)
        except Crash:
            self._lose_core()
        else:
            self._turn()

    def happened(self, fact: Fact) -> None:
        """The kernel's or the keeper's."""
        self.truth.happened(fact)

    def over(self, code: int) -> None:
        """The keeper has ended."""
        self.ended = code

    def _opened(self) -> Ledger:
        """The ledger that no core has open."""
        now = Moment(*self.agenda.moment())
        ledger = Ledger.open(DIRECTORY, self.disk, log_id=LOG_ID, now=now)
        self.disk.lose_process()
        return ledger

    def _new_keeper(self) -> SimKeeper:
        return SimKeeper(self.agenda, self, self.cast.make_children)

    def _turn(self) -> None:
        core = self.core
        if core is None:
            return
        self._with_core(core.turn)
        if self.core is core:
            if core.ended is not None:
                self.core = None
                self.disk.lose_process()
                self.keeper.lose_core(core.pid, 0, None)
            else:
                self._wake(core)

    def _ask(self, core: SimCore, draft: Draft) -> None:
        if self.core is core:
            core.ask(draft)
            self._turn()

    def _wake(self, core: SimCore) -> None:
        """Let it be woken when it wants to; one alarm at a time, the earliest."""
        due = core.next_due()
        if due is None or (core.alarm is not None and core.alarm <= due):
            return
        core.alarm = due
        self.agenda.later(due - self.agenda.boot, lambda: self._ring(core, due))

    def _ring(self, core: SimCore, due: int) -> None:
        if self.core is core and core.alarm == due:
            core.alarm = None
            self._turn()

    def _with_core(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Crash:
            self._lose_core()

    def _lose_core(self) -> None:
        core, self.core = self.core, None
        self.disk.lose_process()
        self.keeper.lose_core(core.pid if core is not None else 0, None, SIGKILL)

    def _guard(self, happening: Callable[[], None]) -> None:
        try:
            happening()
        except Crash:
            self._lose_core()


class _Options:
    """What the wire says about options, without a vault or a file."""

    def __init__(self, configure: commands.ArbiterConfigure) -> None:
        self._configure = configure

    def changes(self, options: Mapping[str, Any], current: WatcherSpec) -> dict[str, Any]:
        return dict(options)

    def addition(self, options: Mapping[str, Any]) -> WatcherSpec:
        return _spec(options)

    def configuration(self) -> commands.ArbiterConfigure:
        return self._configure


def _spec(options: Mapping[str, Any]) -> WatcherSpec:
    return WatcherSpec(**options)


__all__ = ["Cast", "Violation", "World"]
