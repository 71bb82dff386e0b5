"""Room: process -- looking at processes that are not our children: is it that one, how did it end?

Knows:     process.orphans_core (what proves it), process.linux; /proc, pidfds.
Known by:  process.orphans, process.unheard, process.kernel (adopts).
Never:     believes a pid; waits longer than it says; signals.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from typing import Final

from circus.process.linux import Ending
from circus.process.orphans_core import Evidence, is_same

# pidfds have inode numbers of their own, unique per boot, since this release.
PIDFD_INODES_SINCE: Final = (6, 9)
PIDFD_GET_INFO: Final = 0xC040FF0B
INFO_EXIT: Final = 8
INFO: Final = struct.Struct("<QQ11Ii")
# In /proc/PID/stat, counted behind the name.
STARTTIME: Final = 19
EXIT_CODE: Final = 49


def proven(pid: int, evidence: Evidence) -> int | None:
    """A pidfd of exactly this process; None if it is gone, and somebody else may have its pid."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None  # There is no such process.
    if not is_same(evidence, seen(pid, pidfd)):
        os.close(pidfd)
        return None
    return pidfd


def seen(pid: int, pidfd: int) -> Evidence:
    """What the kernel says of the process now; nothing if it is gone."""
    fields = stat_of(pid)
    if not fields:
        return Evidence(0, 0)
    started = int(fields[STARTTIME]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    return Evidence(started, os.fstat(pidfd).st_ino if has_inodes() else 0)


def stat_of(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat behind the name; none if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.readall().rpartition(b")")[2].split()
    except OSError:
        return []


def has_ended(pidfd: int, within_ms: int | None = 0) -> bool:
    """Whether the process behind a pidfd is a zombie or gone; None: wait for that."""
    return bool(_poll(pidfd, select.POLLIN, within_ms))


def how_ended(pid: int, pidfd: int, within_ms: int = 0) -> Ending | None:
    """None while it runs; an end of which nobody knows how has neither code nor signal. A status
    that is still to come is waited for so long."""
    if not has_ended(pidfd):
        return None
    status = _status_of(pid, pidfd, within_ms)
    if status is None:
        return Ending(None, None, False, {})
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Ending(None, -code, os.WCOREDUMP(status), {})
    return Ending(code, None, False, {})


def _status_of(pid: int, pidfd: int, within_ms: int) -> int | None:
    """As wait would give it; None: nobody can say.

    While its parent has not reaped it, it is in /proc, for those who are the same user. After that
    a pidfd that was open before tells (PIDFD_GET_INFO, Linux 6.15).
    """
    fields, uid = stat_of(pid), _uid_of(pid)
    if not _poll(pidfd, 0, 0):  # It keeps its pid: what was read is about this process.
        if fields and fields[0] == b"Z" and uid == os.geteuid():
            return int(fields[EXIT_CODE])
        _poll(pidfd, 0, within_ms)
    return _status_after(pidfd)


def _status_after(pidfd: int) -> int | None:
    buffer = bytearray(INFO.pack(INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, buffer)
    except OSError:
        return None  # An older kernel.
    mask, *_, status = INFO.unpack(buffer)
    return status if mask & INFO_EXIT else None


def _uid_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _poll(pidfd: int, what: int, within_ms: int | None) -> bool:
    """Nothing to wait for (0) is POLLHUP alone: somebody has reaped it."""
    poller = select.poll()
    poller.register(pidfd, what)
    return bool(poller.poll(within_ms))


def has_inodes() -> bool:
    """Whether a pidfd's inode says which process it is."""
    return _release() >= PIDFD_INODES_SINCE


def _release() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    digits = "".join(c for c in minor if c.isdigit())
    return int(major), int(digits or 0)
