"""Room: arbiter -- all that a core knows of the past, folded from the records up to one of them.

Knows:     bus.past, bus.skim (the fold), the projection, the outcomes, the cores (of the actors).
Known by:  the recovery, the maker of snapshots, replay's laws.
Never:     opens a file, acts on what it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from circus.arbiter import core as arbiter_core
from circus.arbiter.outcomes import Outcomes
from circus.arbiter.projection import Projection
from circus.bus import events
from circus.bus.machine import Actor
from circus.bus.past import Fold, Past
from circus.bus.record import Record
from circus.bus.segments import CHAIN_START
from circus.bus.skim import Skim
from circus.bus.values import ARBITER, Address, watcher_address
from circus.watcher import core as watcher_core


class Frame(Protocol):
    """One decision as the ledger gives it back."""

    @property
    def last_seq(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def chain(self) -> bytes: ...


class Memory:
    """What the records up to `seq` say; `after`: those up to there are not believed, for the ledger
    has a hole behind them."""

    __slots__ = ("_skim", "chain", "fold", "outcomes", "projection", "seq")

    def __init__(self, after: int = 0) -> None:
        self.seq = after
        self.chain = CHAIN_START
        self.fold = blank()
        self.fold.found.after = after
        self.projection = Projection()
        self.outcomes = Outcomes()
        noted = dict.fromkeys(Outcomes.watches, self.outcomes.observe)
        self._skim = Skim(self.fold, (self.projection.folds, noted))

    @property
    def past(self) -> Past:
        """What a core needs to go on from here."""
        self._skim.settle()
        return self.fold.found

    def believe(self, frame: Frame) -> None:
        """Fold the next decision of the ledger."""
        self._skim.take(frame.payload)
        self.seq, self.chain = frame.last_seq, frame.chain

    def take(self, frame: Frame, records: Sequence[Record]) -> None:
        """The same in the plainest way, for who has decoded it already: nothing is left out."""
        for record in records:
            self.fold.fold(record)
            self.projection.observe(record)
            self.outcomes.observe(record)
        self.seq = frame.last_seq
        self.chain = frame.chain


class Living(NamedTuple):
    """The same of a core that lives: nothing has to be folded for it."""

    seq: int
    past: Past
    projection: Projection
    outcomes: Outcomes


def newborn(record: Record) -> Actor:
    """The watcher that a `watcher.added` gives birth to."""
    assert isinstance(record.body, events.WatcherAdded), record
    address = watcher_address(str(record.body.spec["name"]), record.seq)
    return Actor(address, watcher_core, watcher_core.born(record))


def blank() -> Fold:
    """An empty fold, with the one actor that was never born."""
    return Fold([Actor(ARBITER, arbiter_core, arbiter_core.initial())], newborn)


def actor_again(address: Address, state: object) -> Actor:
    """An actor from its address and its state."""
    return Actor(address, arbiter_core if address == ARBITER else watcher_core, state)
