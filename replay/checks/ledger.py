"""Room: replay -- invariants 29 to 33 and 38 (RELIABILITY.md 4.3): what is written, and kept.

Knows:     replay.checks.checkers, replay.checks.truth, replay.checks.second_reader, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     trusts the ledger's own reader about what stands in its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from circus.bus import commands, events
from circus.bus.record import Record
from circus.bus.segments import Hole
from circus.bus.values import NS_PER_SECOND
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.second_reader import SecondReader
from circus.replay.checks.truth import Fact, Obeyed, Replied

if TYPE_CHECKING:
    from circus.replay.world import World

GAP_NS_MAX: Final = 2 * NS_PER_SECOND


class WriteAhead(Checker):
    """An effect reaches the world only after its request is in the ledger."""

    id = "I-WAL"
    hears = (
        events.ProcessExited, events.ProcessSpawnFailed, events.ProcessLost,
        (Obeyed, "spawn"), (Obeyed, "signal"), (Obeyed, "ack"),
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._over: set[int] = set()

    def recorded(self, record: Record) -> None:
        self._over.add(record.spawn_id or 0)

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Obeyed), fact
        name, operation = fact.operation[0], fact.operation
        if name == "spawn":
            spawn = self.truth.workers.spawns.get(operation[1])
            if spawn is None or spawn.actor != operation[3]:
                self.fail(f"spawn {operation[1]} for {operation[3]} is not on record", operation[1])
        elif name == "signal":
            record = self.truth.record_at(operation[1])
            if record is None or not isinstance(record.body, commands.ProcessSignal):
                self.fail(f"signal {operation[1]} is not on record", operation[2])
        elif name == "ack":
            self._acknowledged(operation[1])

    def _acknowledged(self, spawn_ids: Any) -> None:
        for spawn_id in spawn_ids:
            if spawn_id in self.truth.workers.spawns and spawn_id not in self._over:
                self.fail(f"the end of {spawn_id} is acknowledged and not on record", spawn_id)
            self._over.discard(spawn_id)


class Prefix(Checker):
    """What is recovered is a prefix of what was written: all of it after a crash of the core, and
    all that was synced after a power cut."""

    id = "I-PREFIX"
    hears = ((Obeyed, "list"),)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._before: Truth | None = None  # what was known when the power was cut
        self._safe_before = 0
        self.safe = 0

    def remember(self, before: Checker) -> None:
        assert isinstance(before, Prefix), before
        self._before, self._safe_before = before.truth, before.safe

    def found(self, record: Record) -> None:
        known = self.truth.record_at(record.seq)
        if known is not None and known != record:
            self.fail(f"{record.seq} was {known!r}, and is {record!r} after a crash", record.seq)

    def happened(self, fact: Fact) -> None:
        """The list is asked for when the first record of the new boot is synced."""
        assert isinstance(fact, Obeyed), fact
        if self._before is not None:
            self._compare(self._before)
            self._before = None

    def _compare(self, before: Truth) -> None:
        old = before.records
        if not old:
            return
        new = {record.seq: record for record in self.truth.records if record.seq >= old[0].seq}
        same = old[0].seq - 1
        for record in old:
            if new.get(record.seq) != record:
                break
            same = record.seq
        ours = new.get(same + 1)
        # What was being written when the power failed, and nobody had been told of, may be there.
        under_way = same == old[-1].seq
        text = f"the ledger goes on with {ours!r} after {same}"
        self.claim(
            ours is None or under_way or isinstance(ours.body, events.CoreStarted), text, same
        )
        text = f"up to {self._safe_before} all was synced, recovered is up to {same}"
        self.claim(same >= min(self._safe_before, old[-1].seq), text, same + 1)

    def stepped(self, world: World) -> None:
        core = world.core
        if core is not None and core.safe > self.safe and not core.ledger.degraded:
            self.safe = core.safe


class Durable(Checker):
    """A durable command that a client was told of is in the recovered ledger."""

    id = "I-ACKDUR"
    hears = (Replied, (Obeyed, "list"))

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.told: Record | None = None  # the latest that somebody was told of as durable
        self.promised: Record | None = None

    def remember(self, before: Checker) -> None:
        assert isinstance(before, Durable), before
        self.promised = before.told or before.promised

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, Replied):
            if fact.durable and fact.seq and fact.seq > (self.told.seq if self.told else 0):
                self.told = self.truth.record_at(fact.seq)
        elif isinstance(fact, Obeyed) and self.promised:
            promised, self.promised = self.promised, None
            kept = self.truth.record_at(promised.seq) == promised
            old = bool(self.truth.records) and promised.seq < self.truth.records[0].seq
            text = f"a client was told of {promised!r} as durable, and it is gone"
            self.claim(kept or old, text, promised.seq)


class Sequence(Checker):
    """Sequence numbers have no hole, the log keeps its id, incarnations and boot time grow."""

    id = "I-SEQ"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._last: Record | None = None
        self.log_id = b""

    def remember(self, before: Checker) -> None:
        assert isinstance(before, Sequence), before
        self.log_id = before.log_id

    def recorded(self, record: Record) -> None:
        last, self._last = self._last, record
        if last is None:
            return
        if record.seq != last.seq + 1:
            self.fail(f"{record.seq} follows {last.seq}", record.seq)
        if isinstance(record.body, events.CoreStarted):
            if record.incarnation <= last.incarnation:
                self.fail(f"incarnation {record.incarnation} after {last.incarnation}", record.seq)
        elif record.incarnation != last.incarnation:
            self.fail(f"incarnation {record.incarnation} has no beginning", record.seq)
        elif record.boot < last.boot:
            self.fail(f"boot time goes back by {last.boot - record.boot} ns", record.seq)

    def examined(self, world: World) -> None:
        if world.core is None:
            return
        log_id = world.core.ledger.log_id
        self.claim(self.log_id in (b"", log_id), f"the log was {self.log_id!r}, is {log_id!r}")
        self.log_id = log_id


class Chained(Checker):
    """The chain of digests holds from end to end; whatever is altered, the ledger reports it."""

    id = "I-CHAIN"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._reader = SecondReader()

    def examined(self, world: World) -> None:
        core = world.core
        if core is None or core.ledger.degraded:
            return
        head, damage = self._reader.read(world.disk.contents())
        if not damage:
            self.claim(head == core.ledger.head, f"the files end at {head}, not {core.ledger.head}")
            return
        reported = any(isinstance(item, Hole) for item in core.ledger.items())
        self.claim(reported, f"damage that nobody reports: {damage}")


class Degraded(Checker):
    """After a time without a disk the gap is declared; until then all other invariants hold."""

    id = "I-DEGRADE"
    hears = (events.LogGap, events.CoreStarted)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._degraded = False
        self._owed = 0  # until when the gap must be told, in time for reactions

    def recorded(self, record: Record) -> None:
        self._degraded = False
        self._owed = 0

    def stepped(self, world: World) -> None:
        core = world.core
        if core is None:
            self._degraded, self._owed = False, 0
        elif core.ledger.degraded:
            self._degraded = True
        elif self._degraded:
            self._degraded = False
            self._owed = self.truth.attention.at(world) + GAP_NS_MAX
        elif self._owed and self.truth.attention.at(world) > self._owed:
            self.fail("the disk is back, and nobody has told of the gap")


LEDGER_CHECKERS = (WriteAhead, Prefix, Durable, Sequence, Chained, Degraded)
