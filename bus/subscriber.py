"""Room: bus -- what `circus.subscribe` and its asyncio twin share: where one stands, two sockets.

Knows:     bus.follow (the protocol), bus.dial, bus.codec, bus.reader (when no daemon runs).
Known by:  bus.subscribe and bus.subscribe_async, which wait; circusctl why (the sieves).
Never:     waits for anything, or decides about the protocol: bus.follow does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import zmq

from circus.bus.codec import records_of
from circus.bus.dial import Doors, dial_ctl, dial_events, doors_of, is_answered
from circus.bus.follow import Batch, Follow, Step
from circus.bus.record import Record
from circus.bus.values import NS_PER_MS, Cursor, watcher_of
from circus.bus.wire import EVENT, HEARTBEAT

MESSAGES_PER_TURN_MAX: Final = 256
NOWHERE: Final = Cursor(b"", 0, b"")

Sieve = Callable[[Batch], list[Record]]


class Subscriber:
    """One subscription, but for its waiting: who is followed, which records, how far."""

    def __init__(
        self, doors: Doors, after: Cursor | int | None, sieve: Sieve, *, follow: bool
    ) -> None:
        self.cursor = after if isinstance(after, Cursor) else NOWHERE
        self._doors = doors
        self._sieve = sieve
        self._after = after
        self._live = follow
        self._sockets: Sockets | None = None
        self._follow: Follow | None = None

    @property
    def lag(self) -> int:
        """Records that exist and have not arrived here yet, as far as is known."""
        return self._follow.lag if self._follow is not None else 0

    @property
    def volatile(self) -> bool:
        """The daemon's disk takes nothing just now: what comes may be lost with the daemon."""
        return self._follow is not None and self._follow.volatile

    def _is_asleep(self) -> bool:
        """Whether there is a ledger to read but nobody to ask.

        Without a daemon to wait for, a place without a ledger is a mistake: FileNotFoundError.
        """
        state_dir = self._doors.state_dir
        if state_dir is None or is_answered(self._doors.ctl):
            return False
        if not self._live and not os.path.isdir(f"{state_dir}/ledger"):
            raise FileNotFoundError(
                f"cannot read the record in {state_dir}: no ledger there and no daemon running; "
                "name the state directory that circusd was started with"
            )
        return True

    def _stored(self) -> Iterator[tuple[Cursor, Batch | None]]:
        """Straight from the files, as nobody is there to ask."""
        assert self._doors.state_dir is not None, self._doors
        return stored(self._doors.state_dir, self._after)

    def _read(self, cursor: Cursor, batch: Batch | None) -> Iterator[Record]:
        """The records of one stored frame."""
        if batch is not None:
            yield from self._handed_out(cursor.log_id, batch)
        self.cursor = cursor

    def _join(self, context: zmq.Context[Any]) -> tuple[Follow, Sockets]:
        """Begin to follow where the files have led, or where the caller wanted."""
        after = self.cursor if self.cursor.log_id else self._after
        # Without an event stream by READ alone.
        stream = self._doors.events is not None
        self._follow = Follow(after, fresh=_fresh, live=self._live, stream=stream)
        self._sockets = Sockets(context, self._doors)
        return self._follow, self._sockets

    def _arrived(self, follow: Follow) -> Iterator[Record]:
        """All that is ready; without anything, a subscriber that has joined learns its place."""
        place = follow.place
        if not self.cursor.log_id and place.log_id and place.seq and not follow.ready:
            self.cursor = Cursor(place.log_id, place.seq, place.chain8 or b"")
        while follow.ready:
            batch = follow.ready.popleft()
            yield from self._handed_out(follow.place.log_id or b"", batch)

    def _handed_out(self, log_id: bytes, batch: Batch) -> Iterator[Record]:
        for record in self._sieve(batch):
            self.cursor = Cursor(log_id, record.seq, batch.chain8)
            yield record
        self.cursor = Cursor(log_id, batch.last, batch.chain8)

    def _leave(self) -> None:
        """Give the sockets back."""
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None


