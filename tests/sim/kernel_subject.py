"""One process of a script as its harness sees it: held by descriptors, never by a number alone."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

from circus.process.kernel import Child


class Subject:
    """Held by a pidfd, so that no other process is ever taken for it."""

    __slots__ = ("child", "children", "over", "pid", "pidfd", "stat", "status")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        self.status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        self.children = open_children(pid)
        self.over = False
        # What production holds of it; it closes its descriptor when it reaps.
        self.child = Child(pid, os.dup(self.pidfd), 0, 0)

    def look(self) -> tuple[str, int, int, int, bytes] | None:
        """State, parent, group, session, command; None: it is gone."""
        try:
            before, _, after = os.pread(self.stat, 1024, 0).rpartition(b")")
        except ProcessLookupError:
            return None
        state, parent, group, session = after.split(None, 4)[:4]
        return state.decode(), int(parent), int(group), int(session), before.partition(b"(")[2]

    def rests(self) -> bool:
        """Whether all that it has got has had its effect: it reads its orders, is stopped, over.

        A zombie that nobody waits for is dead (X) for a moment, and then gone: that is no rest.
        """
        if self.over:
            return True
        try:
            text = os.pread(self.status, 4096, 0)
        except ProcessLookupError:
            self.over = True
            return True
        state = _field(text, b"State", 1)
        if state == b"Z":
            return True
        pending = int(_field(text, b"SigPnd", 16), 16) | int(_field(text, b"ShdPnd", 16), 16)
        if state == b"T":
            return not pending & 1 << signal.SIGKILL - 1
        return state == b"S" and not pending & ~int(_field(text, b"SigBlk", 16), 16)

    def close(self) -> None:
        for fd in (self.pidfd, self.stat, self.status, self.children):
            errno_of(os.close, fd)


def open_children(pid: int) -> int:
    """-1: this kernel has no lists of children."""
    try:
        return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY)
    except FileNotFoundError:
        return -1


def _field(text: bytes, name: bytes, size: int) -> bytes:
    start = text.index(name) + len(name) + 2
    return text[start : start + size]


def errno_of(call: Callable[..., object], *arguments: object) -> int:
    """0, or the errno with a minus."""
    try:
        call(*arguments)
    except OSError as error:
        return -(error.errno or errno.EINVAL)
    return 0
