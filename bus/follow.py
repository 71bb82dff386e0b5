"""Room: bus -- following a ledger from outside: join, catch up, live, holes; bytes in, bytes out.

Knows:     bus.wire, bus.segments (frames of a READ), bus.cursor_errors.
Known by:  bus.subscribe and bus.subscribe_async, which give it sockets and a clock.
Never:     opens a socket, sleeps, reads a clock, decodes a record.

The ledger is the queue, PUB is only the wake-up (RELIABILITY.md, 1.3): whatever the live stream
loses is read again, and what cannot be continued is raised. The driver's loop: take what is
`ready`, carry out `step`, hand in what came with `hear` and `answered`. Times are monotonic ns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from circus.bus.cursor_errors import Diverged, Reset, Trimmed
from circus.bus.segments import parse_frames
from circus.bus.values import NS_PER_MS, NS_PER_SECOND, Cursor
from circus.bus.wire import (
    EVENT,
    READ_BYTES_MAX,
    Header,
    Live,
    Malformed,
    Request,
    barrier_topic,
    cursor_at_head,
    decode_live,
    decode_reply,
    encode_request,
)

JOIN_NS: Final = 1 * NS_PER_SECOND  # then another barrier: the first may have met no publisher
JOIN_TRIES_MAX: Final = 3  # then the stream is taken for broken, and READ alone goes on
SILENCE_NS: Final = 3 * NS_PER_SECOND  # three heartbeats
BEHIND_NS: Final = 250 * NS_PER_MS  # a heartbeat may overtake an event by less
ANSWER_NS: Final = 2 * NS_PER_SECOND
HOLES_MAX: Final = 3
HOLES_NS: Final = 10 * NS_PER_SECOND
POLLING_NS: Final = 60 * NS_PER_SECOND
FOREVER: Final = 2**63
POLL_WAIT_MS: Final = 10_000
FIRST_SEQ_AT: Final = slice(16, 24)  # of a frame's header, RELIABILITY.md, 2.3


class Phase(Enum):
    """Where a subscriber is on its way."""

    JOINING = "joining"  # waits for the barrier's answer
    READING = "reading"  # up to a known head; live messages stay queued
    LIVE = "live"
    POLLING = "polling"  # READ alone: the live stream lost too much
    DONE = "done"  # asked for the past only, and has it


class ReadRefused(Exception):
    """The daemon answered a READ with an error; the text is its reason."""


class Batch(NamedTuple):
    """One frame for the caller: its records with seq > `after` are new."""

    after: int
    payload: bytes
    chain8: bytes
    last: int


class Step(NamedTuple):
    """What the driver does now; then it waits until `wake` or until something comes."""

    wake: int
    subscribe: bytes | None = None
    request: bytes | None = None
    redial: bool = False  # open a new ctl socket first: the old one's peer may be dead


class Place(NamedTuple):
    """How far we are; `seq` None: the head, once it is known."""

    log_id: bytes | None
    seq: int | None
    chain8: bytes | None
    chain: bytes | None = None  # all 16 bytes, where the last frame came by READ


def place_of(after: Cursor | int | None) -> Place:
    """What callers say, as a place; a bare number is not compared with any history."""
    if isinstance(after, Cursor):
        return Place(after.log_id, after.seq, after.chain8)
    return Place(None, after, None)


class _Asked(NamedTuple):
    id: bytes
    until: int


class _Ears:
    """What is known about the live stream."""

    __slots__ = ("behind_since", "heard", "holes", "joins", "joins_at", "polling_until", "volatile")

    def __init__(self) -> None:
        self.joins = 0
        self.joins_at = 0
        self.heard = 0
        self.behind_since: int | None = None
        self.holes: deque[int] = deque()
        self.polling_until = 0
        self.volatile = False  # as the latest message has it

    def loses_too_much(self, now: int) -> bool:
        """Count one hole; True once there were too many lately."""
        self.holes.append(now)
        while self.holes[0] < now - HOLES_NS:
            self.holes.popleft()
        return len(self.holes) >= HOLES_MAX


class Follow:
    """One subscriber's side of the protocol."""

    def __init__(
        self,
        after: Cursor | int | None,
        *,
        fresh: Callable[[], bytes],
        live: bool = True,
        stream: bool = True,
    ) -> None:
        self.place = place_of(after)
        self.phase = Phase.JOINING if live else Phase.READING
        self.ready: deque[Batch] = deque()
        self.head = 0
        self._fresh = fresh
        self._live = live
        self._until: int | None = None
        self._asked: _Asked | None = None
        self._core: tuple[int, int] | None = None
        self._ears = _Ears()
        if live and not stream:
            self.phase, self._ears.polling_until = Phase.POLLING, FOREVER

    @property
    def listening(self) -> bool:
        """Whether live messages are wanted now; while READING they stay queued."""
        return self.phase not in (Phase.READING, Phase.DONE)

    @property
    def lag(self) -> int:
        """How many records there are that have not been handed out yet."""
        return max(0, self.head - (self.place.seq or 0))

    @property
    def volatile(self) -> bool:
        """The daemon cannot write down what it says."""
        return self._ears.volatile

    # --- what to do next --------------------------------------------------------------------------

    def step(self, now: int) -> Step:
        """What is due at `now`."""
        if self.phase is Phase.JOINING:
            return self._step_joining(now)
        if self.phase is Phase.LIVE:
            due = self._live_due()
            if due > now:
                return Step(due)
            self._missed(now)
        if self.phase is Phase.POLLING and not self._asked and now >= self._ears.polling_until:
            self.phase, self._ears.joins = Phase.JOINING, 0
            return self._step_joining(now)
        return self._step_reading(now)

    def _step_joining(self, now: int) -> Step:
        ears = self._ears
        if ears.joins and now < ears.joins_at + JOIN_NS:
            return Step(ears.joins_at + JOIN_NS)
        if ears.joins >= JOIN_TRIES_MAX:
            self._poll(now)
            return self._step_reading(now)
        ears.joins += 1
        ears.joins_at = now
        return Step(now + JOIN_NS, subscribe=barrier_topic(self._fresh()))

    def _live_due(self) -> int:
        silent = self._ears.heard + SILENCE_NS
        behind = self._ears.behind_since
        return silent if behind is None else min(silent, behind + BEHIND_NS)

    def _missed(self, now: int) -> None:
        if self._ears.behind_since is not None:
            self._hole(now, self.head)
        else:
            # Silence proves nothing: ask whether there is news, and whether anybody is there.
            self._read_until(self.place.seq or 0)

    def _step_reading(self, now: int) -> Step:
        asked = self._asked
        if asked is not None and now < asked.until:
            return Step(asked.until)
        wait_ms = POLL_WAIT_MS if self.phase is Phase.POLLING and self.place.seq is not None else 0
        until = now + wait_ms * NS_PER_MS + ANSWER_NS
        self._asked = _Asked(self._fresh(), until)
        return Step(until, request=self._read(wait_ms), redial=asked is not None)

    def _read(self, wait_ms: int) -> bytes:
        assert self._asked is not None, self.phase
        place = self.place
        unknown = place.seq is None
        properties = {
            "log_id": place.log_id,
            "after": place.seq or 0,
            "chain8": None if unknown else place.chain8,
            "max_bytes": 0 if unknown else READ_BYTES_MAX,
            "wait_ms": wait_ms,
        }
        return encode_request(Request(self._asked.id, "read", properties))

    # --- what the event stream says ---------------------------------------------------------------

    def hear(self, frames: Sequence[bytes], now: int) -> None:
        """One live message. One that cannot be understood is as good as lost: READ finds it."""
        try:
            live = decode_live(frames)
        except Malformed:
            return
        self._note(live.header)
        self._ears.heard = now
        if self._is_new_core(live.header) or self.phase is Phase.POLLING:
            return
        if self.phase is Phase.JOINING:
            self._joined(live)
        elif live.topic == EVENT:
            self._event(live, now)
        elif live.header.head_seq <= (self.place.seq or 0):
            self._ears.behind_since = None
        elif self._ears.behind_since is None:
            self._ears.behind_since = now

    def _is_new_core(self, header: Header) -> bool:
        """After a restart the history is compared, by READ, before anything is believed."""
        before, self._core = self._core, header.core
        if before is None or before == header.core:
            return False
        if self.phase is Phase.LIVE:
            self._read_until(header.head_seq)
        elif self.phase is Phase.POLLING and self._asked is not None:
            self._asked = self._asked._replace(until=0)  # it went to a core that is no more
        return True

    def _joined(self, live: Live) -> None:
        if live.topic == EVENT:
            return  # at or below the barrier's head: READ brings it
        self._ears.behind_since = None
        if self.place.seq is None:
            self._stand_at(live.header)
            self.phase = Phase.LIVE
        else:
            self._read_until(live.header.head_seq)

    def _event(self, live: Live, now: int) -> None:
        header, seq = live.header, self.place.seq
        assert seq is not None, self.phase
        assert header.frame_seq is not None, header
        if header.head_seq <= seq:
            return
        if header.frame_seq != seq + 1 or _count(live.payload) != header.head_seq - seq:
            self._hole(now, header.head_seq)
            return
        self._ears.behind_since = None
        self.ready.append(Batch(seq, live.payload, header.head_chain8, header.head_seq))
        self.place = Place(header.log_id, header.head_seq, header.head_chain8)

    def _hole(self, now: int, head: int) -> None:
        if self._ears.loses_too_much(now):
            self._poll(now)
        else:
            self._read_until(head)

    def _poll(self, now: int) -> None:
        self.phase, self._asked = Phase.POLLING, None
        self._ears.holes.clear()
        self._ears.behind_since = None
        self._ears.polling_until = now + POLLING_NS

    def _read_until(self, head: int) -> None:
        self.phase, self._asked, self._until = Phase.READING, None, head

    # --- what READ says ---------------------------------------------------------------------------

    def answered(self, frames: Sequence[bytes], now: int) -> None:
        """One message from ctl; answers to questions that were given up are dropped."""
        reply = decode_reply(frames)
        if self._asked is None or reply.body.get("id") != self._asked.id:
            return
        self._asked = None
        self._note(reply.header)
        self._core = reply.header.core
        if reply.body["status"] == "error":
            raise ReadRefused(str(reply.body.get("reason")))
        if self.place.seq is None:
            self._stand_at(reply.header)
        else:
            self._result(reply.body.get("result"), reply.raw, reply.header)
        self._after_answer(reply.header, now)

    def _result(self, result: object, raw: bytes | None, header: Header) -> None:
        seq = self.place.seq or 0
        if result == "events" and raw:
            self._frames(raw, header)
        elif result == "nothing":
            # A new core may have lost an unsynced tail that was announced but never handed out.
            self._until = min(seq, header.head_seq)
        elif result == "trimmed":
            raise Trimmed(header.first_seq)
        elif result == "reset":
            raise Reset(header.log_id)
        elif result == "diverged":
            raise Diverged(seq, header.head_seq)
        else:
            raise Malformed(f"cannot understand the answer to read: {result!r}")

    def _after_answer(self, header: Header, now: int) -> None:
        seq = self.place.seq or 0
        if self._until is None:
            self._until = header.head_seq
        if self.phase is Phase.POLLING or seq < self._until:
            return
        self._ears.heard = now
        self.phase = Phase.LIVE if self._live else Phase.DONE

    def _frames(self, raw: bytes, header: Header) -> None:
        end = header.head_seq if self._live or self._until is None else self._until
        first = int.from_bytes(raw[FIRST_SEQ_AT], "little")
        seq = self.place.seq or 0
        if not 0 < first <= seq + 1:
            raise Malformed(f"cannot go on after {seq}: the answer to read begins at {first}")
        for frame in parse_frames(raw, previous_chain=self.place.chain, expected_seq=first):
            after = self.place.seq or 0
            last = frame.last_seq
            if after < last and frame.first_seq <= end:
                chain8 = frame.chain[:8]
                self.ready.append(Batch(after, frame.payload, chain8, last))
                self.place = Place(header.log_id, last, chain8, frame.chain)
        if self.place.seq == seq:
            raise Malformed(f"cannot go on after {seq}: the answer to read has nothing new")

    def _stand_at(self, header: Header) -> None:
        self.place = Place(*cursor_at_head(header))

    def _note(self, header: Header) -> None:
        """Every message says which ledger it speaks of, and how far it is."""
        if self.place.log_id is not None and header.log_id != self.place.log_id:
            raise Reset(header.log_id)
        if self.place.log_id is None:
            self.place = self.place._replace(log_id=header.log_id)
        self.head = max(self.head, header.head_seq)
        self._ears.volatile = header.volatile


def _count(payload: bytes) -> int:
    """How many records a frame's payload has: the head of a msgpack array, nothing more."""
    kind = payload[0]
    if kind >> 4 == 9:
        return kind & 15
    return int.from_bytes(payload[1 : 3 if kind == 0xDC else 5], "big")


__all__ = ["Batch", "Follow", "Phase", "Place", "ReadRefused", "Step"]
