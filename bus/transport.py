"""Room: bus -- between hosts and switchboard: msgpack over ZeroMQ, or objects in memory.

Knows:     bus.codec, bus.machine (the messages), zmq.
Known by:  the runtime, which picks one (`[circus] transport`).
Never:     reorders: what one host sends arrives in order, and so does what it is sent.

Both transports live in one thread and never block. The ZeroMQ one is the design card's: every host
has a DEALER on the switchboard's internal ROUTER (inproc only: strangers have the ctl socket). A
message is a batch, so that one wake-up costs one message per host and direction. Messages of an
older incarnation are refused at the door (I-FENCE).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

import zmq

from circus.bus.codec import from_ledger, packing
from circus.bus.machine import Delivered, Stamped
from circus.bus.names import NAME_OF
from circus.bus.record import Body, Claim, Decision, Draft, Record, new_tuple, values_of
from circus.bus.values import Moment

INTERNAL: Final = "inproc://switchboard"
# Unbounded: every actor has at most one decision under way, so the actors bound the queue.
INTERNAL_HWM: Final = 0
SNDMORE: Final = int(zmq.SNDMORE)

STAMPED_FIELDS: Final = len(Stamped._fields)  # `Delivered` has fewer

Item = Stamped | Delivered


class Wire(Protocol):
    """A host's end."""

    def send(self, decisions: Sequence[Decision], /) -> None: ...
    def receive(self) -> Sequence[Item]: ...


class MemoryExchange:
    """Co-hosted actors: the objects themselves, still appended and published."""

    # What a host sends is taken before anybody else speaks: it may hold a lease (ADR-0087).
    prompt = True

    def __init__(self) -> None:
        self._to_hosts: dict[str, deque[Item]] = {}
        self._from_hosts: deque[tuple[str, Decision]] = deque()

    def wire(self, host: str) -> MemoryWire:
        """The end for one host."""
        return MemoryWire(host, self._to_hosts.setdefault(host, deque()), self._from_hosts)

    def send(self, host: str, items: Sequence[Item]) -> None:
        """To one host, in ledger order."""
        self._to_hosts[host].extend(items)

    def receive(self) -> Sequence[tuple[str, Decision]]:
        """All that hosts have decided since the last call."""
        taken = tuple(self._from_hosts)
        self._from_hosts.clear()
        return taken

    def close(self) -> None:
        """Nothing to close: for symmetry with the other transport."""


class MemoryWire:
    """A host's end of the memory transport."""

    def __init__(self, host: str, inbox: deque[Item], outbox: deque[tuple[str, Decision]]) -> None:
        self._host = host
        self._inbox = inbox
        self._outbox = outbox

    def send(self, decisions: Sequence[Decision]) -> None:
        """To the switchboard."""
        self._outbox.extend((self._host, decision) for decision in decisions)

    def receive(self) -> Sequence[Item]:
        """All that has arrived."""
        taken = tuple(self._inbox)
        self._inbox.clear()
        return taken


