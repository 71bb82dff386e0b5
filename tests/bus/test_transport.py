"""Room: tests -- one contract, two transports: in order, in batches, nobody else's messages.

Knows:     bus.transport, bus.routing, zmq.
Known by:  pytest.
Never:     waits: both transports are of one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from circus.bus import commands, events
from circus.bus.codec import Stamp, pack, stamped
from circus.bus.machine import Delivered, Stamped
from circus.bus.record import Decision, Draft
from circus.bus.routing import ACTORS, WORLD, addressee, home
from circus.bus.transport import INTERNAL, MemoryExchange, ZmqExchange
from circus.bus.values import ARBITER, CLOCK, CORE, REAPER, Moment

DEADLINE_MS: Final = 20_000
Exchange = MemoryExchange | ZmqExchange


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(0)


@pytest.fixture(params=["memory", "zmq"])
def exchange(request: pytest.FixtureRequest, context: zmq.Context[Any]) -> Iterator[Exchange]:
    made: Exchange = MemoryExchange() if request.param == "memory" else ZmqExchange(context, 3)
    yield made
    made.close()


def decision(number: int, drafts: int = 1) -> Decision:
    body = events.WatcherResized(number)
    return Decision(f"watcher:{number}#1", number, (Draft(body, to="x", slot=0),) * drafts)


def delivered(seq: int) -> Delivered:
    stamp = Stamp(seq, 1, "arbiter", Moment(5, 6), 3)
    draft = Draft(commands.WatcherIncr(seq), to="watcher:web#1", id=b"\x01", peer={"uid": 0})
    return Delivered("watcher:web#1", stamped(stamp, draft))


def test_decisions_arrive_in_order_with_their_sender(exchange: Exchange) -> None:
    """
    FIFO per pair, over batches of any size.
    """
    actors, world = exchange.wire(ACTORS), exchange.wire(WORLD)
    batches = [[decision(1)], [decision(2), decision(3, 4)], [decision(4)]]
    for batch in batches:
        actors.send(batch)
    world.send([decision(9)])

    taken = exchange.receive()

    own = [said for host, said in taken if host == ACTORS]
    assert [one for batch in batches for one in batch] == own
    assert [decision(9)] == [said for host, said in taken if host == WORLD]
    assert [] == list(exchange.receive())


def test_items_arrive_in_order_at_their_host_alone(exchange: Exchange) -> None:
    """
    Stamps and deliveries keep the order of the ledger; nothing goes to another host.
    """
    actors, world = exchange.wire(ACTORS), exchange.wire(WORLD)
    items: list[Stamped | Delivered] = [
        Stamped("arbiter", 1, Moment(1, 2)),
        delivered(2),
        delivered(3),
    ]
    exchange.send(ACTORS, items[:1])
    exchange.send(ACTORS, items[1:])

    assert items == list(actors.receive())
    assert [] == list(actors.receive())
    assert [] == list(world.receive())


def test_both_directions_may_be_used_in_turns(exchange: Exchange) -> None:
    """
    As the loop does it, a thousand times.
    """
    actors = exchange.wire(ACTORS)
    for number in range(1000):
        actors.send([decision(number)])
        assert [(ACTORS, decision(number))] == list(exchange.receive())
        exchange.send(ACTORS, [delivered(number)])
        assert [delivered(number)] == list(actors.receive())


def test_an_empty_exchange_has_nothing(exchange: Exchange) -> None:
    """
    No waiting for what nobody sent.
    """
    assert [] == list(exchange.wire(ACTORS).receive())
    assert [] == list(exchange.receive())


def test_a_stale_incarnation_is_refused_at_the_door(context: zmq.Context[Any]) -> None:
    """
    I-FENCE: what an older core says has no effect, and hides nothing of the living one.
    """
    exchange = ZmqExchange(context, 3)
    actors = exchange.wire(ACTORS)
    stale = context.socket(zmq.DEALER)
    stale.connect(INTERNAL)
    try:
        stale.send(pack([2, [["watcher:web#1", 1, []]]]))
        assert zmq.zmq_poll([(exchange._router, zmq.POLLIN)], DEADLINE_MS)
        actors.send([decision(1)])

        assert [(ACTORS, decision(1))] == list(exchange.receive())
        assert exchange.stale == 1
    finally:
        stale.close(0)
        exchange.close()


@given(st.lists(st.integers(1, 3), max_size=8))
def test_nothing_is_lost_or_reordered_whatever_the_batches(sizes: list[int]) -> None:
    """
    Property over ways to cut a stream into messages.
    """
    with zmq.Context() as context:
        exchange = ZmqExchange(context, 1)
        actors = exchange.wire(ACTORS)
        said: list[Decision] = []
        for size in sizes:
            batch = [decision(len(said) + n) for n in range(size)]
            actors.send(batch)
            said += batch
        assert [(ACTORS, one) for one in said] == list(exchange.receive())
        exchange.close()


def route(body: Any, to: str | None = None) -> str | None:
    return addressee(stamped(Stamp(7, 1, "arbiter", Moment(1, 1), 1), Draft(body, to=to)))


def test_records_find_their_addressee() -> None:
    """
    DESIGN.md, 5: the routing table.
    """
    born = events.WatcherAdded({"name": "web"}, "")
    assert route(born) == "watcher:web#7"
    assert route(events.WatcherRemoved("watcher:web#7")) == "watcher:web#7"
    assert route(events.SignalReceived(15)) == ARBITER
    assert route(commands.WatcherStop(), "watcher:web#7") == "watcher:web#7"
    assert route(events.CommandAccepted(1), "client") is None
    assert route(events.CommandAccepted(1), CORE) is None
    assert route(events.CoreReady()) is None
    assert [WORLD, WORLD] == [home(REAPER), home(CLOCK)]
    assert [ACTORS, ACTORS] == [home(ARBITER), home("watcher:a#1")]
