"""Room: arbiter -- the ctl socket: strangers ask, wish and read; each gets exactly one answer.

Knows:     bus.wire, the queries, the verbs, the outcomes, the ledger's read side; zmq.
Known by:  the composition roots.
Never:     believes a message: what cannot be understood is answered with the fault and has no effect.

Commands become records of the actor `client`, with the kernel's word for who sent them (uid, gid,
pid of the ipc peer). An answer about a change of desired state leaves when its record is on the
platter; the sequencer never waits for that, the answer does (DESIGN.md, 6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import zmq

from circus.arbiter.outcomes import Outcome, Outcomes, Waiter
from circus.arbiter.queries import Sources, answer, is_slow
from circus.arbiter.reads import Reads
from circus.arbiter.verbs import Answered, Options, Refusal, Wish, wish
from circus.bus import events
from circus.bus.clock import Clock
from circus.bus.codec import Unintelligible, from_outside
from circus.bus.machine import Stamped
from circus.bus.record import Decision, Draft
from circus.bus.values import CLIENT, NS_PER_SECOND
from circus.bus.wire import (
    COMMAND_ERROR, INVALID_MESSAGE, MESSAGE_ERROR, Header, Malformed, Request, encode_reply,
    error_body, ok_body, parse_read, parse_request,
)  # fmt: skip

# One wake-up serves this many requests, then workers have their turn again.
REQUESTS_PER_WAKE: Final = 64
FRAMES_PER_REQUEST: Final = 2
PEER_PARTS: Final = 4


class Durability(Protocol):
    """When a record is safe against a power cut."""

    @property
    def synced(self) -> int: ...
    def want(self, seq: int, /) -> None: ...


class Submit(Protocol):
    """Into the ledger; the callback hears the sequence number."""

    def __call__(
        self, decision: Decision, on_stamped: Callable[[Stamped], None] | None = None, /
    ) -> None: ...


class Aside(Protocol):
    """Runs a slow question in a thread; `done` is called on the sequencer's own."""

    def __call__(self, work: Callable[[], Any], done: Callable[[Any], None], /) -> None: ...


class Services(NamedTuple):
    """What the composition root gives the gateway."""

    submit: Submit
    sources: Sources
    options: Options
    outcomes: Outcomes
    reads: Reads
    durability: Durability
    clock: Clock
    header: Callable[[], Header]
    aside: Aside


class _Parked(NamedTuple):
    """An answer that waits for its record to be durable."""

    seq: int
    route: bytes
    body: Mapping[str, Any]


