"""Room: tests -- one incarnation after another over a real ledger, with a reaper that obeys.

Knows:     arbiter.runtime, bus.ledger, both transports.
Known by:  pytest.
Never:     starts a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import zmq

from circus.arbiter.recovery import recall
from circus.arbiter.runtime import Ports, Runtime
from circus.bus import commands, events
from circus.bus.clock import SystemClock
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.past import Past, Spawns
from circus.bus.record import Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.transport import MemoryExchange, ZmqExchange
from circus.bus.values import ARBITER

WORKERS: Final = 1000
Say = Callable[[Sequence[Draft]], None]


class Obedient:
    """Every spawn succeeds when the test says so; what is asked for is written down."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.reconciled = False
        self.crowded = False
        self.asked: list[Record] = []
        self.spawns: Spawns | None = None

    def perform(self, record: Record, /) -> None:
        self.asked.append(record)

    def recorded(self, records: Sequence[Record], /) -> None: ...
    def receive(self) -> None: ...
    def flush(self) -> None: ...
    def hear(self, reports: Iterable[Sequence[object]], /) -> None: ...

    def reconcile(self, spawns: Spawns, barrier: int, lost: str, /) -> None:
        self.spawns = spawns

    def obey(self) -> None:
        asked, self.asked = self.asked, []
        for record in asked:
            spawned = events.ProcessSpawned(record.seq, 1)
            self.say(
                [Draft(spawned, record.actor, "web", record.slot, record.seq, cause=record.seq)]
            )


class Incarnation:
    """A runtime on the ledger in `path`."""

    def __init__(self, path: Path, transport: str) -> None:
        clock = SystemClock()
        now = clock.now()
        self.ledger = Ledger.open(f"{path}/ledger", RealDisk(), log_id=bytes(16), now=now)
        self.context: zmq.Context[Any] = zmq.Context()

        def past() -> Past:
            return recall(self.ledger, RealDisk(), f"{path}/ledger").memory.past

        self.exchange = MemoryExchange() if transport == "memory" else ZmqExchange(self.context, 1)
        reapers: list[Obedient] = []

        def reaper(say: Say) -> Obedient:
            reapers.append(Obedient(say))
            return reapers[0]

        ports = Ports(
            ledger=self.ledger,
            clock=clock,
            exchange=self.exchange,
            publisher=self,
            reaper=reaper,
            recall=past,
        )
        self.runtime = Runtime(ports, past(), 7)
        (self.reaper,) = reapers
        started = events.CoreStarted("1", 1, 1, "b", "h", "k", 0, "3", 7)
        self.runtime.begin((Draft(started),))

    def publish(self, frames: object, chains: object, first_seq: int, /) -> None: ...

    def settle(self) -> None:
        self.reaper.reconciled = True
        self.reaper.say([Draft(events.ReaperReconciled(0))])
        self.runtime.pump()

    def crash(self) -> None:
        """What is not in the ledger is gone."""
        self.exchange.close()
        self.context.term()
        self.ledger.close()


Open = Callable[[], Incarnation]


@pytest.fixture(params=["memory", "zmq"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    made: list[Incarnation] = []

    def make() -> Incarnation:
        if made:
            made[-1].crash()
        made.append(Incarnation(tmp_path, request.param))
        return made[-1]

    yield make
    made[-1].crash()


def configure(count: int) -> commands.ArbiterConfigure:
    spec = WatcherSpec(name="web", cmd="x", numprocesses=count)
    return commands.ArbiterConfigure((to_data(spec),), {"warmup_delay": 0})


def test_a_thousand_workers_are_asked_for_once_and_heard_of_once(opened: Open) -> None:
    """
    From the configuration to a started watcher; the next incarnation asks for nothing more.
    """
    first = opened()
    first.settle()
    first.runtime.command(ARBITER, configure(WORKERS))
    first.runtime.pump()
    assert WORKERS == len({record.seq for record in first.reaper.asked})
    first.reaper.obey()
    first.runtime.pump()
    head = first.runtime.switchboard.head
    states = {a: actor.state for a, actor in first.runtime.host.actors.items()}

    second = opened()
    assert second.reaper.spawns is not None
    assert WORKERS == len(second.reaper.spawns.alive)
    second.settle()
    assert [] == second.reaper.asked
    assert list(states) == list(second.runtime.host.actors)
    assert head + 2 == second.runtime.switchboard.head
    assert 2 == second.runtime.switchboard.incarnation


def test_actors_hear_nothing_before_the_keepers_list_is_settled(opened: Open) -> None:
    """
    Then what was left unanswered comes first.
    """
    first = opened()
    first.runtime.command(ARBITER, configure(2))
    first.runtime.pump()
    assert not first.runtime.awake
    assert [] == first.reaper.asked

    second = opened()
    second.settle()
    assert second.runtime.awake
    assert 2 == len(second.reaper.asked)
    assert second.runtime.next_due() is None


def test_a_signal_without_an_outcome_is_asked_for_again(opened: Open) -> None:
    """
    The keeper knows whether it was sent, and sends it once.
    """
    first = opened()
    first.settle()
    first.runtime.command(ARBITER, configure(1))
    first.runtime.pump()
    first.reaper.obey()
    first.runtime.pump()
    first.runtime.command(ARBITER, commands.ArbiterStop())
    first.runtime.pump()
    (signal,) = first.reaper.asked
    assert isinstance(signal.body, commands.ProcessSignal)

    second = opened()
    second.settle()
    assert signal.seq in [record.seq for record in second.reaper.asked]


def test_an_actor_that_fails_is_folded_again_from_the_ledger(opened: Open) -> None:
    """
    Its state is what the ledger says, not what was left of it.
    """
    only = opened()
    only.settle()
    only.runtime.command(ARBITER, configure(1))
    only.runtime.pump()
    (address,) = [a for a in only.runtime.host.actors if a != ARBITER]
    only.runtime.host.actors[address].state = None
    only.runtime.command(address, commands.WatcherManage())
    only.runtime.pump()

    records = [type(record.body) for record in told(only.ledger)]
    assert events.ActorFailed in records
    assert events.InputSetAside not in records
    assert only.runtime.host.actors[address].state is not None


def test_a_removed_watchers_timers_wake_nobody(opened: Open) -> None:
    """What it has armed is over with it, live as in recovery: nobody is there to answer."""
    only = opened()
    only.settle()
    aged = WatcherSpec(name="web", cmd="x", max_age=60)
    only.runtime.command(ARBITER, commands.ArbiterConfigure((to_data(aged),), {"warmup_delay": 0}))
    only.runtime.pump()
    only.reaper.obey()
    only.runtime.pump()
    assert only.runtime.next_due() is not None
    only.runtime.command(ARBITER, commands.ArbiterRemove("web", nostop=True))
    only.runtime.pump()

    assert [ARBITER] == list(only.runtime.host.actors)
    assert only.runtime.next_due() is None


def told(ledger: Ledger) -> list[Record]:
    from circus.bus.codec import records_of

    return [record for frame in ledger.frames() for record in records_of(frame.payload)]
