"""Room: tests -- recovery and timers: nothing that was routed is forgotten, whatever the crash.

Knows:     bus.past, bus.timers.
Known by:  pytest.
Never:     reads a clock.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.bus import commands, events
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, stamped
from circus.bus.machine import Actor
from circus.bus.past import Fold, Unfoldable
from circus.bus.record import Body, Draft, Record
from circus.bus.timers import HEAP_SLACK, Timers
from circus.bus.values import ARBITER, CLOCK, CORE, REAPER, Moment

WEB = "watcher:web#1"


class Nothing:
    """A policy that only remembers the records it was folded over."""

    def decide(self, state: Any, record: Record, chance: Chance, /) -> tuple[Draft, ...]:
        return ()

    def evolve(self, state: list[int], record: Record, /) -> list[int]:
        return [*state, record.seq]

    def resume(self, state: Any, /) -> tuple[Draft, ...]:
        return ()


def birth(record: Record) -> Actor:
    assert isinstance(record.body, events.WatcherAdded)
    return Actor(f"watcher:{record.body.spec['name']}#{record.seq}", Nothing(), [])


def blank() -> Fold:
    return Fold([Actor(ARBITER, Nothing(), [])], birth)


class Story:
    """Records one after another, folded as they are told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.boot = 1000

    def say(self, body: Body, actor: str = CORE, cause: int = 0, **envelope: Any) -> int:
        seq = len(self.records) + 1
        stamp = Stamp(seq, cause, actor, Moment(0, self.boot), 1)
        self.records.append(stamped(stamp, Draft(body, **envelope)))
        return seq

    def fold(self) -> Fold:
        fold = blank()
        for record in self.records:
            fold.fold(record)
        return fold


def started(boot: str) -> events.CoreStarted:
    return events.CoreStarted("1", 1, 1, boot, "h", "k", 0, "3", 7)


def added(name: str = "web") -> events.WatcherAdded:
    return events.WatcherAdded({"name": name}, "d")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=30), st.integers(0, 60))
def test_what_is_answered_and_what_is_not_is_everything(
    steps: list[tuple[bool, int]], cut: int
) -> None:
    """
    For any decisions and a crash anywhere: answered and unanswered inputs are those routed.
    """
    story = Story()
    story.say(added(), ARBITER)
    routed: list[int] = []
    waiting: list[int] = []
    answered: dict[int, int] = {}  # the answer's seq, by input
    for asks, count in steps:
        if asks or not waiting:
            for _ in range(count):
                seq = story.say(commands.WatcherIncr(), "client", to=WEB)
                routed.append(seq)
                waiting.append(seq)
        else:
            cause = waiting.pop(0)
            answered[cause] = len(story.records) + 1
            for number in range(count):
                story.say(events.WatcherResized(number), WEB, cause)
    story.records = story.records[: max(1, cut)]
    head = len(story.records)

    found = story.fold().found

    expected = [s for s in routed if s <= head and answered.get(s, head + 1) > head]
    assert expected == [record.seq for record in found.inputs()]
    own = [record.seq for record in story.records if record.actor == WEB]
    assert own == found.actors[WEB].state


class Doubter(Nothing):
    """A policy that cannot believe one of its own records."""

    def evolve(self, state: list[int], record: Record, /) -> list[int]:
        if record.name == "watcher.resized":
            raise LookupError("no such slot")
        return super().evolve(state, record)


def test_a_record_that_cannot_be_believed_is_named() -> None:
    """
    Its seq, who said it, and why: every further start would end there too.
    """
    story = Story()
    story.say(added(), ARBITER)
    seq = story.say(events.WatcherResized(3), ARBITER)
    fold = Fold([Actor(ARBITER, Doubter(), [])], birth)
    fold.fold(story.records[0])
    with pytest.raises(Unfoldable) as caught:
        fold.fold(story.records[1])
    assert str(caught.value).startswith(
        f"cannot believe record {seq} (watcher.resized) of {ARBITER}: LookupError: no such slot; "
    )


def test_a_removed_watcher_leaves_nothing_to_answer() -> None:
    """
    Neither its inbox nor mail that comes later.
    """
    story = Story()
    story.say(added(), ARBITER)
    story.say(commands.WatcherIncr(), "client", to=WEB)
    story.say(events.WatcherRemoved(WEB), WEB)
    story.say(commands.WatcherIncr(), "client", to=WEB)

    found = story.fold().found
    assert [ARBITER] == list(found.actors)
    assert [] == found.inputs()


