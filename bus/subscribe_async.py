"""Room: bus -- `subscribe` for asyncio: the same protocol, other sockets.

Knows:     bus.subscriber (what both share), bus.follow (the protocol), zmq.asyncio.
Known by:  users, the web page.
Never:     decides about the protocol: bus.follow does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Self

import zmq
import zmq.asyncio

from circus.bus.dial import Doors
from circus.bus.follow import Follow, Phase
from circus.bus.record import Record
from circus.bus.subscriber import (
    MESSAGES_PER_TURN_MAX,
    Sieve,
    Sockets,
    Subscriber,
    doors_to,
    sieve_for,
)
from circus.bus.values import Cursor


def subscribe(
    place: str | os.PathLike[str],
    after: Cursor | int | None = None,
    watcher: str | None = None,
    *,
    follow: bool = True,
    events: str | None = None,
) -> AsyncSubscription:
    """As `circus.subscribe`, as an asynchronous iterator and context manager."""
    return AsyncSubscription(doors_to(place, events), after, sieve_for(watcher), follow=follow)


class AsyncSubscription(Subscriber, AsyncIterator[Record]):
    """An asynchronous iterator of records with the `cursor` to resume after the last one."""

    def __init__(
        self, doors: Doors, after: Cursor | int | None, sieve: Sieve, *, follow: bool
    ) -> None:
        super().__init__(doors, after, sieve, follow=follow)
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
        self._leave()

    async def _run(self) -> AsyncGenerator[Record]:
        if self._is_asleep():
            files = self._stored()
            # The files are read in a thread, a frame at a time: the loop goes on meanwhile.
            while (found := await asyncio.to_thread(next, files, None)) is not None:
                for record in self._read(*found):
                    yield record
            if not self._live:
                return
        follow, sockets = self._join(zmq.asyncio.Context())
        while True:
            for record in self._arrived(follow):
                yield record
            if follow.phase is Phase.DONE:
                return
            await _turn(sockets, follow)


async def _turn(sockets: Sockets, follow: Follow) -> None:
    """Do what is due, wait for what comes, hand it in."""
    now = time.monotonic_ns()
    wait_ms = sockets.begin(follow.step(now), now)
    poller = zmq.asyncio.Poller()
    sockets.watch(poller, follow)
    ready = dict(await poller.poll(wait_ms))
    request = sockets.take_request(ready)
    if request is not None:
        await sockets.ctl.send(request)
    if sockets.is_answered(ready):
        follow.answered(await sockets.ctl.recv_multipart(), time.monotonic_ns())
    if sockets.events in ready:
        await _drain(sockets, follow)


async def _drain(sockets: Sockets, follow: Follow) -> None:
    now = time.monotonic_ns()
    for _ in range(MESSAGES_PER_TURN_MAX):
        if not follow.listening or not sockets.events.get(zmq.EVENTS) & zmq.POLLIN:
            return
        follow.hear(await sockets.events.recv_multipart(), now)
