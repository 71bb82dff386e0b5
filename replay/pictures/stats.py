"""Room: replay -- figures of each watcher over a range of the record: restarts, exits, times.

Knows:     bus.commands, bus.events, replay.pictures.axis, lives and slices.
Known by:  replay.pictures.stats_shown and verbs; circus.replay gives `stats` to programs.
Never:     calls a watcher unavailable that nobody wanted to run; holds more of a life that has
           ended than two numbers.

Available is a watcher by the share of the time in which it should have had its processes and had
them: from `watcher.starting` to `watcher.stopping`, `numprocesses` of them. One that has failed
should, and one that is being restarted. More processes than wanted (in a reload) count for no more.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.shapes import entity, field, frozen
from circus.replay.pictures.axis import Axis
from circus.replay.pictures.lives import Life, Lives, Outcome
from circus.replay.pictures.slices import Slices
from circus.replay.pictures.tale import only, subject_of

CAUSES_MAX: Final = 50
OTHER: Final = "other"
# Ends that nobody asked for, of processes that ran.
UNASKED: Final = (Outcome.CLEAN, Outcome.FAILED, Outcome.KILLED, Outcome.LOST)


class Spread(NamedTuple):
    """How some durations lie; nanoseconds, 0 where there are none."""

    lives: int = 0
    least: int = 0
    median: int = 0
    p95: int = 0
    most: int = 0

    @classmethod
    def of(cls, values: Iterable[int]) -> Spread:
        """By nearest rank."""
        ordered = sorted(values)
        if not ordered:
            return cls()
        count = len(ordered)
        median, p95 = (ordered[-(-count * share // 100) - 1] for share in (50, 95))
        return cls(count, ordered[0], median, p95, ordered[-1])


@frozen
class WatcherStats:
    """One watcher in the range. `availability` is None where nobody knows how many should run.

    `restarts`: processes started in place of one whose end nobody had asked for. `ends` counts
    lives by outcome, `causes` by outcome and what the kernel or the keeper said. `uptime` is of the
    lives that ended, `ready` of all: from the wish for a process to the word that it runs.
    """

    watcher: str
    wanted: int
    running: int
    started: int
    restarts: int
    ends: Mapping[str, int]
    causes: Mapping[str, int]
    uptime: Spread
    ready: Spread
    availability: float | None
    down: int  # ns that processes were missing, each counted
    slices: Sequence[float | None]  # the availability of each slice of the range
    deaths: Sequence[int]  # ends in it that nobody asked for


@frozen
class Stats:
    """All watchers over one range, in wall ns; each slice of it is `width` ns long."""

    since: int
    until: int
    width: int
    records: int
    watchers: tuple[WatcherStats, ...]


@entity
class Tally:
    """What is counted of one watcher in the range."""

    started: int = 0
    restarts: int = 0
    wanted_ns: int = 0
    up_ns: int = 0
    causes: Counter[tuple[Outcome, str]] = field(factory=Counter)
    uptimes: array[int] = field(factory=lambda: array("q"))
    readies: array[int] = field(factory=lambda: array("q"))


@entity
class Ward:
    """One watcher while the record is read. `wanted` is None as long as nobody has said it."""

    slices: Slices
    at: int
    tally: Tally = field(factory=Tally)
    wanted: int | None = None
    on: bool = False
    restarting: bool = False
    owed: int = 0  # ends that nobody asked for, and that nothing has replaced yet
    alive: set[int] = field(factory=set)

    def advance(self, at: int) -> None:
        """Up to now it was as it is."""
        since, self.at = max(self.at, self.slices.begin), max(self.at, at)
        if at <= since or not self.on or not self.wanted:
            return
        up = min(len(self.alive), self.wanted)
        self.slices.spread("wanted", since, at, self.wanted)
        self.slices.spread("up", since, at, up)
        self.tally.wanted_ns += self.wanted * (at - since)
        self.tally.up_ns += up * (at - since)


class Count:
    """A fold of records into figures; those before `since` only tell how things stood then."""

    def __init__(self, since: int | None = None) -> None:
        self._since = since
        self._axis, self._fold = Axis(), Lives(self._told)
        self._wards: dict[str, Ward] = {}
        self._at = 0  # of the newest record
        self._boots = 0
        self._records = 0

    def take(self, record: Record) -> None:
        """The next one."""
        at = self._axis.at(record)
        if self._since is None:
            self._since = at
        if self._axis.boots != self._boots:
            self._reboot()
        self._at = at
        self._records += at >= self._since
        self._fold.take(record, at)
        body, name = record.body, subject_of(record)[0]
        step = _STEPS.get(type(body))
        if step is not None and name:
            ward = self._ward(name)
            ward.advance(at)
            step(ward, body)
        elif isinstance(body, events.ProcessSpawned) and record.spawn_id in self._fold.open:
            self._began(self._ward(name), record.spawn_id, at, adopted=body.adopted)

    def result(self) -> Stats:
        """The figures, up to the newest record."""
        since = self._since or 0
        self._fold.finish()
        for ward in self._wards.values():
            ward.advance(self._at)
            ward.slices.reach(max(self._at, since))  # so that all have slices of one width
        width = next((ward.slices.width for ward in self._wards.values()), 1)
        watchers = tuple(_figures(name, ward, self._at) for name, ward in self._wards.items())
        return Stats(since, max(self._at, since), width, self._records, watchers)

    def _ward(self, name: str) -> Ward:
        ward = self._wards.get(name)
        if ward is None:
            slices = Slices(self._since or 0, "wanted", "up", "deaths")
            ward = self._wards[name] = Ward(slices, self._at)
        return ward

    def _reboot(self) -> None:
        """What ran in another boot ended with it, whenever that is recorded."""
        self._boots = self._axis.boots
        for ward in self._wards.values():
            ward.advance(self._at)
            ward.alive.clear()

    def _began(self, ward: Ward, spawn_id: int, at: int, *, adopted: bool) -> None:
        ward.advance(at)
        ward.alive.add(spawn_id)
        replaces = ward.owed > 0 and not adopted
        ward.owed -= replaces
        if at >= (self._since or 0):
            ward.tally.started += not adopted
            ward.tally.restarts += replaces

    def _told(self, life: Life) -> None:
        """A life has ended, or the record has."""
        if not life.watcher:
            return
        ward, since = self._ward(life.watcher), self._since or 0
        if life.ended is not None:
            self._ended(ward, life, life.ended.at)
        if life.readiness is not None and life.filled is not None and life.filled.at >= since:
            ward.tally.readies.append(life.readiness)

    def _ended(self, ward: Ward, life: Life, at: int) -> None:
        ward.advance(at)
        ward.alive.discard(life.spawn_id)
        unasked = life.outcome in UNASKED
        ward.owed += unasked
        if at < (self._since or 0):
            return
        tally = ward.tally
        key = (life.outcome, life.how)
        fits = key in tally.causes or len(tally.causes) < CAUSES_MAX
        tally.causes[key if fits else (life.outcome, OTHER)] += 1
        if life.uptime is not None:
            tally.uptimes.append(life.uptime)
        if unasked:
            ward.slices.add("deaths", at)


def stats(
    records: Iterable[Record], *, since: int | None = None, watchers: Collection[str] = ()
) -> Stats:
    """The figures of some records, oldest first, from `since` (wall ns) to the last of them."""
    count = Count(since)
    for record in only(records, watchers):
        count.take(record)
    return count.result()


def _figures(name: str, ward: Ward, until: int) -> WatcherStats:
    tally, slices = ward.tally, ward.slices
    ends: Counter[str] = Counter()
    for (outcome, _), number in tally.causes.items():
        ends[outcome.value] += number
    causes = {
        f"{outcome.value}: {how}" if how else outcome.value: number
        for (outcome, how), number in tally.causes.most_common()
    }
    shares = zip(slices.upto(until, "up"), slices.upto(until, "wanted"), strict=True)
    return WatcherStats(
        watcher=name,
        wanted=(ward.wanted or 0) if ward.on else 0,
        running=len(ward.alive),
        started=tally.started,
        restarts=tally.restarts,
        ends=ends,
        causes=causes,
        uptime=Spread.of(tally.uptimes),
        ready=Spread.of(tally.readies),
        availability=tally.up_ns / tally.wanted_ns if tally.wanted_ns else None,
        down=tally.wanted_ns - tally.up_ns,
        slices=[up / wanted if wanted else None for up, wanted in shares],
        deaths=slices.upto(until, "deaths"),
    )


# --- what a record changes of a watcher ----------------------------------------------------------


def _expect(ward: Ward, options: Mapping[str, Any]) -> None:
    """How many processes it should have; nobody knows that of one that does not replace them."""
    if options.get("respawn") is False:
        ward.wanted = None
    elif isinstance(options.get("numprocesses"), int):
        ward.wanted = options["numprocesses"]


def _starting(ward: Ward, _body: Any) -> None:
    ward.on, ward.restarting, ward.owed = True, False, 0


def _stopping(ward: Ward, _body: Any) -> None:
    ward.on, ward.owed = ward.on and ward.restarting, 0


def _resized(ward: Ward, body: Any) -> None:
    if ward.wanted is not None:
        ward.wanted = body.numprocesses


def _restarting(ward: Ward, _body: Any) -> None:
    ward.restarting = True


def _removed(ward: Ward, _body: Any) -> None:
    ward.on = False


_STEPS: Final[dict[type[Body], Callable[[Ward, Any], None]]] = {
    events.WatcherAdded: lambda ward, body: _expect(ward, body.spec),
    events.WatcherUpdated: lambda ward, body: _expect(ward, body.options),
    events.WatcherResized: _resized,
    events.WatcherStarting: _starting,
    events.WatcherStopping: _stopping,
    events.WatcherRemoved: _removed,
    commands.WatcherRestart: _restarting,
}

__all__ = ["Count", "Spread", "Stats", "WatcherStats", "stats"]
