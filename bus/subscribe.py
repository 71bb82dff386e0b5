"""Room: bus -- `circus.subscribe`: every record in order, from any retained point, then live.

Knows:     bus.follow (the protocol), bus.dial, bus.codec, bus.reader (when no daemon runs).
Known by:  circus (lazily), circusctl events and why, services; bus.subscribe_async shares parts.
Never:     skips in silence: what cannot be continued is raised.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Final, Self

import zmq

from circus.bus.codec import records_of
from circus.bus.dial import Doors, dial_ctl, dial_events, doors_of, is_answered
from circus.bus.follow import Batch, Follow, Phase, ReadRefused, Step
from circus.bus.record import Record
from circus.bus.values import NS_PER_MS, Cursor, watcher_of
from circus.bus.wire import EVENT, HEARTBEAT

MESSAGES_PER_TURN_MAX: Final = 256
NOWHERE: Final = Cursor(b"", 0, b"")

Sieve = Callable[[Batch], list[Record]]


def subscribe(
    place: str | os.PathLike[str],
    after: Cursor | int | None = None,
    watcher: str | None = None,
    *,
    follow: bool = True,
    events: str | None = None,
) -> Subscription:
    """Follow the ledger of one daemon, as an iterator of `Record`.

    `place` is a state directory or the endpoint of ctl. `after`: None is from now on, 0 everything,
    a `Cursor` (of an earlier subscription) or a number what comes after it. `watcher` keeps only
    records that concern this watcher. `follow=False` ends at the head that there was at the start.
    `events` names the event stream's endpoint where it is not `events.sock` beside ctl; without
    one a tcp endpoint is followed by READ alone.

    Raises Trimmed, Reset or Diverged where the history cannot be continued.
    """
    doors = doors_of(place)
    if events is not None:
        doors = doors._replace(events=events)
    return Subscription(doors, after, sieve_for(watcher), follow=follow)


class Subscription(Iterator[Record]):
    """An iterator of records with the `cursor` to resume after the last one handed out."""

    def __init__(
        self, doors: Doors, after: Cursor | int | None, sieve: Sieve, *, follow: bool
    ) -> None:
        self.cursor = after if isinstance(after, Cursor) else NOWHERE
        self._doors = doors
        self._sieve = sieve
        self._after = after
        self._live = follow
        self._sockets: _Sockets | None = None
        self._follow: Follow | None = None
        self._records = self._run()

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Record:
        return next(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def lag(self) -> int:
        """Records that exist and have not arrived here yet, as far as is known."""
        return self._follow.lag if self._follow is not None else 0

    def close(self) -> None:
        """Give the sockets back; the iteration ends. From the thread that iterates only."""
        self._records.close()
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    def _run(self) -> Generator[Record, None, None]:
        after = self._after
        if is_asleep(self._doors):
            if not self._live:
                check_ledger(self._doors)
            yield from self._stored()
            if not self._live:
                return
            after = self.cursor if self.cursor.log_id else after
        yield from self._followed(after)

    def _stored(self) -> Iterator[Record]:
        """Straight from the files, as nobody is there to ask."""
        assert self._doors.state_dir is not None, self._doors
        for cursor, batch in stored(self._doors.state_dir, self._after):
            if batch is not None:
                yield from self._handed_out(cursor.log_id, batch)
            self.cursor = cursor

    def _followed(self, after: Cursor | int | None) -> Iterator[Record]:
        follow = follower(self._doors, after, live=self._live)
        self._follow = follow
        self._sockets = sockets = _Sockets(self._doors)
        while True:
            while follow.ready:
                batch = follow.ready.popleft()
                yield from self._handed_out(follow.place.log_id or b"", batch)
            if follow.phase is Phase.DONE:
                return
            sockets.turn(follow)
            if not self.cursor.log_id and follow.place.seq and not follow.ready:
                self.cursor = settled(follow)

    def _handed_out(self, log_id: bytes, batch: Batch) -> Iterator[Record]:
        for record in self._sieve(batch):
            self.cursor = Cursor(log_id, record.seq, batch.chain8)
            yield record
        self.cursor = Cursor(log_id, batch.last, batch.chain8)


class _Sockets:
    """The two sockets, and what waits to be sent."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._context: zmq.Context[Any] = zmq.Context()
        self._ctl = dial_ctl(self._context, doors.ctl)
        self._events: Any = None
        self._barrier = b""
        self._outbox: bytes | None = None
        if doors.events is not None:
            self._events = dial_events(self._context, doors.events)
            self._events.subscribe(EVENT)
            self._events.subscribe(HEARTBEAT)

    def turn(self, follow: Follow) -> None:
        """Do what is due, wait for what comes, hand it in."""
        now = time.monotonic_ns()
        step = follow.step(now)
        self._carry_out(step)
        ready = self._wait(max(0, step.wake - now), listening=follow.listening)
        if self._outbox is not None and ready.get(self._ctl, 0) & zmq.POLLOUT:
            self._ctl.send(self._outbox)
            self._outbox = None
        if ready.get(self._ctl, 0) & zmq.POLLIN:
            follow.answered(self._ctl.recv_multipart(), time.monotonic_ns())
        if self._events in ready:
            self._drain(follow)

    def close(self) -> None:
        """At once: nothing lingers."""
        self._ctl.close(0)
        if self._events is not None:
            self._events.close(0)
        self._context.term()

    def _carry_out(self, step: Step) -> None:
        if step.subscribe is not None:
            if self._barrier:
                self._events.unsubscribe(self._barrier)
            self._events.subscribe(step.subscribe)
            self._barrier = step.subscribe
        if step.redial:
            self._ctl.close(0)
            self._ctl = dial_ctl(self._context, self._doors.ctl)
        if step.request is not None:
            self._outbox = step.request

    def _wait(self, duration: int, *, listening: bool) -> dict[Any, int]:
        poller = zmq.Poller()
        # Only to somebody who is there can be sent (IMMEDIATE); until then it stays in the outbox.
        poller.register(self._ctl, zmq.POLLIN | (zmq.POLLOUT if self._outbox is not None else 0))
        if listening and self._events is not None:
            poller.register(self._events, zmq.POLLIN)
        return dict(poller.poll(-(-duration // NS_PER_MS)))

    def _drain(self, follow: Follow) -> None:
        now = time.monotonic_ns()
        try:
            for _ in range(MESSAGES_PER_TURN_MAX):
                if not follow.listening:
                    return
                follow.hear(self._events.recv_multipart(zmq.NOBLOCK), now)
        except zmq.Again:
            pass  # all that was there has been heard


# --- shared with the asyncio twin -----------------------------------------------------------------


def follower(doors: Doors, after: Cursor | int | None, *, live: bool) -> Follow:
    """The protocol for these doors: without an event stream by READ alone."""
    return Follow(after, fresh=_fresh, live=live, stream=doors.events is not None)


def is_asleep(doors: Doors) -> bool:
    """Whether there is a ledger to read but nobody to ask."""
    return doors.state_dir is not None and not is_answered(doors.ctl)


def check_ledger(doors: Doors) -> None:
    """Without a daemon to wait for, a place without a ledger is a mistake."""
    if not os.path.isdir(f"{doors.state_dir}/ledger"):
        raise FileNotFoundError(
            f"cannot read the record in {doors.state_dir}: no ledger there and no daemon running; "
            "name the state directory that circusd was started with"
        )


def settled(follow: Follow) -> Cursor:
    """The cursor of a subscriber that has joined and not yet got anything."""
    place = follow.place
    assert place.seq is not None, place
    return Cursor(place.log_id or b"", place.seq, place.chain8 or b"")


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


def every_record(batch: Batch) -> list[Record]:
    """The sieve that keeps everything new."""
    records = records_of(batch.payload)
    if records[0].seq > batch.after:
        return list(records)
    return [record for record in records if record.seq > batch.after]


def _concerned(record: Record) -> tuple[str, ...]:
    names = (record.watcher or "", watcher_of(record.actor), watcher_of(record.to or ""))
    return tuple(name.casefold() for name in names if name)


def _fresh() -> bytes:
    return os.urandom(16)


__all__ = [
    "ReadRefused", "Sieve", "Subscription", "check_ledger", "every_record", "follower",
    "is_asleep", "settled",
    "sieve_for", "stored", "subscribe",
]  # fmt: skip
