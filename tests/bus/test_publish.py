"""Room: tests -- the event stream's sending end over real sockets.

Knows:     bus.publish, bus.bind, bus.wire, zmq.
Known by:  pytest.
Never:     sleeps: everything is awaited on a socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import zmq

from circus.bus.bind import bind_ctl, bind_events
from circus.bus.clock import SystemClock
from circus.bus.publish import EventStream, SyncedStream
from circus.bus.values import Moment
from circus.bus.wire import BARRIER, EVENT, HEARTBEAT, Live, barrier_topic, decode_live

DEADLINE_MS: Final = 20_000
BETWEEN_MS: Final = 5
LOG_ID: Final = bytes(range(16))


class Head:
    """A ledger that only counts."""

    log_id = LOG_ID
    head = 0
    chain = bytes(16)
    first_retained = 1
    degraded = False


class Stage:
    """One stream on ipc, and subscribers that the test reads by hand."""

    def __init__(self, path: Path, stream: type[EventStream] = EventStream) -> None:
        self.endpoint = f"ipc://{path}/run/events.sock"
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = bind_events(self.context, [self.endpoint])
        self.head = Head()
        self.wanted: list[int] = []
        self.peers: list[Any] = []
        if stream is SyncedStream:
            self.stream: EventStream = SyncedStream(
                self.socket, self.head, SystemClock(), (3, 9), want=self.wanted.append
            )
        else:
            self.stream = EventStream(self.socket, self.head, SystemClock(), (3, 9))

    def subscriber(self, *topics: bytes) -> Any:
        made = self.connected(zmq.SUB)
        for topic in topics:
            made.subscribe(topic)
        return made

    def connected(self, kind: int) -> Any:
        made = self.context.socket(kind)
        made.setsockopt(zmq.LINGER, 0)
        made.connect(self.endpoint)
        self.peers.append(made)
        return made

    def serve_until(self, listeners: int) -> None:
        while self.stream.listeners != listeners:
            self.serve()

    def serve(self) -> None:
        assert self.socket.poll(DEADLINE_MS)
        self.stream.receive()

    def publish(self, *counts: int) -> None:
        first = self.head.head + 1
        self.head.head += sum(counts)
        frames = [(count, b"payload") for count in counts]
        self.stream.publish(frames, [bytes([n] * 16) for n in range(len(counts))], first)

    def close(self) -> None:
        for peer in self.peers:
            peer.close(0)
        self.stream.close()
        self.context.term()


@pytest.fixture
def stage(state_dir: Path) -> Iterator[Stage]:
    made = Stage(state_dir)
    yield made
    made.close()


def next_of(subscriber: Any) -> Live:
    assert subscriber.poll(DEADLINE_MS)
    return decode_live(subscriber.recv_multipart())


def test_every_frame_is_one_message_with_its_place(stage: Stage) -> None:
    """
    The header names the first record, the last, and the chain after it.
    """
    one = stage.subscriber(EVENT)
    stage.serve_until(1)
    stage.publish(2, 1)

    first, second = next_of(one), next_of(one)
    assert (1, 2, bytes(8)) == (
        first.header.frame_seq, first.header.head_seq, first.header.head_chain8,
    )  # fmt: skip
    assert (3, 3, b"\x01" * 8) == (
        second.header.frame_seq, second.header.head_seq, second.header.head_chain8,
    )  # fmt: skip
    assert ((3, 9), LOG_ID, b"payload") == (first.header.core, first.header.log_id, first.payload)


def test_what_no_disk_has_taken_is_marked(stage: Stage) -> None:
    """
    While the ledger is degraded its news is `volatile`; afterwards it is not.
    """
    one = stage.subscriber(EVENT)
    stage.serve_until(1)
    for degraded in (False, True, False):
        stage.head.degraded = degraded
        stage.publish(1)
        assert degraded is next_of(one).header.volatile


def test_with_nobody_listening_nothing_is_sent(stage: Stage) -> None:
    """
    Neither facts nor heartbeats: an idle daemon costs nothing.
    """
    stage.publish(1)
    stage.stream.beat(10**30)
    assert stage.stream.next_beat() is None


def test_heartbeats_go_on_only_while_somebody_listens(stage: Stage) -> None:
    """
    The first at once, then one a second, none after the last listener of two has left.
    """
    one, other = stage.subscriber(HEARTBEAT), stage.subscriber(HEARTBEAT)
    stage.serve_until(2)
    stage.stream.beat(10)
    stage.stream.beat(11)
    assert stage.stream.next_beat() == 10 + 1_000_000_000
    assert next_of(one).topic == HEARTBEAT
    assert next_of(other).topic == HEARTBEAT
    assert not one.poll(0)
    one.close(0)
    stage.serve_until(1)
    other.close(0)
    stage.serve_until(0)
    assert stage.stream.next_beat() is None


def test_a_leave_that_was_no_join_does_not_count_below_zero(stage: Stage) -> None:
    """
    A peer may say what it likes; the next listener is heard all the same.
    """
    rogue = stage.connected(zmq.XSUB)
    rogue.send(b"\x00nothing")
    rogue.send(b"\x01E")
    stage.serve_until(1)


def test_barriers_are_answered_to_who_asked(stage: Stage) -> None:
    """
    With the head at that moment; their leaving is no listener's.
    """
    stage.publish(4)
    nonce = bytes(16)
    one = stage.subscriber(barrier_topic(nonce))
    stage.serve()

    live = next_of(one)
    assert (BARRIER, nonce, 4) == (live.topic, live.nonce, live.header.head_seq)
    one.close(0)
    stage.serve()
    assert stage.stream.listeners == 0


def test_a_hundred_joins_during_publishing_have_no_gap(stage: Stage) -> None:
    """
    RELIABILITY.md, 1.3: from the barrier's head on a joiner misses nothing.
    """
    for number in range(100):
        nonce = number.to_bytes(16, "big")
        joiner = stage.subscriber(EVENT, barrier_topic(nonce))
        seen: list[Live] = []
        while not any(live.nonce for live in seen):
            stage.publish(1)
            if stage.socket.poll(BETWEEN_MS):
                stage.stream.receive()
            stage.publish(1, 2)
            while joiner.poll(0):
                seen.append(next_of(joiner))
        stage.publish(1)
        while seen[-1].header.head_seq < stage.head.head:
            seen.append(next_of(joiner))
        at = next(index for index, live in enumerate(seen) if live.nonce)
        after = seen[at].header.head_seq
        for live in seen[at + 1 :]:
            assert live.header.frame_seq == after + 1
            after = live.header.head_seq
        joiner.close(0)
        stage.serve_until(0)


def test_under_always_nothing_is_told_before_it_is_synced(state_dir: Path) -> None:
    """
    Frames are held, the sync is asked for, and they leave in order when it is done.
    """
    stage = Stage(state_dir, SyncedStream)
    stage.publish(1)
    one = stage.subscriber(EVENT)
    stage.serve_until(1)
    stage.publish(1)
    stage.publish(2)
    stage.stream.settle(2)

    assert next_of(one).header.head_seq == 2
    assert not one.poll(0)
    stage.stream.settle(4)
    assert next_of(one).header.head_seq == 4
    assert [1, 2, 4] == stage.wanted
    stage.close()


def test_sockets_are_private_and_their_paths_short_enough(state_dir: Path) -> None:
    """
    0600 by the umask at bind; a path that the kernel cannot hold is refused with a sentence.
    """
    with zmq.Context() as context:
        ctl = bind_ctl(context, [f"ipc://{state_dir}/run/ctl.sock", "tcp://127.0.0.1:*"])
        assert 0o600 == (state_dir / "run" / "ctl.sock").stat().st_mode & 0o777
        assert ctl.getsockopt(zmq.TYPE) == zmq.ROUTER
        ctl.close(0)
        with pytest.raises(ValueError, match="longer than"):
            bind_ctl(context, [f"ipc://{state_dir}/{'x' * 120}/ctl.sock"])
        context.destroy(0)


def test_the_moment_of_a_header_is_the_clocks(stage: Stage) -> None:
    """
    Both clocks, as in every record.
    """
    before = SystemClock().now()
    header = stage.stream.header()
    assert isinstance(before, Moment)
    assert before.boot <= header.boot <= SystemClock().now().boot
