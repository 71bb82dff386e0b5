"""Room: bus -- the clock actor: `timer.arm` in, `timer.woke` out.

Knows:     bus.commands, bus.events, bus.record.
Known by:  the runtime and the simulator, which tell it the time.
Never:     reads a clock: due times are boot ns of the arming record plus its duration.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final, NamedTuple

from circus.bus import commands, events
from circus.bus.record import Draft, Record
from circus.bus.values import Address, Nanoseconds, watcher_of

# Replaced armings stay in the heap until they come up; more than half of it is swept.
HEAP_SLACK: Final = 64
# What a timer's life consists of on record; all the rest, nearly every record, is left at the door.
OF_TIMERS: Final = frozenset(
    (commands.TimerArm, commands.TimerDisarm, events.TimerWoke, events.WatcherRemoved)
)


class Armed(NamedTuple):
    """One arming. Ordered by due time, then by the record that armed it."""

    due: Nanoseconds
    seq: int
    actor: Address
    timer: str
    bound: str


class Timers:
    """All armed timers; the newest arming of (actor, timer) is the one that counts."""

    def __init__(self) -> None:
        self._armed: dict[tuple[Address, str], Armed] = {}
        self._heap: list[Armed] = []

    def __len__(self) -> int:
        return len(self._armed)

    def fold(self, record: Record) -> None:
        """Believe one record, live or in recovery; other records change nothing."""
        body = record.body
        if isinstance(body, commands.TimerArm):
            due = record.boot + body.duration
            armed = Armed(due, record.seq, record.actor, body.timer, body.bound)
            self._armed[record.actor, body.timer] = armed
            heapq.heappush(self._heap, armed)
            if len(self._heap) > HEAP_SLACK + 2 * len(self._armed):
                self._heap = sorted(self._armed.values())
        elif isinstance(body, commands.TimerDisarm):
            self._armed.pop((record.actor, body.timer), None)
        elif isinstance(body, events.TimerWoke):
            self._forget(record.to, body)
        elif isinstance(body, events.WatcherRemoved):
            for key in [key for key in self._armed if key[0] == body.address]:
                del self._armed[key]

    def _forget(self, actor: Address | None, woke: events.TimerWoke) -> None:
        key = (actor or "", woke.timer)
        armed = self._armed.get(key)
        if armed is not None and armed.seq == woke.armed:
            del self._armed[key]

    def next_due(self) -> Nanoseconds | None:
        """Boot ns of the earliest timer; armings that were replaced are dropped on the way."""
        heap = self._heap
        while heap:
            first = heap[0]
            if self._armed.get((first.actor, first.timer)) is first:
                return first.due
            heapq.heappop(heap)
        return None

    def take_due(self, boot: Nanoseconds) -> list[Draft]:
        """What is due now, in due order, as facts to say; each is taken once."""
        drafts: list[Draft] = []
        due = self.next_due()
        while due is not None and due <= boot:
            armed = heapq.heappop(self._heap)
            del self._armed[armed.actor, armed.timer]
            drafts.append(_woke(armed))
            due = self.next_due()
        return drafts

    def kept(self) -> list[Armed]:
        """All that are armed, for a snapshot."""
        return list(self._armed.values())

    def restore(self, armed: Iterable[Armed]) -> None:
        """From a snapshot, in place of what there is."""
        self._armed = {(one.actor, one.timer): one for one in armed}
        self._heap = sorted(self._armed.values())

    def rebase(self, last_boot: Nanoseconds, boot: Nanoseconds) -> None:
        """After a new boot: timers of processes vanish, the rest goes on with what remained."""
        self._armed = {
            key: armed._replace(due=boot + max(0, armed.due - last_boot))
            for key, armed in self._armed.items()
            if armed.bound != "process"
        }
        self._heap = sorted(self._armed.values())


def _woke(armed: Armed) -> Draft:
    return Draft(
        events.TimerWoke(armed.timer, armed.seq),
        to=armed.actor,
        watcher=watcher_of(armed.actor) or None,
        cause=armed.seq,
    )
