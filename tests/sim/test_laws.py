"""Room: tests -- the second law can be broken, and says where.

Knows:     circus.replay.check.
Known by:  nobody.
Never:     runs a world where a few records will do.
"""

from __future__ import annotations

from typing import Any, Final

from circus.bus import commands, events
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, encode_records, records_of, stamped
from circus.bus.machine import Actor
from circus.bus.past import Fold
from circus.bus.record import Body, Draft, Record
from circus.bus.values import Moment
from circus.replay.check import check, folded
from circus.replay.drive import drive

COUNTER: Final = "arbiter"


class Counter:
    """A core that counts what it is woken for, and cannot bear some of it."""

    def decide(self, state: int, record: Record, chance: Chance) -> tuple[Draft, ...]:
        body = record.body
        if isinstance(body, commands.ArbiterStart):
            return (Draft(events.WatcherResized(state + 1)),)
        if isinstance(body, commands.ArbiterStop):
            return (Draft(events.WatcherResized(chance.draw("stop") % 1000)),)
        assert not isinstance(body, commands.ArbiterQuit), "I cannot bear it"
        return ()

    def evolve(self, state: int, record: Record) -> int:
        body = record.body
        return body.numprocesses if isinstance(body, events.WatcherResized) else state

    def resume(self, _state: int) -> tuple[Draft, ...]:
        return ()


def fold() -> Fold:
    """One actor."""
    return Fold([Actor(COUNTER, Counter(), 0)], lambda record: Actor("", Counter(), record))


def ledger(*said: tuple[str, int, Body]) -> list[Record]:
    """Records as (actor, cause, body); commands go to the counter."""
    records: list[Record] = []
    for seq, (actor, cause, body) in enumerate(said, 1):
        to = COUNTER if body.kind == "command" else None
        stamp = Stamp(seq, cause, actor, Moment(seq, seq), 1)
        records.append(stamped(stamp, Draft(body, to=to)))
    return records


START: Final = ("client", 0, commands.ArbiterStart())


def test_the_same_decisions_are_no_divergence() -> None:
    """Two inputs, two answers, one input without any."""
    records = ledger(
        START,
        ("client", 0, commands.ArbiterRestart()),
        START,
        (COUNTER, 1, events.WatcherResized(1)),
        (COUNTER, 3, events.WatcherResized(2)),
    )

    assert check(records, fold) is None
    assert {COUNTER: 2} == folded(records, fold)


def test_another_decision_is_a_divergence_at_its_first_record() -> None:
    """The text has what was recorded and what is decided now."""
    found = check(ledger(START, (COUNTER, 1, events.WatcherResized(7))), fold)

    assert found is not None
    assert (2, COUNTER, 1) == (found.seq, found.actor, found.input)
    assert "- Draft(body=WatcherResized(numprocesses=7)" in str(found)
    assert "+ Draft(body=WatcherResized(numprocesses=1)" in str(found)


def test_a_decision_too_few_is_a_divergence() -> None:
    """An input was passed over then, and would be answered now."""
    found = check(ledger(START, START, (COUNTER, 2, events.WatcherResized(1))), fold)

    assert found is not None
    assert (1, ()) == (found.input, found.recorded)


def test_what_nobody_asked_for_is_a_divergence() -> None:
    """An answer to an input that never came."""
    assert check(ledger((COUNTER, 77, events.WatcherResized(1))), fold) is not None


def test_an_input_that_failed_twice_was_set_aside_and_that_is_no_divergence() -> None:
    """What the core raised is a fact; the input counts as answered."""
    failed = events.ActorFailed(1, "AssertionError", COUNTER)
    records = ledger(
        ("client", 0, commands.ArbiterQuit()),
        ("core", 0, failed),
        ("core", 0, failed),
        (COUNTER, 1, events.InputSetAside(1)),
        START,
        (COUNTER, 5, events.WatcherResized(1)),
    )

    assert check(records, fold) is None


def test_chance_comes_from_the_recorded_seed() -> None:
    """Another seed in `core.started`, another draw."""
    started: dict[str, Any] = {
        "version": "", "pid": 1, "keeper_pid": 1, "boot_id": "", "host": "", "kernel": "",
        "uid": 0, "python": "",
    }  # fmt: skip
    drawn = Chance(42).draw("stop") % 1000

    def told(seed: int) -> list[Record]:
        return ledger(
            ("core", 0, events.CoreStarted(seed=seed, **started)),
            ("client", 0, commands.ArbiterStop()),
            (COUNTER, 2, events.WatcherResized(drawn)),
        )

    assert check(told(42), fold) is None
    assert check(told(43), fold) is not None


def test_one_changed_byte_in_a_real_ledger_is_found() -> None:
    """Take any decision of a watcher from a run and change it: the check stops there."""
    records = drive(2, 150).truth.records
    assert check(records) is None
    index, filled = next(
        (i, r) for i, r in enumerate(records) if isinstance(r.body, events.SlotFilled)
    )
    changed = filled._replace(body=events.SlotFilled(12345))

    found = check([*records[:index], changed, *records[index + 1 :]])
    assert found is not None
    assert filled.seq == found.seq


def test_every_record_of_a_run_is_read_as_it_was_written() -> None:
    """The third law, record by record."""
    for record in drive(6, 150).records():
        assert (record,) == records_of(encode_records([record]))
