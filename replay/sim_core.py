"""Room: replay -- one incarnation of the core, composed as arbiter.wiring composes the real one.

Knows:     arbiter.runtime and everything that a composition root knows, minus sockets.
Known by:  replay.world.
Never:     replaces a production part by one of its own, except at the five seams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import attr

from circus.arbiter.launches import Launches
from circus.arbiter.projection import Projection
from circus.arbiter.runtime import Ports, Runtime, recover
from circus.bus import commands, events
from circus.bus.ledger import Ledger
from circus.bus.past import Past
from circus.bus.record import Decision, Draft, Record
from circus.bus.switchboard import Observer
from circus.bus.values import CLIENT
from circus.process.reaper import Reaper
from circus.replay.agenda import Agenda, SimClock
from circus.replay.sim_bus import SimBus, SimExchange, SimLink
from circus.replay.sim_disk import SimDisk, SimSyncer

DIRECTORY: Final = "ledger"
LOG_ID: Final = b"simulated ledger"
VERSION: Final = "0.1.0"
CORE_PID: Final = 1_000_000  # plus the incarnation: never a worker's


class MakeReaper(Protocol):
    """How to make the reaper: production's, or a mutant's."""

    def __call__(
        self, link: SimLink, launch_of: Callable[[Record], Any],
        say: Callable[[Sequence[Draft]], None], /,
    ) -> Reaper: ...  # fmt: skip


MakeExchange = Callable[[SimBus, int], SimExchange]


class Silence:
    """Nobody listens to the event stream; subscribers have a World of their own later."""

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """Losing it is allowed."""


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What outlives a core."""

    agenda: Agenda
    disk: SimDisk
    bus: SimBus
    boot_id: str
    configure: commands.ArbiterConfigure
    make_reaper: MakeReaper = Reaper
    make_exchange: MakeExchange = SimExchange


class SimCore:
    """One life of the core, from the first read of its ledger to a crash or a clean end."""

    def __init__(self, around: Surroundings, link: SimLink, observer: Observer) -> None:
        self.link = link
        self.projection = Projection()
        self.ended: int | None = None
        self.alarm: int | None = None
        self._ready = False
        self._around = around
        self._clock = SimClock(around.agenda)
        self.ledger = Ledger.open(DIRECTORY, around.disk, log_id=LOG_ID, now=self._clock.now())
        self.past = recover(self.ledger, (observer, self.projection))
        self._rebase(self.past)
        self.ledger.attach(SimSyncer(around.disk, around.agenda.later))
        self.seed = around.agenda.chance.getrandbits(64)
        self.runtime = Runtime(self._ports(), self.past, self.seed)
        self.runtime.switchboard.observers += [observer, self.projection]
        self._begin()

    @property
    def incarnation(self) -> int:
        """Which life this is."""
        return self.runtime.switchboard.incarnation

    @property
    def pid(self) -> int:
        """For the keeper's obituary."""
        return CORE_PID + self.incarnation

    def turn(self) -> None:
        """One wake-up, as the engine has it."""
        self.runtime.reaper.receive()
        self.runtime.pump()
        if not self._ready and self.runtime.awake:
            self._say_ready()
        if self.runtime.ended:
            self.ended = 0
            self._finish(self.ended)

    def ask(self, draft: Draft) -> None:
        """A client's command."""
        self.runtime.submit(Decision(CLIENT, 0, (draft,)))

    def next_due(self) -> int | None:
        """When it should be woken though nobody tells it anything."""
        boot = self._around.agenda.boot
        timer, mail = self.runtime.next_due(), self._around.bus.next_due(self.incarnation, boot)
        dues = [max(due, boot) for due in (timer, mail) if due is not None]
        return min(dues, default=None)

    def _ports(self) -> Ports:
        around = self._around
        launches = Launches(self.projection, _no_secrets, {})
        return Ports(
            ledger=self.ledger,
            clock=self._clock,
            exchange=around.make_exchange(around.bus, self.past.incarnation + 1),
            publisher=Silence(),
            reaper=lambda say: around.make_reaper(self.link, launches.of, say),
        )

    def _rebase(self, past: Past) -> None:
        if past.boot_id and past.boot_id != self._around.boot_id and past.last is not None:
            past.timers.rebase(past.last.boot, self._clock.now().boot)

    def _begin(self) -> None:
        runtime = self.runtime
        started = events.CoreStarted(
            version=VERSION, pid=self.pid, keeper_pid=1, boot_id=self._around.boot_id,
            host="simulated", kernel="simulated", uid=0, python="3", seed=self.seed,
        )  # fmt: skip
        runtime.begin((Draft(started), *self._findings()))
        runtime.configure(self._around.configure)

    def _findings(self) -> list[Draft]:
        cut = self.ledger.recovered.tail_cut
        return [] if cut is None else [Draft(events.LogTailCut(cut.segment, cut.offset, cut.bytes))]

    def _say_ready(self) -> None:
        self._ready = True
        self.runtime.say((Draft(events.CoreReady()),))
        self.link.send([("ready",)])
        self.runtime.pump()

    def _finish(self, code: int) -> None:
        self.runtime.say((Draft(events.CoreStopped("asked to")),))
        self.runtime.pump()
        self.ledger.sync(self._clock.now())
        self.link.send([("stopping", code)])
        self.link.flush()


def _no_secrets(_hashed: str) -> str:
    return ""
