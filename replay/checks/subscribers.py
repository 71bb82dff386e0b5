"""Room: replay -- invariants 39 to 44 (RELIABILITY.md 4.3): subscribers, bounds, secrets, fences.

Knows:     replay.checks.checkers, replay.checks.truth, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     asks a subscriber whether it is well: what it hands out is compared with the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from circus.arbiter.memory import blank
from circus.bus import commands
from circus.bus.past import Fold
from circus.bus.record import Body, Record
from circus.bus.shapes import entity, field
from circus.bus.values import ARBITER, EFFECTS_PER_DECISION_MAX, NS_PER_MS, watcher_of
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.truth import (
    Dropped,
    Fact,
    Forked,
    Handed,
    Noticed,
    Obeyed,
    Replied,
    Severed,
    Told,
)

if TYPE_CHECKING:
    from circus.replay.world import World

DETECT_NS_MAX: Final = 1250 * NS_PER_MS
LATE_NS: Final = 10_000 * NS_PER_MS  # replay.sim.network: a message that is late
AWAY_NS: Final = 6_000 * NS_PER_MS  # a connection that breaks, heartbeats that are lost too
STEPS_PER_LOOK: Final = 64
TIMERS_MAX: Final = 8  # of one watcher, and twice as many as it has slots
INBOX_MAX: Final = 4096
# Values of environment variables, in configurations and in what operators set (replay.wishes).
TAINTS: Final = (b"taint-of-a-secret", b"taint-of-another!")
TAINT_BYTES_MAX: Final = max(map(len, TAINTS))


class InSequence(Checker):
    """What a subscriber hands out is the ledger, in order, without a hole, or it says so."""

    id = "I-SUB"
    hears = (Handed, Severed)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.at: dict[str, int] = {}
        self.last: dict[str, Record] = {}

    def remember(self, before: Checker) -> None:
        assert isinstance(before, InSequence), before
        self.at, self.last = before.at, before.last

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Severed):
            self.at[fact.subscriber] = fact.seq
            self.last.pop(fact.subscriber, None)
            return
        assert isinstance(fact, Handed), fact
        record, who = fact.record, fact.subscriber
        last = self.at.get(who)
        if last is not None and record.seq != last + 1:
            self.fail(f"{who} hands out {record.seq} after {last}", record.seq)
        known = self.truth.record_at(record.seq)
        if known is not None and known != record:
            self.fail(f"{who} hands out {record!r}, on record is {known!r}", record.seq)
        self._continue(who, self.last.get(who))
        self.at[who], self.last[who] = record.seq, record

    def _continue(self, who: str, last: Record | None) -> None:
        """What it goes on from is still what is on record; a power cut may have taken it away."""
        known = None if last is None else self.truth.record_at(last.seq)
        if last is not None and known is not None and known != last:
            self.fail(f"{who} goes on from {last!r}, on record is {known!r}", last.seq)


@entity
class Mirror:
    """One subscriber's own fold."""

    fold: Fold = field(factory=blank)
    seq: int = 0


class SameState(Checker):
    """Folded from a subscriber's records the state is the server's at that record."""

    id = "I-SUBSTATE"
    hears = (Handed, Severed)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.mirrors: dict[str, Mirror] = {}

    def remember(self, before: Checker) -> None:
        assert isinstance(before, SameState), before
        self.mirrors = before.mirrors

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Severed):
            self.mirrors.pop(fact.subscriber, None)
        elif isinstance(fact, Handed):
            self._hear(fact.subscriber, fact.record)

    def _hear(self, who: str, record: Record) -> None:
        mirror = self.mirrors.get(who)
        if mirror is None:
            if record.seq != 1:
                return  # It joined later: its state has no beginning.
            mirror = self.mirrors[who] = Mirror()
        if record.seq == mirror.seq + 1:
            mirror.fold.fold(record)
            mirror.seq = record.seq

    def examined(self, world: World) -> None:
        core = world.core
        if core is None:
            return
        for who, mirror in self.mirrors.items():
            if mirror.seq == core.ledger.head:
                self._compare(who, mirror, core.runtime.host.actors)

    def _compare(self, who: str, mirror: Mirror, living: Any) -> None:
        actors = mirror.fold.found.actors
        for address, actor in living.items():
            if actor.pending is None:
                same = address in actors and actors[address].state == actor.state
                self.claim(same, f"{who} has another state of {address}", address)


