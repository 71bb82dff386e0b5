"""Room: bus -- `circus.subscribe`: every record in order, from any retained point, then live.

Knows:     bus.subscriber (what its asyncio twin does too), bus.follow (the protocol), zmq.
Known by:  circus (lazily), circusctl events and why, services.
Never:     skips in silence: what cannot be continued is raised.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

import zmq

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
) -> Subscription:
    """Follow the ledger of one daemon, as an iterator of `Record`.

    `place` is a state directory or the endpoint of ctl. `after`: None is from now on, 0 everything,
    a `Cursor` (of an earlier subscription) or a number what comes after it. `watcher` keeps only
    records that concern this watcher. `follow=False` ends at the head that there was at the start.
    `events` names the event stream's endpoint where it is not `events.sock` beside ctl; without
    one a tcp endpoint is followed by READ alone.

    Raises Trimmed, Reset or Diverged where the history cannot be continued.
    """
    return Subscription(doors_to(place, events), after, sieve_for(watcher), follow=follow)


class Subscription(Subscriber, Iterator[Record]):
    """An iterator of records with the `cursor` to resume after the last one handed out."""

    def __init__(
        self, doors: Doors, after: Cursor | int | None, sieve: Sieve, *, follow: bool
    ) -> None:
        super().__init__(doors, after, sieve, follow=follow)
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

    def close(self) -> None:
        """Give the sockets back; the iteration ends. From the thread that iterates only."""
        self._records.close()
        self._leave()

    def _run(self) -> Generator[Record, None, None]:
        if self._is_asleep():
            for cursor, batch in self._stored():
                yield from self._read(cursor, batch)
            if not self._live:
                return
        follow, sockets = self._join(zmq.Context())
        while True:
            yield from self._arrived(follow)
            if follow.phase is Phase.DONE:
                return
            _turn(sockets, follow)


def _turn(sockets: Sockets, follow: Follow) -> None:
    """Do what is due, wait for what comes, hand it in."""
    now = time.monotonic_ns()
    wait_ms = sockets.begin(follow.step(now), now)
    ready = dict(sockets.watch(zmq.Poller(), follow).poll(wait_ms))
    request = sockets.take_request(ready)
    if request is not None:
        sockets.ctl.send(request)
    if sockets.is_answered(ready):
        follow.answered(sockets.ctl.recv_multipart(), time.monotonic_ns())
    if sockets.events in ready:
        _drain(sockets, follow)


def _drain(sockets: Sockets, follow: Follow) -> None:
    now = time.monotonic_ns()
    try:
        for _ in range(MESSAGES_PER_TURN_MAX):
            if not follow.listening:
                return
            follow.hear(sockets.events.recv_multipart(zmq.NOBLOCK), now)
    except zmq.Again:
        pass  # all that was there has been heard


__all__ = ["Sieve", "Subscription", "subscribe"]
