"""Room: arbiter -- the core around its runtime: sockets, ledger, link, one poll loop.

Knows:     everything below it; zmq.
Known by:  circus.daemon (a process of its own), the library (a thread of the host).
Never:     decides; reads a file of configuration; uses asyncio (ADR-0006).

One wake-up: take what is there from the keeper and from clients, pump until nothing moves (a write
to the ledger per turn, one message to the keeper at the end), then answer. A queue that is still
full gets its next turn after that, so that no client can keep a worker waiting.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Container
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import zmq

from circus.arbiter.gateway import Gateway, Promise, Services
from circus.arbiter.keeper_watch import KeeperWatch
from circus.arbiter.memory import Living
from circus.arbiter.outcomes import Outcomes
from circus.arbiter.projection import Projection
from circus.arbiter.queries import Sources
from circus.arbiter.reads import Reads
from circus.arbiter.runtime import Runtime
from circus.arbiter.snapshotting import Snapshotting
from circus.arbiter.upkeep import Upkeep
from circus.arbiter.verbs import Options
from circus.bus import events
from circus.bus.clock import Clock
from circus.bus.ledger import Ledger
from circus.bus.names import NAME_OF
from circus.bus.parts import readable
from circus.bus.publish import EventStream
from circus.bus.record import Draft
from circus.bus.shapes import complete, keyed
from circus.bus.syncer import GroupSyncer
from circus.bus.values import NS_PER_SECOND, Nanoseconds
from circus.process.link import Link, LinkClosed

SLOW_THREADS: Final = 1
PAUSE_SECONDS: Final = 0.05
CLASSES_PER_PAUSE: Final = 4
EVERYTHING: Final = frozenset({"link", "calls", "events", "router"})
LINK_ALONE: Final = frozenset({"link"})
EX_SOFTWARE: Final = 70
NEVER: Final = 1 << 63

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Ended(Exception):
    """The loop is over; `code` is the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Calls:
    """Other threads' way into the loop: callables, and a descriptor that wakes it."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._slow: ThreadPoolExecutor | None = None

    def fileno(self) -> int:
        """Readable when there is something to call."""
        return self._wake

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called by the loop, soon; from any thread."""
        self._calls.append(function)
        os.eventfd_write(self._wake, 1)

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run `work` in a thread of ours, `done(result)` in the loop."""
        if self._slow is None:
            from concurrent.futures import ThreadPoolExecutor

            self._slow = ThreadPoolExecutor(SLOW_THREADS, "slow-question")
        future = self._slow.submit(work)
        future.add_done_callback(lambda _: self.call(lambda: done(future.result())))

    def run(self) -> None:
        """Call what has been given so far."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def close(self) -> None:
        """End the threads and forget the rest."""
        if self._slow is not None:
            # Waited for: a question that ends later would write to a descriptor that is closed.
            self._slow.shutdown(wait=True, cancel_futures=True)
        os.close(self._wake)


class IdleWork:
    """Work that nobody waits for, done a little at a time in pauses."""

    def __init__(self) -> None:
        self._uncompleted = iter(NAME_OF)
        self._work: list[Callable[[], None]] = [self._complete_a_few]
        self._going_on = False  # the turn before was a pause, too

    def __bool__(self) -> bool:
        return bool(self._work)

    def add(self, work: Callable[[], None]) -> None:
        """Do `work` at the first moment at which nothing else is to be done."""
        self._work.append(work)

    def patience(self, left: float) -> float:
        """Seconds to wait for something else, if that is due in `left`."""
        if not self._work:
            return left
        return 0.0 if self._going_on else min(left, PAUSE_SECONDS)

    def attend(self, *, pause: bool) -> None:
        """In a pause, do what there is; what is added meanwhile is for the next one."""
        self._going_on = pause
        if pause:
            work, self._work = self._work, []
            for one in work:
                one()

    def _complete_a_few(self) -> None:
        """The first of its kind, a death or a stop, then finds its records' methods compiled."""
        few = tuple(islice(self._uncompleted, CLASSES_PER_PAUSE))
        for body in few:
            complete(body)
        if few:
            self.add(self._complete_a_few)


