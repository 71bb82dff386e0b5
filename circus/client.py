"""Room: front -- asking a daemon: one call, one answer, safe to repeat.

Knows:     bus.wire, bus.dial; circus.places when nobody answers.
Known by:  circusctl, plugins, users.
Never:     decides, imports the vocabulary (a plain command starts in the time of its libraries).

Lazy pirate: when no answer comes, a new socket and the same request with the same id. A command is
carried out at most once per id, so that a repetition gets the stored outcome (docs/wire.md). A core
that ends hangs up, and the next one is asked as soon as it listens.
Where the lock in the state directory is free, circusd has ended, and nobody is waited for in vain;
one that has never been there may be about to start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import zmq

from circus.bus.dial import dial_ctl_watched, doors_of
from circus.bus.wire import (
    CTL_BYTES_MAX,
    ERROR,
    Malformed,
    Reply,
    Request,
    decode_reply,
    encode_request,
)

TIMEOUT_SECONDS: Final = 5.0
# An answer takes under a millisecond; after this long the socket is taken for dead.
TRY_SECONDS_MIN: Final = 1.0
TRIES: Final = 3
# So long a daemon that is just being started may need to take its lock.
REACH_SECONDS: Final = 1.0
# Whoever hangs up on everybody is not asked more often than this.
PAUSE_SECONDS: Final = 0.01
NS: Final = 1_000_000_000


class CallError(Exception):
    """No answer in time, or one that breaks the protocol; the text says which and what to do."""


class Client:
    """A caller of one daemon. Not for several threads at once: give each its own."""

    def __init__(self, place: str | os.PathLike[str], timeout: float = TIMEOUT_SECONDS) -> None:
        self.endpoint, _, self._state_dir = doors_of(place)
        self.timeout = timeout
        self._context: zmq.Context[Any] | None = None
        self._socket: Any = None
        self._monitor: Any = None  # readable once the connection is lost

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def call(self, command: str, **properties: Any) -> dict[str, Any]:
        """The body of the reply, also of an error reply (`status` is then "error").

        `waiting=True` among the properties waits for the end of the command instead of its
        acceptance. Raises CallError after `timeout` seconds.
        """
        return dict(self.ask(command, properties).body)

    def ask(self, command: str, properties: Mapping[str, Any]) -> Reply:
        """As `call`, with the header and raw frames of the reply."""
        identity = os.urandom(16)
        deadline_ns = round(self.timeout * NS)
        request = encode_request(Request(identity, command, properties, deadline_ns))
        if len(request) > CTL_BYTES_MAX:
            raise CallError(f"cannot send {len(request)} bytes: circusd hangs up; send less")
        end = time.monotonic() + self.timeout
        patience = max(TRY_SECONDS_MIN, self.timeout / TRIES)
        while (left := end - time.monotonic()) > 0:
            reply = self._try(request, identity, min(left, patience))
            if reply is not None:
                return reply
            self._hang_up()
            self._check_running()
            time.sleep(PAUSE_SECONDS)
        raise CallError(
            f"cannot reach circusd at {self.endpoint}: no answer in {self.timeout:g} s; "
            "is it running, and is this its endpoint?"
        )

    def _check_running(self) -> None:
        """Give up on a daemon that has ended. Its keeper holds the lock as long as it lives."""
        if self._state_dir is None:
            return
        from circus.places import is_locked, places_in

        lock = places_in(self._state_dir).lock
        if os.path.exists(lock) and not is_locked(lock):
            raise CallError(
                f"cannot reach circusd at {self.endpoint}: it has ended (its lock in "
                f"{self._state_dir} is free); start it again"
            )

    def send(self, command: str, **properties: Any) -> None:
        """Ask without waiting for an answer. It is kept until the daemon is reached or `close`."""
        request = encode_request(Request(os.urandom(16), command, properties))
        self._dialled().send(request)

    def close(self) -> None:
        """Give the sockets back; a later call opens new ones."""
        self._hang_up()
        if self._context is not None:
            self._context.term()
            self._context = None

    def _try(self, request: bytes, identity: bytes, seconds: float) -> Reply | None:
        """One round on one socket; None when it brought nothing in time, or the core hung up."""
        dialled = self._dialled()
        end = time.monotonic() + seconds
        # IMMEDIATE: nothing is queued to a peer that is not there, so sending waits for one.
        patience = min(seconds, REACH_SECONDS)
        dialled.setsockopt(zmq.SNDTIMEO, max(1, round(patience * 1000)))
        try:
            dialled.send(request)
            while self._answers(dialled, end - time.monotonic()):
                reply = self._decoded(dialled.recv_multipart(zmq.NOBLOCK))
                if reply.body.get("id") == identity or _concerns_all(reply):
                    return reply
        except zmq.Again:
            pass  # nobody there yet: the caller tries again until its own time is over
        return None

    def _answers(self, dialled: Any, left: float) -> bool:
        """Wait for an answer as long as the connection holds; what came before its end counts."""
        if left <= 0:
            return False
        zmq.zmq_poll([(dialled, zmq.POLLIN), (self._monitor, zmq.POLLIN)], round(left * 1000) + 1)
        return bool(dialled.poll(0))

    def _decoded(self, frames: list[bytes]) -> Reply:
        try:
            return decode_reply(frames)
        except Malformed as error:
            self._hang_up()
            raise CallError(
                f"cannot understand the answer from {self.endpoint}: {error}; "
                "is this a circusd of the same protocol?"
            ) from error

    def _dialled(self) -> Any:
        if self._socket is not None and self._monitor.poll(0):
            self._hang_up()  # its core has ended since the last call
        if self._socket is None:
            if self._context is None:
                self._context = zmq.Context()
            self._socket, self._monitor = dial_ctl_watched(self._context, self.endpoint)
        return self._socket

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._monitor.close(0)
            self._socket.close(0)
            self._socket = None


def _concerns_all(reply: Reply) -> bool:
    """An error about bytes that could not be decoded has no id to name."""
    return reply.body["status"] == ERROR and reply.body.get("id") is None
