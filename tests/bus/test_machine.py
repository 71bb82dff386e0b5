"""Room: tests -- hosts, switchboard, outside: record, believe, act; one input at a time.

Knows:     bus.machine, bus.switchboard, bus.outside.
Known by:  pytest.
Never:     reads a clock, opens a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from circus.bus import commands, events
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, records_of, stamped
from circus.bus.machine import Actor, Delivered, Host, Stamped
from circus.bus.outside import Outside
from circus.bus.record import Decision, Draft, Record
from circus.bus.routing import ACTORS, WORLD
from circus.bus.switchboard import Switchboard
from circus.bus.timers import Timers
from circus.bus.transport import MemoryExchange
from circus.bus.values import CLOCK, CORE, REAPER, Moment

ADDRESS = "watcher:web#1"
NOW = Moment(100, 200)


class Counting:
    """Answers `incr` with its new size and `manage` with nothing; fails on demand."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.seen: list[tuple[str, int]] = []

    def decide(self, state: list[int], record: Record, chance: Chance, /) -> tuple[Draft, ...]:
        self.seen.append(("decide", record.seq))
        self._fail("decide")
        if isinstance(record.body, commands.WatcherManage):
            return ()
        return (Draft(events.WatcherResized(sum(state) + 1)), Draft(events.WatcherReloaded()))

    def evolve(self, state: list[int], record: Record, /) -> list[int]:
        self.seen.append(("evolve", record.seq))
        self._fail("evolve")
        return [*state, 1] if isinstance(record.body, events.WatcherResized) else state

    def resume(self, state: list[int], /) -> tuple[Draft, ...]:
        self._fail("resume")
        return (Draft(events.WatcherStarting()),) if state else ()

    def _fail(self, what: str) -> None:
        if self.failures[:1] == [what]:
            self.failures.pop(0)
            raise RuntimeError(f"told to fail in {what}")


class Stage:
    """A host with one actor; stamps are given by the test."""

    def __init__(self, state: list[int] | None = None) -> None:
        self.core = Counting()
        self.refolded: list[str] = []
        self.refold_fails = False
        self.host = Host(Chance(7), 3, birth=self.birth, refold=self.refold)
        self.actor = Actor(ADDRESS, self.core, state or [])
        self.host.add(self.actor)

    def birth(self, record: Record) -> Actor:
        return Actor(f"watcher:new#{record.seq}", self.core, [])

    def refold(self, address: str) -> list[int]:
        self.refolded.append(address)
        if self.refold_fails:
            raise RuntimeError("told to fail in refold")
        return [1, 1]

    def give(self, seq: int, body: Any = None, address: str = ADDRESS) -> None:
        record = stamped(
            Stamp(seq, 0, "client", NOW, 3), Draft(body or commands.WatcherIncr(), to=address)
        )
        self.host.handle(Delivered(address, record))

    def stamp(self, first_seq: int, actor: str = ADDRESS) -> None:
        self.host.handle(Stamped(actor, first_seq, NOW))

    def said(self) -> list[Decision]:
        taken, self.host.outbox = self.host.outbox, []
        return taken


def test_an_actor_gets_its_next_input_when_the_last_decision_is_in_the_ledger() -> None:
    """
    ADR-0002: decide, record, evolve; then the next one.
    """
    stage = Stage()
    stage.give(1)
    stage.give(2)
    assert [1] == [decision.cause for decision in stage.said()]

    stage.stamp(10)

    expected = [("decide", 1), ("evolve", 10), ("evolve", 11), ("decide", 2)]
    assert expected == stage.core.seen
    assert [1] == stage.actor.state
    assert [2] == [decision.cause for decision in stage.said()]


def test_an_input_without_an_answer_lets_the_next_one_in_at_once() -> None:
    """
    Nothing was said, so nothing has to be recorded first.
    """
    stage = Stage()
    stage.give(1, commands.WatcherManage())
    stage.give(2)

    assert [("decide", 1), ("decide", 2)] == stage.core.seen


def test_other_actors_go_on_while_one_waits() -> None:
    """
    Commands to different watchers never wait for one another.
    """
    stage = Stage()
    stage.host.add(Actor("watcher:b#2", stage.core, []))
    stage.give(1)
    stage.give(2, address="watcher:b#2")

    assert [ADDRESS, "watcher:b#2"] == [decision.actor for decision in stage.said()]