@keyed
class Parts:
    """What a composition root has opened."""

    runtime: Runtime
    ledger: Ledger
    syncer: GroupSyncer
    link: Link
    stream: EventStream
    router: zmq.Socket[bytes]
    events: zmq.Socket[bytes]
    clock: Clock
    projection: Projection
    outcomes: Outcomes
    sources: Sources
    options: Options
    snapshots: Snapshotting
    watch: KeeperWatch
    durability: str = "group"
    keeper_pid: int = 0
    on_log_failure: str = "refuse_commands"
    orphans: str = "leave"  # what becomes of workers whose keeper was killed
    found: int = 0  # the newest record of the incarnations before
    complaints: tuple[str, ...] = ()  # of the recovery: for the operator's log

    def keep(self) -> None:
        """Save a snapshot of what this core is."""
        past = self.runtime.past()
        self.snapshots.keep(Living(self.ledger.head, past, self.projection, self.outcomes))


class Waiter:
    """Waits for any of the engine's doors; says which are ready, by name.

    A ZeroMQ socket shows its descriptor readable once per batch of news, not per message, so its
    own word (EVENTS) is asked before each wait. That is cheaper than zmq_poll by a third.
    """

    def __init__(self, parts: Parts, calls: Calls) -> None:
        self._link = parts.link
        self._sockets = {"router": parts.router, "events": parts.events}
        self._writing = False
        self._epoll = select.epoll()
        self._names: dict[int, str] = {}
        doors = {name: int(one.getsockopt(zmq.FD)) for name, one in self._sockets.items()}
        doors |= {
            "link": parts.link.fileno(), "syncer": parts.syncer.fileno(), "calls": calls.fileno(),
        }  # fmt: skip
        for name, fd in doors.items():
            self.admit(name, fd)

    def wait(self, timeout: float) -> set[str]:
        """The names of what is ready, after `timeout` seconds at most."""
        ready = {name for name, one in self._sockets.items() if readable(one)}
        found = self._epoll.poll(0 if ready else timeout)
        ready.update(self._names[fd] for fd, _ in found)
        return ready

    def admit(self, name: str, fd: int) -> None:
        """One more door, for a while: who closes it takes it away."""
        self._names[fd] = name
        self._epoll.register(fd, select.EPOLLIN)

    def watch_link(self) -> None:
        """Wake up when the keeper takes more, while something waits for that."""
        writing = self._link.wants_write
        if writing != self._writing:
            self._writing = writing
            wanted = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
            self._epoll.modify(self._link.fileno(), wanted)

    def close(self) -> None:
        """Forget the doors; they are closed by their owners."""
        self._epoll.close()