class Detectable(Checker):
    """What a raw subscriber has lost it knows of within 1.25 s of a core that publishes, and of
    what the network itself takes for a message."""

    id = "I-DETECT"
    hears = (Dropped, Noticed)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._lost: dict[str, tuple[int, int]] = {}  # the oldest unnoticed: seq, since
        self._since = 0  # a core has been at work since then
        self._slack = 0
        self._weather: object = None

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Dropped):
            self._lost.setdefault(fact.subscriber, (fact.seq, fact.boot))
        elif isinstance(fact, Noticed):
            seq, since = self._lost.get(fact.subscriber, (0, 0))
            if seq and fact.seq >= seq:
                del self._lost[fact.subscriber]
                self._judge(fact.subscriber, seq, fact.boot - max(since, self._since))

    def stepped(self, world: World) -> None:
        if not world.strangers.listeners:
            return
        weather = world.strangers.network.weather
        if weather is not self._weather:
            # What was under way in a bad network still is when the network is mended.
            self._weather = weather
            slack = LATE_NS * (weather.late > 0) + AWAY_NS * (weather.lost + weather.rejoin > 0)
            self._slack = max(self._slack, slack)
        boot = world.agenda.boot
        if world.core is None or not world.core.runtime.awake:
            self._since = boot
        self._since = max(self._since, world.agenda.woke, world.stops.until)
        if not self._lost:
            return
        for who, (seq, since) in self._lost.items():
            self._judge(who, seq, boot - max(since, self._since))

    def _judge(self, who: str, seq: int, late: int) -> None:
        if late > DETECT_NS_MAX + self._slack:
            self.fail(f"{who} does not know after {late} ns that {seq} was lost", seq)


class Bounded(Checker):
    """A decision, the timers, the inboxes and the ring stay under their limits."""

    id = "I-BOUND"
    hears = (commands.ProcessSpawn, commands.ProcessSignal, commands.TimerArm)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._decision = ("", 0)
        self._effects = 0
        self._steps = 0

    def recorded(self, record: Record) -> None:
        decision = (record.actor, record.cause)
        self._effects = self._effects + 1 if decision == self._decision else 1
        self._decision = decision
        if self._effects > EFFECTS_PER_DECISION_MAX and record.cause:
            self.fail(f"a decision of {record.actor} has {self._effects} effects", record.seq)

    def stepped(self, world: World) -> None:
        self._steps += 1
        core = world.core
        if self._steps % STEPS_PER_LOOK or core is None:
            return
        slots = 0
        for address, actor in core.runtime.host.actors.items():
            slots += len(getattr(actor.state, "slots", ()))
            text = f"{len(actor.inbox)} records wait for {address}"
            self.claim(len(actor.inbox) <= INBOX_MAX, text, address)
        actors = len(core.runtime.host.actors)
        timers, allowed = len(core.runtime.outside.timers), TIMERS_MAX * actors + 2 * slots
        self.claim(timers <= allowed, f"{timers} timers for {slots} slots, {allowed} allowed")


class Secret(Checker):
    """No byte of a secret is in the ledger, in an answer, in what the stream carries, or in what
    the keeper is told but the environment."""

    id = "I-SECRET"
    outlives_holes = True
    hears = ((Obeyed, "spec"), (Told, "failed"), (Told, "hello"), Replied)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._read: dict[str, int] = {}

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed):
            told = {k: v for k, v in fact.operation[2].items() if k != "env"}
            self._search(repr(told).encode(), "a command line")
        elif isinstance(fact, Told):
            self._search(repr(fact.report).encode(), "a report")
        elif isinstance(fact, Replied):
            self._search(fact.content, "an answer")

    def examined(self, world: World) -> None:
        for path, content in world.disk.contents().items():
            start = self._read.get(path, 0)
            self._search(content[max(0, start - TAINT_BYTES_MAX) :], path)
            self._read[path] = len(content)

    def _search(self, content: bytes, where: str) -> None:
        for taint in TAINTS:
            self.claim(taint not in content, f"a secret stands in {where}")


class Fenced(Checker):
    """A message of an older incarnation has no effect.

    An actor answers its inputs once and in order, so that an answer of a dead host would show; the
    keeper starts nothing from below the barrier.
    """

    id = "I-FENCE"
    hears = (Body, (Obeyed, "list"), Forked, (Told, "spawned"))

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._answered: dict[str, tuple[int, int]] = {}  # by actor: the last cause, and where
        self._barrier = 0
        self._forked: set[int] = set()  # serials that nobody was told of

    def recorded(self, record: Record) -> None:
        actor, cause = record.actor, record.cause
        if not cause or (actor != ARBITER and not watcher_of(actor)):
            return
        last, at = self._answered.get(actor, (0, 0))
        if cause < last or (cause == last and record.seq != at + 1):
            self.fail(f"{actor} answers {cause} again, or after {last}", record.seq)
        self._answered[actor] = (cause, record.seq)

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Obeyed):
            self._barrier = max(self._barrier, fact.operation[1])
        elif isinstance(fact, Forked):
            self._forked.add(fact.serial)
        elif isinstance(fact, Told):
            spawn_id, serial = fact.report[1], fact.report[5]
            if serial in self._forked and spawn_id <= self._barrier:
                self.fail(f"{spawn_id} was started, it is older than {self._barrier}", spawn_id)
            self._forked.discard(serial)


SUBSCRIBER_CHECKERS = (
    InSequence, SameState, Detectable, Bounded, Secret, Fenced,
)  # fmt: skip
