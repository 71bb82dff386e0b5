"""Room: tests -- the types that users of the public names rely on; it only has to type-check.

Knows:     the public names.
Known by:  mypy and pyright.
Never:     runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_type

from circus.bus.chance import Chance
from circus.bus.codec import Stamp, from_outside, record_of, stamped
from circus.bus.machine import Core, Delivered, Stamped
from circus.bus.record import Body, Decision, Draft, Kind, Record
from circus.bus.spec import WatcherSpec, from_data
from circus.bus.switchboard import Exchange, Publisher
from circus.bus.transport import MemoryExchange, ZmqExchange


class Policy:
    """What fits the protocol of a core, without naming it."""

    def decide(self, state: int, record: Record, chance: Chance, /) -> tuple[Draft, ...]:
        return ()

    def evolve(self, state: int, record: Record, /) -> int:
        return state

    def resume(self, state: int, /) -> tuple[Draft, ...]:
        return ()


class Subscribers:
    """What fits the port of the event stream."""

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int, /
    ) -> None: ...


def names_and_types(
    stamp: Stamp, draft: Draft, data: Mapping[str, Any], memory: MemoryExchange, zmq: ZmqExchange
) -> None:
    core: Core = Policy()
    exchanges: list[Exchange] = [memory, zmq]
    publisher: Publisher = Subscribers()
    assert_type(stamped(stamp, draft), Record)
    assert_type(record_of(data).kind, Kind)
    assert_type(record_of(data).body, Body)
    assert_type(from_data(data), WatcherSpec)
    assert_type(from_outside(b""), Any)
    assert_type(Decision("core", 0, (draft,)).drafts, tuple[Draft, ...])
    items: list[Stamped | Delivered] = []
    exchanges[0].send("actors", items)
    del core, publisher
