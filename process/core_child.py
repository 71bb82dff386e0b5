"""Room: process -- the core as a child of the keeper: started, restarted, never believed.

Knows:     process.spawn, process.launch.
Known by:  process.keeper (starts the first one), process.keeper_loop, process.keeping.
Never:     imports msgpack: the core is started before the keeper has it.

A core that had reported ready is started again at once, always: whatever killed it, its workers run
on and miss it. Only cores that never became ready wait longer each time.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from circus.process.launch import Launch
from circus.process.spawn import Spawner

# A core that ends closes its link before it is a zombie, and its exit code is worth waiting for.
EXIT_WITHIN: Final = 2_000_000_000
NS_PER_SECOND: Final = 1_000_000_000
PAUSES: Final = tuple(seconds * NS_PER_SECOND for seconds in (1, 2, 5, 10, 20, 30))
# sysexits: what a core that cannot live with its configuration ends with.
HOPELESS: Final = range(64, 79)


class KeeperOptions(NamedTuple):
    """`start_core` gives the core's argv for the descriptor of its end of the link.

    Embedded in a program that uses the library there is no core to start: `link_fd` is the keeper's
    end of the link, inherited, and `host_pid` the program, whose end is the end of its workers.
    `first_core` gives pid and link of the first core, where it was started early (circus.start).
    `pauses` are the waits (ns) before another core where one after the other never became ready.
    """

    state_dir: str
    start_core: Callable[[int], Sequence[str]] | None = None
    link_fd: int = -1
    host_pid: int = 0
    no_new_privs: bool = False
    pauses: Sequence[int] = PAUSES
    first_core: Callable[[], tuple[int, int]] | None = None


class CoreLife:
    """The present core as the rules see it, or the time at which the next one is due."""

    __slots__ = ("_failures", "_pauses", "due", "lost", "pid", "ready")

    def __init__(self, pauses: Sequence[int] = PAUSES) -> None:
        self._failures = 0
        self._pauses = pauses
        self.pid = 0
        self.ready = False
        self.due: int | None = None  # boot ns: of its start while it is down, of its kill while up
        self.lost: list[tuple[int, int | None, int | None]] = []

    @property
    def up(self) -> bool:
        return self.pid != 0

    def begun(self, pid: int) -> None:
        """It runs."""
        self.pid = pid
        self.due = None
        self.ready = False

    def kill(self) -> None:
        """A core is made to be killed; its end is seen like any other."""
        self.due = None

    def expect_exit(self, boot: int) -> None:
        """Its link is closed: if it does not end by itself, it is killed."""
        if self.up and self.due is None:
            self.due = boot + EXIT_WITHIN

    def ended(self, code: int | None, signum: int | None) -> None:
        """The next one is told of it, until one is ready."""
        pid, self.pid, self.due = self.pid, 0, None
        self.lost.append((pid, code, signum))

    def put_off(self, boot: int) -> None:
        """Decide when the next one starts."""
        if self.ready:
            self._failures = 0
            self.due = boot
            return
        self.due = boot + self._pauses[min(self._failures, len(self._pauses) - 1)]
        self._failures += 1

    def hopeless(self, code: int | None) -> bool:
        """The very first core refused its configuration: a second one would too."""
        return len(self.lost) == 1 and not self.ready and code in HOPELESS


class CoreChild(CoreLife):
    """A core that is a process."""

    __slots__ = ("_argv", "_spawner", "link_fd", "pidfd")

    def __init__(
        self,
        argv: Callable[[int], Sequence[str]],
        spawner: Spawner,
        pauses: Sequence[int] = PAUSES,
    ) -> None:
        super().__init__(pauses)
        self._argv = argv
        self._spawner = spawner
        self.pidfd = -1
        self.link_fd = -1

    def start(self) -> int:
        """Start one; our end of its link. The other end is inheritable for this moment only."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        with theirs:
            theirs.set_inheritable(True)
            launch = Launch(tuple(self._argv(theirs.fileno())), os.environ)
            pid = self._spawner.spawn(launch)
        return self.take(pid, ours.detach())

    def take(self, pid: int, link_fd: int) -> int:
        """This is the present core, and our end of its link."""
        self.begun(pid)
        self.pidfd = os.pidfd_open(pid)
        self.link_fd = link_fd
        return link_fd

    def kill(self) -> None:
        super().kill()
        if self.up:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> tuple[int | None, int | None]:
        """It has ended: code or signal. The link is the caller's to close."""
        seen = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert seen is not None
        os.close(self.pidfd)
        self.pidfd = -1
        exited = seen.si_code == os.CLD_EXITED
        ending = (seen.si_status, None) if exited else (None, seen.si_status)
        self.ended(*ending)
        return ending


class Start(NamedTuple):
    """What is there when the loop begins."""

    core: CoreChild | None
    wake_fd: int
    spawner: Spawner
