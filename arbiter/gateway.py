"""Room: arbiter -- the ctl socket: strangers ask, wish and read; each gets exactly one answer.

Knows:     bus.wire, the queries, the verbs, the outcomes, the ledger's read side; zmq.
Known by:  the composition roots.
Never:     believes a message: one that cannot be understood is answered, and has no effect.

Commands become records of the actor `client`, with the kernel's word for who sent them (uid, gid,
pid of the ipc peer). An answer about a change of desired state leaves when its record is on the
platter; the sequencer never waits for that, the answer does (DESIGN.md, 6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import zmq

from circus.arbiter.outcomes import Key, Outcome, Outcomes, Waiter, key_of
from circus.arbiter.queries import Sources, answer, slow_answer
from circus.arbiter.reads import Reads
from circus.arbiter.verbs import Answered, Options, Refusal, Verb, Wish, verb_of, wish
from circus.bus import events
from circus.bus.clock import Clock
from circus.bus.codec import INTEGER_MAX, Unintelligible, from_outside
from circus.bus.machine import Stamped
from circus.bus.parts import readable, receive_frames, send_parts
from circus.bus.record import Decision, Draft
from circus.bus.values import CLIENT, ns_to_seconds
from circus.bus.wire import (
    COMMAND_ERROR,
    INVALID_MESSAGE,
    MESSAGE_ERROR,
    OS_ERROR,
    Header,
    Malformed,
    Request,
    encode_reply,
    error_body,
    ok_body,
    parse_read,
    parse_request,
)

# One wake-up serves this many requests, then workers have their turn again.
REQUESTS_PER_WAKE: Final = 64
# One thread reads /proc for all of them: nobody is kept waiting behind more than these.
SLOW_QUESTIONS_MAX: Final = 64
BUSY: Final = f"cannot answer now: busy, {SLOW_QUESTIONS_MAX} slow questions wait; try again"
PEER_PARTS: Final = 4
FAILING_DISK: Final = "cannot accept: the ledger's disk is failing (ESTORAGE)"


class Platter(Protocol):
    """What is safe against a power cut."""

    @property
    def synced(self) -> int: ...
    def want(self, seq: int, /) -> None: ...


class Storage(Protocol):
    """What the ledger says about itself."""

    head: int

    @property
    def degraded(self) -> bool: ...


class Promise:
    """What an answer waits for, as `[circus] durability` says.

    `group`: that the change of desired state which it confirms is on the platter. `always`: that
    all is which it could tell of. `none`: nothing.
    """

    def __init__(self, grade: str, ledger: Storage, platter: Platter) -> None:
        self._grade = grade
        self._ledger = ledger
        self._platter = platter

    @property
    def refused(self) -> bool:
        """True while nothing can be promised: frames are kept in memory only."""
        return self._ledger.degraded

    def until(self, seq: int, *, durable: bool) -> int:
        """The record that must be on the platter before an answer that tells of `seq` leaves."""
        if self._grade == "none":
            return 0
        if durable:
            return seq
        return self._ledger.head if self._grade == "always" else 0

    def is_kept(self, until: int, *, durable: bool) -> bool:
        """Whether the answer may leave. What confirms nothing tells of a failing disk, too."""
        return until <= self._platter.synced or (self.refused and not durable)

    def want(self, until: int) -> None:
        """Somebody waits."""
        self._platter.want(until)


class Submit(Protocol):
    """Into the ledger; the callback hears the sequence number."""

    def __call__(
        self, decision: Decision, on_stamped: Callable[[Stamped], None] | None = None, /
    ) -> None: ...


class Aside(Protocol):
    """Runs a slow question in a thread; `done` is called on the sequencer's own."""

    def __call__(self, work: Callable[[], Any], done: Callable[[Any], None], /) -> None: ...


