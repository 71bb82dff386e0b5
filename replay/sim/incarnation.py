"""Room: replay -- one incarnation of the core, composed as arbiter.wiring composes the real one.

Knows:     arbiter.runtime and everything that a composition root knows, minus sockets.
Known by:  replay.world.
Never:     replaces a production part by one of its own, except at the five seams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Final, Protocol

import attr

from circus.arbiter.launches import Launches
from circus.arbiter.memory import Living
from circus.arbiter.memory_codec import encode
from circus.arbiter.recovery import Recalled, recall, save_living
from circus.arbiter.runtime import Ports, Runtime
from circus.arbiter.upkeep import Upkeep
from circus.arbiter.verbs import Options
from circus.bus import commands, events
from circus.bus.ledger import SEGMENT_BYTES_MAX, Ledger
from circus.bus.past import Past
from circus.bus.record import Decision, Draft, Record
from circus.bus.segments import Frame, Hole
from circus.bus.switchboard import Publisher
from circus.bus.values import CLIENT
from circus.process.link import LinkClosed
from circus.process.lives import HOST_RESTART
from circus.process.reaper import Reaper
from circus.replay.checks.checkers import Truth, Violation
from circus.replay.checks.edges import Edges
from circus.replay.sim.agenda import Agenda, SimClock
from circus.replay.sim.bus import SimBus, SimExchange, SimLink
from circus.replay.sim.disk import SimDisk
from circus.replay.sim.front import SimFront
from circus.replay.sim.network import Network
from circus.replay.sim.readings import Readings
from circus.replay.sim.syncer import SimSyncer

DIRECTORY: Final = "ledger"
LOG_ID: Final = b"simulated ledger"
VERSION: Final = "0.1.0"


class MakeReaper(Protocol):
    """How to make the reaper: production's, or a mutant's."""

    def __call__(
        self, link: SimLink, launch_of: Callable[[Record], Any],
        say: Callable[[Sequence[Draft]], None], /,
    ) -> Reaper: ...  # fmt: skip


MakeExchange = Callable[[SimBus, int], SimExchange]


class Silence:
    """Nobody listens to the event stream."""

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """Losing it is allowed."""


class Both:
    """Counts what is published, and tells it to whoever listens."""

    def __init__(self, tally: Publisher, stream: Publisher) -> None:
        self._tally = tally
        self._stream = stream

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """One after the other."""
        self._tally.publish(frames, chains, first_seq)
        self._stream.publish(frames, chains, first_seq)


class Tally:
    """Counts decisions of production code: each is a frame, appended and delivered by now."""

    def __init__(self, publisher: Publisher) -> None:
        self.decisions = 0
        self._publisher = publisher

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """They are in the ledger, and whom they concern has been sent them."""
        self.decisions += len(frames)
        self._publisher.publish(frames, chains, first_seq)


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What outlives a core."""

    agenda: Agenda
    disk: SimDisk
    bus: SimBus
    network: Network
    readings: Readings
    options: Options
    secrets: Callable[[str], str]
    boot_id: str
    pid: int
    given: int = 0  # as the keeper's `hello` says it
    configure: commands.ArbiterConfigure
    words: list[Sequence[Any]]  # DIR/last-words
    keeper_began: int  # boot ns
    segment_bytes_max: int = SEGMENT_BYTES_MAX
    wake: Callable[[], None]
    holed: Callable[[], None]
    unseen: Callable[[], AbstractContextManager[None]]
    publisher: Publisher = attr.Factory(Silence)
    make_reaper: MakeReaper = Reaper
    make_exchange: MakeExchange = SimExchange


