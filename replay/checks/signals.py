"""Room: replay -- invariants 11 to 15 (RELIABILITY.md 4.3): signals, pids, groups, patience.

Knows:     replay.checks.checkers, replay.checks.truth, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     believes the ledger about the kernel, or the kernel about the ledger: it compares.
"""

from __future__ import annotations

import heapq
import signal
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from circus.bus import commands, events
from circus.bus.record import Record
from circus.bus.shapes import entity
from circus.bus.values import NS_PER_SECOND
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.truth import Fact, Noted, Obeyed, Reaped, Settled, Signalled, Told

if TYPE_CHECKING:
    from circus.replay.world import World

# From a due SIGKILL to its arrival: the bus, the link and one restart of the core lie between.
KILL_SLACK_NS: Final = 2 * NS_PER_SECOND


class OwnSignals(Checker):
    """No signal is sent to a pid that is not ours and unreaped."""

    id = "I-SIG"
    outlives_holes = True
    hears = (Signalled,)

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Signalled), fact
        if fact.serial == 0:
            self.fail(f"signal {fact.signum} to pid {fact.pid}, which is not ours any more")


class NoReuse(Checker):
    """No record attributes a pid to a process that never had it."""

    id = "I-REUSE"
    outlives_holes = True
    hears = (
        events.ProcessSpawned, events.ProcessExited, events.ProcessReaped, events.ProcessLost,
    )  # fmt: skip

    def recorded(self, record: Record) -> None:
        body: Any = record.body
        spawn_id = record.spawn_id or 0
        worker = self.truth.workers.by_spawn.get(spawn_id)
        if worker is None:
            return  # Of an earlier boot: I-STATUS has an eye on what is said of it.
        if isinstance(body, events.ProcessSpawned):
            if (body.pid, body.inode) != (worker.pid, worker.serial):
                self.fail(f"{spawn_id} is taken for pid {body.pid}", spawn_id)
        elif body.pid not in (worker.pid, 0):
            self.fail(f"{spawn_id} never had pid {body.pid}", spawn_id)


class Groups(Checker):
    """With `leftovers = kill` nothing of a process's group or session outlives its reaping."""

    id = "I-GROUP"
    outlives_holes = True
    hears = ((Obeyed, "spawn"), Signalled, Reaped)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._kills: set[int] = set()  # spawn_ids
        self._killed: set[int] = set()  # serials

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed):
            if fact.operation[4][4]:
                self._kills.add(fact.operation[1])
        elif isinstance(fact, Signalled):
            if fact.signum == signal.SIGKILL:
                self._killed.add(fact.serial)
        elif isinstance(fact, Reaped):
            spawn_id = self.truth.workers.by_serial[fact.serial].spawn_id
            if spawn_id in self._kills:
                left = [serial for serial in fact.members if serial not in self._killed]
                text = f"{spawn_id} was reaped while {len(left)} of its group lived"
                self.claim(not left, text, spawn_id)


@entity
class Stop:
    """One process that was asked to end: since when, and the least patience that it may meet."""

    since: int
    grace: int
    least: int


class StopSequence(Checker):
    """stop = stop_signal, `graceful_timeout` of boot time, SIGKILL: never early, never missing."""

    id = "I-STOPSEQ"
    hears = (
        events.WatcherUpdated, commands.WatcherStop, commands.WatcherKill, events.SlotStopping,
        commands.ProcessSignal, events.CommandFinished, events.CommandRefused, (Obeyed, "spawn"),
        Signalled, (Noted, "signalled"),
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._wishes: dict[str, dict[int, int]] = {}  # graces by open command, by watcher
        self._stops: dict[str, dict[int, Stop]] = {}  # by watcher, by spawn_id
        self._due: list[tuple[int, int, str]] = []  # when, spawn_id, watcher: a heap
        self._overdue: deque[tuple[int, int, str]] = deque()
        self._plans = Plans(self)

    def happened(self, fact: Fact) -> None:
        self._plans.happened(fact)

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.SlotStopping):
            self._asked(record)
        elif isinstance(body, commands.ProcessSignal):
            if body.signum == signal.SIGKILL and _woke(self.truth.record_at(record.cause)):
                self._killed(record)
        elif isinstance(body, events.CommandFinished | events.CommandRefused):
            self._wishes.get(record.actor, {}).pop(body.command, None)
        elif isinstance(body, commands.WatcherStop | commands.WatcherKill):
            self._wished(record, body.grace)

    def stepped(self, world: World) -> None:
        boot, due = world.agenda.boot, self._due
        if not self._overdue and (not due or due[0][0] >= boot):
            return
        now = self.truth.attention.at(world)
        while due and due[0][0] < boot:
            _, spawn_id, address = heapq.heappop(due)
            self._overdue.append((now + KILL_SLACK_NS, spawn_id, address))
        if self._overdue and self._overdue[0][0] < now:
            _, spawn_id, address = self._overdue.popleft()
            self._judge(spawn_id, address, boot)

    def _judge(self, spawn_id: int, address: str, boot: int) -> None:
        worker = self.truth.workers.by_spawn.get(spawn_id)
        stop = self._stops.get(address, {}).pop(spawn_id, None)
        if stop is None or worker is None or not worker.lives or worker.killed:
            return
        if self.truth.watchers.of[address].removed:
            return  # With `nostop`: what it had asked to end nobody waits for any more.
        if stop.since + stop.grace < boot:
            self.fail(
                f"{spawn_id} lives {boot - stop.since} ns after it was asked to stop", spawn_id
            )
        self._stops[address][spawn_id] = stop  # Somebody gave it more time.
        heapq.heappush(self._due, (stop.since + stop.grace, spawn_id, address))

    def _wished(self, record: Record, grace: int | None) -> None:
        """A command with a grace of its own: whoever stops already may get the shorter one."""
        if grace is None or not record.to:
            return
        if record.actor != record.to:
            self._wishes.setdefault(record.to, {})[record.seq] = grace
        for stop in self._stops.get(record.to, {}).values():
            stop.least = min(stop.least, record.boot + grace - stop.since)

    def _asked(self, record: Record) -> None:
        watched = self.truth.watchers.of.get(record.actor)
        if watched is None or record.spawn_id is None:
            return
        wishes = self._wishes.get(record.actor, {})
        own = watched.spec.graceful_timeout
        grace = max(own, *wishes.values()) if wishes else own
        least = min(own, *wishes.values()) if wishes else own
        stops = self._stops.setdefault(record.actor, {})
        known = stops.get(record.spawn_id)
        if known is not None:
            known.least = min(known.least, record.boot + least - known.since)
            known.grace = max(known.grace, record.boot + grace - known.since)
            return
        stops[record.spawn_id] = Stop(record.boot, grace, least)
        heapq.heappush(self._due, (record.boot + grace, record.spawn_id, record.actor))

    def _killed(self, record: Record) -> None:
        spawn_id = record.spawn_id or 0
        stop = self._stops.get(record.actor, {}).get(spawn_id)
        if stop is not None and record.boot - stop.since < stop.least:
            waited = record.boot - stop.since
            text = f"{spawn_id} was killed after {waited} ns, its grace is {stop.least} ns"
            self.fail(text, spawn_id)


