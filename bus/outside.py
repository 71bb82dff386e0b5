"""Room: bus -- the host of the two actors that speak for the world: the reaper and the clock.

Knows:     bus.machine (messages), bus.codec (stamps), bus.timers.
Known by:  the runtime and the simulator.
Never:     decides; what the world says is recorded first and acted on when it is in the ledger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from circus.bus.codec import Stamp, stamped
from circus.bus.machine import Delivered, Stamped
from circus.bus.record import Decision, Draft, Record
from circus.bus.timers import Timers
from circus.bus.transport import Wire
from circus.bus.values import CLOCK, REAPER, Nanoseconds


class Hands(Protocol):
    """The reaper's shell: carries out commands, hears when its reports are in the ledger."""

    def perform(self, record: Record, /) -> None: ...
    def recorded(self, records: Sequence[Record], /) -> None: ...


class Outside:
    """Delivers to reaper and clock, and says what they have to say."""

    def __init__(self, wire: Wire, hands: Hands, timers: Timers, incarnation: int) -> None:
        self.timers = timers
        self._wire = wire
        self._hands = hands
        self._incarnation = incarnation
        self._said: deque[Decision] = deque()

    def report(self, drafts: Sequence[Draft]) -> None:
        """The reaper speaks: one frame."""
        self._say(REAPER, drafts)

    def wake(self, boot: Nanoseconds) -> bool:
        """The clock speaks of every timer that is due, each in a frame of its own cause; False if
        none is."""
        due = self.timers.take_due(boot)
        for draft in due:
            self._say(CLOCK, (draft,))
        return bool(due)

    def receive(self) -> bool:
        """Take what the switchboard sent; False if there was nothing."""
        items = self._wire.receive()
        for item in items:
            if isinstance(item, Stamped):
                self._recorded(item)
            else:
                self._perform(item)
        return bool(items)

    def _say(self, actor: str, drafts: Sequence[Draft]) -> None:
        if drafts:
            decision = Decision(actor, 0, tuple(drafts))
            self._said.append(decision)
            self._wire.send((decision,))

    def _recorded(self, item: Stamped) -> None:
        decision = self._said.popleft()
        assert decision.actor == item.actor, (decision, item)
        if item.actor != REAPER:
            return
        stamp = Stamp(item.first_seq, decision.cause, REAPER, item.now, self._incarnation)
        records: list[Record] = []
        for draft in decision.drafts:
            records.append(stamped(stamp, draft))
            stamp.seq += 1
        self._hands.recorded(records)

    def _perform(self, item: Delivered) -> None:
        if item.address == REAPER:
            self._hands.perform(item.record)
        else:
            self.timers.fold(item.record)
