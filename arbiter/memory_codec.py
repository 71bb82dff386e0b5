"""Room: arbiter -- what a core knows, as bytes and back: the body of a snapshot.

Knows:     the states of all actors, by one table; bus.objects, arbiter.memory.
Known by:  arbiter.recovery, which reads them and makes them.
Never:     guesses: a class that the table does not list has no bytes.

`shapes`, in front, has the fields of every class as they were when it was written. A version that
knows other fields can still read it by their names; it does so only where the records before it
are gone (arbiter.recovery).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from circus.arbiter import state as arbiter
from circus.arbiter.memory import Living, Memory, actor_again
from circus.arbiter.outcomes import Outcome
from circus.arbiter.projection import ProcessView, WatcherView
from circus.bus.blake import blake2b
from circus.bus.codec import from_ledger, pack
from circus.bus.objects import Objects
from circus.bus.past import Spawns
from circus.bus.record import Record
from circus.bus.spec import WatcherSpec
from circus.bus.timers import Armed
from circus.watcher import state as watcher

# Counted up when a fold begins to mean something else by the same fields.
MEANING: Final = 1
# Tags are never respelled: a version that reads by names finds its classes by them.
TABLE: Final[Mapping[str, type]] = {
    "arbiter": arbiter.State,
    "arbiter.phase": arbiter.Phase,
    "arbiter.entry": arbiter.Entry,
    "arbiter.job": arbiter.Job,
    "arbiter.successor": arbiter.Successor,
    "watcher": watcher.State,
    "watcher.phase": watcher.Phase,
    "watcher.slot": watcher.Slot,
    "watcher.slot_phase": watcher.SlotPhase,
    "watcher.batch": watcher.Batch,
    "watcher.operation": watcher.Operation,
    "watcher.mode": watcher.Mode,
    "spec": WatcherSpec,
    "record": Record,
    "spawns": Spawns,
    "armed": Armed,
    "view": WatcherView,
    "view.process": ProcessView,
    "outcome": Outcome,
}
OBJECTS: Final = Objects(TABLE)


def _code() -> str:
    shapes = blake2b(pack(OBJECTS.shapes), digest_size=8).hexdigest()
    return f"{MEANING}-{shapes}"


# What must be the same for a snapshot to be taken as it is: every class and every field of it.
CODE: Final = _code()


def encode(memory: Memory | Living) -> bytes:
    """The same bytes for equal memories."""
    past = memory.past
    inboxes = past.unanswered.items()
    whole = {
        "seq": memory.seq,
        "actors": {address: actor.state for address, actor in past.actors.items()},
        "unanswered": {address: inbox for address, inbox in sorted(inboxes, key=_address) if inbox},
        "timers": past.timers.kept(),
        "spawns": past.spawns,
        "past": [past.leaving, past.incarnation, past.after, past.boot_id, past.last],
        "projection": memory.projection.kept(),
        "outcomes": memory.outcomes.kept(),
    }
    return pack([OBJECTS.shapes, OBJECTS.encode(whole)])


def _address(inbox: tuple[str, object]) -> str:
    return inbox[0]


def decode(body: bytes, chain: bytes) -> Memory:
    """The memory that was encoded; any exception of Python's where these bytes are another's."""
    shapes, data = from_ledger(body)
    whole = OBJECTS.decode(data, shapes)
    memory = Memory()
    memory.seq, memory.chain = whole["seq"], chain
    past = memory.past
    past.actors = {
        address: actor_again(address, state) for address, state in whole["actors"].items()
    }
    past.unanswered = whole["unanswered"]
    past.timers.restore(whole["timers"])
    past.spawns = whole["spawns"]
    past.leaving, past.incarnation, past.after, past.boot_id, past.last = whole["past"]
    memory.projection.restore(whole["projection"])
    memory.outcomes.restore(whole["outcomes"])
    return memory


__all__ = ["CODE", "OBJECTS", "TABLE", "decode", "encode"]
