"""Room: process -- stopping what a keeper that was killed has left behind, if it is proven ours.

Knows:     process.kernel (signals), process.proof; the reports of process.link.
Known by:  arbiter.bereaved.
Never:     signals a pid: a pidfd is opened, and what is behind it must be what is on record.

These are not our children any more, so nobody can wait for them; a pidfd shows their end, and tells
their status too where the kernel keeps it (process.proof).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from circus.process.kernel import send
from circus.process.launch import Plan
from circus.process.linux import Ending
from circus.process.orphans_core import Evidence
from circus.process.proof import has_ended, how_ended, proven

REAPED_WITHIN_MS: Final = 1000
Tell = Callable[[list[Sequence[Any]]], None]


class Survivor(NamedTuple):
    """A process that is on record as running, and how to stop it."""

    spawn_id: int
    owner: str
    pid: int
    evidence: Evidence
    plan: Plan


def is_there(survivor: Survivor) -> bool:
    """Whether it runs still."""
    pidfd = proven(survivor.pid, survivor.evidence)
    if pidfd is None:
        return False
    os.close(pidfd)
    return True


def stop(survivors: Iterable[Survivor], tell: Tell) -> None:
    """Signals by priority, the lowest first, SIGKILL when the grace is over; all that are ours.

    `tell` gets reports as a keeper gives them; `lost` is the end of which no status is known.
    """
    ours = [(one, fd) for one in survivors if (fd := proven(one.pid, one.evidence)) is not None]
    for one, pidfd in sorted(ours, key=lambda pair: pair[0].plan.priority):
        scope = "family" if one.plan.stop_children else "process"
        _signal(one, pidfd, one.plan.stop_signal, scope, tell)
    begun = time.monotonic_ns()
    for one, pidfd in sorted(ours, key=lambda pair: pair[0].plan.grace):
        left = begun + one.plan.grace - time.monotonic_ns()
        if not has_ended(pidfd, max(0, left // 1_000_000)):
            _signal(one, pidfd, signal.SIGKILL, one.plan.last_scope, tell)
            has_ended(pidfd, None)
        ending = how_ended(one.pid, pidfd, REAPED_WITHIN_MS)
        assert ending is not None, "its end was waited for"
        tell(_told(one, ending))
        os.close(pidfd)


def _signal(one: Survivor, pidfd: int, signum: int, scope: str, tell: Tell) -> None:
    pids, number = send(one.pid, pidfd, signum, scope, None)
    tell([("signalled", 0, one.spawn_id, signum, pids, number)])


def _told(one: Survivor, ending: Ending) -> list[Sequence[Any]]:
    if ending.code is None and ending.signal is None:
        return [("lost", one.spawn_id, one.pid)]
    wall, boot = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    exited = ("exited", one.spawn_id, one.owner, one.pid, *ending, wall, boot)
    return [exited, ("reaped", one.spawn_id, one.pid, ())]
