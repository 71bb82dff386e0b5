"""Room: process -- the scribe as a child of the keeper: started when there is output, and again.

Knows:     process.spawn, process.scribe_link; the scribe itself by its name only.
Known by:  process.outputs.
Never:     waits for it, but at the very end, and then not for long.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
from collections.abc import Sequence
from typing import Any, Final

from circus.process.keeper import python_argv
from circus.process.launch import Launch
from circus.process.link import pair
from circus.process.scribe_link import IDLE, MEMORY_BYTES, USEFUL
from circus.process.spawn import Spawner

# What is in the pipes when everything else has ended is written in this time, or lost and said so.
FINISH_MS: Final = 5_000


class ScribeChild:
    """One scribe, from its start to its end."""

    __slots__ = ("_marks", "_marks_fd", "leaving", "link", "pid", "pidfd", "speaks")

    def __init__(self, pid: int, link_fd: int, marks_fd: int) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.link = socket.socket(fileno=link_fd)
        self.link.setblocking(False)
        self.leaving = False  # it has been asked to end
        self.speaks = True  # its link is open
        self._marks_fd = marks_fd
        self._marks = mmap.mmap(marks_fd, MEMORY_BYTES)

    @classmethod
    def start(cls, spawner: Spawner) -> ScribeChild:
        """A new one. Raises SpawnFailed or OSError. It inherits its two descriptors by number."""
        ours, theirs = pair()
        marks = os.memfd_create("circus-scribe", os.MFD_CLOEXEC)
        try:
            os.ftruncate(marks, MEMORY_BYTES)
            for fd in (theirs, marks):
                os.set_inheritable(fd, True)
            argv = python_argv("circus.process.scribe", str(theirs), str(marks))
            pid = spawner.spawn(Launch(tuple(argv), os.environ))
        except BaseException:
            os.close(ours)
            os.close(marks)
            raise
        finally:
            os.close(theirs)
        os.set_inheritable(marks, False)
        return cls(pid, ours, marks)

    @property
    def fds(self) -> tuple[int, int]:
        """What the next keeper in this process needs of it."""
        return self.link.fileno(), self._marks_fd

    def carry(self) -> Sequence[Any]:
        return [self.pid, *self.fds]

    def take_mark(self, number: int) -> bool:
        """Whether something of this stream was in hand when it ended; asked once."""
        marked = self._marks[number] != IDLE
        self._marks[number] = IDLE
        return marked

    @property
    def useful(self) -> bool:
        """Whether it has written anything."""
        return self._marks[USEFUL] != IDLE

    def reap(self) -> tuple[int | None, int | None]:
        """It has ended: code or signal."""
        seen = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert seen is not None
        exited = seen.si_code == os.CLD_EXITED
        return (seen.si_status, None) if exited else (None, seen.si_status)

    def turn_from(self, epoll: select.epoll) -> None:
        """It says nothing more."""
        if self.speaks:
            self.speaks = False
            epoll.unregister(self.link.fileno())

    def kill(self) -> None:
        """Its end is seen like any other."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def has_room(self) -> bool:
        """Wait until its link takes more; False if it takes too long."""
        poller = select.poll()
        poller.register(self.link, select.POLLOUT)
        return bool(poller.poll(FINISH_MS))

    def finish(self) -> bool:
        """Wait until it has ended by itself; whether it did."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        if poller.poll(FINISH_MS):
            return True
        self.kill()
        poller.poll()
        return False

    def close(self) -> None:
        """Everything that we have of it but the streams."""
        self._marks.close()
        os.close(self._marks_fd)
        os.close(self.pidfd)
        self.link.close()
