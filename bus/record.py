"""Room: bus -- the envelope: what an actor says (Draft) and what the ledger keeps (Record).

Knows:     bus.values.
Known by:  codec, switchboard, machine, every core, every reader of the ledger.
Never:     encodes, stamps by itself, knows which bodies exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeVar, dataclass_transform

from circus.bus.shapes import field, fields_of, frozen, values_of
from circus.bus.values import Moment

Kind = Literal["command", "event"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def body(cls: type[T]) -> type[T]:
    """A command's or an event's fields: a value (bus.shapes)."""
    return frozen(cls)


class Body:
    """What every command and event shares."""

    __slots__ = ()
    kind: ClassVar[Kind]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        return values_of(self) == values_of(other)

    def __hash__(self) -> int:
        # Some hold maps, which have no hash.
        return hash((type(self).__name__, repr(self)))


class Command(Body):
    """Imperative and addressed: somebody asks somebody to do something."""

    __slots__ = ()
    kind: ClassVar[Kind] = "command"


class Event(Body):
    """A past participle: a fact."""

    __slots__ = ()
    kind: ClassVar[Kind] = "event"


class Draft(NamedTuple):
    """What an actor says, before the switchboard stamps it.

    `to` is the addressee of a command, and of an event whose route is its owner. `cause` is None
    where the decision's cause holds; only the reaper's reports, many facts about many inputs in
    one frame, set it (ADR-0004).
    """

    body: Body
    to: str | None = None
    watcher: str | None = None
    slot: int | None = None
    spawn_id: int | None = None
    cause: int | None = None
    id: bytes | str | None = None
    peer: Mapping[str, Any] | None = None
    deadline: int | None = None


class Claim(NamedTuple):
    """The place that a decision has in the ledger before it is written there (ADR-0087)."""

    first_seq: int
    now: Moment


class Decision(NamedTuple):
    """All that one actor says about one input: one frame of the ledger."""

    actor: str
    cause: int
    drafts: tuple[Draft, ...]
    claim: Claim | None = None


class Record(NamedTuple):
    """One line of the ledger. Times are nanoseconds; `seq` is dense from 1.

    Envelopes are named tuples, not attrs classes: as immutable, and made in a quarter of the time,
    three times for every record (ADR-0081).
    """

    seq: int
    cause: int
    name: str
    v: int
    actor: str
    to: str | None
    watcher: str | None
    slot: int | None
    spawn_id: int | None
    at: int
    boot: int
    incarnation: int
    id: bytes | str | None
    peer: Mapping[str, Any] | None
    deadline: int | None
    body: Body

    @property
    def kind(self) -> Kind:
        """`command` or `event`, as its body's class says."""
        return self.body.kind


# A named tuple's own constructor is a Python function that does this: a third of its price is left.
new_tuple: Final = tuple.__new__

# The keys of a record's map, in the order in which they are written; absent where None.
ENVELOPE_KEYS: Final = (
    "seq", "cause", "kind", "name", "v", "actor", "to", "watcher", "slot", "spawn_id",
    "at", "boot", "incarnation", "id", "peer", "deadline", "data",
)  # fmt: skip

__all__ = [
    "ENVELOPE_KEYS", "Body", "Claim", "Command", "Decision", "Draft", "Event", "Kind", "Record",
    "body", "fields_of", "new_tuple", "values_of",
]  # fmt: skip
