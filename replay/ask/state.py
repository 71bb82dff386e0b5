"""Room: replay -- `state` and `diff`: every actor as it was at a record or a time.

Knows:     replay.history, the states of the actors by their fields, bus.words.
Known by:  replay.command, why; circus.replay gives `state_at`, `described`, `differences`.
Never:     leaves out a field: what people do not see is in --json.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import click

from circus.arbiter.memory import Memory
from circus.arbiter.projection import ProcessView, WatcherView
from circus.bus.names import NAME_OF
from circus.bus.record import Body, Record, fields_of
from circus.bus.spec import OPTIONS, WatcherSpec, to_data
from circus.bus.timers import Armed
from circus.bus.values import ARBITER
from circus.bus.words.lines import DURATIONS, clock, defaults_of, duration
from circus.bus.words.plain import as_json, plain
from circus.replay.ask.commandline import AS_JSON, LEDGER, POINT, finish, troubles_of
from circus.replay.history import CannotFold, History
from circus.replay.moments import Point, seq_at
from circus.replay.opening import Opened

MISSING: Final = "-"


class Change(NamedTuple):
    """One value that is another at the second point; None where it was not, or is not, there."""

    path: tuple[str, ...]
    before: Any
    after: Any


def state_at(opened: Opened, point: Point) -> dict[str, Any]:
    """Every actor, process, timer and open question at this point, as `described` says it."""
    return described(History(opened).at(seq_at(opened, point)))


def described(memory: Memory) -> dict[str, Any]:
    """A memory as plain data: maps, lists, text and numbers, for JSON and for `differences`."""
    past = memory.past
    last = past.last
    actors = {address: plainly(actor.state) for address, actor in past.actors.items()}
    return {
        "seq": memory.seq,
        "at": last.at if last is not None else 0,
        "boot": last.boot if last is not None else 0,
        "incarnation": past.incarnation,
        "core": plainly(memory.projection.core),
        "leaving": past.leaving,
        "watchers": {
            view.name: _watcher(view, actors) for view in memory.projection.watchers.values()
        },
        "arbiter": actors.get(ARBITER),
        "timers": [
            {**one._asdict(), "left": one.due - (last.boot if last is not None else 0)}
            for one in sorted(past.timers.kept())
        ],
        "unanswered": {
            address: [f"{record.seq} {record.name}" for record in inbox]
            for address, inbox in past.unanswered.items()
            if inbox
        },
        "spawns": plainly(past.spawns),
    }


def plainly(value: Any) -> Any:
    """Any value of a state: objects by their fields, records by number and name."""
    say = _SAYINGS.get(type(value))
    if say is not None:
        return say(value)
    if isinstance(value, Body):
        return {"name": NAME_OF[type(value)][0], **plainly(fields_of(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plainly(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plainly(inner) for inner in value)
    if isinstance(value, Sequence | deque) and not isinstance(value, str | bytes):
        return [plainly(inner) for inner in value]
    return plainly(fields_of(value)) if hasattr(type(value), "__shape__") else value


_SAYINGS: Final[Mapping[type, Callable[[Any], Any]]] = {
    Record: lambda record: f"{record.seq} {record.name}",
    WatcherSpec: lambda spec: plainly(to_data(spec)),
    Armed: lambda armed: armed._asdict(),
    bytes: bytes.hex,
    type: lambda kind: NAME_OF[kind][0],  # what a job waits for is a kind of record
}


def _watcher(view: WatcherView, actors: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's view, the options, and all that the actor itself knows."""
    return {
        "status": view.status,
        "reason": view.reason,
        "address": view.address,
        "deaths": view.deaths,
        "spawn_failures": view.spawn_failures,
        "waiting": plainly(view.waiting),
        "processes": {str(one.spawn_id): _process(one) for one in view.processes.values()},
        "options": plainly(view.spec),
        "actor": {
            name: inner
            for name, inner in (actors.get(view.address) or {}).items()
            if name not in {"spec", "address"}
        },
    }


def _process(view: ProcessView) -> dict[str, Any]:
    return {name: plainly(value) for name, value in fields_of(view).items()}


