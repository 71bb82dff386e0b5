"""Room: bus -- the fold of bus.past over frames as they are read, at a multiple of its speed.

Knows:     bus.past (whose fold it is), bus.codec, bus.names, bus.routing.
Known by:  arbiter.memory.
Never:     makes what nobody looks at; says anything else than the plain fold (I-FOLD compares).

Most of a fold's time went into objects that live for a moment: of a record that is only passed on,
nobody reads the body. Here a record is its decoded map, seen through a `Sketch`, whose body is made
at the first look; and who cares for a kind of record is found out once for each kind. What the fold
keeps (unanswered inputs, open spawns) becomes true records when the past is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from circus.bus import commands, events
from circus.bus.codec import body_of, decoder, record_of
from circus.bus.names import CLASS_OF, Unknown
from circus.bus.past import OF_THE_CORE, Fold, Unfoldable
from circus.bus.record import Body, Record
from circus.bus.routing import in_to, route_of
from circus.bus.shapes import NOTHING as NO_DEFAULT
from circus.bus.shapes import declared
from circus.bus.timers import OF_TIMERS

Observe = Callable[[Any], None]
Watching = Mapping[type[Body], Observe]
Believed = Mapping[type[Body], Callable[[Any, Any, Any], None]]

NOTHING: Final[Believed] = {}
# Most records are of these kinds. Their fields are read and forgotten: a body is too good for that.
PASSING: Final = frozenset(
    (commands.ProcessSpawn, events.ProcessSpawned, events.SlotFilled, events.SlotVacated)
)


class _Body:
    """Made when somebody looks; from then on it is an attribute like the others."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __get__(self, sketch: Any, owner: type) -> Any:
        whole = vars(sketch)
        made = whole["body"] = self._make(whole["data"])
        return made


class Sketch:
    """A record whose attributes are the keys of its map; what the map leaves out is None."""

    to = watcher = slot = spawn_id = id = peer = deadline = None


class Plan(NamedTuple):
    """What is done with records of one kind."""

    kind: type[Body]
    sketch: type[Sketch]  # with the body of this kind
    observers: tuple[Observe, ...]
    mailed: bool  # whoever stands in `to` gets it


class Skim:
    """Folds decision after decision into the past of `fold`; `watching` are the folds of others.

    The cores of its actors change their states in place, by the folds in their `BELIEVED`.
    """

    def __init__(self, fold: Fold, watching: Sequence[Watching]) -> None:
        self._fold = fold
        self._watching = watching
        self._plans: dict[tuple[str, int], Plan] = {}
        self._decode = decoder()

    def take(self, payload: bytes) -> None:
        """Believe one frame; Unfoldable names the record that cannot be believed."""
        found, plans, maps = self._fold.found, self._plans, self._decode(payload)
        state, believed = self._speaker(maps[0])
        record: Any = None
        try:
            for whole in maps:
                kind, sketch, observers, mailed = plans.get(
                    (whole["name"], whole["v"])
                ) or self._plan(whole)
                record = sketch()
                record.__dict__ = whole
                for observe in observers:
                    observe(record)
                found.last = record
                fold = believed.get(kind)
                if fold is not None:
                    fold(state, record, record.body)
                if mailed and record.to in found.actors:
                    found.mail(record.to, record)
        except Exception as error:
            raise Unfoldable(record, error) from error
        found.incarnation = record.incarnation

    def settle(self) -> None:
        """What was kept of the frames becomes records."""
        found = self._fold.found
        spawns = found.spawns
        for inbox in found.unanswered.values():
            for place, record in enumerate(inbox):
                inbox[place] = _settled(record)
        for kept in (spawns.undecided, spawns.alive, spawns.signals):
            for seq, record in kept.items():
                kept[seq] = _settled(record)
        if found.last is not None:
            found.last = _settled(found.last)

    def _speaker(self, first: Mapping[str, Any]) -> tuple[Any, Believed]:
        """The actor's state whose decision this is, if it is one's, and what that core believes;
        the inputs that it answers are answered now."""
        found, address = self._fold.found, first["actor"]
        actor = found.actors.get(address)
        if actor is None:
            return None, NOTHING
        inbox, cause = found.unanswered.get(address), first["cause"]
        while inbox and inbox[0].seq <= cause:
            inbox.popleft()
        core: Any = actor.core
        return actor.state, core.BELIEVED

    def _plan(self, whole: Mapping[str, Any]) -> Plan:
        """What is done with records like this one, in the order of the plain fold."""
        fold, key = self._fold, (whole["name"], whole["v"])
        kind = CLASS_OF.get(key, Unknown)
        found = fold.found
        observers: list[Observe] = [self._turn_over] if kind in OF_THE_CORE else []
        observers += [found.timers.fold] if kind in OF_TIMERS else []
        others: list[Watching] = [found.spawns.folds(), *self._watching]
        observers += [watching[kind] for watching in others if kind in watching]
        route = route_of(kind)
        if route is not None and route is not in_to:
            observers.append(self._route)
        make = _passing(kind) if kind in PASSING else partial(body_of, *key)
        sketch = type(Sketch.__name__, (Sketch,), {"body": _Body(make)})
        plan = self._plans[key] = Plan(kind, sketch, tuple(observers), mailed=route is in_to)
        return plan

    def _turn_over(self, record: Record) -> None:
        self._fold.turn_over(record, record.body)

    def _route(self, record: Record) -> None:
        self._fold.route(record, record.body)


def _passing(kind: type[Body]) -> Callable[[dict[str, Any]], object]:
    """Makes something with the fields of a body, and nothing else."""
    usual = {one.name: one.default for one in declared(kind) if one.default is not NO_DEFAULT}
    light: Any = type(kind.__name__, (), usual)

    def make(data: dict[str, Any]) -> object:
        made = light()
        made.__dict__ = data
        return made

    return make


def _settled(record: Any) -> Record:
    settled: Record = record_of(vars(record)) if isinstance(record, Sketch) else record
    return settled
