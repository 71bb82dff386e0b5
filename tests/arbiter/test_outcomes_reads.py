"""Room: tests -- what is folded for clients: outcomes and reads.

Knows:     arbiter.outcomes, arbiter.reads.
Known by:  pytest.
Never:     opens a socket.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from told import WEB, Told

from circus.arbiter import outcomes as outcomes_module
from circus.arbiter.outcomes import ID_AGE_MAX, IDS_MAX, Outcome, Outcomes, Waiter
from circus.arbiter.reads import PARKED_MAX, Reads
from circus.arbiter.verbs import Refusal
from circus.bus import events
from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.record import Body
from circus.bus.values import Moment
from circus.bus.wire import Read


class Heard:
    """One waiting client."""

    def __init__(self, *, until_finished: bool = False) -> None:
        self.answers: list[tuple[Body | None, int]] = []
        self.waiter = Waiter(until_finished, self.hear)

    def hear(self, outcome: Outcome) -> None:
        self.answers.append((outcome.fact, outcome.seq))


# --- outcomes -------------------------------------------------------------------------------------


def test_one_waits_for_the_word_another_for_the_end() -> None:
    """
    Accepted answers the first; finished the second; each once.
    """
    outcomes = Outcomes()
    told, first, second = Told(outcomes), Heard(), Heard(until_finished=True)
    told.born()
    command = told.asked()
    outcomes.wait(command, first.waiter)
    outcomes.wait(command, second.waiter)
    accepted = told(events.CommandAccepted(command))
    finished = told(events.CommandFinished(command))
    told(events.CommandAccepted(12345))

    assert [(events.CommandAccepted(command), accepted)] == first.answers
    assert [(events.CommandFinished(command), finished)] == second.answers


def test_a_refusal_is_an_end_too() -> None:
    """
    Whoever waits for the end hears it; later words about the command are not believed.
    """
    outcomes = Outcomes()
    told, heard = Told(outcomes), Heard(until_finished=True)
    told.born()
    command = told.asked()
    outcomes.wait(command, heard.waiter)
    refused = told(events.CommandRefused(command, "cannot"))
    told(events.CommandFinished(command))

    assert [(events.CommandRefused(command, "cannot"), refused)] == heard.answers


def test_the_same_id_of_the_same_user_is_the_same_command() -> None:
    """
    Also after a restart: the outcome is a fold of the ledger.
    """
    outcomes = Outcomes()
    told, heard = Told(outcomes), Heard()
    told.born()
    command = told.asked(b"i", uid=5)
    told(events.CommandAccepted(command))

    assert command == outcomes.find((5, b"i"))
    assert outcomes.find((6, b"i")) is None
    outcomes.wait(command, heard.waiter)
    assert 1 == len(heard.answers)


def test_a_removed_watcher_answers_nobody_so_its_removal_does() -> None:
    """
    Those who wait, those who ask again, and those whose command comes too late.
    """
    outcomes = Outcomes()
    told, waiting, again, late = Told(outcomes), Heard(), Heard(), Heard()
    told.born()
    finished = told.asked(b"f")
    told(events.CommandFinished(finished))
    command, silent = told.asked(b"a"), told.asked(b"b")
    outcomes.wait(command, waiting.waiter)
    told(events.WatcherRemoved(WEB))
    outcomes.wait(silent, again.waiter)
    outcomes.wait(told.asked(b"c"), late.waiter)

    for heard in (waiting, again, late):
        ((fact, _seq),) = heard.answers
        assert isinstance(fact, events.CommandRefused)
        assert fact.reason == "cannot carry out: the watcher was removed"
    stored = Heard()
    outcomes.wait(finished, stored.waiter)
    assert isinstance(stored.answers[0][0], events.CommandFinished)


def test_what_a_watcher_has_accepted_is_not_refused_when_it_is_removed() -> None:
    """
    It ends its own commands as it goes, in the same decision: a retry hears that, before a crash
    and after it.
    """
    outcomes = Outcomes()
    told, waiting, again = Told(outcomes), Heard(until_finished=True), Heard()
    told.born()
    command = told.asked(b"k")
    outcomes.wait(command, waiting.waiter)
    told(events.CommandAccepted(command))
    told(events.WatcherRemoved(WEB))
    superseded = events.CommandFinished(command, "superseded")
    seq = told(superseded)
    outcomes.wait(command, again.waiter)

    assert [(superseded, seq)] == waiting.answers
    assert [(superseded, seq)] == again.answers


def test_ids_are_remembered_for_a_day() -> None:
    """
    RELIABILITY.md, 1.4.
    """
    outcomes = Outcomes()
    told = Told(outcomes)
    told.born()
    told.asked(b"old")
    told.at += ID_AGE_MAX
    told.asked(b"new")
    assert outcomes.find((0, b"old")) is not None
    told.at += 1
    told.asked(b"newer")
    assert outcomes.find((0, b"old")) is None
    assert outcomes.find((0, b"new")) is not None


def test_ids_are_remembered_up_to_a_number() -> None:
    """
    The oldest go first; an id that was used again is forgotten with its last use.
    """
    outcomes = Outcomes()
    told = Told(outcomes)
    told.born()
    told.asked(b"again")
    second = told.asked(b"again")
    for number in range(IDS_MAX - 1):
        told.asked(number.to_bytes(4, "big"))
    assert second == outcomes.find((0, b"again"))
    told.asked(b"one more")
    assert outcomes.find((0, b"again")) is None
    assert IDS_MAX == len(outcomes._by_seq)
    assert outcomes_module.key_of({"address": "::1"}, b"i") == ("::1", b"i")


# --- reads ----------------------------------------------------------------------------------------


class Raw:
    def __init__(self, data: bytes, first_seq: int, last_seq: int) -> None:
        self.data, self.first_seq, self.last_seq = data, first_seq, last_seq


class FakeLedger:
    """The read side, and the clock."""

    log_id = bytes(16)
    head = 10
    first_retained = 3
    fault: Exception | None = None
    data = b"frames"

    def read_raw(self, after: int, bytes_max: int, /) -> Raw:
        if self.fault is not None:
            raise self.fault
        return Raw(self.data, after + 1, self.head)

    def chain8_at(self, seq: int, /) -> bytes | None:
        return b"chain..8"

    def now(self) -> Moment:
        return Moment(0, 1000)


class Reader:
    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.reads = Reads(self.ledger, self.ledger)
        self.told: list[Any] = []
        self.connections = 0

    def ask(self, after: int, *, wait_ms: int = 0, whose: bytes = b"", **rest: Any) -> Any:
        """From a connection of its own, unless `whose` says from which."""
        self.connections += 1
        read = Read(rest.get("log_id"), after, rest.get("chain8"), 100, wait_ms)
        self.reads.ask(read, self.tell, whose or b"%d" % self.connections)
        return self.told.pop() if self.told else None

    def tell(self, fields: Mapping[str, Any] | Refusal, raw: bytes | None) -> None:
        self.told.append(fields if raw is None else (fields, raw))


def test_a_reader_gets_frames_or_the_reason_why_not() -> None:
    """
    docs/wire.md, READ: every result.
    """
    reader = Reader()
    fields = {"result": "events", "first_seq": 6, "last_seq": 10}
    assert (fields, b"frames") == reader.ask(5)
    assert (fields, b"frames") == reader.ask(5, log_id=bytes(16), chain8=b"chain..8")
    assert {"result": "reset", "log_id": bytes(16)} == reader.ask(5, log_id=b"x" * 16)
    assert {"result": "trimmed", "first_seq": 3} == reader.ask(1)
    assert {"result": "diverged"} == reader.ask(5, chain8=b"other..8")
    assert {"result": "diverged"} == reader.ask(11)
    assert {"result": "nothing"} == reader.ask(10)
    assert {"result": "trimmed", "first_seq": 3} == reader.ask(0, chain8=b"whatever")
    reader.ledger.fault = Trimmed(7)
    assert {"result": "trimmed", "first_seq": 7} == reader.ask(5)


def test_a_parked_reader_hears_of_the_next_append_or_of_the_end_of_its_patience() -> None:
    """
    Long poll; the first to run out of patience is the next to be looked at.
    """
    reader = Reader()
    assert reader.reads.next_due() is None
    reader.ask(10, wait_ms=5)
    reader.ask(10, wait_ms=1)
    assert reader.reads.next_due() == 1000 + 1_000_000
    reader.reads.look_again(1000 + 1_000_000)
    assert [{"result": "nothing"}] == reader.told
    reader.ledger.head = 12
    reader.reads.look_again(1000)
    assert ({"result": "events", "first_seq": 11, "last_seq": 12}, b"frames") == reader.told[1]
    assert reader.reads.next_due() is None


def test_damage_that_a_parked_reader_meets_is_its_answer() -> None:
    """
    The loop goes on.
    """
    reader = Reader()
    reader.ask(10, wait_ms=5)
    reader.ledger.head = 12
    reader.ledger.fault = Damaged("seg", 5, 11, 12)
    reader.reads.look_again(1000)

    (refusal,) = reader.told
    assert isinstance(refusal, Refusal)
    assert (5, True) == (refusal.errno, "records 11 to 12" in refusal.reason)


def test_frames_that_are_in_memory_only_are_waited_for() -> None:
    """
    A full disk: nothing to read yet, and no empty answer to spin on.
    """
    reader = Reader()
    reader.ledger.data = b""
    assert {"result": "nothing"} == reader.ask(5)
    assert reader.ask(5, wait_ms=1) is None
    reader.ledger.data = b"frames"
    reader.reads.look_again(1000)
    assert 1 == len(reader.told)


def test_so_many_may_be_parked() -> None:
    """
    RELIABILITY.md, 7.11; one more is answered at once.
    """
    reader = Reader()
    for _ in range(PARKED_MAX):
        assert reader.ask(10, wait_ms=5) is None
    assert {"result": "nothing"} == reader.ask(10, wait_ms=5)


def test_a_connection_has_one_parked_question() -> None:
    """
    RELIABILITY.md, 7.11; the earlier one is answered, the later one waits, others stay.
    """
    reader = Reader()
    assert reader.ask(10, wait_ms=3, whose=b"one") is None
    assert reader.ask(10, wait_ms=4, whose=b"two") is None
    for _ in range(PARKED_MAX):
        assert {"result": "nothing"} == reader.ask(10, wait_ms=5, whose=b"one")
    assert reader.reads.next_due() == 1000 + 4_000_000
    reader.ledger.head = 12
    reader.reads.look_again(1000)
    fields = {"result": "events", "first_seq": 11, "last_seq": 12}
    assert [(fields, b"frames")] * 2 == reader.told
    assert reader.reads.next_due() is None
