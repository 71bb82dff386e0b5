"""Room: process -- the kernel seam: everything that supervision asks of an operating system.

Knows:     process.launch, process.linux, process.proof, process.spawn.
Known by:  process.children (through the Protocol), the simulator (implements it).
Never:     decides whom to start, signal or reap.

Waiting on children, the alternatives: SIGCHLD with waitpid(-1) merges signals and steals the
statuses of others; signalfd needs blocked signals, which leak into workers; a pidfd per child
tells exactly who ended, can be polled, and signals through it never reach a reused pid. The
keeper is a sub-reaper too: children of its workers come to it when their parents end, and are
found by looking at who its children are after a SIGCHLD.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from circus.process import cgroups, linux
from circus.process.fast_road import SpawnFailed
from circus.process.launch import Launch
from circus.process.linux import Ending
from circus.process.orphans_core import Evidence
from circus.process.proof import has_ended, has_inodes, how_ended, proven
from circus.process.spawn import Spawner

if TYPE_CHECKING:
    from circus.process.holdings import Holdings

KILL_PASSES_MAX: Final = 8
LISTING_BYTES: Final = 64 * 1024
NOBODY: Final = (0, "")
# A zombie's pidfd stays readable until the reap, and to take it out is a call for every death.
ONCE: Final = select.EPOLLIN | select.EPOLLONESHOT


class Child(NamedTuple):
    """One process that is ours until it is reaped. `started` is boot ns; inode 0: unknown.

    `adopted`: it is not our child. A keeper that was killed has left it, and its pid may belong to
    somebody else as soon as it has ended; only its pidfd does not lie. `group` is its own cgroup,
    "" if it has none.
    """

    pid: int
    pidfd: int
    started: int
    inode: int
    adopted: bool = False
    group: str = ""


class Orphan(NamedTuple):
    """A descendant of some worker that came to us and has ended, reaped."""

    pid: int
    code: int | None
    signal: int | None


class Kernel(Protocol):
    """What production and simulation implement. No method blocks."""

    def now(self) -> tuple[int, int]:
        """Wall clock and CLOCK_BOOTTIME, ns."""
        ...

    def spawn(self, launch: Launch, mark: bytes = b"", whose: tuple[int, str] = NOBODY, /) -> Child:
        """Start a program; when this returns it has been executed. Raises SpawnFailed.

        `mark` is one more variable of its environment (process.marks). `whose` it is, spawn_id and
        owner, says whose its captured output is.
        """
        ...

    def adopt(self, pid: int, started: int, inode: int) -> Child | None:
        """Hold a process that is not our child, if it is exactly this one; None if it is gone."""
        ...

    def watch(self, child: Child) -> None:
        """Have its end shown by the poll loop, once."""
        ...

    def watch_on(self, child: Child) -> None:
        """It was shown and there was nothing to peek at: have it shown again."""
        ...

    def peek(self, child: Child) -> Ending | None:
        """How it ended, without reaping; None while it runs. Of one that is adopted there may be
        neither code nor signal: nobody can say."""
        ...

    def reap(self, child: Child) -> None:
        """Let the zombie go. Its pid means nothing from here on."""
        ...

    def signal(
        self, child: Child, signum: int, scope: str, child_pid: int | None
    ) -> tuple[tuple[int, ...], int]:
        """Signal an unreaped child; the pids that got it, and errno or 0."""
        ...

    def strangers(self, known: Collection[int]) -> frozenset[int]:
        """Our children that we did not start: orphans of workers, running or ended."""
        ...

    def kill_leftovers(self, child: Child) -> tuple[int, ...]:
        """Kill what remains of the group and session of a zombie of ours; the pids."""
        ...

    def reap_orphans(self, strangers: frozenset[int]) -> list[Orphan]:
        """Those of `strangers` that have ended."""
        ...


class LinuxKernel:
    """The real one: pidfd, epoll, /proc. `holdings`: pipes and sockets, where a keeper has them."""

    __slots__ = ("_children_file", "_inodes", "_spawner", "epoll", "holdings")

    def __init__(self, spawner: Spawner | None = None) -> None:
        self._spawner = spawner or Spawner()
        self._inodes = has_inodes()
        self._children_file = f"/proc/self/task/{os.getpid()}/children"
        self.epoll = select.epoll()
        self.holdings: Holdings | None = None

    def now(self) -> tuple[int, int]:
        return time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def spawn(self, launch: Launch, mark: bytes = b"", whose: tuple[int, str] = NOBODY) -> Child:
        group = self.holdings.cgroups.make(whose[0]) if self.holdings is not None else ""
        try:
            if self.holdings is not None and (launch.streams or launch.sockets):
                pid = self.holdings.spawn(launch, mark, whose, group)
            else:
                pid = self._spawner.spawn(launch, mark=mark, group=group)
        except SpawnFailed:
            _clear(self.holdings, group)
            raise
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            # Without a pidfd nobody would see it end: better no process than a lost one.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise SpawnFailed("fork", error.errno or errno.EMFILE) from error
        started = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        inode = os.fstat(pidfd).st_ino if self._inodes else 0
        return Child(pid, pidfd, started, inode, group=group)

    def adopt(self, pid: int, started: int, inode: int) -> Child | None:
        pidfd = proven(pid, Evidence(started, inode))
        if pidfd is None:
            return None
        group = self.holdings.cgroups.of(pid) if self.holdings is not None else ""
        return Child(pid, pidfd, started, inode, adopted=True, group=group)

    def reopen(self, child: Child) -> Child:
        """An unreaped child of ours, known from before an exec: with a pidfd of this image. That of
        an adopted process was carried over."""
        if child.adopted:
            os.set_inheritable(child.pidfd, False)
            return child
        return child._replace(pidfd=os.pidfd_open(child.pid))

    def watch(self, child: Child) -> None:
        self.epoll.register(child.pidfd, ONCE)

    def watch_on(self, child: Child) -> None:
        self.epoll.modify(child.pidfd, ONCE)

    def peek(self, child: Child) -> Ending | None:
        seen = how_ended(child.pid, child.pidfd) if child.adopted else linux.peek(child.pidfd)
        if seen is not None and seen.signal == signal.SIGKILL and child.group:
            killed = cgroups.oom_kills(child.group)
            seen = seen._replace(rusage=seen.rusage | {"oom_kill": killed}) if killed else seen
        return seen

    def reap(self, child: Child) -> None:
        if not child.adopted:
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
        os.close(child.pidfd)
        _clear(self.holdings, child.group)

    def signal(
        self, child: Child, signum: int, scope: str, child_pid: int | None
    ) -> tuple[tuple[int, ...], int]:
        if child.adopted and has_ended(child.pidfd):
            return (), errno.ESRCH
        if child.group and signum == signal.SIGKILL and scope == "tree":
            killed = cgroups.kill(child.group)
            if killed is not None:
                return killed, 0
        return send(child.pid, child.pidfd, signum, scope, child_pid)

    def strangers(self, known: Collection[int]) -> frozenset[int]:
        listing = self._listing(len(known))
        if listing is not None and listing.count(b" ") == len(known):
            return frozenset()  # As many as we know, and those we know are ours until reaped.
        pids = _children_by_parent() if listing is None else map(int, listing.split())
        return frozenset(pid for pid in pids if pid not in known)

    def kill_leftovers(self, child: Child) -> tuple[int, ...]:
        killed: dict[int, None] = dict.fromkeys(cgroups.kill(child.group) or ())
        for _ in range(KILL_PASSES_MAX):
            found = [pid for pid in _session_members(child.pid) if pid not in killed]
            if not found:
                break
            for pid in found:
                if _signal_pid(pid, signal.SIGKILL) == 0:
                    killed[pid] = None
        return tuple(killed)

    def reap_orphans(self, strangers: frozenset[int]) -> list[Orphan]:
        ended: list[Orphan] = []
        for pid in strangers:
            orphan = _reap_orphan(pid)
            if orphan is not None:
                ended.append(orphan)
        return ended

    def close(self) -> None:
        self.epoll.close()

    def _listing(self, expected: int) -> bytes | None:
        """Pids of our children, each followed by a space; None: this kernel has no such file.

        More than `expected` is only there if a second read brings it.
        """
        try:
            fd = os.open(self._children_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            listing = part = os.read(fd, LISTING_BYTES)
            while part and (listing.count(b" ") != expected or len(part) == LISTING_BYTES):
                part = os.read(fd, LISTING_BYTES)
                listing += part
            return listing
        finally:
            os.close(fd)


def _clear(holdings: Holdings | None, group: str) -> None:
    if group and holdings is not None:
        holdings.cgroups.clear(group)


def _children_by_parent() -> Iterator[int]:
    """Without CONFIG_PROC_CHILDREN: ask every process who its parent is."""
    own = os.getpid()
    return (pid for pid, parent, _, _ in _processes() if parent == own)


def send(
    pid: int, pidfd: int, signum: int, scope: str, child_pid: int | None
) -> tuple[tuple[int, ...], int]:
    """Signal an unreaped child of ours, or those around it that `scope` names."""
    if scope == "process":
        failed = _signal_pidfd(pidfd, signum)
        return ((), failed) if failed else ((pid,), 0)
    if scope == "group":
        return _signal_group(pid, signum)
    if child_pid is not None and child_pid not in children_of(pid):
        return (), errno.ESRCH
    reached: list[int] = []
    failed = 0
    for target in _targets(pid, scope, child_pid):
        problem = _signal_pidfd(pidfd, signum) if target == pid else _signal_pid(target, signum)
        if problem == 0:
            reached.append(target)
        elif problem != errno.ESRCH:
            failed = failed or problem
    return tuple(reached), failed


def _targets(pid: int, scope: str, child_pid: int | None) -> list[int]:
    if scope == "children":
        return children_of(pid) if child_pid is None else [child_pid]
    if scope == "family":
        return [pid, *children_of(pid)]
    if scope == "tree":
        return [pid, *descendants_of(pid)]
    if scope == "descendants":
        return descendants_of(pid)
    raise ValueError(f"cannot signal: no scope {scope!r}")


def children_of(pid: int) -> list[int]:
    """The direct children of any process, as /proc shows them now."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb", buffering=0) as listing:
                found.extend(int(word) for word in listing.readall().split())
        except OSError:
            # The thread is gone, or the kernel has no such file.
            continue
    return found


