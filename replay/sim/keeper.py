"""Room: replay -- the keeper of the simulated world: production's rules, looped by happenings.

Knows:     process.keeping, process.children, replay.kernel.kernel, replay.sim.bus.
Known by:  replay.world.
Never:     decides: the rules and the children are the real ones, only what they see is simulated.

As in the real loop, what has come is noted first; then a few of the core's requests are carried
out and whatever is due is done; what is left waits for the next turn.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from circus.process.children import Children
from circus.process.core_child import CoreLife
from circus.process.keeping import Keeping
from circus.process.kernel import Child, Kernel
from circus.process.link import VERSION
from circus.process.stop_plans import NOTHING_DUE
from circus.process.successor import read_state, write_state
from circus.replay.checks.truth import CoreLost, Fact, KeeperLost, Noted, Obeyed, Settled, Told
from circus.replay.kernel.kernel import MakeLives, SimKernel, lose_keeper
from circus.replay.kernel.lives import Lives
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.bus import SimLink
from circus.replay.sim.coverage import Coverage

KEEPER_PID: Final = 1
CORE_PID: Final = 1_000_000  # plus the count of starts: never a worker's
NOTICE_DELAY_MAX: Final = 2_000_000
RESTART_NS: Final = 100_000_000  # RestartSec
TRIAL_NS_MAX: Final = 200_000_000  # newer code is tried before it takes over
REFUSED: Final = 0.4  # of the trials
FAULTS: Final = ("keeper.replaced", "keeper.not_replaced")

SETTLED: Final = Settled()

Tell = Callable[[list[Sequence[Any]]], None]
MakeChildren = Callable[[Kernel, Tell], Children]


class Host(Protocol):
    """What the keeper asks of the world."""

    def happened(self, fact: Fact, /) -> None: ...
    def core_due(self) -> None: ...
    def core_killed(self) -> None: ...
    def over(self, code: int, /) -> None: ...
    def keep_words(self, reports: Sequence[Sequence[Any]], /) -> None: ...


class SimCoreLife(CoreLife):
    """The rules' view of a core that is an object of this world."""

    __slots__ = ("_kill",)

    def __init__(self, kill: Callable[[], None]) -> None:
        super().__init__()  # without a watch: what hangs here is found by the checkers
        self.due = 0  # The first one is wanted at once.
        self._kill = kill

    def kill(self) -> None:
        super().kill()
        if self.up:
            self._kill()


