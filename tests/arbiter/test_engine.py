"""Room: tests -- a whole core in a thread, with the test as its keeper.

Knows:     arbiter.wiring, arbiter.engine, process.link, circus.client.
Known by:  pytest.
Never:     starts a process; sleeps.
"""

from __future__ import annotations

import errno
import select
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import zmq

from circus.arbiter.engine import EX_SOFTWARE, Calls
from circus.arbiter.gateway import FAILING_DISK
from circus.arbiter.recovery import recall
from circus.arbiter.wiring import WireOptions, Wiring, open_engine
from circus.bus import commands, events
from circus.bus.codec import records_of
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.record import Draft, Record
from circus.bus.segments import Hole
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.unsynced import RING_BYTES_MAX
from circus.bus.values import ARBITER, Moment
from circus.bus.vault import Vault
from circus.bus.wire import EVENT, Request, barrier_topic, decode_reply, encode_request
from circus.process.link import Link, pair

DEADLINE_MS: Final = 20_000
DEADLINE_SECONDS: Final = 20


class Core:
    """An engine that runs in a thread; the keeper's end of its link is the test's."""

    def __init__(self, path: Path, **settings: Any) -> None:
        core_fd, keeper_fd = pair()
        self.path = path
        self.keeper = Link.keeper_end(keeper_fd)
        self.link = Link.core_end(core_fd)
        self.keeper.send([("hello", 1, 1, (), 0)])
        self.keeper.flush()
        self.vault = Vault.open(str(path / "vault"))
        spec = WatcherSpec(name="web", cmd="x", autostart=False)
        self.engine = open_engine(
            Wiring(
                state_dir=str(path), ctl=[f"ipc://{path}/run/ctl.sock"],
                events=[f"ipc://{path}/run/events.sock"], link=self.link, keeper_pid=1,
                vault=self.vault, environ={}, settings={},
                configure=commands.ArbiterConfigure((to_data(spec),), {"warmup_delay": 0}),
                options=WireOptions(self.vault), **settings,
            )
        )  # fmt: skip
        self.code: int | None = None
        self.context: zmq.Context[Any] = zmq.Context()
        self.dealer = self.context.socket(zmq.DEALER)
        self.dealer.connect(f"ipc://{path}/run/ctl.sock")
        self.asked = 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        self.code = self.engine.run()

    def start(self) -> Core:
        self.thread.start()
        self.hear("list")
        self.keeper.send([("held", True, ())])
        self.keeper.flush()
        self.hear("ready")
        return self

    def hear(self, name: str) -> None:
        """Until the core has sent this operation."""
        poller = select.poll()
        poller.register(self.keeper.fileno(), select.POLLIN)
        while True:
            assert poller.poll(DEADLINE_MS), f"no {name}"
            if name in [item[0] for item in self.keeper.receive()]:
                return

    def ask(self, command: str, **properties: Any) -> Mapping[str, Any]:
        self.asked += 1
        identity = self.asked.to_bytes(16, "big")
        self.dealer.send(encode_request(Request(identity, command, properties)))
        assert self.dealer.poll(DEADLINE_MS), "no answer"
        return decode_reply(self.dealer.recv_multipart()).body

    def inside(self, work: Callable[[], object]) -> None:
        """Have the loop do something, and wait for it."""
        done = threading.Event()

        def carry_out() -> None:
            work()
            done.set()

        self.engine.calls.call(carry_out)
        assert done.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        self.thread.join(DEADLINE_SECONDS)
        assert not self.thread.is_alive()

    def close(self) -> None:
        self.keeper.close()
        if self.thread.ident is not None:
            self.end()
        self.dealer.close(0)
        self.context.term()
        engine, parts = self.engine, self.engine.parts
        context = parts.router.context
        engine.gateway.close()
        parts.stream.close()
        exchange: Any = parts.runtime._exchange
        exchange.close()
        engine.close()
        parts.syncer.close()
        self.link.close()
        context.term()

    def records(self) -> list[Record]:
        """What stands in the files."""
        self.engine.parts.ledger.close()
        ledger = Ledger.open(f"{self.path}/ledger", RealDisk(), log_id=bytes(16), now=Moment(0, 0))
        found = [record for frame in ledger.frames() for record in records_of(frame.payload)]
        ledger.close()
        return found


Open = Callable[..., Core]


@pytest.fixture
def opened(state_dir: Path) -> Iterator[Open]:
    cores: list[Core] = []

    def make(**settings: Any) -> Core:
        cores.append(Core(state_dir, **settings))
        return cores[-1]

    yield make
    for core in cores:
        core.close()


@pytest.mark.real
@pytest.mark.parametrize("transport", ["zmq", "memory"])
@pytest.mark.parametrize("durability", ["always", "group", "none"])
def test_a_core_serves_from_its_first_record_to_its_last(
    opened: Open, transport: str, durability: str
) -> None:
    """
    Synced before anything else: that it began. Last: that it stopped, with the code for the keeper.
    """
    core = opened(transport=transport, durability=durability)
    assert core.engine.parts.syncer.synced == 1
    core.start()
    assert core.ask("stop", name="web")["status"] == "ok"
    assert core.ask("stats")["infos"] == {"web": {}}
    assert core.ask("quit")["status"] == "ok"
    core.hear("stopping")
    core.end()

    assert core.code == 0
    records = core.records()
    assert isinstance(records[0].body, events.CoreStarted)
    assert isinstance(records[-1].body, events.CoreStopped)
    assert list(range(1, len(records) + 1)) == [record.seq for record in records]


