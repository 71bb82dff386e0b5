"""Room: bus -- who is told what: the static table from records to addresses and hosts.

Knows:     bus.events, bus.record, bus.values.
Known by:  bus.switchboard (delivers), bus.past (delivers again).
Never:     looks at any state but the record itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from circus.bus import events
from circus.bus.record import Body, Record
from circus.bus.values import ARBITER, CLIENT, CLOCK, CORE, REAPER, Address, watcher_address

# Hosts: threads of actors with one DEALER each. How many there are is wiring (DESIGN.md, 3).
ACTORS: Final = "actors"
WORLD: Final = "world"

# Those who speak but hold no inbox: their drafts come from outside the actors.
VOICES: Final = frozenset({CLIENT, CORE})


_OF_THE_WORLD: Final = frozenset({REAPER, CLOCK})


def addressee(record: Record) -> Address | None:
    """The one actor that gets this record in its inbox, if any.

    A command goes where it is addressed, an event to the owner that it names; a newborn watcher is
    told of its birth, the arbiter of the daemon's signals. Three facts about an owner's process are
    for the record only: no watcher has anything to decide about them (ADR-0083).
    """
    other = _NOT_IN_TO.get(type(record.body))
    if other is not None:
        return other(record)
    to = record.to
    return None if to in VOICES else to


def route_of(kind: type[Body]) -> Callable[[Record], Address | None] | None:
    """How `addressee` finds it for records of this kind; None: nobody gets them."""
    route = _NOT_IN_TO.get(kind, in_to)
    return None if route is _nobody else route


def in_to(record: Record) -> Address | None:
    """Most records name their addressee."""
    return None if record.to in VOICES else record.to


def home(address: Address) -> str:
    """The host on which an actor lives."""
    return WORLD if address in _OF_THE_WORLD else ACTORS


def _newborn(record: Record) -> Address:
    assert isinstance(record.body, events.WatcherAdded), record
    return watcher_address(str(record.body.spec["name"]), record.seq)


def _removed(record: Record) -> Address:
    assert isinstance(record.body, events.WatcherRemoved), record
    return record.body.address


def _arbiter(_record: Record) -> Address:
    return ARBITER


def _nobody(_record: Record) -> None:
    """Whom it is about stands in `to`, for those who read the ledger."""


_NOT_IN_TO: Final[Mapping[type[Body], Callable[[Record], Address | None]]] = {
    events.WatcherAdded: _newborn,
    events.WatcherRemoved: _removed,
    events.SignalReceived: _arbiter,
    events.ProcessSignalled: _nobody,
    events.ProcessReaped: _nobody,
    events.ProcessAdopted: _nobody,
}
