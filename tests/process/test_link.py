"""Room: tests -- the link: whole messages, in order, strictly read.

Knows:     process.link.
Known by:  nobody.
Never:     waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from circus.process.link import REPORTS_PER_MESSAGE, Link, LinkClosed, LinkGarbled, pair

Ends = tuple[Link, Link]


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = pair()
    core, keeper = Link.core_end(one), Link.keeper_end(other)
    yield core, keeper
    core.close()
    keeper.close()


def test_items_arrive_whole_and_in_order(ends: Ends) -> None:
    """However they were batched."""
    core, keeper = ends
    keeper.send([("os_signal", number) for number in range(100)])
    assert keeper.flush()
    assert [("os_signal", number) for number in range(100)] == core.receive()
    assert [] == core.receive()


def test_reports_travel_sixteen_to_a_message(ends: Ends) -> None:
    """So that the core works on the first while the keeper makes the next."""
    core, keeper = ends
    keeper.send([("pong", number) for number in range(REPORTS_PER_MESSAGE + 1)])
    keeper.flush()
    body = os.read(core.fileno(), 65536)
    assert REPORTS_PER_MESSAGE == len(msgpack.unpackb(body))


def test_a_full_socket_keeps_what_it_did_not_take(ends: Ends) -> None:
    """Nothing blocks, nothing is lost, and `wants_write` says that something waits."""
    core, keeper = ends
    count = 200_000
    keeper.send([("pong", number) for number in range(count)])
    assert not keeper.flush()
    assert keeper.wants_write
    seen: list[Any] = []
    while len(seen) < count:
        seen += core.receive()
        keeper.flush()
    assert [("pong", number) for number in range(count)] == seen
    assert not keeper.wants_write


def test_a_long_body_goes_in_a_memfd_and_leaves_no_descriptor(ends: Ends) -> None:
    """More than a message holds."""
    core, keeper = ends
    before = len(os.listdir("/proc/self/fd"))
    launch = {"argv": ["x"], "env": {"BIG": "y" * 300_000}}
    core.send([("spec", "d", launch)])
    assert core.flush()
    assert [("spec", "d", {"argv": ("x",), "env": launch["env"]})] == keeper.receive()
    assert before == len(os.listdir("/proc/self/fd"))


def test_the_other_ends_death_is_seen_after_its_last_words(ends: Ends) -> None:
    """What was sent before is read first."""
    core, keeper = ends
    keeper.send([("pong", 1)])
    keeper.flush()
    keeper.close()
    assert [("pong", 1)] == core.receive()
    with pytest.raises(LinkClosed):
        core.receive()
    core.send([("ping", 1)])
    with pytest.raises(LinkClosed):
        core.flush()


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1", b"\x90\x90", msgpack.packb({}), msgpack.packb([["nonsense"]]),
        msgpack.packb([["ping"]]), msgpack.packb([["ping", "1"]]), msgpack.packb([["ping", True]]),
        msgpack.packb([[]]), msgpack.packb([["ready", 1]]), b"\xdd\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_what_the_table_does_not_have_is_refused(ends: Ends, body: bytes) -> None:
    """Names, counts and types; True is no number."""
    core, keeper = ends
    os.write(core.fileno(), body)
    with pytest.raises(LinkGarbled, match="cannot read"):
        keeper.receive()
