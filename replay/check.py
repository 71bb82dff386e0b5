"""Room: replay -- the three laws of the record (STYLE P20), above all that replay is identity.

Knows:     bus.past (the fold), bus.codec (bytes of a record), arbiter.memory (who the actors are).
Known by:  replay.ask.check (over files), replay.checks.laws (in simulated worlds), tests.
Never:     forgives: one byte of one record is a divergence.

The second law: only decisions of actors are made again. What reaper, clock, core and clients say
is input. What an actor said about an input is compared as bytes under the recorded stamps. An input
without an answer must have none now either, if a later input of the same actor has been answered;
those that were open at a crash have been given again, and are looked at then.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import attr

from circus.arbiter.memory import blank
from circus.bus import events
from circus.bus.chance import Chance
from circus.bus.codec import Stamp, pack, record_map, stamped
from circus.bus.machine import Actor
from circus.bus.past import Fold
from circus.bus.record import Draft, Record
from circus.bus.values import Moment


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Divergence:
    """The first place at which today's code decides otherwise than the ledger says."""

    seq: int
    actor: str
    input: int
    recorded: tuple[str, ...]
    decided: tuple[str, ...]
    drafts: tuple[Draft, ...] = ()  # what is decided now, to be folded beside what is recorded

    def __str__(self) -> str:
        lines = [f"at {self.seq}: {self.actor}, asked again about {self.input}, decides otherwise"]
        lines += [f"- {line}" for line in self.recorded if line not in self.decided]
        lines += [f"+ {line}" for line in self.decided if line not in self.recorded]
        return "\n".join(lines)


def check(records: Iterable[Record], make_fold: Callable[[], Fold] = blank) -> Divergence | None:
    """Decide again over a whole ledger; the first difference, or None."""
    again = Again(make_fold())
    for decision in decisions(records):
        if again.knows(decision[0].actor):
            found = again.take(decision, written(decision))
            if found is not None:
                return found
            continue
        for record in decision:
            again.believe(record)
    return None


def decisions(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The records of each decision: one actor, one cause, one stamp. The world's frames hold
    many causes, and are given record by record."""
    for _, group in groupby(records, key=lambda r: (r.incarnation, r.actor, r.cause)):
        yield list(group)


class Again:
    """The fold of the past, looked at before each step."""

    def __init__(self, fold: Fold, *, seed: int = 0, upto: int = 0) -> None:
        self.fold = fold
        self._chance = Chance(seed)
        self._upto = upto  # where it began: of inputs before it nobody knows whether a core raised
        self._failed: set[int] = set()  # inputs about which a core raised

    def knows(self, address: str) -> bool:
        """Whether this is an actor, whose decisions are made again."""
        return address in self.fold.found.actors

    def take(self, decision: Sequence[Record], payload: bytes) -> Divergence | None:
        """Compare, then believe."""
        found = self.compare(decision, payload)
        for record in decision:
            self.fold.fold(record)
        return found

    def compare(self, decision: Sequence[Record], payload: bytes) -> Divergence | None:
        """Decide again what an actor has decided; nothing is believed yet."""
        return self._compare(self.fold.found.actors[decision[0].actor], decision, payload)

    def believe(self, record: Record) -> None:
        """What the world says is input."""
        self.fold.fold(record)
        body = record.body
        if isinstance(body, events.CoreStarted):
            self._chance = Chance(body.seed)
        elif isinstance(body, events.ActorFailed):
            self._failed.add(body.input)

    def _compare(
        self, actor: Actor, decision: Sequence[Record], payload: bytes
    ) -> Divergence | None:
        first = decision[0]
        if isinstance(first.body, events.InputSetAside):
            return None  # Said by the host: what raised then is the operator's to look at.
        if first.cause == 0:
            return _difference(decision, actor.core.resume(actor.state), payload)
        for record in self._before(actor, first.cause):
            silent = self._decide(actor, record)
            if silent:
                return _Silence(record, actor, first.seq).divergence(silent)
        drafts = self._decide(actor, self._input(actor, first.cause))
        return _difference(decision, drafts, payload)

    def _before(self, actor: Actor, cause: int) -> list[Record]:
        inbox: Sequence[Record] = self.fold.found.unanswered.get(actor.address, deque())
        return [r for r in inbox if self._upto < r.seq < cause and r.seq not in self._failed]

    def _input(self, actor: Actor, cause: int) -> Record | None:
        inbox = self.fold.found.unanswered.get(actor.address, deque())
        return next((record for record in inbox if record.seq == cause), None)

    def _decide(self, actor: Actor, record: Record | None) -> tuple[Draft, ...]:
        """An exception today is an answer too, and no recorded one looks like it."""
        if record is None:
            return ()
        try:
            drafts: tuple[Draft, ...] = actor.core.decide(actor.state, record, self._chance)
        except Exception:  # noqa: BLE001 - as in the host: what a core raises is data (STYLE P12)
            failure = events.ActorFailed(record.seq, traceback.format_exc(), actor.address)
            return (Draft(failure),)
        return drafts


@attr.s(auto_attribs=True, frozen=True, slots=True)
class _Silence:
    """An input that had no answer then and has one now."""

    record: Record
    actor: Actor
    seq: int

    def divergence(self, drafts: tuple[Draft, ...]) -> Divergence:
        lines = tuple(repr(draft) for draft in drafts)
        return Divergence(self.seq, self.actor.address, self.record.seq, (), lines, drafts)


def _difference(
    recorded: Sequence[Record], drafts: Sequence[Draft], payload: bytes
) -> Divergence | None:
    first = recorded[0]
    stamp = Stamp(
        first.seq, first.cause, first.actor, Moment(first.at, first.boot), first.incarnation
    )
    now: list[Record] = []
    for draft in drafts:
        now.append(stamped(stamp, draft))
        stamp.seq += 1
    if written(now) == payload:
        return None
    lines = tuple(repr(draft_of(record)) for record in recorded)
    return Divergence(
        first.seq, first.actor, first.cause, lines, tuple(repr(draft) for draft in drafts),
        tuple(drafts),
    )  # fmt: skip


def draft_of(record: Record) -> Draft:
    """What the actor said, without the switchboard's stamps."""
    spawn_id = None if record.name == "process.spawn" else record.spawn_id
    return Draft(
        record.body, record.to, record.watcher, record.slot, spawn_id,
        id=record.id, peer=record.peer, deadline=record.deadline,
    )  # fmt: skip


def written(records: Sequence[Record]) -> bytes:
    """The bytes of a frame's payload, as the switchboard writes them."""
    return pack([record_map(record) for record in records])


def folded(records: Iterable[Record], make_fold: Callable[[], Fold] = blank) -> dict[str, Any]:
    """The first law's left side: the state of every actor, from the ledger alone."""
    fold = make_fold()
    for record in records:
        fold.fold(record)
    return {address: actor.state for address, actor in fold.found.actors.items()}
