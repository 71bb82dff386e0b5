"""Room: replay -- what every checker shares: the witness of records and facts, and the violation.

Knows:     bus.record, replay.checks.truth, replay.checks.witness.
Known by:  replay.checks.invariants and its parts, replay.world.
Never:     changes the world.

A step checker looks at each record and each fact once, in O(1): it says in `hears` which it wants,
and the witness calls it for no other. A run checker looks at the history in `examined`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from circus.bus import events
from circus.bus.record import Body, Record
from circus.replay.checks.truth import Fact, Noted, Obeyed, Settled, Told
from circus.replay.checks.witness import OF_KERNEL, Attention, Watchers, Workers

if TYPE_CHECKING:
    from circus.replay.world import World

RECORDS_KEPT: Final = 50_000  # at least so many are at hand for stories
STORY_RECORDS_MAX: Final = 40
STORY_COLUMNS_MAX: Final = 240
ENDS: Final = (events.ProcessExited, events.ProcessLost)
MESSAGES: Final = frozenset((Told, Noted, Obeyed))  # facts that are told apart by their names
OUTCOMES: Final = (events.ProcessSpawned, events.ProcessSpawnFailed, events.ProcessNeverRun)


News = type | tuple[type, str]


class Violation(AssertionError):
    """An invariant does not hold: which, about what, in which run, and how to see it again."""


class Checker:
    """One invariant: told of records and facts, asked after steps, at rest and now and then.

    `hears`: the classes of bodies and of facts that it wants to be told of; None: all. `Body`: all
    records. Of the messages of link and keeper also one kind alone: `(Told, "spawned")`.
    """

    id: ClassVar[str]
    outlives_holes: ClassVar[bool] = False  # it compares nothing with what is on record
    hears: ClassVar[tuple[News, ...] | None] = None

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def recorded(self, record: Record) -> None:
        """A record is in the ledger."""

    def happened(self, fact: Fact) -> None:
        """Something happened in the kernel, on the link, to a client or a subscriber."""

    def found(self, record: Record) -> None:
        """A restarted core has read a record that is known."""

    def stepped(self, world: World) -> None:
        """One happening is over."""

    def examined(self, world: World) -> None:
        """Every 10,000 decisions and at the end: a look at the whole history is allowed."""

    def rested(self, world: World) -> None:
        """Faults and commands have stopped, and everybody had time to react."""

    def remember(self, before: Checker) -> None:
        """The power was cut: what the same checker of the boot before knows."""

    def claim(self, holds: object, text: str, story: int | str = 0) -> None:
        """Raise the violation with its story where something does not hold.

        `story` is a spawn_id, the seq of a command, or the address of an actor.
        """
        if not holds:
            self.fail(text, story)

    def fail(self, text: str, story: int | str = 0) -> None:
        """For hot paths, which make the text only when they need it."""
        told = self.truth.story(story) if story else []
        lines = [f"{self.id}: {text}", f"seed {self.truth.seed}", *told, self.truth.repeat]
        raise Violation("\n".join(lines))


class Truth:
    """All records and all workers of this boot; tells every checker what it wants to hear."""

    def __init__(
        self,
        seed: int,
        make_checkers: Callable[[Truth], Sequence[Checker]],
        before: Truth | None = None,
    ) -> None:
        self.seed = seed
        self.repeat: str = before.repeat if before else f"python -m circus.replay {seed}"
        self.records: list[Record] = []  # the latest; older ones are in the ledger
        self.workers = Workers()
        self.watchers = Watchers(self.workers)
        self.attention = Attention()
        self._read: set[bytes] = set()
        self.blind: bool = before is not None and before.blind
        self.checkers: Sequence[Checker] = make_checkers(self)
        if self.blind:
            self.checkers = _hardy(self.checkers)
        self._audience = Audience(self.checkers)
        if before is not None:
            known = {checker.id: checker for checker in before.checkers}
            for checker in self.checkers:
                if checker.id in known:
                    checker.remember(known[checker.id])

    def observe(self, record: Record) -> None:
        """Every record once, whether it is appended now or found in recovery."""
        records = self.records
        if records and record.seq <= records[-1].seq:
            self._audience.tell_again(record)
            return
        records.append(record)
        if len(records) > 2 * RECORDS_KEPT:
            del records[:RECORDS_KEPT]
        self.watchers.fold(record)
        self._audience.tell_record(record)

    def read(self, payload: bytes, records: Sequence[Record]) -> None:
        """A core that starts has found this frame. The same bytes say the same as last time."""
        if payload not in self._read:
            self._read.add(payload)
            for record in records:
                self.observe(record)

    def happened(self, fact: Fact) -> None:
        """Keep what the kernel did, then let the checkers look."""
        if type(fact) in OF_KERNEL:
            self.workers.fold(fact)
        self._audience.tell_fact(fact)
        if type(fact) is Settled:
            self.workers.grown.clear()

    def look_away(self) -> None:
        """From now on nobody can say what the records must be: the ledger has lost what had
        happened, and what it has instead (a process adopted that no record asked for) stays in it.
        What must hold of kernel and keeper alone is looked at as ever."""
        self.blind = True
        self.checkers = _hardy(self.checkers)
        self._audience = Audience(self.checkers)

    def record_at(self, seq: int) -> Record | None:
        """The record with this number, if it is one of the latest."""
        records = self.records
        if not records or not (first := records[0].seq) <= seq <= records[-1].seq:
            return None
        record = records[seq - first]
        if record.seq == seq:
            return record
        return next((one for one in records if one.seq == seq), None)  # behind a hole

    def told(self, checker: Checker) -> int:
        """How many records and facts this checker was told of."""
        return self._audience.count(checker)

    def story(self, about: int | str) -> list[str]:
        """What the ledger says about one process, command or actor, line by line."""
        lines = [
            f"{r.seq:>6} {r.boot / 1e9:9.3f}s #{r.incarnation} {r.actor}: {r.name} "
            f"{repr(r.body)[:STORY_COLUMNS_MAX]} (because of {r.cause})"
            for r in self.records
            if _is_about(r, about)
        ]
        return lines[-STORY_RECORDS_MAX:]


class Audience:
    """Who is told of what, worked out once for each class of bodies and facts."""

    def __init__(self, checkers: Sequence[Checker]) -> None:
        self._checkers = checkers
        self._kinds = tuple(map(type, checkers))
        self._rows: dict[News, Row] = {}
        self._again = Row(self._wanting("found", Record))

    def tell_record(self, record: Record) -> None:
        """To those that hear of such bodies."""
        kind = type(record.body)
        row = self._rows.get(kind) or self._row("recorded", kind)
        row.told += 1
        for recorded in row.hearers:
            recorded(record)

    def tell_fact(self, fact: Any) -> None:
        """To those that hear of such facts."""
        news: News = type(fact)
        if news in MESSAGES:
            news = (type(fact), fact[0][0])
        row = self._rows.get(news) or self._row("happened", news)
        row.told += 1
        for happened in row.hearers:
            happened(fact)

    def tell_again(self, record: Record) -> None:
        """A core has found in its ledger what is known: is it the same?"""
        self._again.told += 1
        for found in self._again.hearers:
            found(record)

    def count(self, checker: Checker) -> int:
        """How much this one was told."""
        rows = (*self._rows.values(), self._again)
        return sum(row.told for row in rows if checker.id in row.ids)

    def _row(self, hook: str, news: News) -> Row:
        row = self._rows[news] = Row(self._wanting(hook, news))
        return row

    def _wanting(self, hook: str, news: News) -> tuple[tuple[str, Callable[[Any], None]], ...]:
        checkers = self._checkers
        wanting = (checkers[index] for index in _wanting(self._kinds, hook, news))
        return tuple((one.id, getattr(one, hook)) for one in wanting)


class Row:
    """One kind of news: who hears it, and how often there was one."""

    __slots__ = ("hearers", "ids", "told")

    def __init__(self, wanting: Sequence[tuple[str, Callable[[Any], None]]]) -> None:
        self.told = 0
        self.ids = {name for name, _ in wanting}
        self.hearers = tuple(hear for _, hear in wanting)


def _hardy(checkers: Sequence[Checker]) -> Sequence[Checker]:
    return tuple(one for one in checkers if one.outlives_holes)


@cache
def _wanting(checkers: tuple[type[Checker], ...], hook: str, news: News) -> tuple[int, ...]:
    """Which of them; the same in every boot of every world."""
    return tuple(index for index, one in enumerate(checkers) if _wants(one, hook, news))


def _wants(checker: type[Checker], hook: str, news: News) -> bool:
    if getattr(checker, hook) is getattr(Checker, hook):
        return False
    if hook == "found" or checker.hears is None or news in checker.hears:
        return True
    kind = news[0] if isinstance(news, tuple) else Body if hook == "recorded" else None
    return kind in checker.hears


def _is_about(record: Record, about: int | str) -> bool:
    if isinstance(about, str):
        return about in (record.actor, record.to)
    if about in (record.seq, record.spawn_id, record.cause):
        return True
    return about in (getattr(record.body, "command", 0), getattr(record.body, "signal", 0))
