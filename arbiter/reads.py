"""Room: arbiter -- READ: whole raw frames from a cursor on, parked for a while if there are none.

Knows:     the ledger's read side, bus.wire (the question).
Known by:  the gateway.
Never:     decodes a frame, keeps anything about a reader but its parked question.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from circus.arbiter.verbs import Refusal
from circus.bus.clock import Clock
from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.values import NS_PER_MS, Nanoseconds
from circus.bus.wire import COMMAND_ERROR, OS_ERROR, Read

# RELIABILITY.md, 7.11: parked questions, all clients together; of one connection there is one.
PARKED_MAX: Final = 256
NOTHING: Final[Mapping[str, Any]] = {"result": "nothing"}

Tell = Callable[[Mapping[str, Any] | Refusal, bytes | None], None]


class RawFrames(Protocol):
    """Whole frames as they stand in the file."""

    @property
    def data(self) -> bytes: ...
    @property
    def first_seq(self) -> int: ...
    @property
    def last_seq(self) -> int: ...


class Readable(Protocol):
    """The ledger's read side."""

    log_id: bytes
    head: int

    @property
    def first_retained(self) -> int: ...
    def read_raw(self, after: int, bytes_max: int, /) -> RawFrames: ...
    def chain8_at(self, seq: int, /) -> bytes | None: ...


class _Parked(NamedTuple):
    due: Nanoseconds
    turn: int
    read: Read
    tell: Tell
    whose: bytes


class Reads:
    """Answers READ; asked again after every append while somebody waits."""

    def __init__(self, ledger: Readable, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._parked: list[_Parked] = []
        self._turns = itertools.count()

    def ask(self, read: Read, tell: Tell, whose: bytes) -> None:
        """Answer now, or when there is something, or when `wait_ms` is over.

        `whose` is the connection. It has one parked question: an earlier one is answered now.
        """
        if self._answer(read, tell):
            return
        self._give_up(whose)
        if not read.wait_ms or len(self._parked) >= PARKED_MAX:
            tell(NOTHING, None)
            return
        due = self._clock.now().boot + read.wait_ms * NS_PER_MS
        heapq.heappush(self._parked, _Parked(due, next(self._turns), read, tell, whose))

    def _give_up(self, whose: bytes) -> None:
        for place, one in enumerate(self._parked):
            if one.whose == whose:
                del self._parked[place]
                heapq.heapify(self._parked)
                one.tell(NOTHING, None)
                return

    def next_due(self) -> Nanoseconds | None:
        """Boot ns at which the first parked question has waited long enough."""
        return self._parked[0].due if self._parked else None

    def look_again(self, boot: Nanoseconds) -> None:
        """Something was appended, or time has passed."""
        parked, self._parked = self._parked, []
        for one in parked:
            if self._answer(one.read, one.tell):
                continue
            if one.due <= boot:
                one.tell(NOTHING, None)
            else:
                heapq.heappush(self._parked, one)

    def _answer(self, read: Read, tell: Tell) -> bool:
        try:
            return self._tried(read, tell)
        except OSError as error:
            # A bad sector, or no descriptor left: the reader's trouble, not supervision's.
            tell(Refusal(f"cannot read the ledger: {error}; ask again", OS_ERROR), None)
            return True

    def _tried(self, read: Read, tell: Tell) -> bool:
        ledger = self._ledger
        if read.log_id is not None and read.log_id != ledger.log_id:
            tell({"result": "reset", "log_id": ledger.log_id}, None)
        elif read.after + 1 < ledger.first_retained:
            tell({"result": "trimmed", "first_seq": ledger.first_retained}, None)
        elif read.after > ledger.head or self._differs(read):
            tell({"result": "diverged"}, None)
        elif read.after == ledger.head:
            return False
        else:
            return self._frames(read, tell)
        return True

    def _differs(self, read: Read) -> bool:
        if read.chain8 is None or read.after == 0:
            return False
        known = self._ledger.chain8_at(read.after)
        return known is not None and known != read.chain8

    def _frames(self, read: Read, tell: Tell) -> bool:
        """False while what is below the head is in memory only: the disk is full or failing."""
        try:
            raw = self._ledger.read_raw(read.after, read.max_bytes)
        except Trimmed as error:
            tell({"result": "trimmed", "first_seq": error.first_seq}, None)
            return True
        except Damaged as error:
            # Told, not raised: a parked question is asked by the loop, not by its client.
            tell(Refusal(str(error), COMMAND_ERROR), None)
            return True
        if not raw.data:
            return False
        fields = {"result": "events", "first_seq": raw.first_seq, "last_seq": raw.last_seq}
        tell(fields, raw.data)
        return True
