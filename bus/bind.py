"""Room: bus -- the daemon's end of the sockets, their options in one place.

Knows:     zmq, bus.wire (how long a request may be).
Known by:  the composition roots (circus.daemon, the library).
Never:     decodes a message; bus.dial is the other end.

The options are those of RELIABILITY.md, 1.5, each for a measured reason: without IPC_FILTER_UID
another user's idle connections make libzmq abort the process (finding 3), and without MAXMSGSIZE
one frame may be of any size. On ctl it is four times what is decoded: a request that is too long is
answered with that fault, and only beyond all measure is the connection closed without a word.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import zmq

from circus.bus.dial import HANDSHAKE_MS, check_path, heartbeats
from circus.bus.wire import CTL_BYTES_MAX

SUBSCRIPTION_BYTES_MAX: Final = 4096
CTL_RECEIVED_MAX: Final = 64
CTL_SENT_MAX: Final = 256
# A subscriber that stalls costs at most this many messages of memory, then it reads the ledger.
EVENTS_SENT_MAX: Final = 1000
SOCKET_MASK: Final = 0o177


def bind_ctl(context: zmq.Context[Any], endpoints: Sequence[str]) -> zmq.Socket[bytes]:
    """The ROUTER for commands and queries, on all its endpoints."""
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.MAXMSGSIZE, CTL_BYTES_MAX)
    router.setsockopt(zmq.RCVHWM, CTL_RECEIVED_MAX)
    router.setsockopt(zmq.SNDHWM, CTL_SENT_MAX)
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    return _bound(router, endpoints)


def bind_events(context: zmq.Context[Any], endpoints: Sequence[str]) -> zmq.Socket[bytes]:
    """The XPUB for live facts, on all its endpoints; it reads the subscriptions, for barriers."""
    events = context.socket(zmq.XPUB)
    # VERBOSER: every leave is told too, so that heartbeats end with the last listener.
    events.setsockopt(zmq.XPUB_VERBOSER, 1)
    events.setsockopt(zmq.SNDHWM, EVENTS_SENT_MAX)
    events.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
    return _bound(events, endpoints)


def _bound(bound: zmq.Socket[bytes], endpoints: Sequence[str]) -> zmq.Socket[bytes]:
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        *heartbeats(endpoints),
        (zmq.IPC_FILTER_UID, os.geteuid()),
        (zmq.IPC_FILTER_UID, 0),
    ):
        bound.setsockopt(option, value)
    try:
        for endpoint in endpoints:
            _bind(bound, endpoint)
    except BaseException:
        bound.close()
        raise
    return bound


def _bind(bound: zmq.Socket[bytes], endpoint: str) -> None:
    if not endpoint.startswith("ipc://"):
        bound.bind(endpoint)
        return
    path = endpoint.removeprefix("ipc://")
    check_path(path)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    before = os.umask(SOCKET_MASK)
    try:
        bound.bind(endpoint)
    finally:
        os.umask(before)