def descendants_of(pid: int) -> list[int]:
    """All of them, parents before their children."""
    found: list[int] = []
    queue = children_of(pid)
    while queue:
        next_pid = queue.pop(0)
        found.append(next_pid)
        queue.extend(children_of(next_pid))
    return found


def _signal_pidfd(pidfd: int, signum: int) -> int:
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except OSError as error:
        return error.errno or errno.EINVAL
    except ValueError:
        return errno.EINVAL
    return 0


def _signal_pid(pid: int, signum: int) -> int:
    try:
        os.kill(pid, signum)
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def _signal_group(pid: int, signum: int) -> tuple[tuple[int, ...], int]:
    members = tuple(one for one, _, group, _ in _processes() if group == pid)
    try:
        os.killpg(pid, signum)
    except OSError as error:
        return (), error.errno or errno.EINVAL
    return members, 0


def _session_members(leader: int) -> list[int]:
    return [
        pid
        for pid, _, group, session in _processes()
        if leader in (group, session) and pid != leader
    ]


def _processes() -> Iterator[tuple[int, int, int, int]]:
    """(pid, parent, group, session) of every process that is not a zombie."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                words = file.readall().rpartition(b")")[2].split(None, 4)
        except OSError:
            # It ended since the directory was read.
            continue
        if words and words[0] not in (b"Z", b"X"):
            yield int(name), int(words[1]), int(words[2]), int(words[3])


def _reap_orphan(pid: int) -> Orphan | None:
    try:
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if seen is None:
        return None
    if seen.si_code == linux.CLD_EXITED:
        return Orphan(pid, seen.si_status, None)
    return Orphan(pid, None, seen.si_status)


__all__ = [
    "Child", "Ending", "Kernel", "LinuxKernel", "Orphan", "SpawnFailed", "children_of",
    "descendants_of", "send",
]  # fmt: skip
