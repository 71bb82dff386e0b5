"""Room: process -- is the process behind a pid the one on record? Decided, never looked up.

Knows:     nothing.
Known by:  process.proof, which looks; process.orphans, process.unheard.
Never:     asks the kernel, reads a clock; believes a pid alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# A start is noted once the spawn has returned; the kernel noted it earlier, in ticks of 10 ms.
NOTED_WITHIN: Final = 5_000_000_000
TICK: Final = 10_000_000  # the coarsest that a start time may be


class Evidence(NamedTuple):
    """What tells one process from all others of its boot: boot ns of its start, and the inode of
    its pidfd, unique per boot where the kernel gives them (0: it does not)."""

    started: int
    inode: int


def is_answer(asked: int, seen: Evidence) -> bool:
    """Whether a process that carries a mark was started after it had been asked for (boot ns)."""
    return seen.started + TICK > asked


def is_same(recorded: Evidence, seen: Evidence) -> bool:
    """The inode decides where both have one; without it the start times must agree."""
    if recorded.inode and seen.inode:
        return recorded.inode == seen.inode
    return 0 <= recorded.started - seen.started < NOTED_WITHIN


def holds_nothing(started: int, reconciled: int, *, anew: bool) -> bool:
    """Whether a keeper that was started then (boot ns) holds nothing of what is on record.

    `anew`: it is younger than the record. Where a core has written since and died, the last list
    that was compared decides; behind a hole in the ledger none may be known (0), and then nobody
    is taken for an orphan whom this keeper may well hold.
    """
    return anew or 0 < reconciled < started
