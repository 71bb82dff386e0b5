"""Room: bus -- `subscribe` for asyncio: the same protocol, other sockets.

Knows:     bus.follow (the protocol), bus.subscribe (what both share), zmq.asyncio.
Known by:  users, the web page.
Never:     decides about the protocol: bus.follow does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from circus.bus.dial import Doors, dial_ctl, dial_events, doors_of
from circus.bus.follow import Batch, Follow, Phase, Step
from circus.bus.record import Record
from circus.bus.subscribe import (
    MESSAGES_PER_TURN_MAX,
    NOWHERE,
    Sieve,
    check_ledger,
    follower,
    is_asleep,
    settled,
    sieve_for,
    stored,
)
from circus.bus.values import NS_PER_MS, Cursor
from circus.bus.wire import EVENT, HEARTBEAT


def subscribe(
    place: str | os.PathLike[str],
    after: Cursor | int | None = None,
    watcher: str | None = None,
    *,
    follow: bool = True,
    events: str | None = None,
) -> AsyncSubscription:
    """As `circus.subscribe`, as an asynchronous iterator and context manager."""
    doors = doors_of(place)
    if events is not None:
        doors = doors._replace(events=events)
    return AsyncSubscription(doors, after, sieve_for(watcher), follow=follow)


class AsyncSubscription(AsyncIterator[Record]):
    """An asynchronous iterator of records with the `cursor` to resume after the last one."""

    def __init__(
        self, doors: Doors, after: Cursor | int | None, sieve: Sieve, *, follow: bool
    ) -> None:
        self.cursor = after if isinstance(after, Cursor) else NOWHERE
        self._doors = doors
        self._sieve = sieve
        self._after = after
        self._live = follow
        self._sockets: _Sockets | None = None
        self._records = self._run()

    def __aiter__(self) -> AsyncSubscription:
        return self

    async def __anext__(self) -> Record:
        return await anext(self._records)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the sockets back; the iteration ends."""
        await self._records.aclose()
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    async def _run(self) -> AsyncGenerator[Record]:
        after = self._after
        if is_asleep(self._doors):
            assert self._doors.state_dir is not None, self._doors
            if not self._live:
                check_ledger(self._doors)
            files = stored(self._doors.state_dir, self._after)
            # The files are read in a thread, a frame at a time: the loop goes on meanwhile.
            while (found := await asyncio.to_thread(next, files, None)) is not None:
                cursor, batch = found
                for record in self._handed_out(cursor.log_id, batch) if batch else ():
                    yield record
                self.cursor = cursor
            if not self._live:
                return
            after = self.cursor if self.cursor.log_id else after
        async for record in self._followed(after):
            yield record

    async def _followed(self, after: Cursor | int | None) -> AsyncIterator[Record]:
        follow = follower(self._doors, after, live=self._live)
        self._sockets = sockets = _Sockets(self._doors)
        while True:
            while follow.ready:
                batch = follow.ready.popleft()
                for record in self._handed_out(follow.place.log_id or b"", batch):
                    yield record
            if follow.phase is Phase.DONE:
                return
            await sockets.turn(follow)
            if not self.cursor.log_id and follow.place.seq and not follow.ready:
                self.cursor = settled(follow)

    def _handed_out(self, log_id: bytes, batch: Batch) -> Any:
        for record in self._sieve(batch):
            self.cursor = Cursor(log_id, record.seq, batch.chain8)
            yield record
        self.cursor = Cursor(log_id, batch.last, batch.chain8)


class _Sockets:
    """The two sockets, and what waits to be sent."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._context = zmq.asyncio.Context()
        self._ctl = dial_ctl(self._context, doors.ctl)
        self._events: Any = None
        self._barrier = b""
        self._outbox: bytes | None = None
        if doors.events is not None:
            self._events = dial_events(self._context, doors.events)
            self._events.subscribe(EVENT)
            self._events.subscribe(HEARTBEAT)

    async def turn(self, follow: Follow) -> None:
        """Do what is due, wait for what comes, hand it in."""
        now = time.monotonic_ns()
        step = follow.step(now)
        self._carry_out(step)
        ready = await self._wait(max(0, step.wake - now), listening=follow.listening)
        if self._outbox is not None and ready.get(self._ctl, 0) & zmq.POLLOUT:
            await self._ctl.send(self._outbox)
            self._outbox = None
        if ready.get(self._ctl, 0) & zmq.POLLIN:
            follow.answered(await self._ctl.recv_multipart(), time.monotonic_ns())
        if self._events in ready:
            await self._drain(follow)

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

    async def _wait(self, duration: int, *, listening: bool) -> dict[Any, int]:
        poller = zmq.asyncio.Poller()
        poller.register(self._ctl, zmq.POLLIN | (zmq.POLLOUT if self._outbox is not None else 0))
        if listening and self._events is not None:
            poller.register(self._events, zmq.POLLIN)
        return dict(await poller.poll(-(-duration // NS_PER_MS)))

    async def _drain(self, follow: Follow) -> None:
        now = time.monotonic_ns()
        for _ in range(MESSAGES_PER_TURN_MAX):
            if not follow.listening or not self._events.get(zmq.EVENTS) & zmq.POLLIN:
                return
            follow.hear(await self._events.recv_multipart(), now)
