"""Room: tests -- a session goes through a record both ways, and conditions find their places.

Knows:     circus.replay.ask.step and expression.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from written import records_in, written

from circus.bus import events
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Draft
from circus.bus.values import Moment
from circus.replay.ask.expression import BadExpression, Expression
from circus.replay.ask.state import state_at
from circus.replay.ask.step import Session, lines_for
from circus.replay.command import program
from circus.replay.moments import Point
from circus.replay.opening import open_ledger

EXITED = stamped(
    Stamp(7, 3, "reaper", Moment(0, 0), 1),
    Draft(events.ProcessExited(100, 1, None, False, {}, 0, 0), None, "web", 2, 5),
)
STATE: dict[str, Any] = {"watchers": {"web-1": {"deaths": 4, "slots": {"2": "running"}}}}


def value(text: str) -> Any:
    return Expression(text).of(EXITED, lambda: STATE)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(open_ledger(written(tmp_path / "state")))


def said(session: Session, *typed: str) -> list[str]:
    return [line for one in typed for line in lines_for(session, one)]


@pytest.mark.parametrize(
    "text",
    [
        'name == "process.exited" and data.code != 0',
        "pid == 100 and slot == 2 and cause == 3",
        '"exit" in name and kind == "event"',
        'not to and watcher in ("web", "db")',
        'state.watchers["web-1"].deaths > 3',
        'state.watchers["web-1"].slots[2] == "running"',
        "seq - cause == 4 and 1 < slot < 3 and -slot == -2",
        "data.signal is None",
    ],
)
def test_a_condition_that_holds_is_true(text: str) -> None:
    """
    Names are the keys of a record; `data` and `state` are looked into by dots and brackets.
    """
    assert value(text)


@pytest.mark.parametrize(
    "text",
    ["data.nothing.there > 3", "state.watchers.nobody.deaths", "slot / 0", "name - 1", "slot in 3"],
)
def test_what_is_not_there_is_no_error(text: str) -> None:
    """
    Records have different fields: a condition goes over all of them.
    """
    assert not value(text)


@pytest.mark.parametrize(
    "text",
    ["", "name ==", "__import__('os')", "open", "name.upper()", "[x for x in data]", "x" * 2000,
     "lambda: 1", "name := 1", "2 ** 99999999", "f'{name}'", "(" * 500],
)  # fmt: skip
def test_what_could_do_anything_is_no_condition(text: str) -> None:
    """
    Nothing is called, imported or assigned; the refusal says what to give.
    """
    with pytest.raises(BadExpression, match="cannot"):
        Expression(text)


def test_forward_and_back_come_to_the_same_state(session: Session) -> None:
    """
    Whatever was passed in between.
    """
    session.go(40)
    before = session.state
    changes = session.go(80)
    assert changes
    assert {one.path for one in changes} == {one.path for one in session.go(40)}
    assert before == session.state
    assert state_at(session.opened, Point(seq=40)) == session.state


def test_a_step_shows_the_record_and_what_it_changed(session: Session) -> None:
    """
    A line for the record, one for each value that is another.
    """
    spawned = next(r.seq for r in session.opened.records() if r.name == "process.spawned")
    said(session, f"g {spawned}", "b")
    line, *changes = said(session, "n")
    assert "process.spawned" in line
    assert any(one.startswith("    watchers.") for one in changes)


def test_the_ends_are_said(session: Session) -> None:
    """
    Before the first record, and at the newest.
    """
    assert ["nothing is before that"] == said(session, "b")
    session.go(10**9)
    assert session.seq == session.head
    assert ["that was the newest record"] == said(session, "n")


def test_a_search_stops_where_the_condition_holds(session: Session, tmp_path: Path) -> None:
    """
    Forward the next place, back the last one before.
    """
    exits = [r.seq for r in records_in(tmp_path / "state") if r.name == "process.exited"]
    condition = Expression('name == "process.exited"')
    assert exits[0] == session.find(condition)
    session.go(exits[2])
    assert exits[3] == session.find(condition)
    assert exits[1] == session.find_back(condition)
    session.go(10**9)
    assert session.find(condition) is None


def test_a_search_over_the_state_stops_where_it_became_so(session: Session) -> None:
    """
    At the first record after which it holds.
    """
    found = session.find(Expression("state.watchers.web.deaths == 2"))
    assert found is not None
    session.go(found)
    assert 2 == session.state["watchers"]["web"]["deaths"]
    assert 1 == state_at(session.opened, Point(seq=found - 1))["watchers"]["web"]["deaths"]


def test_a_session_can_be_typed(tmp_path: Path) -> None:
    """
    One command a line; what is wrong is said, and the session goes on.
    """
    lines = (
        "", "n 5", 'r name == "process.exited"', "w", "p data.pid", "s DB", "s nobody", "xyz",
        "r name ==", "g x", "h", "q", "n",
    )  # fmt: skip
    state = written(tmp_path / "state")
    done = CliRunner().invoke(program, ["step", str(state)], input="\n".join(lines))
    assert 0 == done.exit_code, done.output
    for words in ("core.started", "process.exited", "cannot show nobody", "cannot do 'xyz'",
                  "cannot read 'name =='", "cannot read 'x' as a time", "Enter"):  # fmt: skip
        assert words in done.output