class SlowQuestions:
    """Those that wait for the thread which reads /proc. There are only so many of them."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self._waiting = 0

    def ask(
        self,
        work: Callable[[], Mapping[str, Any]],
        tell: Callable[[Mapping[str, Any] | Refusal], None],
    ) -> None:
        """Have it answered soon. Refusal: too many wait already."""
        if self._waiting >= SLOW_QUESTIONS_MAX:
            raise Refusal(BUSY, COMMAND_ERROR)
        self._waiting += 1

        def done(fields: Mapping[str, Any] | Refusal) -> None:
            self._waiting -= 1
            tell(fields)

        self._aside(partial(_tried, work), done)


class Services(NamedTuple):
    """What the composition root gives the gateway."""

    submit: Submit
    sources: Sources
    options: Options
    outcomes: Outcomes
    reads: Reads
    promise: Promise
    clock: Clock
    header: Callable[[], Header]
    aside: Aside


class _Answer(NamedTuple):
    """One answer. `seq` is the record it tells of; `durable` says that it confirms it."""

    route: bytes
    body: Mapping[str, Any]
    raw: bytes | None = None
    seq: int = 0
    durable: bool = False


class Gateway:
    """Serves one ROUTER; add another one for another endpoint."""

    def __init__(self, router: zmq.Socket[bytes], services: Services) -> None:
        self._router = router
        self._services = services
        self._parked: list[tuple[int, _Answer]] = []
        # Submitted, not in the ledger yet: a retry in the same wake-up is no second command.
        self._under_way: dict[Key, list[Waiter]] = {}
        self._slow = SlowQuestions(services.aside)

    def receive(self) -> bool:
        """Serve what has arrived; True if there may be more."""
        for _ in range(REQUESTS_PER_WAKE):
            if not readable(self._router):
                return False
            frames = receive_frames(self._router)
            self._serve(frames[0].bytes, frames[1:])
        return True

    def release(self) -> None:
        """Send the answers whose records are durable now."""
        if not self._parked:
            return
        promise = self._services.promise
        parked, self._parked = self._parked, []
        for until, one in parked:
            if promise.is_kept(until, durable=one.durable):
                self._send(one)
            else:
                self._parked.append((until, one))

    def close(self) -> None:
        """Close the socket."""
        self._router.close()

    # --- one request ----------------------------------------------------------------------------

    def _serve(self, route: bytes, frames: Sequence[zmq.Frame]) -> None:
        identity: bytes | None = None
        try:
            if len(frames) != 1:
                raise Malformed(f"cannot read the request: {len(frames)} frames instead of one")
            request = parse_request(from_outside(frames[0].bytes))
            identity = request.id
            self._answer(route, request, frames[0])
        except (Malformed, Unintelligible) as fault:
            self._refuse(route, identity, Refusal(str(fault), INVALID_MESSAGE))
        except Refusal as refusal:
            self._refuse(route, identity, refusal)

    def _answer(self, route: bytes, request: Request, frame: zmq.Frame) -> None:
        services = self._services
        command, properties = request.command, request.properties
        if command == "read":
            tell = partial(self._told, route, request.id)
            services.reads.ask(parse_read(properties), tell, route)
            return
        fields = answer(command, properties, services.sources)
        if fields is not None:
            self._told(route, request.id, fields)
            return
        work = slow_answer(command, properties, services.sources)
        if work is not None:
            self._slow.ask(work, partial(self._told, route, request.id))
            return
        self._command(route, request, _peer(frame))

    def _command(self, route: bytes, request: Request, peer: Mapping[str, Any]) -> None:
        services = self._services
        verb = verb_of(request.command)
        until_finished = request.properties.get("waiting") is True
        waiter = Waiter(until_finished, partial(self._outcome, route, request.id, verb))
        key = key_of(peer, request.id)
        if self._is_retry(key, waiter):
            return
        if verb.durable and services.promise.refused:
            raise Refusal(FAILING_DISK, OS_ERROR)
        projection = services.sources.projection
        wanted = wish(request.command, request.properties, projection, services.options)
        if isinstance(wanted, Answered):
            self._told(route, request.id, wanted.fields)
            return
        self._under_way[key] = [waiter]
        decision = Decision(CLIENT, 0, (_draft(request, wanted, peer, services.clock.now().boot),))
        services.submit(decision, partial(self._stamped, key))

    def _is_retry(self, key: Key, waiter: Waiter) -> bool:
        """The same id again: the stored outcome, whatever the command would mean by now."""
        under_way = self._under_way.get(key)
        if under_way is not None:
            under_way.append(waiter)
            return True
        seq = self._services.outcomes.find(key)
        if seq is None:
            return False
        self._services.outcomes.wait(seq, waiter)
        return True

    def _stamped(self, key: Key, item: Stamped) -> None:
        for waiter in self._under_way.pop(key):
            self._services.outcomes.wait(item.first_seq, waiter)

    # --- answers --------------------------------------------------------------------------------

    def _outcome(self, route: bytes, identity: bytes, verb: Verb, outcome: Outcome) -> None:
        fact = outcome.fact
        if isinstance(fact, events.CommandRefused):
            body = error_body(identity, self._time(), fact.reason, fact.errno)
        elif isinstance(fact, events.CommandFinished):
            body = _finished(identity, self._time(), verb, fact)
        else:
            assert fact is not None, outcome
            body = ok_body(identity, self._time(), {"seq": fact.command})
        self._reply(_Answer(route, body, seq=outcome.seq, durable=verb.durable))

    def _told(
        self,
        route: bytes,
        identity: bytes,
        fields: Mapping[str, Any] | Refusal,
        raw: bytes | None = None,
    ) -> None:
        if isinstance(fields, Refusal):
            self._refuse(route, identity, fields)
        else:
            self._reply(_Answer(route, ok_body(identity, self._time(), fields), raw))

    def _refuse(self, route: bytes, identity: bytes | None, refusal: Refusal) -> None:
        body = error_body(identity, self._time(), refusal.reason, refusal.errno)
        self._reply(_Answer(route, body))

    def _reply(self, reply: _Answer) -> None:
        promise = self._services.promise
        until = promise.until(reply.seq, durable=reply.durable)
        if promise.is_kept(until, durable=reply.durable):
            self._send(reply)
        else:
            self._parked.append((until, reply))
            promise.want(until)

    def _send(self, reply: _Answer) -> None:
        frames = [reply.route, *encode_reply(self._services.header(), reply.body, reply.raw)]
        try:
            send_parts(self._router, frames)
        except zmq.ZMQError as error:
            # EHOSTUNREACH: the client has gone; EAGAIN: it does not read. Its retry, with the same
            # id, gets the stored outcome.
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise

    def _time(self) -> float:
        return ns_to_seconds(self._services.clock.now().wall)


def _draft(request: Request, wanted: Wish, peer: Mapping[str, Any], boot: int) -> Draft:
    deadline = None
    if request.deadline_ns is not None:
        # "Never" is a larger number than a record can hold.
        deadline = min(boot + request.deadline_ns, INTEGER_MAX)
    return Draft(wanted.body, to=wanted.to, id=request.id, peer=peer, deadline=deadline)


def _finished(
    identity: bytes, time: float, verb: Verb, fact: events.CommandFinished
) -> dict[str, Any]:
    if fact.outcome == "done":
        return ok_body(identity, time, {**verb.fields(fact.reply), "seq": fact.command})
    reason = str((fact.reply or {}).get("reason", f"cannot carry out: {fact.outcome}"))
    return error_body(identity, time, reason, COMMAND_ERROR)


def _tried(work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | Refusal:
    """For another thread: what is refused there is said here."""
    try:
        return work()
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