def test_a_core_that_raises_once_is_refolded_and_tried_again() -> None:
    """
    The failure is a fact said by the core; the input is answered all the same.
    """
    stage = Stage()
    stage.core.failures = ["decide"]
    stage.give(5)

    failed, answer = stage.said()
    assert (CORE, 0) == (failed.actor, failed.cause)
    body = failed.drafts[0].body
    assert isinstance(body, events.ActorFailed)
    assert (5, ADDRESS, "web") == (body.input, body.address, failed.drafts[0].watcher)
    assert "told to fail in decide" in body.traceback
    assert (ADDRESS, 5) == (answer.actor, answer.cause)
    assert [ADDRESS] == stage.refolded
    assert events.WatcherResized(3) == answer.drafts[0].body


def test_a_core_that_raises_twice_has_its_input_set_aside() -> None:
    """
    The actor goes on with the next input, and an operator is told.
    """
    stage = Stage()
    stage.core.failures = ["decide", "decide"]
    stage.give(5)
    stage.give(6)

    *failures, aside = stage.said()
    assert [CORE, CORE] == [decision.actor for decision in failures]
    assert Decision(ADDRESS, 5, (Draft(events.InputSetAside(5), watcher="web"),)) == aside
    stage.stamp(10)
    assert [6] == [decision.cause for decision in stage.said()]


def test_a_failure_long_ago_is_no_second_failure() -> None:
    """
    Tries are counted per input.
    """
    stage = Stage()
    for seq in (5, 6):
        stage.core.failures = ["decide"]
        stage.give(seq)
        assert not any(
            isinstance(draft.body, events.InputSetAside)
            for decision in stage.said()
            for draft in decision.drafts
        )
        stage.stamp(seq * 10)


def test_an_evolve_that_raises_is_told_and_the_state_folded_again() -> None:
    """
    The ledger has the truth.
    """
    stage = Stage()
    stage.give(5)
    stage.said()
    stage.core.failures = ["evolve"]
    stage.stamp(10)

    (failed,) = stage.said()
    assert isinstance(failed.drafts[0].body, events.ActorFailed)
    assert [1, 1] == stage.actor.state


def test_a_fold_that_fails_again_leaves_the_other_actors_alone() -> None:
    """
    One watcher's policy is not the end of the daemon.
    """
    stage = Stage()
    stage.refold_fails = True
    stage.core.failures = ["decide"]
    stage.give(5)

    said = [decision.actor for decision in stage.said()]
    assert [CORE, CORE, ADDRESS] == said


def test_what_is_resumed_is_recorded_before_the_first_input() -> None:
    """
    The inbox waits for what the actor asks for again.
    """
    stage = Stage([1])
    stage.host.resume(stage.actor)
    stage.host.resume(stage.actor)
    stage.give(5)

    assert [0] == [decision.cause for decision in stage.said()]
    stage.stamp(8)
    assert [5] == [decision.cause for decision in stage.said()]


def test_a_resume_that_raises_is_told() -> None:
    """
    A core that cannot be resumed still gets its inputs.
    """
    stage = Stage([1])
    stage.core.failures = ["resume"]
    stage.host.resume(stage.actor)
    stage.give(5)

    assert [CORE, ADDRESS] == [decision.actor for decision in stage.said()]


def test_a_newborn_lives_and_a_removed_watcher_gets_no_mail() -> None:
    """
    Births and ends are records; mail and stamps for who is gone are dropped.
    """
    stage = Stage()
    stage.give(4, events.WatcherAdded({"name": "new"}, ""))
    stage.give(5, address="watcher:new#4")
    assert "watcher:new#4" in stage.host.actors
    stage.give(6, events.WatcherRemoved("watcher:new#4"), address="watcher:new#4")
    stage.stamp(7, "watcher:new#4")
    stage.give(8, address="watcher:new#4")

    assert [ADDRESS] == list(stage.host.actors)
    assert [("decide", 5)] == stage.core.seen


class ListLog:
    """What a ledger keeps, and what was told before it was kept."""

    def __init__(self) -> None:
        self.head = 0
        self.appends: list[list[tuple[int, bytes]]] = []
        self.told: list[str] = []

    def append(self, frames: Sequence[tuple[int, bytes]], now: Moment, /) -> list[bytes]:
        assert self.told == [], "nothing may be told before it is appended"
        self.appends.append(list(frames))
        self.head += sum(count for count, _ in frames)
        return [bytes(16)] * len(frames)


class FixedClock:
    def now(self) -> Moment:
        return NOW


class Told:
    """Exchange, publisher and observer in one: writes down who was told what."""

    def __init__(self, log: ListLog) -> None:
        self.log = log
        self.observed: list[Record] = []
        self.sent: list[tuple[str, list[Stamped | Delivered]]] = []
        self.published: list[int] = []

    def send(self, host: str, items: Sequence[Stamped | Delivered], /) -> None:
        self.log.told.append("send")
        self.sent.append((host, list(items)))

    def observe(self, record: Record, /) -> None:
        self.log.told.append("observe")
        self.observed.append(record)

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int, /
    ) -> None:
        assert len(frames) == len(chains)
        self.log.told.append("publish")
        self.published.append(first_seq)


