"""Room: bus -- the event stream's sending end: facts, heartbeats, barriers.

Knows:     bus.wire, bus.parts, zmq.
Known by:  the composition roots; the switchboard calls `publish`.
Never:     waits, keeps a message: the ledger is the queue, this is only the wake-up (ADR-0001).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import zmq

from circus.bus.clock import Clock
from circus.bus.parts import readable, send_parts
from circus.bus.values import Nanoseconds
from circus.bus.wire import (
    HEARTBEAT_NS,
    Header,
    barrier_message,
    event_message,
    heartbeat_message,
    is_barrier,
)  # fmt: skip


class Head(Protocol):
    """Where the ledger stands."""

    log_id: bytes
    head: int
    chain: bytes

    @property
    def first_retained(self) -> int: ...
    @property
    def degraded(self) -> bool: ...


# One wake-up reads this many, then workers have their turn again.
SUBSCRIPTIONS_PER_WAKE: Final = 256


class EventStream:
    """XPUB with the header of docs/wire.md on every message.

    Heartbeats go out every second while somebody listens, and at once when the stream becomes busy
    after a silence, so that a lost tail never stays unnoticed for longer (RELIABILITY.md, 1.1).
    """

    def __init__(
        self, events: zmq.Socket[bytes], ledger: Head, clock: Clock, core: tuple[int, int]
    ) -> None:
        """`core`: the number and the seed of this start, which every message names."""
        self.listeners = 0
        self._events = events
        self._ledger = ledger
        self._clock = clock
        self._incarnation, self._seed = core
        self._beat_due: Nanoseconds = 0

    def header(self) -> Header:
        """The head right now, for replies, heartbeats and barriers."""
        ledger, now = self._ledger, self._clock.now()
        return Header(
            ledger.log_id, self._incarnation, ledger.first_retained, ledger.head,
            ledger.chain[:8], now.wall, now.boot, None, self._seed, ledger.degraded,
        )  # fmt: skip

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """One message per appended frame; with nobody listening it costs one comparison."""
        if not self.listeners:
            return
        header = self.header()
        seq = first_seq
        for (count, payload), chain in zip(frames, chains, strict=True):
            last = seq + count - 1
            own = header._replace(head_seq=last, head_chain8=chain[:8], frame_seq=seq)
            self._send(event_message(own, payload))
            seq = last + 1

    def settle(self, synced: int) -> None:
        """Everything up to `synced` is on the platter: nothing is held back here."""

    def receive(self) -> None:
        """Read what subscribers ask for; answer barriers."""
        for _ in range(SUBSCRIPTIONS_PER_WAKE):
            if not readable(self._events):
                return
            self.subscribed(self._events.recv())

    def subscribed(self, message: bytes) -> None:
        """One subscription of one peer, or its end, as XPUB words it."""
        asked, topic = message[:1] == b"\x01", message[1:]
        if is_barrier(topic):
            if asked:
                self._send(barrier_message(topic, self.header()))
        else:
            # A peer may leave what it never joined.
            self.listeners = max(0, self.listeners + (1 if asked else -1))

    def next_beat(self) -> Nanoseconds | None:
        """Boot ns of the next heartbeat; None while nobody listens."""
        return self._beat_due if self.listeners > 0 else None

    def beat(self, boot: Nanoseconds) -> None:
        """Send the heartbeat if it is due."""
        if self.listeners > 0 and boot >= self._beat_due:
            self._send(heartbeat_message(self.header()))
            self._beat_due = boot + HEARTBEAT_NS

    def close(self) -> None:
        """Close the socket."""
        self._events.close()

    def _send(self, message: Sequence[bytes | memoryview]) -> None:
        try:
            send_parts(self._events, message)
        except zmq.Again:
            # XPUB drops by itself at a full queue; EAGAIN comes only while it is being set up, and
            # a subscriber finds the hole by its sequence number.
            return


class SyncedStream(EventStream):
    """For `durability = always`: nobody hears of what a power cut could still take back."""

    def __init__(
        self,
        events: zmq.Socket[bytes],
        ledger: Head,
        clock: Clock,
        core: tuple[int, int],
        *,
        want: Callable[[int], None],
    ) -> None:
        super().__init__(events, ledger, clock, core)
        self._want = want
        self._held: deque[_Held] = deque()

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """Keep the frames until `settle` says that they are synced."""
        last_seq = first_seq + sum(count for count, _ in frames) - 1
        if self.listeners:
            self._held.append(_Held(frames, chains, first_seq, last_seq))
        self._want(last_seq)

    def settle(self, synced: int) -> None:
        """Tell what is on the platter now."""
        held = self._held
        while held and held[0].last_seq <= synced:
            one = held.popleft()
            super().publish(one.frames, one.chains, one.first_seq)


class _Held(NamedTuple):
    frames: Sequence[tuple[int, bytes]]
    chains: Sequence[bytes]
    first_seq: int
    last_seq: int
