"""Room: bus -- the envelope: what an actor says (Draft) and what the ledger keeps (Record).

Knows:     bus.values.
Known by:  codec, switchboard, machine, every core, every reader of the ledger.
Never:     encodes, stamps by itself, knows which bodies exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeVar, dataclass_transform

import attr

from circus.bus.values import Moment

Kind = Literal["command", "event"]

# One class of a body costs 0.35 instead of 0.58 ms to define when the comparison and the repr
# are inherited; sixty of them are on the way to the first worker (docs/performance.md).
_lean = attr.s(
    auto_attribs=True, frozen=True, slots=True, eq=False, repr=False, order=False,
    weakref_slot=False, getstate_setstate=False,
)  # fmt: skip

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(attr.ib,))
def body(cls: type[T]) -> type[T]:
    """Make an attrs class of a command's or an event's fields."""
    made: type[T] = _lean(cls)
    if issubclass(made, Body):
        made.field_names = tuple(a.name for a in made.__attrs_attrs__)
    return made


class Body:
    """What every command and event shares: compared and shown by its fields."""

    __slots__ = ()
    __attrs_attrs__: ClassVar[tuple[attr.Attribute[Any], ...]] = ()
    field_names: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[Kind]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Body) or type(self) is not type(other):
            return NotImplemented
        return fields_of(self) == fields_of(other)

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in fields_of(self).items())
        return f"{type(self).__name__}({inner})"


class Command(Body):
    """Imperative and addressed: somebody asks somebody to do something."""

    __slots__ = ()
    kind: ClassVar[Kind] = "command"


class Event(Body):
    """A past participle: a fact."""

    __slots__ = ()
    kind: ClassVar[Kind] = "event"


def fields_of(body: Body) -> dict[str, Any]:
    """The body as the `data` map of the wire, in the order of declaration."""
    return (_MAPPERS.get(type(body)) or _mapper(type(body)))(body)


def values_of(body: Body) -> tuple[Any, ...]:
    """The same without the names: `type(body)(*values_of(body)) == body`."""
    return (_LISTERS.get(type(body)) or _lister(type(body)))(body)


# One function per class, made when it is first needed: every record passes here several times, and
# a display of all fields costs a third of a loop over their names.
_MAPPERS: Final[dict[type[Body], Callable[[Body], dict[str, Any]]]] = {}
_LISTERS: Final[dict[type[Body], Callable[[Body], tuple[Any, ...]]]] = {}


def _mapper(cls: type[Body]) -> Callable[[Body], dict[str, Any]]:
    items = ", ".join(f"{name!r}: body.{name}" for name in cls.field_names)
    _MAPPERS[cls] = mapper = _function(f"{{{items}}}")
    return mapper


def _lister(cls: type[Body]) -> Callable[[Body], tuple[Any, ...]]:
    items = "".join(f"body.{name}, " for name in cls.field_names)
    _LISTERS[cls] = lister = _function(f"({items})")
    return lister


def _function(expression: str) -> Callable[[Body], Any]:
    # The expression is made of the names of declared fields and of nothing else.
    function: Callable[[Body], Any] = eval(f"lambda body: {expression}")  # noqa: S307 - see above
    return function


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


# The keys of a record's map, in the order in which they are written; absent where None.
ENVELOPE_KEYS: Final = (
    "seq", "cause", "kind", "name", "v", "actor", "to", "watcher", "slot", "spawn_id",
    "at", "boot", "incarnation", "id", "peer", "deadline", "data",
)  # fmt: skip