class Plans:
    """The keeper alone: between its own stop signal and its SIGKILL lies the grace of the plan."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._graces: dict[int, int] = {}  # by spawn_id
        self._since: dict[int, int] = {}  # boot ns, by spawn_id
        self._latest = 0  # when the latest signal was sent

    def happened(self, fact: Fact) -> None:
        """A plan comes with its spawn; what is sent by it is noted at once."""
        if isinstance(fact, Signalled):
            self._latest = fact.boot
        elif isinstance(fact, Obeyed):
            self._graces[fact.operation[1]] = fact.operation[4][1]
        elif isinstance(fact, Noted) and fact.report[4]:
            self._sent(fact.report[2], fact.report[3])

    def _sent(self, spawn_id: int, signum: int) -> None:
        since = self._since.get(spawn_id)
        if since is None:
            self._since[spawn_id] = self._latest  # the stop signal, whichever it is
            return
        # Whoever asks for the end a second time leaves a second to everybody.
        grace = min(self._graces.get(spawn_id, 0), NS_PER_SECOND)
        waited = self._latest - since
        if signum == signal.SIGKILL and waited < grace:
            text = f"without a core {spawn_id} was killed after {waited} ns, its plan says {grace}"
            self._checker.fail(text, spawn_id)


def _woke(cause: Record | None) -> bool:
    return cause is not None and isinstance(cause.body, events.TimerWoke)


class LoggedSignals(Checker):
    """Every signal sent has a command with its sender in the ledger, and later its result.

    What the keeper sends by itself (stop plans, leftovers) it tells, or notes in its last words.
    A signal that is asked for again is not sent again: what is told twice covers nothing.
    """

    id = "I-LOG-SIG"
    hears = (
        commands.ProcessSignal, events.ProcessSignalled, (Obeyed, "signal"), Signalled,
        *((word, name) for word in (Told, Noted) for name in ("signalled", "reaped")), Settled,
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._asked: dict[int, Record] = {}
        self._open: dict[int, None] = {}  # seqs without a result on record
        self._carried_out: set[int] = set()  # seqs that the keeper has told a result of
        self._untold: list[int] = []  # pids that were signalled since the last report about them

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, commands.ProcessSignal):
            self._asked[record.seq] = record
            self._open[record.seq] = None
        elif isinstance(body, events.ProcessSignalled) and body.signal:
            if body.signal not in self._open:
                self.fail(
                    f"signal {body.signal} has two results, or was never asked for",
                    record.spawn_id or 0,
                )
            del self._open[body.signal]

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed):
            self._obeyed(*fact.operation[1:])
        elif isinstance(fact, Signalled):
            self._untold.append(fact.pid)
        elif isinstance(fact, Settled):
            if self._untold:
                self.fail(f"signals that nobody was told of: pids {self._untold}")
        elif isinstance(fact, Told | Noted):
            self._told(fact.report)

    def _obeyed(
        self, seq: int, spawn_id: int, signum: int, scope: str, child_pid: int | None
    ) -> None:
        record = self._asked.get(seq)
        if record is None:
            self.fail(f"signal {signum} to {spawn_id} is not on record", spawn_id)
            return
        body = record.body
        assert isinstance(body, commands.ProcessSignal), record
        said = (record.spawn_id, body.signum, body.scope, body.child_pid)
        if said != (spawn_id, signum, scope, child_pid):
            self.fail(f"signal {seq} is not what was recorded", spawn_id)

    def _told(self, report: Sequence[Any]) -> None:
        told = set(report[4] if report[0] == "signalled" else report[3])
        if report[0] == "signalled" and report[1]:
            if report[1] in self._carried_out:
                return  # What the core asks for again after a crash is answered, not repeated.
            self._carried_out.add(report[1])
        if self._untold:
            self._untold = [pid for pid in self._untold if pid not in told]

    def rested(self, world: World) -> None:
        if world.ended is None:
            for seq in self._open:
                text = f"signal {seq} has no result on record"
                self.fail(text, self._asked[seq].spawn_id or 0)


SIGNAL_CHECKERS = (OwnSignals, NoReuse, Groups, StopSequence, LoggedSignals)
