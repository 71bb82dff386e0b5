"""Room: process -- stopping what a keeper that was killed has left behind, if it is proven ours.

Knows:     process.kernel, process.orphans_core, process.linux; the reports of process.link.
Known by:  arbiter.bereaved.
Never:     signals a pid: a pidfd is opened, and what is behind it must be what is on record.

These are not our children any more, so nobody can wait for them; a pidfd shows their end, and tells
their status too where the kernel keeps it (PIDFD_GET_INFO, Linux 6.15).
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from circus.process.kernel import has_inodes, send
from circus.process.launch import Plan
from circus.process.orphans_core import Evidence, is_same

PIDFD_GET_INFO: Final = 0xC040FF0B
INFO_EXIT: Final = 8
INFO: Final = struct.Struct("<QQ11Ii")
STARTTIME: Final = 19  # in /proc/PID/stat, counted behind the name
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
    pidfd = proven(survivor)
    if pidfd is None:
        return False
    os.close(pidfd)
    return True


def proven(survivor: Survivor) -> int | None:
    """A pidfd of exactly this process; None if it is gone, and somebody else may have its pid."""
    try:
        pidfd = os.pidfd_open(survivor.pid)
    except OSError:
        return None  # There is no such process.
    if not is_same(survivor.evidence, _seen(survivor.pid, pidfd)):
        os.close(pidfd)
        return None
    return pidfd


def stop(survivors: Iterable[Survivor], tell: Tell) -> None:
    """Signals by priority, the lowest first, SIGKILL when the grace is over; all that are ours.

    `tell` gets reports as a keeper gives them; `lost` is the end of which no status is known.
    """
    ours = [(one, fd) for one in survivors if (fd := proven(one)) is not None]
    for one, pidfd in sorted(ours, key=lambda pair: pair[0].plan.priority):
        scope = "family" if one.plan.stop_children else "process"
        _signal(one, pidfd, one.plan.stop_signal, scope, tell)
    begun = time.monotonic_ns()
    for one, pidfd in sorted(ours, key=lambda pair: pair[0].plan.grace):
        left = begun + one.plan.grace - time.monotonic_ns()
        if not _ends(pidfd, max(0, left // 1_000_000)):
            scope = "tree" if one.plan.leftovers else "process"
            _signal(one, pidfd, signal.SIGKILL, scope, tell)
            _ends(pidfd, None)
        status = _status(pidfd)
        if status is None:
            tell([("lost", one.spawn_id, one.pid)])
        else:
            tell([_exited(one, status), ("reaped", one.spawn_id, one.pid, ())])
        os.close(pidfd)


def _signal(one: Survivor, pidfd: int, signum: int, scope: str, tell: Tell) -> None:
    pids, number = send(one.pid, pidfd, signum, scope, None)
    tell([("signalled", 0, one.spawn_id, signum, pids, number)])


def _ends(pidfd: int, timeout_ms: int | None) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(timeout_ms))


def _status(pidfd: int) -> int | None:
    """As wait would give it. It is there once whoever is its parent now has reaped it."""
    poller = select.poll()
    poller.register(pidfd, 0)
    poller.poll(REAPED_WITHIN_MS)
    buffer = bytearray(INFO.pack(INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, buffer)
    except OSError:
        return None  # An older kernel, or nobody has reaped it yet.
    mask, *_, status = INFO.unpack(buffer)
    return status if mask & INFO_EXIT else None


def _exited(one: Survivor, status: int) -> Sequence[Any]:
    wall, boot = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    ended = os.waitstatus_to_exitcode(status)
    code, signum = (ended, None) if ended >= 0 else (None, -ended)
    core = os.WCOREDUMP(status)
    return ("exited", one.spawn_id, one.owner, one.pid, code, signum, core, {}, wall, boot)


def _seen(pid: int, pidfd: int) -> Evidence:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return Evidence(0, 0)
    started = int(fields[STARTTIME]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    return Evidence(started, os.fstat(pidfd).st_ino if has_inodes() else 0)
