"""Room: replay -- invariant 23 (RELIABILITY.md 4.3): the patience with what does not live long.

Knows:     replay.checks.checkers, replay.checks.witness, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     calls the policy that it checks: the schedule is worked out here once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.shapes import entity
from circus.bus.spec import WatcherSpec
from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.replay.checks.checkers import ENDS, Checker, Truth
from circus.replay.checks.witness import Watched

if TYPE_CHECKING:
    from circus.replay.world import World

JITTER_PERCENT: Final = 10
TIMER_SLACK_NS: Final = 10 * NS_PER_SECOND  # more than the power can be off
RUNNING: Final = ("starting", "active")


@entity
class Place:
    """One slot: how its last lives ended, and when it may have the next."""

    short: int = 0  # short lives in a row
    earliest: int = 0  # boot ns of the next spawn, after a pause was declared
    pause: int = 0  # seq of the input that made it pause


class Backoff(Checker):
    """Respawns of a slot keep the schedule and the limits in boot time; the wall has no say."""

    id = "I-BACKOFF"
    hears = (
        commands.ProcessSpawn, events.SlotVacated, events.SlotWaiting, events.SlotStopping,
        events.WatcherStarting, commands.TimerArm, commands.TimerDisarm, events.TimerWoke,
        events.CoreStarted,
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._places: dict[str, dict[int, Place]] = {}
        self._stopping: set[int] = set()
        self._timers: dict[tuple[str, str], Armed] = {}
        self._boot_id = ""
        self._reactions: Mapping[type[Body], Callable[[Record, Any], None]] = {
            commands.ProcessSpawn: self._spawned, events.SlotVacated: self._vacated,
            events.SlotWaiting: self._waiting,
            events.WatcherStarting: self._restarted, commands.TimerArm: self._armed,
            commands.TimerDisarm: self._disarmed, events.TimerWoke: self._woke,
            events.CoreStarted: self._started,
        }  # fmt: skip

    def recorded(self, record: Record) -> None:
        if isinstance(record.body, events.SlotStopping):
            self._stopping.add(record.spawn_id or 0)
        else:
            self._reactions[type(record.body)](record, record.body)

    def rested(self, world: World) -> None:
        if world.ended is not None or world.core is None:
            return
        for (address, timer), armed in self._timers.items():
            watched = self.truth.watchers.of.get(address)
            late = world.agenda.boot - armed.due
            if late > TIMER_SLACK_NS and (watched is None or not watched.removed):
                self.fail(f"{timer} of {address} is {late} ns late", armed.seq)

    # --- lives ------------------------------------------------------------------------------------

    def _spawned(self, record: Record, body: Any) -> None:
        watched = self.truth.watchers.of.get(record.actor)
        if watched is None:
            return
        spec, place = watched.spec, self._place(record)
        cause = self.truth.record_at(record.cause)
        if cause is not None and isinstance(cause.body, events.ProcessSpawnFailed):
            self._attempted(record, spec, body.attempt - 1)
        before = self.truth.workers.spawns.get(body.replaces or 0)
        is_fair = body.replaces in self._stopping or not _is_one_more(body, cause, before)
        self.claim(is_fair, f"attempt {body.attempt} follows one that never ran", record.seq)
        if watched.phase == "failed":
            self.fail(f"{record.actor} spawns after it has given up", record.seq)
        if record.boot < place.earliest:
            early = place.earliest - record.boot
            self.fail(
                f"slot {record.slot} of {record.actor} is filled {early} ns too early", record.seq
            )
        pauses = spec.backoff and spec.backoff_max  # at most 0 ns: none
        if place.short >= 2 and pauses and place.pause == record.cause:
            self.fail(
                f"slot {record.slot} of {record.actor} has no pause after "
                f"{place.short} short lives",
                record.seq,
            )
        ended = self._ended(record.cause)
        if place.pause != record.cause and ended is not None and ended.slot == record.slot:
            self._count(ended, watched, short=False)
            place.short = 0  # It took the place of one that had lived.
        elif cause is not None and _called_off(cause, record, self._stopping):
            place.short = 0
        place.earliest = 0

    def _attempted(self, record: Record, spec: WatcherSpec, attempts: int) -> None:
        """So many have failed, and there is to be another one."""
        if 0 <= spec.max_retry < attempts:
            self.fail(f"{record.actor} tries again after {attempts} attempts", record.seq)

    def _vacated(self, record: Record, body: Any) -> None:
        place, ended = self._place(record), self._ended(record.cause)
        waited, place.earliest = place.earliest > 0, 0
        watched = self.truth.watchers.of.get(record.actor)
        # A slot that waited may be given up in the decision about another slot's end.
        if ended is not None and watched is not None and ended.slot == record.slot:
            self._count(ended, watched, short=body.short)
        if not body.short:
            if not waited:
                place.short = 0
            return
        place.short += 1
        place.pause = record.cause
        if watched is not None and 0 < watched.spec.give_up < place.short:
            self.fail(f"{record.actor} did not give up after {place.short} short lives", record.seq)

    def _waiting(self, record: Record, body: Any) -> None:
        watched = self.truth.watchers.of.get(record.actor)
        cause = self.truth.record_at(record.cause)
        if watched is None or cause is None:
            return
        place = self._place(record)
        if isinstance(cause.body, events.ProcessSpawnFailed):
            self._attempted(record, watched.spec, body.failures)
            expected = _pause_of_spawn(watched.spec, body.failures)
        else:
            if body.failures != place.short:
                self.fail(
                    f"{body.failures} short lives are counted, {place.short} were", record.seq
                )
            expected = _doubled(watched.spec.backoff, place.short - 2, watched.spec.backoff_max)
        if not expected <= body.delay <= expected + expected * JITTER_PERCENT // 100:
            self.fail(f"a pause of {body.delay} ns instead of {expected}", record.seq)
        place.earliest = record.boot + expected
        place.pause = 0

    def _restarted(self, record: Record, body: Any) -> None:
        """An operator's start forgives everything, and is for waiting slots too."""
        self._places.pop(record.actor, None)

    def _ended(self, cause: int) -> Record | None:
        record = self.truth.record_at(cause)
        return record if record is not None and isinstance(record.body, ENDS) else None

    def _count(self, ended: Record, watched: Watched, *, short: bool) -> None:
        """A life is short that ended by itself within min_uptime of its spawn."""
        spawn_id = ended.spawn_id or 0
        spawn, body = self.truth.workers.spawns.get(spawn_id), ended.body
        if spawn is None or spawn_id in self._stopping or watched.phase not in RUNNING:
            return
        life = body.observed - spawn.boot if isinstance(body, events.ProcessExited) else -1
        if (0 <= life < watched.spec.min_uptime) is not short:
            how = "counts" if short else "does not count"
            self.fail(f"a life of {life} ns {how} as a short one", spawn_id)

    def _place(self, record: Record) -> Place:
        places = self._places.setdefault(record.actor, {})
        return places.setdefault(record.slot or 0, Place())

    # --- timers -----------------------------------------------------------------------------------

    def _armed(self, record: Record, body: Any) -> None:
        due = record.boot + body.duration
        self._timers[record.actor, body.timer] = Armed(record.seq, due, body.bound)

    def _disarmed(self, record: Record, body: Any) -> None:
        self._timers.pop((record.actor, body.timer), None)

    def _woke(self, record: Record, body: Any) -> None:
        key = (record.to or "", body.timer)
        armed = self._timers.get(key)
        if armed is None or armed.seq != body.armed:
            return
        del self._timers[key]
        if record.boot < armed.due:
            early = armed.due - record.boot
            self.fail(f"{body.timer} of {record.to} woke {early} ns too early", armed.seq)

    def _started(self, record: Record, body: Any) -> None:
        """In another boot timers of processes are void, the rest goes on with what remained."""
        before = self.truth.record_at(record.seq - 1)
        if before is not None and body.boot_id != self._boot_id:
            self._timers = {
                key: armed._replace(due=before.boot + max(0, armed.due - before.boot))
                for key, armed in self._timers.items() if armed.bound != "process"
            }  # fmt: skip
        self._boot_id = body.boot_id