class SimCore:
    """One life of the core, from the first read of its ledger to a crash or a clean end."""

    def __init__(self, around: Surroundings, link: SimLink, truth: Truth) -> None:
        self.link = link
        self.ended: int | None = None
        self.alarm: int | None = None
        self.safe = 0  # the seq up to which all is on the platter, as far as the core says
        self._ready = False
        self._looked = 0  # boot ns of the beginning of the latest turn
        self._around = around
        self._clock = SimClock(around.agenda)
        self.ledger = Ledger.open(
            DIRECTORY, around.disk, log_id=LOG_ID, now=self._clock.now(),
            segment_bytes_max=around.segment_bytes_max,
        )  # fmt: skip
        self.ledger.skip(around.given, self._clock.now())
        self._edges = Edges(around.agenda.coverage)
        recalled = self._recalled()
        with around.unseen():
            self._show(truth, recalled)
        memory = recalled.memory
        self.past, self.projection = memory.past, memory.projection
        self.outcomes = outcomes = memory.outcomes
        self._rebase(self.past)
        syncer = SimSyncer(around.agenda, around.disk)
        self.ledger.attach(syncer)
        self.seed = around.agenda.chance.getrandbits(64)
        core = (self.past.incarnation + 1, self.seed)
        self.front = SimFront(around.network, self.ledger, self._clock, core, syncer)
        self.runtime = Runtime(self._ports(), self.past, self.seed)
        self.upkeep = Upkeep(self.ledger, syncer, self.runtime, lambda: _keep(self, around))
        self._edges.counting = True
        switchboard = self.runtime.switchboard
        switchboard.observers.append(truth)
        for other in (self.projection, outcomes, self._edges):
            switchboard.watch(other.observe, other.watches)
        switchboard.watch(partial(_replace_keeper, link), (events.CoreRestarting,))
        self._begin()
        self.front.serve(self.runtime, self.projection, outcomes, around.options)

    @property
    def incarnation(self) -> int:
        """Which life this is."""
        return self.runtime.switchboard.incarnation

    def turn(self) -> None:
        """One wake-up, as the engine has it."""
        self._looked = self._around.agenda.boot
        self.runtime.reaper.receive()
        self.runtime.pump()
        if self.front.receive():
            self.runtime.pump()
        if not self._ready and self.runtime.awake:
            self._say_ready()
        now = self._clock.now()
        safe = self.upkeep.settle(now)
        self.front.settle(safe, now)
        self.safe = max(self.safe, safe)
        if self.runtime.ended:
            self.ended = 0
            self._finish("asked to")
            self.link.send([("stopping", self.ended)])
            self.link.flush()
        elif self.runtime.restarting is not None:
            self.ended = 0
            self._finish("restart")

    def ask(self, draft: Draft) -> None:
        """A client's command."""
        self.runtime.submit(Decision(CLIENT, 0, (draft,)))

    def next_due(self) -> int | None:
        """When it should be woken though nobody tells it anything.

        Time passes within a turn that waits for a disk: mail that has come meanwhile is due.
        """
        boot = self._around.agenda.boot
        mail = self._around.bus.next_due(self.incarnation, self._looked)
        timer = self.runtime.next_due()
        retry = self.upkeep.retry_due or None
        dues = [
            max(due, boot) for due in (timer, mail, retry, self.front.next_due()) if due is not None
        ]
        return min(dues, default=None)

    def _ports(self) -> Ports:
        around = self._around
        launches = Launches(self.projection, around.secrets, {})
        return Ports(
            ledger=self.ledger,
            clock=self._clock,
            exchange=around.make_exchange(around.bus, self.past.incarnation + 1),
            publisher=Both(around.publisher, self.front.stream),
            recall=lambda: self._recalled().memory.past,
            reaper=lambda say: around.make_reaper(self.link, launches.of, say),
        )

    def _rebase(self, past: Past) -> None:
        if past.boot_id and past.boot_id != self._around.boot_id and past.last is not None:
            past.timers.rebase(past.last.boot, self._clock.now().boot)

    def _begin(self) -> None:
        runtime, last = self.runtime, self.past.last
        anew = (
            last is None or self.past.boot_id != self._around.boot_id
            or last.boot < self._around.keeper_began
        )  # fmt: skip
        started = events.CoreStarted(
            version=VERSION, pid=self._around.pid, keeper_pid=1, boot_id=self._around.boot_id,
            host="simulated", kernel="simulated", uid=0, python="3", seed=self.seed,
        )  # fmt: skip
        drafts = [Draft(started), *self._findings()]
        before = self.past.boot_id
        if before and before != started.boot_id:
            drafts.append(Draft(events.HostRestarted(before, started.boot_id)))
            runtime.begin(drafts, HOST_RESTART)
        else:
            runtime.begin(drafts)
        if not self.ledger.degraded:
            self.safe = self.ledger.head  # An incarnation begins by making its beginning durable.
        self._hear_last_words(self._around.words)
        runtime.configure(self._around.configure, anew=anew)

    def _hear_last_words(self, words: list[Sequence[Any]]) -> None:
        """What a keeper saw and did while no core was there: on record before it is forgotten."""
        if words:
            self.runtime.reaper.hear(words)
            self.runtime.pump()
            self.ledger.sync(self._clock.now())
            words.clear()

    def _recalled(self) -> Recalled:
        recalled = recall(self.ledger, self._around.disk, DIRECTORY)
        faults = self._around.agenda.coverage.faults
        faults["snapshot.used"] += recalled.begun_at > 0
        faults["snapshot.passed_over"] += bool(recalled.complaints)
        return recalled

    def _show(self, truth: Truth, recalled: Recalled) -> None:
        """What there is to see for those who look at the world: every record, and no snapshot.

        The whole ledger is folded beside the start, record by record, and must say the same.
        """
        around, memory = self._around, recalled.memory
        first, frames = self.ledger.first_retained, list[Frame]()
        after = first - 1
        if after:  # History has given way to a full disk, or is too old.
            around.agenda.coverage.faults["ledger.trimmed"] += 1
            around.holed()
        for item in self.ledger.items():
            if isinstance(item, Hole):
                after = item.lost_to
                frames.clear()
                around.holed()
                continue
            frames.append(item)
            records = around.readings.records(item.payload)
            truth.read(item.payload, records)
            for record in records:
                self._edges.observe(record)
        if first > 1 or after != memory.past.after:
            return
        whole = around.readings.folded(frames, after)
        if encode(whole) != encode(memory):
            begun = f"a snapshot at {recalled.begun_at}" if recalled.begun_at else "the beginning"
            text = f"I-FOLD: from {begun} to {whole.seq} a start finds something else"
            raise Violation(f"{text}\nseed {around.agenda.seed}")

    def _findings(self) -> list[Draft]:
        found = self.ledger.recovered
        cut = found.tail_cut
        drafts = (
            [] if cut is None else [Draft(events.LogTailCut(cut.segment, cut.offset, cut.bytes))]
        )
        drafts += [
            Draft(events.LogDamaged(one.segment, one.offset, one.lost_from, one.lost_to))
            for one in found.damaged
        ]
        return drafts if found.gap is None else [*drafts, Draft(events.LogGap(*found.gap))]

    def _say_ready(self) -> None:
        self._ready = True
        self.runtime.say((Draft(events.CoreReady()),), self._tell_keeper)
        self.runtime.pump()

    def _tell_keeper(self, _stamped: object) -> None:
        """As the engine of a real core: before the world hears it."""
        found = self.past.last.seq if self.past.last else 0
        self.link.send([("ready", found, self.ledger.head)])
        with suppress(LinkClosed):
            self.link.flush()

    def _finish(self, reason: str) -> None:
        self.runtime.say((Draft(events.CoreStopped(reason)),))
        self.runtime.pump()
        now = self._clock.now()
        self.ledger.sync(now)
        self.front.settle(self.ledger.head, now)


def _replace_keeper(link: SimLink, record: Record) -> None:
    """As arbiter.wiring."""
    assert isinstance(record.body, events.CoreRestarting), record
    if record.body.keeper:
        link.send([("reexec", record.cause, "")])


def living(core: SimCore) -> Living:
    """What this core is."""
    return Living(core.ledger.head, core.runtime.past(), core.projection, core.outcomes)


def _keep(core: SimCore, around: Surroundings) -> None:
    save_living(around.disk, DIRECTORY, living(core), core.ledger, around.agenda.wall)
    around.agenda.coverage.faults["snapshot.living"] += 1
