"""Room: replay -- invariants 11 to 15 (RELIABILITY.md 4.3): signals, pids, groups, patience.

Knows:     replay.checkers, replay.truth, the vocabulary.
Known by:  replay.invariants (the list of all).
Never:     believes the ledger about the kernel, or the kernel about the ledger: it compares.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from circus.bus import commands, events
from circus.bus.record import Record
from circus.bus.shapes import altered, entity
from circus.bus.spec import WatcherSpec, from_data
from circus.bus.values import NS_PER_SECOND, watcher_address
from circus.replay.checkers import Checker, Truth
from circus.replay.truth import Fact, Obeyed, Reaped, Signalled

if TYPE_CHECKING:
    from circus.replay.world import World

# From a due SIGKILL to its arrival: the bus, the link and one restart of the core lie between.
KILL_SLACK_NS: Final = 2 * NS_PER_SECOND
BARRIER_ERRNO: Final = 125


class OwnSignals(Checker):
    """No signal is sent to a pid that is not ours and unreaped."""

    id = "I-SIG"

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Signalled):
            text = f"signal {fact.signum} to pid {fact.pid}, which is not ours any more"
            self.claim(fact.serial != 0, text)


class NoReuse(Checker):
    """No record attributes a pid to a process that never had it."""

    id = "I-REUSE"

    def recorded(self, record: Record) -> None:
        body, spawn_id = record.body, record.spawn_id or 0
        worker = self.truth.by_spawn.get(spawn_id)
        if worker is None:
            return
        if isinstance(body, events.ProcessSpawned):
            right = (body.pid, body.inode) == (worker.pid, worker.serial)
            self.claim(right, f"{spawn_id} is taken for pid {body.pid}", spawn_id)
        elif isinstance(body, events.ProcessExited | events.ProcessReaped | events.ProcessLost):
            text = f"{spawn_id} never had pid {body.pid}"
            self.claim(body.pid in (worker.pid, 0), text, spawn_id)


class Groups(Checker):
    """With `leftovers = kill` nothing of a process's group or session outlives its reaping."""

    id = "I-GROUP"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._kills: dict[int, bool] = {}
        self._killed: set[int] = set()

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed) and fact.operation[0] == "spawn":
            self._kills[fact.operation[1]] = bool(fact.operation[4][4])
        elif isinstance(fact, Signalled) and fact.signum == signal.SIGKILL:
            self._killed.add(fact.serial)
        elif isinstance(fact, Reaped):
            spawn_id = self.truth.workers[fact.serial].spawn_id
            left = [serial for serial in fact.members if serial not in self._killed]
            text = f"{spawn_id} was reaped while {len(left)} of its group lived"
            self.claim(not left or not self._kills.get(spawn_id), text, spawn_id)


@entity
class Stop:
    """One process that was asked to end: since when, and how long it may take."""

    since: int
    grace: int


class StopSequence(Checker):
    """stop = stop_signal, `graceful_timeout` of boot time, SIGKILL: never early, never missing."""

    id = "I-STOPSEQ"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._specs: dict[str, WatcherSpec] = {}
        self._shortest: dict[str, int] = {}  # what commands have said, by watcher
        self._stops: dict[int, Stop] = {}
        self._wakes: set[int] = set()

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.WatcherAdded):
            address = watcher_address(str(body.spec["name"]), record.seq)
            self._specs[address] = from_data(body.spec)
        elif isinstance(body, events.WatcherUpdated) and record.actor in self._specs:
            self._update(record.actor, body)
        elif isinstance(body, commands.WatcherStop | commands.WatcherKill):
            self._hasten(record.to or "", body.grace)
        elif isinstance(body, events.SlotStopping):
            self._asked(record)
        elif isinstance(body, events.TimerWoke):
            self._wakes.add(record.seq)
        elif isinstance(body, commands.ProcessSignal) and body.signum == signal.SIGKILL:
            self._killed(record)

    def _update(self, address: str, body: events.WatcherUpdated) -> None:
        spec = self._specs[address]
        new = body.options.get("graceful_timeout")
        self._specs[address] = altered(
            spec, **{name: value for name, value in body.options.items() if name != "name"}
        )
        self._hasten(address, new)

    def _hasten(self, address: str, grace: int | None) -> None:
        if grace is not None:
            self._shortest[address] = min(grace, self._shortest.get(address, grace))

    def _asked(self, record: Record) -> None:
        spec = self._specs.get(record.actor)
        if spec is not None and record.spawn_id is not None:
            self._stops[record.spawn_id] = Stop(record.boot, spec.graceful_timeout)

    def _killed(self, record: Record) -> None:
        stop = self._stops.get(record.spawn_id or 0)
        if stop is None or record.cause not in self._wakes:
            return  # Somebody's own `signal 9`, or a stop whose stop_signal is KILL.
        least = min(stop.grace, self._shortest.get(record.actor, stop.grace))
        waited = record.boot - stop.since
        text = f"{record.spawn_id} was killed after {waited} ns, its grace is {least} ns"
        self.claim(waited >= least, text, record.spawn_id or 0)

    def stepped(self, world: World) -> None:
        # Only while a core is there to see it: without one the stop plans rule, or nobody.
        if world.core is None or not world.core.runtime.awake:
            self._late_since = world.agenda.boot
            return
        now = world.agenda.boot
        for spawn_id, stop in list(self._stops.items()):
            worker = self.truth.by_spawn.get(spawn_id)
            if worker is None or not worker.lives:
                continue
            latest = max(stop.since + stop.grace, self._late_since) + KILL_SLACK_NS
            text = f"{spawn_id} lives {now - stop.since} ns after it was asked to stop"
            self.claim(now <= latest, text, spawn_id)

    _late_since = 0


class LoggedSignals(Checker):
    """Every signal sent has a command with its sender in the ledger, and later its result."""

    id = "I-LOG-SIG"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._asked: dict[int, Record] = {}
        self._results: set[int] = set()

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, commands.ProcessSignal):
            self._asked[record.seq] = record
        elif isinstance(body, events.ProcessSignalled) and body.signal:
            once = body.signal not in self._results
            self.claim(once, f"signal {body.signal} has two results", record.spawn_id or 0)
            self._results.add(body.signal)

    def happened(self, fact: Fact) -> None:
        if not isinstance(fact, Obeyed) or fact.operation[0] != "signal":
            return
        _, seq, spawn_id, signum, scope, child_pid = fact.operation
        record = self._asked.get(seq)
        self.claim(record is not None, f"signal {signum} to {spawn_id} is not on record", spawn_id)
        assert record is not None
        body = record.body
        assert isinstance(body, commands.ProcessSignal)
        same = (record.spawn_id, body.signum, body.scope, body.child_pid) == (
            spawn_id, signum, scope, child_pid,
        )  # fmt: skip
        self.claim(same, f"signal {seq} is not what was recorded", spawn_id)

    def rested(self, world: World) -> None:
        for seq, record in self._asked.items():
            text = f"signal {seq} has no result on record"
            told = world.ended is not None or seq in self._results
            self.claim(told, text, record.spawn_id or 0)


SIGNAL_CHECKERS = (OwnSignals, NoReuse, Groups, StopSequence, LoggedSignals)
