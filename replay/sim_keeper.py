"""Room: replay -- the keeper of the simulated world: its production logic, looped by happenings.

Knows:     process.children, process.stop_plans, replay.sim_kernel, replay.sim_bus.
Known by:  replay.world.
Never:     decides anything otherwise than the real loop (process/keeper_loop.py).
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from circus.process.children import Children
from circus.process.kernel import Kernel
from circus.process.link import VERSION
from circus.process.stop_plans import NOTHING_DUE, StopPlans
from circus.replay.agenda import Agenda
from circus.replay.sim_bus import SimLink
from circus.replay.sim_kernel import SimKernel
from circus.replay.truth import CoreLost, Fact, Noted, Obeyed, Settled, Told

KEEPER_PID: Final = 1
NOTICE_DELAY_MAX: Final = 2_000_000
ORPHANS_PAUSE: Final = 200_000_000
RESTART_DELAY_MAX: Final = 50_000_000
ENDING_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})

Tell = Callable[[list[Sequence[Any]]], None]
MakeChildren = Callable[[Kernel, Tell], Children]


class Host(Protocol):
    """What the keeper asks of the world."""

    def happened(self, fact: Fact, /) -> None: ...
    def core_due(self) -> None: ...
    def over(self, code: int, /) -> None: ...


class SimKeeper:
    """Parent of everything in one boot."""

    def __init__(self, agenda: Agenda, host: Host, make_children: MakeChildren) -> None:
        self.agenda = agenda
        self.kernel = SimKernel(self)
        self.children = make_children(self.kernel, self._tell)
        self.link: SimLink | None = None
        self.exit_code: int | None = None
        self._host = host
        self._lost: list[tuple[int, int | None, int | None]] = []
        self._plans: StopPlans | None = None
        self._readable: list[int] = []
        self._orphans_due = False
        self._leaving = False  # somebody has sent a signal that ends everything

    # --- the core ---------------------------------------------------------------------------------

    def connect(self, link: SimLink) -> None:
        """A core has been started."""
        self.link = link
        self._tell([("hello", VERSION, KEEPER_PID, tuple(self._lost))])

    def hear(self, operations: list[Sequence[Any]]) -> None:
        """One message of the core."""
        for operation in operations:
            self._host.happened(Obeyed(operation))
            if operation[0] == "stopping":
                self.exit_code = operation[1]
            elif operation[0] == "ready":
                self._lost.clear()
        self.children.obey(operations)
        self._host.happened(Settled())

    def lose_core(self, pid: int, code: int | None, signum: int | None) -> None:
        """The core has ended: once what it sent has been read, all is up to us."""
        link = self.link
        assert link is not None
        link.cut(lambda: self._core_ended(pid, code, signum))

    def _core_ended(self, pid: int, code: int | None, signum: int | None) -> None:
        self.link = None
        self.children.disconnect()
        if self.exit_code is not None or self._leaving:
            self._end()
            return
        self._lost.append((pid, code, signum))
        self._host.happened(CoreLost(pid))
        self.agenda.later(self.agenda.some(RESTART_DELAY_MAX), self._host.core_due)

    # --- signals and the end ----------------------------------------------------------------------

    def receive_signal(self, signum: int) -> None:
        """Somebody signals the daemon."""
        if self._plans is not None:
            if signum in ENDING_SIGNALS:
                self._plans.shorten(self.agenda.boot)
        elif self.link is not None:
            self._tell([("os_signal", signum)])
            self._leaving = self._leaving or signum in ENDING_SIGNALS
        elif signum in ENDING_SIGNALS:
            self._end()

    def _end(self) -> None:
        if self._plans is None:
            self._plans = StopPlans(self.children, self._note)
            self._plans.begin(self.agenda.boot)
        self._advance_plans()

    def _advance_plans(self) -> None:
        plans = self._plans
        if plans is None:
            return
        if plans.advance(self.agenda.boot):
            self.children.notice_orphans()
            self._host.over(self.exit_code or 0)
        elif plans.next_due != NOTHING_DUE:
            self.agenda.later(plans.next_due - self.agenda.boot, self._advance_plans)

    def _note(self, reports: list[Sequence[Any]]) -> None:
        for report in reports:
            self._host.happened(Noted(report))

    def _tell(self, reports: list[Sequence[Any]]) -> None:
        for report in reports:
            self._host.happened(Told(report))
        if self.link is not None:
            self.link.tell(reports)

    # --- what the kernel asks (replay.sim_kernel.Agenda) ------------------------------------------

    @property
    def chance(self) -> random.Random:
        return self.agenda.chance

    def moment(self) -> tuple[int, int]:
        return self.agenda.moment()

    def later(self, delay: int, happening: Callable[[], None]) -> None:
        self.agenda.later(delay, happening)

    def happened(self, fact: Fact) -> None:
        self._host.happened(fact)

    def readable(self, pidfd: int) -> None:
        """epoll will show it, together with whatever else is readable by then."""
        if not self._readable:
            self.agenda.later(self.agenda.some(NOTICE_DELAY_MAX), self._notice)
        self._readable.append(pidfd)

    def child_ended(self) -> None:
        """SIGCHLD: one bit."""
        if not self._orphans_due:
            self._orphans_due = True
            self.agenda.later(ORPHANS_PAUSE, self._notice_orphans)

    def _notice(self) -> None:
        pidfds, self._readable = self._readable, []
        self.agenda.chance.shuffle(pidfds)
        self.children.notice(pidfds)
        self._host.happened(Settled())
        self._advance_plans()

    def _notice_orphans(self) -> None:
        self._orphans_due = False
        self.children.notice_orphans()
