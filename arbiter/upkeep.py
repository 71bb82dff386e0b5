"""Room: arbiter -- what the ledger needs after each wake-up: a nudge, a look, another try.

Knows:     bus.ledger, bus.syncer, arbiter.runtime.
Known by:  arbiter.engine, the simulator's core.
Never:     waits for a disk; stops supervision because a disk is full (ADR-0011).
"""

from __future__ import annotations

from circus.arbiter.runtime import Runtime
from circus.bus import events
from circus.bus.ledger import RETRY_NS, Ledger
from circus.bus.record import Draft
from circus.bus.syncer import Syncing
from circus.bus.values import Moment, Nanoseconds


class Upkeep:
    """Owned by a loop, which asks after every wake-up."""

    __slots__ = ("_ledger", "_runtime", "_syncer", "retry_due")

    def __init__(self, ledger: Ledger, syncer: Syncing, runtime: Runtime) -> None:
        self._ledger = ledger
        self._syncer = syncer
        self._runtime = runtime
        self.retry_due: Nanoseconds = 0  # boot ns at which a failed disk is tried again; 0: none

    def settle(self, now: Moment) -> int:
        """The seq that may be told as safe: what is synced; all there is while nothing can be."""
        ledger = self._ledger
        self._syncer.nudge()
        synced = ledger.settle(now)
        if not ledger.degraded:
            self.retry_due = 0
            return synced
        return synced if self._retry(now) else ledger.head

    def _retry(self, now: Moment) -> bool:
        """Supervision goes on without the disk; now and then a new file is tried. True: it did."""
        if not self.retry_due:
            self.retry_due = now.boot + RETRY_NS
            return False
        if now.boot < self.retry_due:
            return False
        gap = self._ledger.retry(now)
        if gap is None:
            self.retry_due = now.boot + RETRY_NS
            return False
        self.retry_due = 0
        self._runtime.say((Draft(events.LogGap(*gap)),))
        self._runtime.pump()
        return True
