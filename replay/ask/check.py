"""Room: replay -- `check`: every decision of a ledger is made again and must have the same bytes.

Knows:     replay.check (one decision again), replay.history (where to begin), replay.opening.
Known by:  replay.command, the tests' look at every ledger; circus.replay gives `check_ledger`.
Never:     checks what it cannot: what was before a hole, or decided by another version, is counted.

A state needs every record. Where the oldest are gone, or there is a hole, it begins with the next
snapshot; what stands before it is read and believed only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import click

from circus.arbiter.memory import Memory
from circus.arbiter.memory_codec import OBJECTS
from circus.bus.codec import Stamp, stamped
from circus.bus.events import CoreStarted
from circus.bus.machine import Actor
from circus.bus.past import Unfoldable
from circus.bus.record import Record
from circus.bus.segments import Frame
from circus.bus.snapshots import snapshot_numbers
from circus.bus.values import Moment
from circus.bus.words.lines import json_line, record_data
from circus.bus.words.plain import as_json, plain
from circus.process.version import VERSION
from circus.replay.ask.commandline import AS_JSON, EXIT_DAMAGED, LEDGER, finish, troubles_of
from circus.replay.ask.state import Change, differences, plainly
from circus.replay.check import Again, Divergence
from circus.replay.history import History
from circus.replay.opening import Opened
from circus.replay.progress import Progress

FIRST: Final = 1


class Mismatch(NamedTuple):
    """The first place at which today's code decides otherwise."""

    seq: int
    actor: str
    input: int
    expected: tuple[Record, ...]  # as recorded
    got: tuple[Record, ...]  # as decided now, under the same stamps
    state: tuple[Change, ...]  # the actor's state after what is recorded, and after what is decided


class Checked(NamedTuple):
    """What came of it. `skipped` records were read and could not be decided again."""

    decisions: int
    records: int
    skipped: int
    why_skipped: tuple[str, ...]
    mismatch: Mismatch | None


def check_ledger(opened: Opened) -> Checked:
    """Decide everything again, up to the first difference."""
    run = _Run(opened)
    for frame in Progress("check").over(opened.frames(), opened):
        if not run.take(frame):
            break
    return run.checked()


class _Run:
    """One way through a ledger."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._starts = snapshot_numbers(opened.disk.list_dir(opened.directory))
        self._again: Again | None = Again(Memory().fold) if opened.first_seq == FIRST else None
        self._next = opened.first_seq
        self._version = VERSION
        self._decisions = self._records = self._skipped = 0
        self._whys: dict[str, None] = {}
        self._mismatch: Mismatch | None = None
        if self._again is None:
            self._whys[f"what was before record {opened.first_seq} is gone"] = None

    def take(self, frame: Frame) -> bool:
        """Check one frame; False if there is no point in going on."""
        records = self._opened.understood(frame)
        if frame.first_seq > self._next or not records:
            self._again = None
            self._whys[f"records are missing before {frame.last_seq + 1}"] = None
        self._next = frame.last_seq + 1
        if self._again is None:
            self._skipped += frame.count
            self._begin(frame.last_seq)
        else:
            self._look(self._again, records, frame.payload)
        return self._mismatch is None

    def _look(self, again: Again, records: Sequence[Record], payload: bytes) -> None:
        first = records[0]
        if isinstance(first.body, CoreStarted):
            self._version = first.body.version
        if again.knows(first.actor) and self._is_ours(len(records)):
            self._decisions += 1
            found = again.compare(records, payload)
            if found is not None:
                self._mismatch = _mismatch(again.fold.found.actors[first.actor], records, found)
                return
        self._records += len(records)
        try:
            for record in records:
                again.believe(record)
        except Unfoldable as error:
            self._whys[str(error)] = None
            self._again = None

    def _is_ours(self, count: int) -> bool:
        if self._version == VERSION:
            return True
        self._skipped += count
        self._whys[f"version {self._version} decided it, this is {VERSION}"] = None
        return False

    def _begin(self, seq: int) -> None:
        """Go on from the snapshot of this very record, if there is one that can be used."""
        if seq not in self._starts:
            return
        memory = History(self._opened).restored(seq)
        if memory is not None:
            core = memory.projection.core
            self._version = VERSION if core is None else core.version
            seed = 0 if core is None else core.seed
            self._again = Again(memory.fold, seed=seed, upto=seq)

    def checked(self) -> Checked:
        return Checked(
            self._decisions, self._records, self._skipped, tuple(self._whys), self._mismatch
        )


def _mismatch(actor: Actor, recorded: Sequence[Record], found: Divergence) -> Mismatch:
    first = recorded[0]
    moment = Moment(first.at, first.boot)
    stamp = Stamp(first.seq, found.input, first.actor, moment, first.incarnation)
    got: list[Record] = []
    for draft in found.drafts:
        got.append(stamped(stamp, draft))
        stamp.seq += 1
    expected = tuple(recorded) if first.cause == found.input else ()
    changes = tuple(differences(_after(actor, expected), _after(actor, got)))
    return Mismatch(first.seq, first.actor, found.input, expected, tuple(got), changes)


def _after(actor: Actor, records: Sequence[Record]) -> Any:
    """The actor's state with these believed; the actor itself stays as it is."""
    state = OBJECTS.decode(OBJECTS.encode(actor.state), OBJECTS.shapes)
    for record in records:
        state = actor.core.evolve(state, record)
    return plainly(state)


def told(checked: Checked) -> Iterator[str]:
    """The verdict in lines; of a mismatch what was expected and got, and what it does."""
    found = checked.mismatch
    if found is None:
        yield (
            f"{checked.decisions} decisions in {checked.records} records: all are made again "
            "byte for byte"
        )
    else:
        same = sum(a == b for a, b in zip(found.expected, found.got, strict=False))
        yield (
            f"record {found.seq}: {plain(found.actor)}, asked again about {found.input}, "
            f"decides otherwise (after {checked.decisions - 1} decisions that are the same)"
        )
        for sign, records in (("expected", found.expected), ("got", found.got)):
            lines = [json_line(record) for record in records[same:]] or ["nothing"]
            yield from (f"  {sign:<8}  {line}" for line in lines)
        for change in found.state:
            yield (
                f"  state     {plain('.'.join(change.path))}: expected "
                f"{plain(as_json(change.before))}, got {plain(as_json(change.after))}"
            )
    if checked.skipped:
        yield f"{checked.skipped} records could not be checked: {'; '.join(checked.why_skipped)}"


def as_data(checked: Checked) -> dict[str, Any]:
    """The same for programs."""
    found = checked.mismatch
    whole = {**checked._asdict(), "mismatch": None}
    if found is not None:
        whole["mismatch"] = {
            **found._asdict(),
            "expected": [record_data(record) for record in found.expected],
            "got": [record_data(record) for record in found.got],
            "state": [change._asdict() for change in found.state],
        }
    return whole


@click.command("check")
@LEDGER
@AS_JSON
def check_command(*, ledger: Opened, as_json: bool) -> None:
    """Make every decision again from its recorded inputs; the first that differs ends with 1."""
    checked = check_ledger(ledger)
    if as_json:
        click.echo(as_json_of(checked, ledger))
    else:
        click.echo("\n".join(told(checked)))
    finish(ledger, EXIT_DAMAGED if checked.mismatch is not None else 0)


def as_json_of(checked: Checked, opened: Opened) -> str:
    """One object."""
    return as_json({**as_data(checked), "troubles": troubles_of(opened)})


__all__ = ["Checked", "Mismatch", "check_ledger", "told"]
