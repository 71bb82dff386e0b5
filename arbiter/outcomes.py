"""Room: arbiter -- what became of every client's command: waiters, and the answer to a retry.

Knows:     bus.events, bus.record.
Known by:  the gateway.
Never:     sends; it says which answers are ready and which seq must be durable before each.

A fold of the ledger: after a restart a client's retry gets the stored outcome, because the command
and its outcome are records. Routing ids live in memory only and are forgotten (DESIGN.md, 5).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from circus.bus import commands, events
from circus.bus.names import NAME_OF
from circus.bus.record import Record
from circus.bus.shapes import entity, frozen
from circus.bus.values import CLIENT, NS_PER_SECOND, watcher_address, watcher_of

# RELIABILITY.md, 1.4: an id is remembered for 24 h or 100,000 commands, whichever ends first.
IDS_MAX: Final = 100_000
ID_AGE_MAX: Final = 24 * 3600 * NS_PER_SECOND

Key = tuple[Any, bytes]
Fact = events.CommandAccepted | events.CommandRefused | events.CommandFinished
_ABOUT_COMMANDS: Final = (events.CommandAccepted, events.CommandRefused, events.CommandFinished)


@entity
class Outcome:
    """One command of a client: `fact` is the last thing said about it, `seq` where."""

    key: Key
    to: str
    at: int  # wall: boot time begins anew with every boot
    fact: Fact | None = None
    seq: int = 0


@frozen
class Waiter:
    """One client that waits. `answer` gets the fact and the seq that it stands at."""

    until_finished: bool
    answer: Callable[[Outcome], None]


class Outcomes:
    """By the seq of the command, and by (who, id) for retries."""

    def __init__(self) -> None:
        self._by_seq: OrderedDict[int, Outcome] = OrderedDict()
        self._seq_of: dict[Key, int] = {}
        self._open: dict[int, Outcome] = {}  # neither refused nor finished
        self._waiters: dict[int, list[Waiter]] = {}
        self._living: set[str] = set()

    def find(self, key: Key) -> int | None:
        """The seq of the command that came with this id before."""
        return self._seq_of.get(key)

    def wait(self, seq: int, waiter: Waiter) -> None:
        """Answer now if it is known, else when it is. `seq` is what `find` said, or new."""
        outcome = self._by_seq[seq]
        if _satisfied(outcome, waiter):
            waiter.answer(outcome)
        else:
            self._waiters.setdefault(seq, []).append(waiter)

    # Everything that a client may ask for, and what the addressee says about it.
    watches = (
        *(kind for kind in NAME_OF if NAME_OF[kind][0].startswith(("watcher.", "arbiter."))),
        commands.CoreRestart,
        events.CommandAccepted, events.CommandRefused, events.CommandFinished,
    )  # fmt: skip

    def observe(self, record: Record) -> None:
        """Fold one record."""
        body = record.body
        if record.actor == CLIENT:
            self._remember(record)
        elif isinstance(body, _ABOUT_COMMANDS):
            outcome = self._open.get(body.command)
            if outcome is not None:
                self._fold(body.command, outcome, body, record.seq)
        elif isinstance(body, events.WatcherAdded):
            self._living.add(watcher_address(str(body.spec["name"]), record.seq))
        elif isinstance(body, events.WatcherRemoved):
            self._living.discard(body.address)
            self._abandon(body.address, record.seq)

    def kept(self) -> list[Any]:
        """All but the waiters, for a snapshot: those who wait are in memory only."""
        return [dict(self._by_seq), list(self._open), self._living]

    def restore(self, kept: list[Any]) -> None:
        """From a snapshot, in place of what there is."""
        by_seq, still_open, self._living = kept
        self._by_seq = OrderedDict(by_seq)
        self._open = {seq: self._by_seq[seq] for seq in still_open}
        # Of two with one id the later one counts, as when they came.
        self._seq_of = {outcome.key: seq for seq, outcome in self._by_seq.items()}

    def _remember(self, record: Record) -> None:
        assert isinstance(record.id, bytes), record
        key = key_of(record.peer or {}, record.id)
        outcome = Outcome(key, record.to or "", record.at)
        self._by_seq[record.seq] = self._open[record.seq] = outcome
        self._seq_of[key] = record.seq
        if watcher_of(outcome.to) and outcome.to not in self._living:
            self._abandon(outcome.to, record.seq)
        while self._is_old(record.at):
            self._forget(next(iter(self._by_seq)))

    def _is_old(self, at: int) -> bool:
        oldest = next(iter(self._by_seq.values()))
        return len(self._by_seq) > IDS_MAX or at - oldest.at > ID_AGE_MAX

    def _forget(self, seq: int) -> None:
        outcome = self._by_seq.pop(seq)
        self._open.pop(seq, None)
        self._waiters.pop(seq, None)
        if self._seq_of[outcome.key] == seq:
            del self._seq_of[outcome.key]

    def _abandon(self, address: str, seq: int) -> None:
        """What was on its way to a watcher that is no more will not be answered by it.

        What it had accepted it ends itself, in the decision that removes it: that is the outcome,
        and a client that was told "accepted" is never told "refused".
        """
        lost = [
            number
            for number, outcome in self._open.items()
            if outcome.to == address and outcome.fact is None
        ]
        for number in lost:
            refused = events.CommandRefused(number, "cannot carry out: the watcher was removed")
            self._fold(number, self._open[number], refused, seq)

    def _fold(self, number: int, outcome: Outcome, fact: Fact, seq: int) -> None:
        outcome.fact, outcome.seq = fact, seq
        if not isinstance(fact, events.CommandAccepted):
            del self._open[number]
        waiting = self._waiters.pop(number, None)
        if waiting is None:
            return
        still = [waiter for waiter in waiting if not _satisfied(outcome, waiter)]
        if still:
            self._waiters[number] = still
        for waiter in waiting:
            if _satisfied(outcome, waiter):
                waiter.answer(outcome)


def key_of(peer: Mapping[str, Any], identity: bytes) -> Key:
    """Two users may pick the same id; it is a retry only if it comes from the same one."""
    return (peer.get("uid", peer.get("address")), identity)


def _satisfied(outcome: Outcome, waiter: Waiter) -> bool:
    if outcome.fact is None:
        return False
    return not waiter.until_finished or not isinstance(outcome.fact, events.CommandAccepted)