class Sockets:
    """The two sockets, and what waits to be sent. The context says how their calls wait."""

    def __init__(self, context: zmq.Context[Any], doors: Doors) -> None:
        self._doors = doors
        self._context = context
        self.ctl: Any = dial_ctl(context, doors.ctl)
        self.events: Any = None
        self._barrier = b""
        self._outbox: bytes | None = None
        if doors.events is not None:
            self.events = dial_events(context, doors.events)
            self.events.subscribe(EVENT)
            self.events.subscribe(HEARTBEAT)

    def begin(self, step: Step, now: int) -> int:
        """Do what the protocol wants now; how many ms may be waited after that."""
        if step.subscribe is not None:
            if self._barrier:
                self.events.unsubscribe(self._barrier)
            self.events.subscribe(step.subscribe)
            self._barrier = step.subscribe
        if step.redial:
            self.ctl.close(0)
            self.ctl = dial_ctl(self._context, self._doors.ctl)
        if step.request is not None:
            self._outbox = step.request
        return -(-max(0, step.wake - now) // NS_PER_MS)

    def watch(self, poller: zmq.Poller, follow: Follow) -> zmq.Poller:
        """Tell the poller whom to wait for."""
        # Only to somebody who is there can be sent (IMMEDIATE); until then it stays in the outbox.
        poller.register(self.ctl, zmq.POLLIN | (zmq.POLLOUT if self._outbox is not None else 0))
        if follow.listening and self.events is not None:
            poller.register(self.events, zmq.POLLIN)
        return poller

    def take_request(self, ready: Mapping[Any, int]) -> bytes | None:
        """What is to be sent, if somebody is there."""
        if self._outbox is None or not ready.get(self.ctl, 0) & zmq.POLLOUT:
            return None
        request, self._outbox = self._outbox, None
        return request

    def is_answered(self, ready: Mapping[Any, int]) -> bool:
        """Whether ctl has something to say."""
        return bool(ready.get(self.ctl, 0) & zmq.POLLIN)

    def close(self) -> None:
        """At once: nothing lingers."""
        self.ctl.close(0)
        if self.events is not None:
            self.events.close(0)
        self._context.term()


def doors_to(place: str | os.PathLike[str], events: str | None) -> Doors:
    """The doors of a state directory or of ctl's endpoint, with another event stream if named."""
    doors = doors_of(place)
    return doors if events is None else doors._replace(events=events)


def stored(state_dir: str, after: Cursor | int | None) -> Iterator[tuple[Cursor, Batch | None]]:
    """The frames in a ledger's files after a place, up to the end that there is now.

    After None there are none; the one item tells the cursor of the end. A ledger that no daemon
    has made yet is an empty one.
    """
    from circus.bus.reader import LedgerReader

    directory = os.path.join(state_dir, "ledger")
    if not os.path.isdir(directory):
        return
    reader = LedgerReader(directory, 0 if after is None else after)
    seq = after.seq if isinstance(after, Cursor) else after or 0
    for frame in reader.frames():
        if after is not None:
            chain8 = frame.chain[:8]
            batch = Batch(seq, frame.payload, chain8, frame.last_seq)
            yield Cursor(reader.log_id, frame.last_seq, chain8), batch
        seq = frame.last_seq
    if after is None and seq:
        yield reader.cursor(), None


def sieve_for(watcher: str | None) -> Sieve:
    """From a frame to the wanted records in it.

    Names are compared as Circus does, without case. Most frames are told apart by a search for the
    name in their bytes, which costs a hundredth of decoding them.
    """
    if watcher is None:
        return every_record
    wanted = watcher.casefold()
    needle = watcher.lower().encode() if watcher.isascii() else b""

    def some_of(batch: Batch) -> list[Record]:
        if needle not in batch.payload.lower():
            return []
        return [record for record in every_record(batch) if wanted in _concerned(record)]

    return some_of


def every_record(
    batch: Batch, read: Callable[[bytes], Sequence[Record]] = records_of
) -> list[Record]:
    """The sieve that keeps everything new."""
    records = read(batch.payload)
    if records[0].seq > batch.after:
        return list(records)
    return [record for record in records if record.seq > batch.after]


def _concerned(record: Record) -> tuple[str, ...]:
    names = (record.watcher or "", watcher_of(record.actor), watcher_of(record.to or ""))
    return tuple(name.casefold() for name in names if name)


def _fresh() -> bytes:
    return os.urandom(16)


__all__ = ["Sieve", "Sockets", "Subscriber", "doors_to", "every_record", "sieve_for", "stored"]
