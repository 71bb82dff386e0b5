"""Room: arbiter -- what became of every client's command: waiters, and the answer to a retry.

Knows:     bus.events, bus.record.
Known by:  the gateway.
Never:     sends; it says which answers are ready and which seq must be durable before each.

A fold of the ledger: after a restart a client's retry gets the stored outcome, because the command
and its outcome are records. Routing ids live in memory only and are forgotten (DESIGN.md, 5).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import attr

from circus.bus import events
from circus.bus.record import Record
from circus.bus.values import CLIENT, NS_PER_SECOND

# RELIABILITY.md, 1.4: an id is remembered for 24 h or 100,000 commands, whichever ends first.
IDS_MAX: Final = 100_000
ID_AGE_MAX: Final = 24 * 3600 * NS_PER_SECOND

Key = tuple[Any, bytes]


@attr.s(auto_attribs=True, slots=True, eq=False)
class Outcome:
    """One command of a client: `fact` is the last thing said about it, `seq` where."""

    key: Key
    to: str
    boot: int
    fact: events.CommandAccepted | events.CommandRefused | events.CommandFinished | None = None
    seq: int = 0


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Waiter:
    """One client that waits. `answer` gets the fact and the seq that it stands at."""

    until_finished: bool
    answer: Callable[[Outcome], None]


class Outcomes:
    """By the seq of the command, and by (who, id) for retries."""

    def __init__(self) -> None:
        self._by_seq: dict[int, Outcome] = {}
        self._seq_of: OrderedDict[Key, int] = OrderedDict()
        self._waiters: dict[int, list[Waiter]] = {}

    def find(self, key: Key) -> int | None:
        """The seq of the command that came with this id before."""
        return self._seq_of.get(key)

    def wait(self, seq: int, waiter: Waiter) -> None:
        """Answer now if it is known, else when it is."""
        outcome = self._by_seq[seq]
        if _satisfied(outcome, waiter):
            waiter.answer(outcome)
        else:
            self._waiters.setdefault(seq, []).append(waiter)

    def observe(self, record: Record) -> None:
        """Fold one record."""
        body = record.body
        if record.actor == CLIENT:
            self._remember(record)
        elif isinstance(
            body, events.CommandAccepted | events.CommandRefused | events.CommandFinished
        ):
            outcome = self._by_seq.get(body.command)
            if outcome is not None:
                outcome.fact, outcome.seq = body, record.seq
                self._wake(body.command, outcome)
        elif isinstance(body, events.WatcherRemoved):
            self._abandon(body.address, record)

    def _remember(self, record: Record) -> None:
        assert isinstance(record.id, bytes), record
        peer = record.peer or {}
        key = (peer.get("uid", peer.get("address")), record.id)
        self._by_seq[record.seq] = Outcome(key, record.to or "", record.boot)
        self._seq_of[key] = record.seq
        while self._seq_of and self._is_old(record.boot):
            _key, seq = self._seq_of.popitem(last=False)
            self._by_seq.pop(seq, None)
            self._waiters.pop(seq, None)

    def _is_old(self, boot: int) -> bool:
        oldest = self._by_seq[next(iter(self._seq_of.values()))]
        return len(self._seq_of) > IDS_MAX or boot - oldest.boot > ID_AGE_MAX

    def _abandon(self, address: str, record: Record) -> None:
        """A command that was on its way to a watcher which is no more will not be answered by it."""
        for seq in list(self._waiters):
            outcome = self._by_seq[seq]
            if outcome.to == address and not isinstance(outcome.fact, events.CommandFinished):
                reason = "cannot carry out: the watcher was removed"
                outcome.fact, outcome.seq = events.CommandRefused(seq, reason), record.seq
                self._wake(seq, outcome)

    def _wake(self, seq: int, outcome: Outcome) -> None:
        waiting = self._waiters.get(seq)
        if waiting is None:
            return
        still = [waiter for waiter in waiting if not _satisfied(outcome, waiter)]
        for waiter in waiting:
            if waiter not in still:
                waiter.answer(outcome)
        if still:
            self._waiters[seq] = still
        else:
            del self._waiters[seq]


def _satisfied(outcome: Outcome, waiter: Waiter) -> bool:
    if outcome.fact is None:
        return False
    return not waiter.until_finished or not isinstance(outcome.fact, events.CommandAccepted)
