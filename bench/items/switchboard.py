"""Records through the switchboard into the ledger, with one subscriber in another process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import zmq

from bench.stage import Figures, Item, Run, Stage, Target
from circus.bus.bind import bind_events
from circus.bus.clock import SystemClock
from circus.bus.codec import records_of
from circus.bus.disk import RealDisk
from circus.bus.events import ProcessSpawned
from circus.bus.ledger import Ledger
from circus.bus.publish import EventStream
from circus.bus.reader import LedgerReader
from circus.bus.record import Decision, Draft
from circus.bus.routing import ACTORS, WORLD
from circus.bus.switchboard import Switchboard
from circus.bus.syncer import GroupSyncer
from circus.bus.transport import MemoryExchange, ZmqExchange
from circus.daemon import GARBAGE_THRESHOLDS

RECORDS: Final = 100_000
DECISIONS_PER_WAKE: Final = 16
OWNER: Final = "watcher:w#2"
COUNTER: Final = """
import sys, zmq
sub = zmq.Context().socket(zmq.SUB)
sub.set_hwm(100000)
sub.subscribe(b"E")
sub.connect(sys.argv[1])
count = 0
while True:
    count += len(sub.recv_multipart()) > 2
    if count == 1:
        print("hears", flush=True)
"""


@contextmanager
def _subscriber(endpoint: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", COUNTER, endpoint], stdout=subprocess.DEVNULL
    ) as sub:
        try:
            yield
        finally:
            sub.kill()


@contextmanager
def _opened(stage: Stage) -> Iterator[tuple[zmq.Context[Any], Ledger, EventStream]]:
    """The real ledger with its syncer, and the real XPUB, heard by one."""
    context: zmq.Context[Any] = zmq.Context()
    clock = SystemClock()
    path = f"{stage.folder}/ledger"
    ledger = Ledger.open(path, RealDisk(), log_id=os.urandom(16), now=clock.now())
    syncer = GroupSyncer()
    ledger.attach(syncer)
    endpoint = f"ipc://{stage.folder}/events.sock"
    bound = bind_events(context, [endpoint])
    stream = EventStream(bound, ledger, clock, (1, 0))
    with _subscriber(endpoint):
        while not stream.listeners:
            bound.poll(1000)
            stream.receive()
        yield context, ledger, stream
    ledger.close()
    syncer.close()
    stream.close()
    context.destroy(0)


def drive(stage: Stage, transport: str, size: int, per_wake: int) -> float:
    """Records per second: hosts' wire, exchange, switchboard, ledger, XPUB, back to the hosts."""
    records = stage.sized(RECORDS, 320)
    turns = records // (size * per_wake)
    draft = Draft(ProcessSpawned(4711, 123456789012, 1234), OWNER, "w", 3, 42, 17)
    decisions = [Decision("reaper", 17, (draft,) * size)] * per_wake
    with _opened(stage) as (context, ledger, stream):
        exchange: MemoryExchange | ZmqExchange = (
            MemoryExchange() if transport == "memory" else ZmqExchange(context, 1)
        )
        actors, world = exchange.wire(ACTORS), exchange.wire(WORLD)
        board = Switchboard(ledger, SystemClock(), 1, exchange=exchange, publisher=stream)
        gc.set_threshold(*GARBAGE_THRESHOLDS)  # as the daemon has them
        begun = time.perf_counter()
        for _ in range(turns):
            world.send(decisions)
            for sender, decision in exchange.receive():
                board.submit(decision, sender)
            board.flush()
            world.receive()
            actors.receive()
        taken = time.perf_counter() - begun
        exchange.close()
    _check(stage, turns * size * per_wake)
    return turns * size * per_wake / taken


def _check(stage: Stage, records: int) -> None:
    frames = LedgerReader(f"{stage.folder}/ledger").frames()
    read = sum(len(records_of(frame.payload)) for frame in frames)
    assert read == records, f"cannot believe it: {read} of {records} records are in the ledger"
    stage.notes.append(f"{read} records, all there")


def _run(transport: str, per_wake: int) -> Run:
    def run(stage: Stage) -> Figures:
        first = stage._replace(folder=stage.folder / "1")
        second = stage._replace(folder=stage.folder / "10")
        for part in (first, second):
            part.folder.mkdir()
        return {
            "by one, records/s": drive(first, transport, 1, per_wake),
            "by ten, records/s": drive(second, transport, 10, per_wake),
        }

    return run


ITEMS: Final = (
    Item(
        "switchboard", "Records through the switchboard into the ledger, one subscriber",
        {
            "ours": _run("zmq", DECISIONS_PER_WAKE),
            "ours, memory": _run("memory", DECISIONS_PER_WAKE),
            "ours, one decision per wake-up": _run("zmq", 1),
            "ours, memory, one decision per wake-up": _run("memory", 1),
        },
        (
            Target("by one, records/s", "value", "at least", 25_000),
            Target("by ten, records/s", "value", "at least", 100_000),
        ),
        ratios=False,
        about="Decisions of one and of ten records (`process.spawned`, addressed to a watcher), 16 "
        "decisions per wake-up and one: from a host's wire through the exchange, stamped, encoded, "
        "chained, written, published on the real XPUB to a subscriber in another process, and "
        "delivered to the watcher's host. The group syncer runs.",
    ),
)  # fmt: skip