class Gateway:
    """Serves one ROUTER; add another one for another endpoint."""

    def __init__(self, router: zmq.Socket[bytes], services: Services) -> None:
        self._router = router
        self._services = services
        self._parked: list[_Parked] = []

    def receive(self) -> bool:
        """Serve what has arrived; True if there may be more."""
        for _ in range(REQUESTS_PER_WAKE):
            if not int(self._router.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return False
            frames = self._router.recv_multipart(copy=False)
            self._serve(bytes(frames[0]), frames[1:])
        return True

    def release(self) -> None:
        """Send the answers whose records are durable now."""
        if not self._parked:
            return
        synced = self._services.durability.synced
        ready = [parked for parked in self._parked if parked.seq <= synced]
        self._parked = [parked for parked in self._parked if parked.seq > synced]
        for parked in ready:
            self._reply(parked.route, parked.body)

    def close(self) -> None:
        """Close the socket."""
        self._router.close()

    # --- one request ----------------------------------------------------------------------------

    def _serve(self, route: bytes, frames: Sequence[zmq.Frame]) -> None:
        identity: bytes | None = None
        try:
            if len(frames) != FRAMES_PER_REQUEST - 1:
                raise Malformed(f"cannot read the request: {len(frames)} frames instead of one")
            request = parse_request(from_outside(bytes(frames[0])))
            identity = request.id
            self._answer(route, request, _peer(frames[0]))
        except (Malformed, Unintelligible) as fault:
            self._refuse(route, identity, Refusal(str(fault), INVALID_MESSAGE))
        except Refusal as refusal:
            self._refuse(route, identity, refusal)

    def _answer(self, route: bytes, request: Request, peer: Mapping[str, Any]) -> None:
        services = self._services
        if request.command == "read":
            tell = partial(self._read_done, route, request.id)
            services.reads.ask(parse_read(request.properties), tell)
            return
        if is_slow(request.command):
            work = partial(_slow_answer, request, services.sources)
            services.aside(work, partial(self._slow_done, route, request.id))
            return
        fields = answer(request.command, request.properties, services.sources)
        if fields is None:
            self._command(route, request, peer)
        else:
            self._reply(route, ok_body(request.id, self._time(), fields))

    def _command(self, route: bytes, request: Request, peer: Mapping[str, Any]) -> None:
        services = self._services
        outcomes = services.outcomes
        wanted = wish(
            request.command, request.properties, services.sources.projection, services.options
        )
        if isinstance(wanted, Answered):
            self._reply(route, ok_body(request.id, self._time(), wanted.fields))
            return
        until_finished = request.properties.get("waiting") is True
        tell = partial(self._outcome, route, request.id, wanted)
        waiter = Waiter(until_finished, tell)
        before = outcomes.find((peer.get("uid", peer.get("address")), request.id))
        if before is not None:
            outcomes.wait(before, waiter)
            return
        decision = Decision(CLIENT, 0, (self._draft(request, wanted, peer),))
        services.submit(decision, lambda item: outcomes.wait(item.first_seq, waiter))

    def _draft(self, request: Request, wanted: Wish, peer: Mapping[str, Any]) -> Draft:
        deadline = None
        if request.deadline_ns is not None:
            deadline = self._services.clock.now().boot + request.deadline_ns
        return Draft(wanted.body, to=wanted.to, id=request.id, peer=peer, deadline=deadline)

    # --- answers --------------------------------------------------------------------------------

    def _outcome(self, route: bytes, identity: bytes, wanted: Wish, outcome: Outcome) -> None:
        fact = outcome.fact
        assert fact is not None, outcome
        if isinstance(fact, events.CommandRefused):
            body = error_body(identity, self._time(), fact.reason, fact.errno)
        elif isinstance(fact, events.CommandFinished):
            body = self._finished(identity, wanted, fact)
        else:
            body = ok_body(identity, self._time(), {"seq": fact.command})
        durability = self._services.durability
        if wanted.durable and durability.synced < outcome.seq:
            self._parked.append(_Parked(outcome.seq, route, body))
            durability.want(outcome.seq)
        else:
            self._reply(route, body)

    def _finished(
        self, identity: bytes, wanted: Wish, fact: events.CommandFinished
    ) -> dict[str, Any]:
        if fact.outcome == "done":
            fields = {**wanted.fields(fact.reply), "seq": fact.command}
            return ok_body(identity, self._time(), fields)
        reason = str((fact.reply or {}).get("reason", f"cannot carry out: {fact.outcome}"))
        return error_body(identity, self._time(), reason, COMMAND_ERROR)

    def _slow_done(self, route: bytes, identity: bytes, result: Any) -> None:
        if isinstance(result, Refusal):
            self._refuse(route, identity, result)
        else:
            self._reply(route, ok_body(identity, self._time(), result))

    def _read_done(
        self, route: bytes, identity: bytes, fields: Mapping[str, Any], raw: bytes | None
    ) -> None:
        self._reply(route, ok_body(identity, self._time(), fields), raw)

    def _refuse(self, route: bytes, identity: bytes | None, refusal: Refusal) -> None:
        body = error_body(identity, self._time(), refusal.reason, refusal.errno)
        self._reply(route, body)

    def _reply(self, route: bytes, body: Mapping[str, Any], raw: bytes | None = None) -> None:
        frames = [route, *encode_reply(self._services.header(), body, raw)]
        try:
            self._router.send_multipart(frames, zmq.DONTWAIT)
        except (zmq.Again, zmq.ZMQError) as error:
            # EHOSTUNREACH: the client has gone; EAGAIN: it does not read. Its retry, with the same
            # id, gets the stored outcome.
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise

    def _time(self) -> float:
        return self._services.clock.now().wall / NS_PER_SECOND


def _slow_answer(request: Request, sources: Sources) -> Any:
    try:
        return answer(request.command, request.properties, sources)
    except Refusal as refusal:
        return refusal


def _peer(frame: zmq.Frame) -> Mapping[str, Any]:
    """Who sent this, by the kernel's word for ipc; libzmq appends it to the peer's address.

    A peer that the transport cannot name is refused: fail closed (RELIABILITY.md, 1.6).
    """
    try:
        address = str(frame.get("Peer-Address"))
    except zmq.ZMQError as error:
        raise Refusal("cannot tell who asks: no peer credentials", MESSAGE_ERROR) from error
    parts = address.split(":")
    if len(parts) == PEER_PARTS and all(part.lstrip("-").isdigit() for part in parts[1:]):
        return {"uid": int(parts[1]), "gid": int(parts[2]), "pid": int(parts[3])}
    return {"address": address}
