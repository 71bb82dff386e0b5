"""Room: process -- stopping everything without a core: the plans that came with the spawns.

Knows:     process.children.
Known by:  process.keeper_loop, replay (against the simulated kernel).
Never:     waits: it is asked when its next step is due, and told the time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

from circus.process.children import Children
from circus.process.held import Held

GRACE_AFTER_SECOND_SIGNAL: Final = 1_000_000_000
NOTHING_DUE: Final = 2**63 - 1


class StopPlans:
    """Signals by priority, the lowest first, all of them; SIGKILL for each when its grace is over.

    `note` keeps what was seen (DIR/last-words) before anything is reaped.
    """

    __slots__ = ("_children", "_due", "_note", "_shortened")

    def __init__(self, children: Children, note: Callable[[list[Sequence[Any]]], None]) -> None:
        self._children = children
        self._note = note
        self._due: dict[int, int] = {}
        self._shortened = False

    def begin(self, boot: int) -> None:
        """Ask every process to end. That it was started comes first: perhaps nobody knows yet."""
        self._note(self._children.outcomes)
        for held in sorted(self._children.living, key=lambda held: held.plan.priority):
            scope = "family" if held.plan.stop_children else "process"
            self._signal(held, held.plan.stop_signal, scope)
            self._due[held.spawn_id] = boot + held.plan.grace

    def shorten(self, boot: int) -> None:
        """A second TERM or INT: nobody gets more than a second from now."""
        self._shortened = True
        latest = boot + GRACE_AFTER_SECOND_SIGNAL
        self._due = {spawn_id: min(due, latest) for spawn_id, due in self._due.items()}

    @property
    def next_due(self) -> int:
        """Boot ns of the next SIGKILL."""
        return min(self._due.values(), default=NOTHING_DUE)

    def advance(self, boot: int) -> bool:
        """Note and reap what has ended, kill what is overdue; True when nothing is left."""
        ended = self._children.ended
        if ended:
            self._note([held.exit_report() for held in ended])
            for held in ended:
                self._due.pop(held.spawn_id, None)
            self._note(self._children.let_go([held.spawn_id for held in ended]))
        for held in self._children.living:
            if self._due.get(held.spawn_id, boot) <= boot:
                self._signal(held, signal.SIGKILL, held.plan.last_scope)
                self._due[held.spawn_id] = NOTHING_DUE
        return not self._children.living

    def _signal(self, held: Held, signum: int, scope: str) -> None:
        pids, number = self._children.signal(held, signum, scope)
        self._note([("signalled", 0, held.spawn_id, signum, pids, number)])
