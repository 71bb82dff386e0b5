"""A ledger that is served as the daemon serves it, and that can be made to lose and lie.

The sockets, the event stream and READ are the daemon's own parts; only the ledger is a list.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import zmq

from circus.arbiter.reads import Reads
from circus.arbiter.verbs import Refusal
from circus.bus.bind import bind_ctl, bind_events
from circus.bus.clock import SystemClock
from circus.bus.codec import Stamp, encode_records, from_outside, stamped
from circus.bus.cursor_errors import Trimmed
from circus.bus.events import WatcherResized
from circus.bus.publish import EventStream
from circus.bus.record import Draft
from circus.bus.segments import CHAIN_START, encode_frame
from circus.bus.values import Moment
from circus.bus.wire import Request, encode_reply, error_body, ok_body, parse_read, parse_request

DEADLINE_SECONDS: Final = 20
LOG_ID: Final = bytes(range(16))

Answer = Callable[[Request], Mapping[str, Any]]


class Stored(NamedTuple):
    """One frame of the list."""

    first_seq: int
    last_seq: int
    raw: bytes
    payload: bytes
    chain: bytes


class Raw(NamedTuple):
    """What READ copies."""

    data: bytes
    first_seq: int
    last_seq: int


class ListLedger:
    """The read side and the head of a ledger that is a list of frames."""

    def __init__(self, log_id: bytes = LOG_ID) -> None:
        self.log_id = log_id
        self.frames: list[Stored] = []
        self.head = 0
        self.chain = CHAIN_START
        self.first_retained = 1
        self.degraded = False

    def append(self, payload: bytes, count: int) -> Stored:
        first = self.head + 1
        raw, chain = encode_frame(count, payload, seq=first, chain=self.chain)
        self.head, self.chain = first + count - 1, chain
        self.frames.append(Stored(first, self.head, raw, payload, chain))
        return self.frames[-1]

    def forget_newest(self) -> None:
        """As a power cut takes an unsynced tail."""
        self.frames.pop()
        self.head, self.chain = self.frames[-1].last_seq, self.frames[-1].chain

    def read_raw(self, after: int, bytes_max: int, /) -> Raw:
        if after + 1 < self.first_retained:
            raise Trimmed(self.first_retained)
        found: list[Stored] = []
        size = 0
        for frame in self.frames:
            if frame.last_seq > after and (not found or size + len(frame.raw) <= bytes_max):
                found.append(frame)
                size += len(frame.raw)
            elif found:
                break
        data = b"".join(frame.raw for frame in found)
        return Raw(data, found[0].first_seq, found[-1].last_seq)

    def chain8_at(self, seq: int, /) -> bytes | None:
        for frame in self.frames:
            if frame.first_seq <= seq <= frame.last_seq:
                return frame.chain[:8]
        return None


def payload_of(first: int, count: int, watcher: str = "web") -> bytes:
    """One decision of `count` facts about one watcher."""
    stamp = Stamp(first, 0, f"watcher:{watcher}#1", Moment(first * 10, first), 1)
    records = []
    for number in range(count):
        stamp.seq = first + number
        records.append(stamped(stamp, Draft(WatcherResized(first + number), watcher=watcher)))
    return encode_records(records)


class Served:
    """A daemon's outside in a thread. Every method returns when it is done there."""

    def __init__(self, state_dir: Path, ledger: ListLedger | None = None) -> None:
        self.state_dir = state_dir
        self.ledger = ledger or ListLedger()
        self.requests: list[Request] = []
        self.answer: Answer = lambda _: {}
        self.mangle: Callable[[list[Any]], list[Any] | None] = lambda frames: frames
        self.incarnation = self.seed = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None
        self._failed: list[BaseException] = []
        self._stop = False
        self._waiting: tuple[int, threading.Event] | None = None

    # --- from the test ----------------------------------------------------------------------------

    def start(self) -> Served:
        """Bind and serve, as one incarnation."""
        assert self._thread is None
        self.incarnation += 1
        up = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._serve, args=(up,), daemon=True)
        self._thread.start()
        assert up.wait(DEADLINE_SECONDS)
        return self

    def stop(self) -> None:
        """As a core that ends: sockets closed, files of the sockets gone."""
        if self._thread is not None:
            self._do(self._end)
            self._thread.join(DEADLINE_SECONDS)
            assert not self._thread.is_alive()
            self._thread = None
        assert self._failed == []

    def close(self) -> None:
        self.stop()
        os.close(self._bell)

    def append(self, count: int = 1, *, watcher: str = "web", heard: bool = True) -> int:
        """One more decision; `heard=False` loses it on its way to the subscribers."""
        self._do(lambda: self._append(count, watcher, heard=heard))
        return self.ledger.head

    def beat(self) -> None:
        """A heartbeat now."""
        self._do(lambda: self._stream.beat(2**62))

    def wait_listeners(self, count: int) -> None:
        """Until so many subscriptions to events and heartbeats have arrived."""
        done = threading.Event()

        def look() -> None:
            self._waiting = (count, done)

        self._do(look)
        assert done.wait(DEADLINE_SECONDS)

    def _do(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def carry_out() -> None:
            try:
                work()
            finally:
                done.set()

        if self._thread is None:
            carry_out()
            return
        self._work.put(carry_out)
        os.eventfd_write(self._bell, 1)
        assert done.wait(DEADLINE_SECONDS)

    # --- in the thread ----------------------------------------------------------------------------

    def _append(self, count: int, watcher: str, *, heard: bool) -> None:
        payload = payload_of(self.ledger.head + 1, count, watcher)
        frame = self.ledger.append(payload, count)
        if self._thread is None:
            return
        if heard:
            self._stream.publish([(count, payload)], [frame.chain], frame.first_seq)
        self._reads.look_again(0)

    def _end(self) -> None:
        self._stop = True

    def _serve(self, up: threading.Event) -> None:
        context: zmq.Context[Any] = zmq.Context()
        clock = SystemClock()
        run = self.state_dir / "run"
        self._ctl = bind_ctl(context, [f"ipc://{run}/ctl.sock"])
        events = bind_events(context, [f"ipc://{run}/events.sock"])
        self._stream = EventStream(events, self.ledger, clock, (self.incarnation, self.seed))
        self._reads = Reads(self.ledger, clock)
        self._waiting = None
        try:
            self._loop(up, events, clock)
        except BaseException as error:
            self._failed.append(error)
        finally:
            events.close(0)
            self._ctl.close(0)
            context.term()
            for name in ("ctl.sock", "events.sock"):
                (run / name).unlink(missing_ok=True)

    def _loop(self, up: threading.Event, events: Any, clock: SystemClock) -> None:
        poller = zmq.Poller()
        poller.register(self._ctl, select.POLLIN)
        poller.register(events, select.POLLIN)
        poller.register(self._bell, select.POLLIN)
        up.set()
        while not self._stop:
            poller.poll(100)
            self._stream.receive()
            while int(self._ctl.get(zmq.EVENTS)) & zmq.POLLIN:
                self._request(self._ctl.recv_multipart())
            boot = clock.now().boot
            self._stream.beat(boot)
            self._reads.look_again(boot)
            if self._waiting is not None and self._stream.listeners >= self._waiting[0]:
                self._waiting[1].set()
            self._rung()

    def _rung(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        while not self._work.empty():
            self._work.get()()

    def _request(self, frames: Sequence[bytes]) -> None:
        request = parse_request(from_outside(frames[1]))
        self.requests.append(request)

        def tell(fields: Mapping[str, Any] | Refusal, raw: bytes | None = None) -> None:
            if isinstance(fields, Refusal):
                body = error_body(request.id, 1.5, fields.reason, fields.errno)
            elif "reason" in fields:
                body = error_body(request.id, 1.5, fields["reason"], fields.get("errno", 3))
            else:
                body = ok_body(request.id, 1.5, fields)
            whole = self.mangle(encode_reply(self._stream.header(), body, raw))
            if whole is not None:
                self._ctl.send_multipart([frames[0], *whole])

        if request.command == "read":
            self._reads.ask(parse_read(request.properties), tell, frames[0])
        else:
            tell(self.answer(request))