class ZmqExchange:
    """The internal ROUTER. Both ends share a count of what is under way, and ask no empty socket:
    an EAGAIN costs more than a message.

    The sockets are those of pyzmq's backend: what its public class adds (polling, JSON, futures,
    enumerated options for each part of a message) is a third of the price of a message here.
    """

    prompt = True  # as above: everything is sent and taken in one thread

    def __init__(self, context: zmq.Context[Any], incarnation: int) -> None:
        self._context = context
        self._incarnation = incarnation
        self._router = _socket(context, zmq.ROUTER)
        self._router.set(zmq.ROUTER_MANDATORY, 1)
        self._router.set(zmq.ROUTER_HANDOVER, 1)
        self._router.bind(INTERNAL)
        self._wires: dict[str, ZmqWire] = {}
        self.under_way = 0
        self.stale = 0

    def wire(self, host: str) -> ZmqWire:
        """The end for one host."""
        dealer = _socket(self._context, zmq.DEALER)
        dealer.set(zmq.IDENTITY, host.encode())
        dealer.connect(INTERNAL)
        made = ZmqWire(host, dealer, self, self._incarnation)
        self._wires[host] = made
        # The ROUTER learns a name only from the peer: introduce it before anything is sent to it.
        dealer.send(_pack((self._incarnation, ())))
        self._receive_one()
        return made

    def send(self, host: str, items: Sequence[Item]) -> None:
        """To one host, in ledger order, as one message."""
        wire = self._wires[host]
        wire.under_way += 1
        self._router.send(wire.route, SNDMORE)
        self._router.send(_pack((self._incarnation, items)))

    def receive(self) -> Sequence[tuple[str, Decision]]:
        """All that hosts have decided since the last call."""
        if not self.under_way:
            return ()
        taken: list[tuple[str, Decision]] = []
        while self.under_way:
            host, message = self._receive_one()
            incarnation, decisions = from_ledger(message)
            if incarnation != self._incarnation:
                # Not one of ours, so it is not among those that are under way.
                self.stale += 1
                continue
            self.under_way -= 1
            name = host.decode()
            taken += [(name, _decision_in(decision)) for decision in decisions]
        return taken

    def _receive_one(self) -> tuple[bytes, bytes]:
        """A ROUTER's message: who sent it, and the one frame that hosts send."""
        router = self._router
        return router.recv(), router.recv()

    def close(self) -> None:
        """Close every socket of this transport."""
        for wire in self._wires.values():
            wire.close()
        self._router.close()


class ZmqWire:
    """A host's DEALER."""

    def __init__(self, host: str, dealer: Any, exchange: ZmqExchange, incarnation: int) -> None:
        self.route = host.encode()
        self.under_way = 0
        self._dealer = dealer
        self._exchange = exchange
        self._incarnation = incarnation

    def send(self, decisions: Sequence[Decision]) -> None:
        """To the switchboard, as one message."""
        self._exchange.under_way += 1
        self._dealer.send(_pack((self._incarnation, decisions)))

    def receive(self) -> Sequence[Item]:
        """All that has arrived."""
        if not self.under_way:
            return ()
        taken: list[Item] = []
        while self.under_way:
            incarnation, items = from_ledger(self._dealer.recv())
            self.under_way -= 1
            assert incarnation == self._incarnation, "an inproc name outlived its incarnation"
            taken.extend(map(_item_in, items))
        return taken

    def close(self) -> None:
        """Close the DEALER."""
        self._dealer.close()


def _socket(context: zmq.Context[Any], kind: int) -> Any:
    made = zmq.backend.Socket(context, kind)
    made.set(zmq.SNDHWM, INTERNAL_HWM)
    made.set(zmq.RCVHWM, INTERNAL_HWM)
    made.set(zmq.LINGER, 0)
    return made


# Between hosts of one incarnation a body is the number of its class and its values: the names,
# which make a record readable for ever, are half of its bytes and most of the price of reading it.
# The rest of an envelope is a tuple, which msgpack takes as it is.
_CLASSES: Final = tuple(NAME_OF)
_NUMBER_OF: Final = {cls: number for number, cls in enumerate(_CLASSES)}


def _body_out(body: Body) -> tuple[Any, ...]:
    return (_NUMBER_OF[type(body)], *values_of(body))


def _body_in(body: Sequence[Any]) -> Body:
    whole: Body = _CLASSES[body[0]](*body[1:])
    return whole


_pack: Final = packing(_body_out)


def _decision_in(whole: Sequence[Any]) -> Decision:
    actor, cause, drafts, place = whole
    taken = [new_tuple(Draft, (_body_in(draft[0]), *draft[1:])) for draft in drafts]
    claim = None if place is None else Claim(place[0], Moment(*place[1]))
    return new_tuple(Decision, (actor, cause, tuple(taken), claim))


def _item_in(whole: Sequence[Any]) -> Item:
    if len(whole) == STAMPED_FIELDS:
        actor, first_seq, now = whole
        return Stamped(actor, first_seq, Moment(*now))
    address, record = whole
    return new_tuple(Delivered, (address, new_tuple(Record, (*record[:-1], _body_in(record[-1])))))