class Engine:
    """Runs one incarnation to its end."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.calls = Calls()
        self.idle = IdleWork()
        self.reads = Reads(parts.ledger, parts.clock)
        self.gateway = Gateway(parts.router, self._services())
        self._waiter = Waiter(parts, self.calls)
        self._quiet_until: Nanoseconds = 0  # nothing but heartbeats and pings is due before
        self.upkeep = Upkeep(parts.ledger, parts.syncer, parts.runtime, parts.keep)
        self.upkeep.stops_workers = parts.on_log_failure == "stop_workers"
        self._seen_head = 0
        self._ready = False
        self._code: int | None = None

    def _services(self) -> Services:
        parts = self.parts
        return Services(
            parts.runtime.submit, parts.sources, parts.options, parts.outcomes, self.reads,
            Promise(parts.durability, parts.ledger, parts.syncer), parts.clock,
            parts.stream.header, self.calls.aside,
        )  # fmt: skip

    def run(self) -> int:
        """Until the arbiter has stopped, or the keeper is gone; the exit code."""
        try:
            self._turn(EVERYTHING)
            while True:
                ready = self._waiter.wait(self._timeout())
                if ready or not self._only_beats():
                    self.idle.attend(pause=not ready)
                    self._turn(ready)
        except Ended as end:
            return end.code
        except LinkClosed:
            _mourn(self.parts)
            return EX_SOFTWARE  # The keeper is gone, and with it every way to reach a worker.

    def _only_beats(self) -> bool:
        """Woken for a heartbeat or a ping, which is all that an idle daemon does."""
        boot = self.parts.clock.now().boot
        if self.idle or boot >= self._quiet_until:
            return False
        self._keep_time(boot)
        return True

    def close(self) -> None:
        """After `run`: give up what is the engine's own; its parts belong to who opened them."""
        self.parts.snapshots.close()
        self._waiter.close()
        self.calls.close()
        self.parts.runtime.close()

    def end(self, code: int) -> None:
        """Leave the loop after this turn, once all that was said is in the ledger and told."""
        self._code = code

    def _turn(self, ready: Container[str]) -> None:
        """What the keeper says comes first and goes its whole way: somebody's worker is dead."""
        parts = self.parts
        if "link" in ready:
            parts.watch.heard = True
            parts.runtime.reaper.receive()
            parts.runtime.pump()
        if ready != LINK_ALONE:
            self._hear_others(ready)
        if not self._ready and parts.runtime.awake:
            self._say_ready()
        self._settle()
        self._keep_time(parts.clock.now().boot)
        self._waiter.watch_link()
        self._perhaps_end()

    def _hear_others(self, ready: Container[str]) -> None:
        """Whoever is not the keeper; the clock, too."""
        if "calls" in ready:
            self.calls.run()
        if "events" in ready:
            self.parts.stream.receive()
        if "router" in ready:
            self.gateway.receive()
        self.parts.runtime.pump()

    def _say_ready(self) -> None:
        """From here on this core is worth restarting at once (DESIGN.md, 7)."""
        self._ready = True
        parts = self.parts
        parts.runtime.say((Draft(events.CoreReady()),), lambda _stamped: _tell_keeper(parts))
        parts.runtime.pump()

    def _settle(self) -> None:
        """Answers that waited for the platter, readers that waited for something to read."""
        parts = self.parts
        now = parts.clock.now()
        parts.stream.settle(self.upkeep.settle(now))
        self.gateway.release()
        due = self.reads.next_due()
        if due is not None and (parts.ledger.head != self._seen_head or due <= now.boot):
            self.reads.look_again(now.boot)
        self._seen_head = parts.ledger.head

    def _keep_time(self, boot: Nanoseconds) -> None:
        self.parts.stream.beat(boot)
        self.parts.watch.beat(boot)
        if self._ready and self.parts.snapshots.attend(boot):
            self._waiter.admit("snapshot", self.parts.snapshots.fileno())

    def _timeout(self) -> float:
        """Seconds until something must be done without being asked to."""
        ping_due = self.parts.watch.latest
        dues = (
            self.upkeep.retry_due, self.parts.runtime.next_due(), self.reads.next_due(),
            self.parts.snapshots.next_due(),
        )  # fmt: skip
        self._quiet_until = min((due for due in dues if due), default=NEVER)
        due = min(self._quiet_until, self.parts.stream.next_beat() or ping_due, ping_due)
        left = max(0, due - self.parts.clock.now().boot) / NS_PER_SECOND
        return self.idle.patience(left)

    def _perhaps_end(self) -> None:
        runtime = self.parts.runtime
        if self._code is not None or runtime.ended:
            _finish(self.parts, self.gateway, self._code or os.EX_OK)
        elif runtime.restarting is not None:
            _make_room(self.parts, self.gateway)


def _tell_keeper(parts: Parts) -> None:
    """It is on record that we are ready, and the keeper hears it before the world does: whoever
    kills this core for what he has heard kills one that worked."""
    parts.link.send([("ready", parts.found, parts.ledger.head)])
    with suppress(LinkClosed):  # the loop sees that, too, and not in the middle of a record
        parts.link.flush()


def _mourn(parts: Parts) -> None:
    """The keeper is gone: write down whom it has left behind, stop them if that is wanted."""
    from circus.arbiter.bereaved import record_loss, stop_recorded, survivors  # as rarely as this

    runtime = parts.runtime
    found = survivors(runtime.spawns, parts.projection, parts.ledger.log_id.hex())
    record_loss(runtime, found, runtime.write_down, parts.keeper_pid)
    if parts.orphans == "stop":
        stop_recorded(runtime, found, runtime.write_down)
    parts.ledger.sync(parts.clock.now())


def _finish(parts: Parts, gateway: Gateway, code: int) -> None:
    _leave(parts, gateway, "asked to")
    parts.link.send([("stopping", code)])
    parts.link.flush()
    parts.snapshots.finish()
    raise Ended(code)


def _make_room(parts: Parts, gateway: Gateway) -> None:
    """For the next core, which the keeper starts at once."""
    _leave(parts, gateway, "restart")
    raise Ended(os.EX_OK)


def _leave(parts: Parts, gateway: Gateway, reason: str) -> None:
    """Everything is on the platter and told."""
    parts.runtime.say((Draft(events.CoreStopped(reason)),))
    parts.runtime.pump()
    parts.ledger.sync(parts.clock.now())
    parts.stream.settle(parts.ledger.head)
    gateway.release()