@pytest.mark.real
def test_the_keeper_hears_first_that_a_core_is_ready(opened: Open) -> None:
    """
    Whoever kills a core as soon as he has heard it kills one that its keeper starts again at once.
    """
    core = opened()
    listening = core.context.socket(zmq.SUB)

    def wait_for(words: bytes) -> None:
        heard = b""
        while words not in heard:
            assert listening.poll(DEADLINE_MS)
            heard = b"".join(listening.recv_multipart())

    listening.connect(f"ipc://{core.path}/run/events.sock")
    barrier = barrier_topic(bytes(16))
    for topic in (EVENT, barrier):
        listening.subscribe(topic)
    core.thread.start()
    wait_for(barrier)
    core.keeper.send([("held", True, ())])
    core.keeper.flush()
    wait_for(b"core.ready")
    listening.close(0)
    told: list[Any] = []
    while items := core.keeper.receive():
        told += items
    assert "ready" in [item[0] for item in told]


@pytest.mark.real
def test_without_its_keeper_a_core_ends(opened: Open) -> None:
    """
    With it goes every way to reach a worker.
    """
    core = opened().start()
    core.keeper.close()
    core.end()
    assert core.code == EX_SOFTWARE


@pytest.mark.real
def test_a_failing_disk_is_tried_again_and_its_gap_told(opened: Open) -> None:
    """
    Meanwhile durable commands are refused, and supervision goes on.
    """
    core = opened().start()
    ledger = core.engine.parts.ledger
    core.inside(lambda: ledger.degrade(OSError(errno.ENOSPC, "No space left on device")))
    body = core.ask("stop", name="web")
    assert (FAILING_DISK, 4) == (body["reason"], body["errno"])
    assert core.ask("signal", name="web", signum=1)["time"]

    def hurry() -> None:
        core.engine.upkeep.retry_due = 1

    core.inside(hurry)
    assert core.ask("stop", name="web")["status"] == "ok"
    assert core.ask("quit")["status"] == "ok"
    core.end()
    gaps = [record.body for record in core.records() if isinstance(record.body, events.LogGap)]
    assert [0] == [gap.frames for gap in gaps]


@pytest.mark.real
def test_behind_a_gap_the_next_core_goes_on_with_what_this_one_knew(opened: Open) -> None:
    """
    A ring that overflowed leaves a hole over which nobody can fold: what an operator stopped would
    start again. The core that lives through it leaves a snapshot of itself.
    """
    core = opened().start()
    parts = core.engine.parts
    assert core.ask("stop", name="web", waiting=True)["status"] == "ok"
    core.inside(lambda: parts.ledger.degrade(OSError(errno.ENOSPC, "No space left on device")))
    core.ask("list")
    story = Draft(events.ActorFailed(1, "x" * (RING_BYTES_MAX // 4), ARBITER))

    def lose() -> None:
        for _ in range(6):
            parts.runtime.say((story,))
            parts.runtime.pump()
        core.engine.upkeep.retry_due = 1

    core.inside(lose)
    core.ask("list")
    core.keeper.close()
    core.end()
    parts.ledger.close()
    directory = f"{core.path}/ledger"
    ledger = Ledger.open(directory, RealDisk(), log_id=bytes(16), now=Moment(0, 0))
    assert any(isinstance(item, Hole) for item in ledger.items())
    found = recall(ledger, RealDisk(), directory)
    ledger.close()
    assert ledger.head == found.memory.seq
    assert found.begun_at > 0
    assert found.memory.past.actors[ARBITER].state.entries["web"].halted


@pytest.mark.real
def test_where_nothing_may_run_unrecorded_a_failing_disk_stops_the_workers(opened: Open) -> None:
    """
    `on_log_failure = stop_workers`: the command is on record when the disk is well again.
    """
    core = opened(on_log_failure="stop_workers").start()
    ledger = core.engine.parts.ledger
    core.inside(lambda: ledger.degrade(OSError(errno.ENOSPC, "No space left on device")))
    core.ask("list")

    def hurry() -> None:
        core.engine.upkeep.retry_due = 1

    core.inside(hurry)
    assert core.ask("quit")["status"] == "ok"
    core.end()
    told = [type(record.body) for record in core.records()]
    assert told.index(commands.ArbiterStop) < told.index(events.LogGap)


@pytest.mark.real
def test_idle_work_is_done_when_nothing_else_is(opened: Open) -> None:
    """
    Once, and soon.
    """
    core = opened()
    done = threading.Event()
    core.engine.idle.add(done.set)
    core.start()
    assert done.wait(DEADLINE_SECONDS)


def test_calls_from_other_threads_are_made_by_the_loop() -> None:
    """
    The descriptor wakes it; slow work is told in the loop as well.
    """
    calls = Calls()
    heard: list[int] = []
    calls.run()
    calls.call(lambda: heard.append(1))
    calls.aside(lambda: 2, heard.append)
    poller = select.poll()
    poller.register(calls.fileno(), select.POLLIN)
    while len(heard) < 2:
        assert poller.poll(DEADLINE_MS)
        calls.run()
    calls.close()
    assert {1, 2} == set(heard)
