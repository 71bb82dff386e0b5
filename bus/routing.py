"""Room: bus -- who is told what: the static table from records to addresses and hosts.

Knows:     bus.events, bus.record, bus.values.
Known by:  bus.switchboard (delivers), bus.past (delivers again).
Never:     looks at any state but the record itself.
"""

from __future__ import annotations

from typing import Final

from circus.bus import events
from circus.bus.record import Record
from circus.bus.values import ARBITER, CLIENT, CLOCK, CORE, REAPER, Address, watcher_address

# Hosts: threads of actors with one DEALER each. How many there are is wiring (DESIGN.md, 3).
ACTORS: Final = "actors"
WORLD: Final = "world"

# Those who speak but hold no inbox: their drafts come from outside the actors.
VOICES: Final = frozenset({CLIENT, CORE})


def addressee(record: Record) -> Address | None:
    """The one actor that gets this record in its inbox, if any.

    A command goes where it is addressed, an event to the owner that it names; a newborn watcher is
    told of its birth, the arbiter of the daemon's signals.
    """
    body = record.body
    if isinstance(body, events.WatcherAdded):
        return watcher_address(str(body.spec["name"]), record.seq)
    if isinstance(body, events.WatcherRemoved):
        return body.address
    if isinstance(body, events.SignalReceived):
        return ARBITER
    return None if record.to in VOICES else record.to


def home(address: Address) -> str:
    """The host on which an actor lives."""
    return WORLD if address in {REAPER, CLOCK} else ACTORS
