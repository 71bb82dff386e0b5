"""Room: replay -- the three laws of the record (STYLE P20) as checkers of a simulated world.

Knows:     replay.check (deciding again), replay.checks.checkers.
Known by:  replay.machine, which gives them to every truth.
Never:     reads a frame twice in one boot: each look goes on where the last one ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from circus.arbiter.memory import Living, Memory
from circus.arbiter.memory_codec import encode
from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.record import Record
from circus.bus.shapes import altered
from circus.replay.check import Again, Divergence, written
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.sim.incarnation import living

if TYPE_CHECKING:
    from circus.replay.world import World


class History:
    """The ledger as it is read from the disk, decided and folded again; shared by the laws."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.again = Again(self.memory.fold)
        self.upto = 0
        self.divergence: Divergence | None = None
        self.misread: tuple[Record, bytes] | None = None
        self.blind = False  # the ledger has a hole: what comes after it cannot be decided again

    def catch_up(self, world: World) -> bool:
        """Read on, up to the end; False if there is a hole on the way."""
        try:
            frames = [] if self.blind else world.frames(self.upto)
        except (Damaged, Trimmed):
            frames = []
            self.blind = True
        if frames and frames[0].first_seq > self.upto + 1:
            self.blind = True  # What went before has given way to a full disk.
        for frame in [] if self.blind else frames:
            self._take(world.readings.records(frame.payload), frame.payload)
        return not self.blind

    def _take(self, records: Sequence[Record], payload: bytes) -> None:
        again = self.again
        first = records[0]
        self.upto = self.memory.seq = records[-1].seq
        for record in records:
            self.memory.projection.observe(record)
            self.memory.outcomes.observe(record)
        if again.knows(first.actor):
            # Made again, it has the bytes of the frame: so it was read as it was written, too.
            divergence = again.take(records, payload)
            if divergence is None:
                return
            self.divergence = self.divergence or divergence
        else:
            for record in records:
                again.believe(record)
        if self.misread is None and written(records) != payload:
            self.misread = (first, payload)


class Folds(Checker):
    """The ledger is the state: what is folded from the disk is what the living actors have."""

    id = "I-FOLD"

    def __init__(self, truth: Truth, history: History) -> None:
        super().__init__(truth)
        self._history = history

    def examined(self, world: World) -> None:
        core, history = world.core, self._history
        if not history.catch_up(world) or core is None or core.ledger.head != history.upto:
            return  # What a failing disk has not taken yet is in memory, and told as a gap if lost.
        found = history.again.fold.found.actors
        for address, actor in core.runtime.host.actors.items():
            # A decision under way is in the ledger a moment before its actor believes it.
            if actor.pending is None:
                state = found[address].state
                text = f"{address}: live {actor.state!r}, folded {state!r}"
                self.claim(state == actor.state, text)
        if core.runtime.awake and world.bus.next_due(core.incarnation, -1) is None:
            self._compare(living(core), history.memory)

    def _compare(self, now: Living, memory: Memory) -> None:
        """Everything else that a core knows, as bytes. An input that was answered by nothing counts
        as unanswered until the next answer; no living core can tell."""
        answered: dict[str, deque[Record]] = {}
        folded = Living(
            memory.seq, altered(memory.past, unanswered=answered), memory.projection,
            memory.outcomes,
        )  # fmt: skip
        lives = now._replace(past=altered(now.past, unanswered=answered))
        found = [encode(lives), encode(folded)]
        self.claim(found[0] == found[1], f"live {found[0]!r}, folded {found[1]!r}")


class Decides(Checker):
    """Replay is identity: the code decides again what it decided, byte for byte."""

    id = "I-DET"

    def __init__(self, truth: Truth, history: History) -> None:
        super().__init__(truth)
        self._history = history

    def examined(self, world: World) -> None:
        self._history.catch_up(world)
        self.claim(self._history.divergence is None, str(self._history.divergence))


class Reads(Checker):
    """The wire is understood: what is read and written again has the same bytes."""

    id = "I-WIRE"

    def __init__(self, truth: Truth, history: History) -> None:
        super().__init__(truth)
        self._history = history

    def examined(self, world: World) -> None:
        self._history.catch_up(world)
        misread = self._history.misread
        if misread is not None:
            record, payload = misread
            self.claim(False, f"at {record.seq}: {payload!r} was read as {record!r}")


def laws(truth: Truth) -> Sequence[Checker]:
    """One of each, over one history."""
    history = History()
    return (Decides(truth, history), Folds(truth, history), Reads(truth, history))