def differences(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[Change]:
    """What is another between two values of `described`, leaf by leaf, in order."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from differences(before.get(key), after.get(key), (*path, str(key)))
    elif before != after:
        yield Change(path, before, after)


# --- for people -----------------------------------------------------------------------------------


def told(state: Mapping[str, Any]) -> Iterator[str]:
    """The state in lines: watchers with their options and processes, timers, open questions."""
    yield (
        f"after record {state['seq']} at {clock(state['at'])}, "
        f"incarnation {state['incarnation']}; arbiter {(state['arbiter'] or {}).get('phase')}"
    )
    for name, watcher in sorted(state["watchers"].items()):
        yield from _told_watcher(name, watcher, state["boot"])
    for timer in state["timers"]:
        yield (
            f"timer {plain(timer['timer'])} of {plain(timer['actor'])}: "
            f"due in {duration(max(0, timer['left']))} (#{timer['seq']})"
        )
    for address, inbox in sorted(state["unanswered"].items()):
        yield f"{plain(address)} has said nothing yet about {', '.join(map(plain, inbox))}"


def _told_watcher(name: str, watcher: Mapping[str, Any], boot: int) -> Iterator[str]:
    reason = f" ({plain(watcher['reason'])})" if watcher["reason"] else ""
    counts = f"{watcher['deaths']} deaths, {watcher['spawn_failures']} failed spawns"
    yield f"{plain(name)}: {plain(watcher['status'])}{reason}; {counts}"
    chosen = {
        key: value
        for key, value in watcher["options"].items()
        if key != "name" and not _is_default(key, value)
    }
    yield f"  {' '.join(f'{key}={_option(key, value)}' for key, value in chosen.items())}"
    slots = watcher["actor"].get("slots", {})
    failures = watcher["actor"].get("failures", {})
    for number, slot in slots.items():
        yield f"  slot {number}: {' '.join(_told_slot(slot, failures.get(number, 0), boot))}"


def _told_slot(slot: Mapping[str, Any], failures: int, boot: int) -> Iterator[str]:
    yield str(slot["phase"])
    if slot["pid"]:
        yield f"pid {slot['pid']}"
    if slot["spawn_id"]:
        yield f"spawn #{slot['spawn_id']}"
    if slot["since"] and slot["phase"] != "waiting":
        yield f"for {duration(max(0, boot - slot['since']))}"
    if failures:
        yield f"after {failures} short lives"
    if slot["attempt"]:
        yield f"attempt {slot['attempt']}"


def _is_default(key: str, value: Any) -> bool:
    return key in OPTIONS and value in defaults_of(key)


def _option(key: str, value: Any) -> str:
    if key in DURATIONS and isinstance(value, int):
        return duration(value)
    text = plain(value)
    return f'"{text}"' if " " in text else text


def change_line(change: Change) -> str:
    """`watchers.web.deaths: 1 -> 2`."""
    return f"{plain('.'.join(change.path))}: {_side(change.before)} -> {_side(change.after)}"


def _side(value: Any) -> str:
    return MISSING if value is None else plain(as_json(value))


# --- the command lines ----------------------------------------------------------------------------


@click.command("state")
@LEDGER
@click.option("--at", "point", type=POINT, help="At this record, or time; else at the end.")
@AS_JSON
def state_command(*, ledger: Opened, point: Point | None, as_json: bool) -> None:
    """Every watcher, process, timer and open question as it was then."""
    state = described(_memory(History(ledger), point))
    if as_json:
        click.echo(as_json_with_troubles(state, ledger))
    else:
        click.echo("\n".join(told(state)))
    finish(ledger)


@click.command("diff")
@LEDGER
@click.argument("before", type=POINT, metavar="A")
@click.argument("after", type=POINT, metavar="B")
@AS_JSON
def diff_command(*, ledger: Opened, before: Point, after: Point, as_json: bool) -> None:
    """What is different in the state of any actor between two records or times."""
    history = History(ledger)
    first, second = (described(_memory(history, point)) for point in (before, after))
    changes = list(differences(first, second))
    if as_json:
        whole = {"before": first["seq"], "after": second["seq"],
                 "changes": [one._asdict() for one in changes]}  # fmt: skip
        click.echo(as_json_with_troubles(whole, ledger))
    else:
        click.echo("\n".join(map(change_line, changes)) or "nothing is different")
    finish(ledger)


def _memory(history: History, point: Point | None) -> Memory:
    wanted = 2**64 if point is None else seq_at(history.opened, point)
    try:
        return history.at(wanted)
    except CannotFold as error:
        raise click.UsageError(str(error)) from error


def as_json_with_troubles(whole: Mapping[str, Any], opened: Opened) -> str:
    """One object."""
    return as_json({**whole, "troubles": troubles_of(opened)})


__all__ = ["Change", "change_line", "described", "differences", "plainly", "state_at", "told"]
