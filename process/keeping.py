"""Room: process -- the keeper's rules: what follows from what its loop sees.

Knows:     process.children, process.core_child (a core's life), process.stop_plans.
Known by:  process.keeper_loop (sees, over epoll), replay.sim.keeper (sees, in a simulated world).
Never:     polls, reads a clock, knows a descriptor; decides what should run; lets go of an exit
           that no core has acknowledged while a core may come to record it.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from circus.process.children import Children
from circus.process.core_child import CoreLife
from circus.process.stop_plans import NOTHING_DUE, StopPlans

ENDING_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
ANSWER_WITHIN: Final = 2_000_000_000
# One look at all our children costs what a spawn costs; in churn five a second are enough.
ORPHANS_PAUSE: Final = 200_000_000
FINISH_PAUSE: Final = 1_000_000
# A spawn takes as long as some sixteen operations of any other kind.
EFFORT_PER_TURN: Final = 256
EFFORT_OF_SPAWN: Final = 16
# What else the keeper holds (process.holdings) is told of these.
OF_HOLDINGS: Final = frozenset({"settings", "list", "heard"})


class Loop(Protocol):
    """What the rules ask of whoever looks at the world for them."""

    @property
    def linked(self) -> bool: ...
    def tell(self, reports: list[Sequence[Any]], /) -> None: ...
    def keep_words(self, reports: list[Sequence[Any]], /) -> None: ...
    def harden(self) -> None: ...
    def heed_children(self, *, heed: bool) -> None: ...
    def disconnect(self) -> None: ...
    def start_core(self) -> None: ...
    def complain(self, text: str, /) -> None: ...
    def succeed(self, seq: int, program: str, /) -> None: ...
    def hold(self, operation: Sequence[Any], /) -> None: ...


class Keeping:
    """One of: supervising (a core is up or due), or ending (the stop plans run)."""

    __slots__ = (
        "_asked", "_children", "_core", "_leaving", "_loop", "_orphans_due", "_plans", "exit_code",
        "to_do",
    )  # fmt: skip

    def __init__(self, loop: Loop, children: Children, core: CoreLife | None) -> None:
        self.exit_code: int | None = None  # what the core said that we end with
        self.to_do: deque[Sequence[Any]] = deque()
        self._loop = loop
        self._children = children
        self._core = core
        self._plans: StopPlans | None = None
        self._leaving = False  # somebody has sent a signal that ends everything
        self._asked: int | None = None  # since when it is unanswered, boot ns
        self._orphans_due: int | None = None

    def carry(self) -> list[Any] | None:
        """For the next keeper in this process; None while something is half done."""
        if self.to_do or self._plans is not None or self._asked is not None:
            return None
        return [self.exit_code, self._leaving]

    def restore(self, carried: Sequence[Any], boot: int) -> None:
        """As the keeper before us; an orphan may have ended meanwhile."""
        self.exit_code, self._leaving = carried
        self.child_ended(boot)

    # -- the core ----------------------------------------------------------------------------------

    def hear(self, operations: Sequence[Sequence[Any]]) -> None:
        """The core has sent this. It is carried out by `work`."""
        self._asked = None
        core = self._core
        if core is not None:
            core.heard = True
        for operation in operations:
            if operation[0] == "settings":
                self._settle(operation[1])
            elif operation[0] == "stopping":
                self.exit_code = operation[1]
            elif operation[0] == "ready" and core is not None:
                core.is_ready(operation[1], operation[2])
            elif operation[0] == "reexec":
                self._loop.succeed(operation[1], operation[2])
            if operation[0] in OF_HOLDINGS:
                self._loop.hold(operation)
        self.to_do.extend(operations)

    def take(self) -> list[Sequence[Any]]:
        """A few of the core's requests for `work`.

        Then whoever has died meanwhile has a turn: a start of a thousand would else keep an exit
        waiting for as long as it takes, and the core would hear of the first process with the last.
        """
        to_do, few, effort = self.to_do, [], 0
        while to_do and effort < EFFORT_PER_TURN:
            operation = to_do.popleft()
            few.append(operation)
            effort += EFFORT_OF_SPAWN if operation[0] == "spawn" else 1
        return few

    def work(self, few: Sequence[Sequence[Any]]) -> None:
        """Carry out what `take` gave."""
        self._children.look_round()
        if few:
            self._children.obey(few)

    def unlinked(self, boot: int) -> None:
        """No link, no core: what still runs of it is ended, and its end decides what follows."""
        self.to_do.clear()
        self._children.disconnect()
        if self._core is None:
            self.end(boot)
        else:
            self._core.expect_exit(boot)

    def core_ended(self, core: CoreLife, code: int | None, signum: int | None, boot: int) -> None:
        """It has been reaped and its link is gone: is there to be another one?"""
        if self._plans is not None:
            return
        if self.exit_code is None and core.hopeless(code):
            self.exit_code = code
        if self.exit_code is not None or self._leaving:
            # It said so, or somebody wants the end and it died before that was done: whether it
            # had heard of it nobody knows, and a core that had not would go on as if nothing were.
            self.end(boot)
            return
        core.put_off(boot)
        if not core.ready:
            how = f"code {code}" if signum is None else f"signal {signum}"
            self._loop.complain(f"the core ended before it was ready ({how}); it is started again")

    # -- signals -----------------------------------------------------------------------------------

    def child_ended(self, boot: int) -> None:
        """SIGCHLD: perhaps an orphan.

        The look that is due will see whoever ends until then, so the second one is the last: in a
        crowd a handled signal for every death is worth saving.
        """
        if self._orphans_due is None:
            self._orphans_due = boot + ORPHANS_PAUSE
        else:
            self._loop.heed_children(heed=False)

    def signalled(self, signum: int, boot: int) -> None:
        """Somebody has sent us a signal: it is the core's to say what it means."""
        ending = signum in ENDING_SIGNALS
        if self._plans is not None:
            if ending:
                self._plans.shorten(boot)
            return
        if not self._loop.linked:
            if ending:
                self.end(boot)
            return
        self._loop.tell([("os_signal", signum)])
        if ending and not self._leaving:
            self._leaving = True
            self._asked = boot

    # -- the end, and what is due ------------------------------------------------------------------

    def end(self, boot: int) -> None:
        """Without a core: the plans that came with the spawns."""
        if self._core is not None:
            self._core.kill()
        if self._plans is None:
            self._plans = StopPlans(self._children, self._loop.keep_words)
            self._plans.begin(boot)

    def attend(self, boot: int) -> int | None:
        """Do what is due; the exit code once all is over."""
        if self._asked is not None and boot >= self._asked + ANSWER_WITHIN:
            self._loop.complain("the core does not answer; it is killed and everything is stopped")
            self.end(boot)
            self._loop.disconnect()
        if self._orphans_due is not None and boot >= self._orphans_due:
            self._orphans_due = None
            self._loop.heed_children(heed=True)  # before the look, so that nobody ends in between
            self._children.notice_orphans()
        if self._plans is not None:
            return self._finish(self._plans, boot)
        core = self._core
        if core is not None and core.due is not None and boot >= core.due:
            if core.up:
                core.look(boot)
            else:
                self._loop.start_core()
        return None

    def next_due(self, boot: int) -> int:
        """Boot ns at which `attend` or `work` has something to do; NOTHING_DUE: never."""
        if self.to_do:
            return boot
        plans, core = self._plans, self._core
        due = NOTHING_DUE if plans is None else plans.next_due
        if plans is not None and not self._children.living:
            # The link was found closed while flushing: there may be nothing left to wake us.
            due = min(due, boot + FINISH_PAUSE)
        if self._asked is not None:
            due = min(due, self._asked + ANSWER_WITHIN)
        if self._orphans_due is not None:
            due = min(due, self._orphans_due)
        if core is not None and core.due is not None and plans is None:
            due = min(due, core.due)
        return due

    def _settle(self, settings: Mapping[str, Any]) -> None:
        if settings.get("no_new_privs"):
            self._loop.harden()
        if "log" in settings:
            self._children.numbers.log = settings["log"]
        if self._core is not None and "silence" in settings:
            self._core.bear(settings["silence"])

    def _finish(self, plans: StopPlans, boot: int) -> int | None:
        self._asked = None
        if not plans.advance(boot) or (self._core is not None and self._core.up):
            return None
        self._children.notice_orphans()
        return self.exit_code or 0