@pytest.fixture
def told() -> Told:
    return Told(ListLog())


@pytest.fixture
def switchboard(told: Told) -> Switchboard:
    made = Switchboard(told.log, FixedClock(), 3, exchange=told, publisher=told)
    made.observers.append(told)
    return made


def test_one_flush_is_one_append_in_order_and_then_everybody_is_told(
    switchboard: Switchboard, told: Told
) -> None:
    """
    ADR-0003: nothing is seen before it is written; seq is dense.
    """
    heard: list[Stamped] = []
    birth = Draft(events.WatcherAdded({"name": "new"}, ""), watcher="new")
    switchboard.submit(Decision("arbiter", 1, (birth, Draft(events.ArbiterStarted()))), ACTORS)
    switchboard.submit(Decision(CORE, 0, (Draft(events.CoreReady()),)), heard.append)
    spawn = Draft(commands.ProcessSpawn("d"), to=REAPER, slot=1)
    switchboard.submit(Decision(ADDRESS, 2, (spawn,)), ACTORS)

    assert switchboard.flush()
    assert not switchboard.flush()

    assert [[2, 1, 1]] == [[count for count, _ in frames] for frames in told.log.appends]
    assert [1, 2, 3, 4] == [record.seq for record in told.observed]
    assert told.observed == [
        record for frames in told.log.appends for _, data in frames for record in records_of(data)
    ]
    assert switchboard.head == 4
    assert [Stamped(CORE, 3, NOW)] == heard
    assert ["observe"] * 4 + ["send"] * 2 + ["publish"] == told.log.told
    mail = dict(told.sent)
    assert [Stamped, Delivered, Stamped] == [type(item) for item in mail[ACTORS]]
    born, spawned = mail[ACTORS][1], mail[WORLD][0]
    assert isinstance(born, Delivered)
    assert "watcher:new#1" == born.address
    assert isinstance(spawned, Delivered)
    assert (REAPER, 4) == (spawned.address, spawned.record.spawn_id)
    assert [1] == told.published


def test_what_is_submitted_while_others_are_told_goes_with_the_next_flush(
    switchboard: Switchboard, told: Told
) -> None:
    """
    A callback may speak; nothing that was submitted is dropped.
    """
    again = Decision(CORE, 0, (Draft(events.CoreReady()),))
    switchboard.submit(again, lambda _item: switchboard.submit(again, ACTORS))
    switchboard.flush()
    told.log.told.clear()
    switchboard.flush()

    assert [1, 2] == [record.seq for record in told.observed]


class Hands:
    def __init__(self) -> None:
        self.performed: list[int] = []
        self.heard: list[list[Record]] = []

    def perform(self, record: Record, /) -> None:
        self.performed.append(record.seq)

    def recorded(self, records: Sequence[Record], /) -> None:
        self.heard.append(list(records))


def test_the_world_speaks_first_and_acts_when_it_is_recorded() -> None:
    """
    Reports are one frame; the reaper hears when they are in the ledger, the clock folds arms.
    """
    exchange, hands, timers = MemoryExchange(), Hands(), Timers()
    outside = Outside(exchange.wire(WORLD), hands, timers, 3)
    outside.report([])
    reports = [
        Draft(events.ProcessReaped(7), spawn_id=1),
        Draft(events.ProcessReaped(8), spawn_id=2),
    ]
    outside.report(reports)
    arm = stamped(Stamp(3, 1, ADDRESS, NOW, 3), Draft(commands.TimerArm("t", 50), to=CLOCK))
    exchange.send(WORLD, [Delivered(CLOCK, arm), Stamped(REAPER, 5, NOW)])
    assert outside.receive()
    assert not outside.receive()
    outside.wake(NOW.boot + 49)
    outside.wake(NOW.boot + 50)
    spawn = stamped(Stamp(9, 1, ADDRESS, NOW, 3), Draft(commands.ProcessSpawn("d"), to=REAPER))
    exchange.send(WORLD, [Stamped(CLOCK, 7, NOW), Delivered(REAPER, spawn)])
    outside.receive()

    said = [decision for _host, decision in exchange.receive()]
    woke = Draft(events.TimerWoke("t", 3), to=ADDRESS, watcher="web", cause=3)
    assert [Decision(REAPER, 0, tuple(reports)), Decision(CLOCK, 0, (woke,))] == said
    assert [[5, 6]] == [[record.seq for record in records] for records in hands.heard]
    assert [9] == hands.performed