class SimKeeper:
    """Parent of everything in one boot. Implements process.keeping.Loop and the kernel's Agenda."""

    def __init__(
        self, agenda: Agenda, host: Host, make_children: MakeChildren,
        make_lives: MakeLives = Lives,
    ) -> None:  # fmt: skip
        self.agenda = agenda
        self.kernel = SimKernel(self, make_lives)
        self.children = make_children(self.kernel, self.tell)
        self.link: SimLink | None = None
        self.core = SimCoreLife(host.core_killed)
        self.keeping = Keeping(self, self.children, self.core)
        self._host = host
        self._make_children = make_children
        self.down = False  # killed, and not started again yet
        self.began = agenda.boot  # when this one was started
        self._starts = 0
        self._inbox: deque[list[Sequence[Any]]] = deque()
        self._readable: list[int] = []
        self._alarm: int | None = None
        self._heeding = True
        self._replacing = False
        agenda.coverage.expect(*FAULTS)

    # --- its own death ----------------------------------------------------------------------------

    def die(self) -> None:
        """kill -9: what it knew is gone, and with its cgroup everything that it had started."""
        self.down = True
        if self.link is not None:
            self.link.lose()
        self.link, self._alarm = None, None
        self._inbox.clear()
        self._readable = []
        self._heeding = True
        self._host.happened(KeeperLost(self.agenda.boot))
        self._replacing = False
        lose_keeper(self.kernel)
        self.children = self._make_children(self.kernel, self.tell)
        self.core = SimCoreLife(self._host.core_killed)
        self.keeping = Keeping(self, self.children, self.core)
        self.agenda.later(RESTART_NS, self._come_back)

    def _come_back(self) -> None:
        """The service manager starts it again when nothing is left of the one before."""
        if self.kernel.living():
            self.agenda.later(RESTART_NS, self._come_back)
            return
        self.down = False
        self.began = self.agenda.boot
        self._turn()

    # --- the core ---------------------------------------------------------------------------------

    def connect(self, link: SimLink) -> int:
        """A core has been started: its pid."""
        self._starts += 1
        self.core.begun(CORE_PID + self._starts)
        self.link = link
        hello = ("hello", VERSION, KEEPER_PID, tuple(self.core.lost), self.children.numbers.given)
        self.tell([hello])
        return self.core.pid

    def hear(self, operations: list[Sequence[Any]]) -> None:
        """One message of the core. It stays in the link while earlier ones wait to be done."""
        self._inbox.append(operations)
        self._turn()

    def lose_core(self, code: int | None, signum: int | None) -> None:
        """The core has ended: once what it sent has been read, all is up to us."""
        ended = partial(self._core_ended, self.core, code, signum)
        if self.link is None:
            self.agenda.later(0, ended)
        else:
            self.link.cut(ended)

    def _core_ended(self, core: SimCoreLife, code: int | None, signum: int | None) -> None:
        if core.pid != self.core.pid:
            return  # The keeper that it was a child of is dead.
        while self._inbox:
            self.keeping.hear(self._inbox.popleft())
        pid = self.core.pid
        self.core.ended(code, signum, self.agenda.boot)
        self.disconnect()
        self.keeping.core_ended(self.core, code, signum, self.agenda.boot)
        if self.core.due is not None:
            self._host.happened(CoreLost(pid))
        self._turn()

    # --- what the rules ask (process.keeping.Loop) ------------------------------------------------

    @property
    def linked(self) -> bool:
        return self.link is not None

    def tell(self, reports: list[Sequence[Any]]) -> None:
        for report in reports:
            self._host.happened(Told(report))
        if self.link is not None:
            self.link.tell(reports)

    def keep_words(self, reports: list[Sequence[Any]]) -> None:
        for report in reports:
            self._host.happened(Noted(report))
        self._host.keep_words(reports)

    def harden(self) -> None:
        """Nothing here gains privileges."""

    def heed_children(self, *, heed: bool) -> None:
        self._heeding = heed

    def disconnect(self) -> None:
        self.link = None
        self._inbox.clear()
        self.keeping.unlinked(self.agenda.boot)

    def start_core(self) -> None:
        self._host.core_due()

    def succeed(self, seq: int, program: str) -> None:
        """Code that takes over in this process, after it has been tried."""
        if self._replacing:
            self.tell([("reexec_refused", seq, "a replacement is under way")])
            return
        self._replacing = True
        dice = self.agenda.stream("replaced keeper")
        good = dice.random() >= REFUSED
        again = partial(self._judge, self.keeping, seq, good=good)
        self.agenda.later(dice.randrange(TRIAL_NS_MAX), again)

    def hold(self, operation: Sequence[Any]) -> None:
        """Nothing is held here but processes: no core decides anything about output or sockets."""

    def complain(self, text: str) -> None:
        """To the terminal; nobody reads it here."""

    # --- its replacement --------------------------------------------------------------------------

    def _judge(self, keeping: Keeping, seq: int, *, good: bool) -> None:
        """The trial is over; at a quiet moment the new code goes on with what is known."""
        if keeping is not self.keeping:
            return  # It was killed meanwhile.
        if not good:
            self._replacing = False
            self.agenda.coverage.faults["keeper.not_replaced"] += 1
            self.tell([("reexec_refused", seq, "the new version was tried and ended")])
        elif self._inbox or (carried := keeping.carry()) is None:
            self.agenda.later(TRIAL_NS_MAX, partial(self._judge, keeping, seq, good=good))
        else:
            self._become(seq, carried)

    def _become(self, seq: int, carried: Sequence[Any]) -> None:
        """exec: the same pid, the same children; what was readable is looked at anew."""
        self.agenda.coverage.faults["keeper.replaced"] += 1
        known = {"children": self.children.carry(), "core": self.core.known(), "keeping": carried}
        state = read_state(write_state(known))
        self._readable, self._heeding, self._replacing = [], True, False
        self.children = self._make_children(self.kernel, self.tell)
        self.children.restore(state["children"], _reopened)
        core = SimCoreLife(self._host.core_killed)
        if self.core.up:
            core.begun(self.core.pid)
        core.recall(state["core"])
        self.core = core
        self.keeping = Keeping(self, self.children, core)
        self.keeping.restore(state["keeping"], self.agenda.boot)
        self.tell([("reexeced", seq, "simulated")])
        self._turn()

    # --- the loop ---------------------------------------------------------------------------------

    def receive_signal(self, signum: int) -> None:
        """Somebody signals the daemon; between two keepers nobody is there to hear it."""
        if self.down:
            return
        self.keeping.signalled(signum, self.agenda.boot)
        self._turn()

    def turn(self) -> None:
        """Woken because something is due."""
        self._turn()

    def _turn(self) -> None:
        if self.down:
            return
        keeping = self.keeping
        if self._inbox and not keeping.to_do:
            keeping.hear(self._inbox.popleft())
        few = keeping.take()
        for operation in few:
            self._host.happened(Obeyed(operation))
        keeping.work(few)
        code = keeping.attend(self.agenda.boot)
        self._host.happened(SETTLED)
        if code is not None:
            self._host.over(code)
        else:
            self._set_alarm()

    def _set_alarm(self) -> None:
        """Wake the loop when something is due; one alarm at a time, the earliest."""
        boot = self.agenda.boot
        due = boot if self._inbox else self.keeping.next_due(boot)
        if due != NOTHING_DUE and (self._alarm is None or due < self._alarm):
            self._alarm = due
            self.agenda.later(due - boot, lambda: self._ring(due))

    def _ring(self, due: int) -> None:
        if self._alarm == due:
            self._alarm = None
            self._turn()

    # --- what the kernel asks of its host ---------------------------------------------------------

    @property
    def chance(self) -> random.Random:
        return self.agenda.chance

    @property
    def coverage(self) -> Coverage:
        return self.agenda.coverage

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
        """SIGCHLD: one bit, if it is heeded."""
        if not self._heeding:
            return
        self.keeping.child_ended(self.agenda.boot)
        self._set_alarm()

    def _notice(self) -> None:
        pidfds, self._readable = self._readable, []
        self.agenda.chance.shuffle(pidfds)
        self.children.notice(pidfds)
        self._turn()


def _reopened(child: Child) -> Child:
    """Numbers of descriptors mean nothing here: the same one does."""
    return child