def test_spawns_and_signals_without_an_outcome_are_found() -> None:
    """
    What the keeper is asked about after a restart.
    """
    story = Story()
    story.say(added(), ARBITER)
    spawns = [story.say(commands.ProcessSpawn("d"), WEB, to=REAPER, slot=n) for n in range(5)]
    ran, died, reaped, failed, silent = spawns
    for spawn in (ran, died, reaped):
        story.say(events.ProcessSpawned(spawn, 1), REAPER, to=WEB, spawn_id=spawn)
    for spawn in (died, reaped):
        exited = events.ProcessExited(spawn, 0, None, False, {}, 1, 1)
        story.say(exited, REAPER, to=WEB, spawn_id=spawn)
    story.say(events.ProcessReaped(reaped), REAPER, spawn_id=reaped)
    story.say(events.ProcessSpawnFailed("exec", 2, ""), REAPER, to=WEB, spawn_id=failed)
    first = story.say(commands.ProcessSignal(15), WEB, to=REAPER, spawn_id=ran)
    second = story.say(commands.ProcessSignal(9), WEB, to=REAPER, spawn_id=ran)
    story.say(events.ProcessSignalled(first, 15, (1,)), REAPER, to=WEB, spawn_id=ran)

    spawns_found = story.fold().found.spawns
    assert [silent] == list(spawns_found.undecided)
    assert [ran, died] == list(spawns_found.alive)
    assert {died} == spawns_found.exited
    assert [second] == list(spawns_found.signals)


def test_the_last_incarnation_is_known() -> None:
    """
    Its number, its boot and its last record.
    """
    story = Story()
    story.say(started("a"))
    story.say(events.CoreReady())

    found = story.fold().found
    assert (1, "a") == (found.incarnation, found.boot_id)
    assert found.last == story.records[-1]


def test_timers_go_on_with_what_remained_after_every_new_boot() -> None:
    """
    Due times are boot times: a core that restarts in the second boot reads the first boot's too.
    """
    story = Story()
    story.say(started("a"))
    story.say(commands.TimerArm("respawn", 500), WEB, to=CLOCK)
    story.say(commands.TimerArm("kill", 500, "process"), WEB, to=CLOCK)
    story.boot = 1200
    story.say(events.CoreReady())
    story.boot = 50
    story.say(started("b"))
    story.boot = 60
    story.say(started("b"))

    timers = story.fold().found.timers
    assert (1, 50 + 300) == (len(timers), timers.next_due())


class Clockwork:
    """Timers that are told records."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.seq = 0

    def tell(self, body: Body, *, actor: str = WEB, boot: int = 0, to: str = CLOCK) -> int:
        self.seq += 1
        stamp = Stamp(self.seq, 0, actor, Moment(0, boot), 1)
        self.timers.fold(stamped(stamp, Draft(body, to=to)))
        return self.seq

    def due(self, boot: int) -> list[tuple[str | None, str]]:
        woken: list[tuple[str | None, str]] = []
        for draft in self.timers.take_due(boot):
            assert isinstance(draft.body, events.TimerWoke)
            assert draft.cause == draft.body.armed
            woken.append((draft.watcher, draft.body.timer))
        return woken


def test_timers_wake_in_order_of_time_then_of_arming() -> None:
    """
    Each once, none before its time.
    """
    clock = Clockwork()
    clock.tell(commands.TimerArm("late", 30))
    clock.tell(commands.TimerArm("b", 20))
    clock.tell(commands.TimerArm("warmup", 20), actor=ARBITER)
    assert clock.timers.next_due() == 20

    assert [] == clock.due(19)
    assert [("web", "b"), (None, "warmup")] == clock.due(29)
    assert [("web", "late")] == clock.due(30)
    assert clock.timers.next_due() is None


def test_arming_again_replaces_and_disarming_removes() -> None:
    """
    The newest arming is the one that counts; others of the same name are other actors'.
    """
    clock = Clockwork()
    clock.tell(commands.TimerArm("t", 10))
    clock.tell(commands.TimerArm("t", 10), actor="watcher:b#2")
    clock.tell(commands.TimerArm("t", 50))
    clock.tell(commands.TimerDisarm("t"), actor="watcher:b#2")
    clock.tell(commands.TimerDisarm("never armed"))

    assert (1, 50) == (len(clock.timers), clock.timers.next_due())
    clock.tell(commands.TimerDisarm("t"))
    assert [] == clock.due(1000)


def test_in_recovery_a_wake_on_record_is_not_said_again() -> None:
    """
    Unless the timer has been armed anew since.
    """
    clock = Clockwork()
    first = clock.tell(commands.TimerArm("t", 10))
    clock.tell(events.TimerWoke("t", first), actor=CLOCK, to=WEB)
    clock.tell(events.TimerWoke("unknown", first), actor=CLOCK, to=WEB)
    assert len(clock.timers) == 0
    second = clock.tell(commands.TimerArm("t", 10))
    third = clock.tell(commands.TimerArm("t", 20))
    clock.tell(events.TimerWoke("t", second), actor=CLOCK, to=WEB)
    assert second < third
    assert [("web", "t")] == clock.due(20)


def test_timers_of_a_removed_watcher_are_gone() -> None:
    """
    Those of the others stay.
    """
    clock = Clockwork()
    clock.tell(commands.TimerArm("a", 10))
    clock.tell(commands.TimerArm("b", 10), actor=ARBITER)
    clock.tell(events.WatcherRemoved(WEB))

    assert [(None, "b")] == clock.due(10)


def test_a_timer_that_is_armed_again_and_again_costs_no_memory() -> None:
    """
    Churn arms and disarms without end; what was replaced is swept.
    """
    clock = Clockwork()
    for number in range(10_000):
        clock.tell(commands.TimerArm("kill", 10**12 + number))

    assert len(clock.timers._heap) <= HEAP_SLACK + 2
    assert [("web", "kill")] == clock.due(10**13)
