"""Room: replay -- `step`: through the record one by one, both ways, with what each changes.

Knows:     replay.history, replay.ask.state and expression, bus.words.lines.
Known by:  replay.command; circus.replay gives `Session` to programs.
Never:     decides anything; changes anything; loses its place because a search was interrupted.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from circus.bus.record import Record
from circus.bus.words.lines import duration, human_line
from circus.bus.words.plain import as_json, plain
from circus.replay.ask.commandline import LEDGER, POINT, finish
from circus.replay.ask.expression import BadExpression, Expression
from circus.replay.ask.state import Change, change_line, described, differences, told
from circus.replay.ask.why import why
from circus.replay.history import CannotFold, History
from circus.replay.moments import BadPoint, Point, point_of, seq_at
from circus.replay.opening import Opened
from circus.replay.progress import Progress

CHANGES_SHOWN: Final = 30
LINE_CHARACTERS_MAX: Final = 200
# They are others after every record, and say nothing.
ALWAYS: Final = frozenset({"seq", "at", "boot"})
HELP: Final = """\
  n [N], Enter   forward one record, or N       b [N]      back
  r CONDITION    on to where it holds           R CONDITION  back to where it held
  g SEQ|TIME     go there                       s [WATCHER]  the state here
  p EXPRESSION   its value here                 w            why this record
  h              this                           q            end
A condition: name == "process.exited" and data.code != 0; state.watchers.web.deaths > 3"""


class _Part(NamedTuple):
    """One record of a frame, as a memory takes it."""

    last_seq: int
    payload: bytes = b""
    chain: bytes = b""


class Session:
    """A place in a ledger, after the record `seq`; before the first, that is its number less 1."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.first = opened.first_seq - 1
        self.seq = self.first
        self._history = History(opened)
        self._known: dict[int, dict[str, Any]] = {}  # the newest two states

    @property
    def head(self) -> int:
        """The newest record, now: a daemon may have written more."""
        self.opened.refresh()
        newest = self.opened.numbers[-1] - 1
        return max((frame.last_seq for frame in self.opened.frames(newest)), default=newest)

    @property
    def record(self) -> Record | None:
        """The one that was the last to happen here."""
        return next(self.opened.records(self.seq - 1, self.seq), None)

    @property
    def state(self) -> dict[str, Any]:
        """Every actor, here."""
        return self._state(self.seq)

    def go(self, seq: int) -> tuple[Change, ...]:
        """To another place, or as near as there is one; what is different there."""
        before, self.seq = self.seq, max(self.first, min(seq, self.head))
        return tuple(
            differences(_comparable(self._state(before)), _comparable(self._state(self.seq)))
        )

    def find(self, condition: Expression) -> int | None:
        """The next record at which it holds."""
        return next(self._places(condition, self.seq, None), None)

    def find_back(self, condition: Expression) -> int | None:
        """The record before this one at which it held last."""
        places = self._places(condition, self.first, self.seq - 1)
        return next(iter(deque(places, maxlen=1)), None)

    def value(self, expression: Expression) -> Any:
        """What it is here; None before the first record."""
        record = self.record
        return None if record is None else expression.of(record, lambda: self.state)

    def _places(self, condition: Expression, after: int, until: int | None) -> Iterator[int]:
        records = Progress("step").over(self.opened.records(after, until), self.opened)
        if not condition.asks_state:
            yield from (one.seq for one in records if condition.of(one, dict))
            return
        memory = self._history.at(after)
        for record in records:
            _ = memory.past  # What was only skimmed so far is settled before more is taken.
            memory.take(_Part(record.seq), (record,))
            if condition.of(record, lambda: described(memory)):
                yield record.seq

    def _state(self, seq: int) -> dict[str, Any]:
        if seq not in self._known:
            self._known = dict([*self._known.items()][-1:])
            self._known[seq] = described(self._history.at(seq))
        return self._known[seq]


