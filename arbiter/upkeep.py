"""Room: arbiter -- what the ledger needs after each wake-up: a nudge, a look, another try.

Knows:     bus.ledger, bus.syncer, arbiter.runtime.
Known by:  arbiter.engine, the simulator's core.
Never:     waits for a disk; stops supervision because a disk is full (ADR-0011), nor a worker,
           unless `on_log_failure` says so.
"""

from __future__ import annotations

from collections.abc import Callable

from circus.arbiter.runtime import Runtime
from circus.bus import events
from circus.bus.commands import ArbiterStop
from circus.bus.ledger import RETRY_NS, Ledger
from circus.bus.record import Body, Draft
from circus.bus.syncer import Syncing
from circus.bus.values import ARBITER, Moment, Nanoseconds


class Upkeep:
    """Owned by a loop, which asks after every wake-up."""

    __slots__ = ("_keep", "_ledger", "_runtime", "_syncer", "retry_due", "stops_workers")

    def __init__(
        self, ledger: Ledger, syncer: Syncing, runtime: Runtime, keep: Callable[[], None]
    ) -> None:
        self._keep = keep  # saves a snapshot of this core
        self._ledger = ledger
        self._syncer = syncer
        self._runtime = runtime
        self.stops_workers = False  # rather than to let them run unrecorded
        self.retry_due: Nanoseconds = 0  # boot ns at which a failed disk is tried again; 0: none

    def settle(self, now: Moment) -> int:
        """The seq that may be told as safe: what is synced; all there is while nothing can be."""
        ledger = self._ledger
        self._syncer.nudge()
        synced = ledger.settle(now)
        if not ledger.degraded:
            self.retry_due = 0
            if ledger.space.is_due():
                self._look_after_space(now)
            return synced
        return synced if self._retry(now) else ledger.head

    def _retry(self, now: Moment) -> bool:
        """Supervision goes on without the disk; now and then a new file is tried. True: it did."""
        first = not self.retry_due
        if not first and now.boot < self.retry_due:
            return False
        gap = self._ledger.retry(now) if not first or self._make_room() else None
        if gap is None:
            self.retry_due = now.boot + RETRY_NS
            if first and self.stops_workers:
                self._stop_workers()
            return False
        self.retry_due = 0
        self._tell(events.LogGap(*gap))
        if gap.lost_to:
            self._bridge(now)
        return True

    def _stop_workers(self) -> None:
        """For who must not run what is not on record: until somebody starts them again."""
        self._runtime.command(ARBITER, ArbiterStop())
        self._runtime.pump()

    def _bridge(self, now: Moment) -> None:
        """No later core can fold over the gap: it begins with what this one knows."""
        try:
            if self._ledger.sync(now):
                self._keep()
        except OSError:
            return  # It begins with the configuration, and with what the keeper holds.

    def _make_room(self) -> bool:
        """A full disk: history gives way before the present does. It is told once that can be."""
        space = self._ledger.space
        surplus = space.pressed() if self._ledger.full else None
        if surplus is None:
            return False
        space.take_away(surplus)
        self._tell(events.LogTrimmed(*surplus))
        return True

    def _look_after_space(self, now: Moment) -> None:
        """Old segments go once that is on record; a shortage is told while there is room for it."""
        space = self._ledger.space
        surplus, trouble = space.look(now.wall)
        if trouble:
            self._tell(events.LogSpaceLow(trouble))
        if surplus is not None:
            self._tell(events.LogTrimmed(*surplus))
            space.take_away(surplus)
            if trouble:
                space.provide()

    def _tell(self, fact: Body) -> None:
        self._runtime.say((Draft(fact),))
        self._runtime.pump()