class Armed(NamedTuple):
    """One timer: by which record, until when, and whether it dies with the boot."""

    seq: int
    due: int
    bound: str


def _called_off(cause: Record, record: Record, stopping: set[int]) -> bool:
    """Whether it takes the place of one that was asked to end, and then could not be started."""
    failed = isinstance(cause.body, events.ProcessSpawnFailed | events.ProcessNeverRun)
    return failed and cause.slot == record.slot and cause.spawn_id in stopping


def _is_one_more(spawn: commands.ProcessSpawn, cause: Record | None, before: Record | None) -> bool:
    """Whether what never ran, and so has not failed, counts as an attempt all the same."""
    if cause is None or before is None or not isinstance(cause.body, events.ProcessNeverRun):
        return False
    return spawn.attempt != getattr(before.body, "attempt", 0)


def _pause_of_spawn(spec: WatcherSpec, attempt: int) -> int:
    """After so many failed spawns in a row."""
    if spec.backoff and spec.backoff_max:
        return _doubled(spec.backoff, attempt - 1, spec.backoff_max)
    return _doubled(10 * NS_PER_MS, attempt - 1, NS_PER_SECOND) if spec.max_retry < 0 else 0


def _doubled(first: int, times: int, most: int) -> int:
    delay = first
    for _ in range(max(0, times)):
        delay *= 2
        if delay >= most:
            break
    return min(delay, most)