def _comparable(state: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is another after every record: timers by what they are, not by what is left."""
    whole = {key: value for key, value in state.items() if key not in ALWAYS}
    whole["timers"] = {
        f"{timer['actor']} {timer['timer']}": f"due at {duration(timer['due'])} (#{timer['seq']})"
        for timer in state["timers"]
    }
    return whole


# --- the terminal ---------------------------------------------------------------------------------


class Ended(Exception):
    """The operator wants no more."""


def lines_for(session: Session, typed: str) -> Iterator[str]:
    """The answer to one line."""
    word, _, rest = typed.strip().partition(" ")
    command = COMMANDS.get(word or "n")
    if command is None:
        yield f"cannot do {plain(word)!r}: h shows what there is"
        return
    try:
        yield from command(session, rest.strip())
    except (BadExpression, BadPoint, CannotFold, ValueError) as error:
        yield str(error)


def _forward(session: Session, rest: str) -> Iterator[str]:
    if session.seq >= session.head:
        yield "that was the newest record"
        return
    yield from _gone(session, session.seq + _number(rest))


def _back(session: Session, rest: str) -> Iterator[str]:
    if session.seq <= session.first:
        yield "nothing is before that"
        return
    yield from _gone(session, session.seq - _number(rest))


def _go(session: Session, rest: str) -> Iterator[str]:
    yield from _gone(session, seq_at(session.opened, point_of(rest)))


def _run(session: Session, rest: str) -> Iterator[str]:
    found = session.find(Expression(rest))
    yield from _gone(session, found) if found is not None else ("it does not hold any more",)


def _run_back(session: Session, rest: str) -> Iterator[str]:
    found = session.find_back(Expression(rest))
    yield from _gone(session, found) if found is not None else ("it never held before",)


def _show(session: Session, rest: str) -> Iterator[str]:
    state = session.state
    if rest:
        known = {name.casefold(): name for name in state["watchers"]}
        name = known.get(rest.casefold())
        if name is None:
            yield f"cannot show {plain(rest)}: there are {', '.join(map(plain, known.values()))}"
            return
        state = {**state, "watchers": {name: state["watchers"][name]}, "timers": []}
    yield from told(state)


def _print(session: Session, rest: str) -> Iterator[str]:
    yield plain(as_json(session.value(Expression(rest))))


def _why(session: Session, _rest: str) -> Iterator[str]:
    if session.record is None:
        yield "nothing has happened yet"
        return
    yield why(session.opened, f"#{session.seq}").told()


def _help(_session: Session, _rest: str) -> Iterator[str]:
    yield HELP


def _quit(_session: Session, _rest: str) -> Iterator[str]:
    raise Ended


COMMANDS: Final[dict[str, Callable[[Session, str], Iterator[str]]]] = {
    "n": _forward, "b": _back, "g": _go, "r": _run, "R": _run_back, "s": _show, "p": _print,
    "w": _why, "h": _help, "?": _help, "q": _quit,
}  # fmt: skip


def _gone(session: Session, seq: int) -> Iterator[str]:
    changes = session.go(seq)
    record = session.record
    yield human_line(record) if record is not None else "before the first record"
    for one in changes[:CHANGES_SHOWN]:
        yield f"    {_cut(change_line(one))}"
    if len(changes) > CHANGES_SHOWN:
        yield f"    and {len(changes) - CHANGES_SHOWN} more; s shows the state"


def _cut(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS_MAX else f"{line[: LINE_CHARACTERS_MAX - 1]}…"


def _number(rest: str) -> int:
    if not rest:
        return 1
    if not (rest.isascii() and rest.isdigit()):
        raise BadPoint(f"cannot go {plain(rest)} records: give a number")
    return int(rest)


@click.command("step")
@LEDGER
@click.option("--at", "point", type=POINT, help="Begin there; else before the first record.")
def step_command(*, ledger: Opened, point: Point | None) -> None:
    """Go through the record, both ways: each step shows what it changed. h shows how."""
    session = Session(ledger)
    if point is not None:
        session.seq = max(session.first, min(seq_at(ledger, point), session.head))
    if sys.stdin.isatty():
        import_module("readline")  # gives input() a history

        click.echo(f"records {session.first + 1} to {session.head}; h shows what can be done")
    while (typed := _typed(session)) is not None:
        try:
            for line in lines_for(session, typed):
                click.echo(line)
        except KeyboardInterrupt:
            click.echo("interrupted")
        except Ended:
            break
    finish(ledger)


def _typed(session: Session) -> str | None:
    """The next line; None at the end."""
    try:
        return input(f"#{session.seq}> " if sys.stdin.isatty() else "")
    except EOFError:
        return None
    except KeyboardInterrupt:
        click.echo()
        return "h"
