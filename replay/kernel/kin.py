"""Room: replay -- one simulated process, and who belongs together: pids, groups, sessions, orphans.

Knows:     replay.kernel.signals, its scripts (a process has one), process.linux (an Ending).
Known by:  replay.kernel.processes.
Never:     ends, stops or signals anybody.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, TypeAlias

import attr

from circus.process.linux import Ending
from circus.replay.kernel.scripts import Script
from circus.replay.kernel.signals import Signals

PID_FIRST: Final = 2
PIDS: Final = 60
KEEPER: Final = 0  # the serial of everybody's ancestor
KEEPER_PID: Final = 1
INIT: Final = -1  # the serial of whoever inherits the keeper's children, beyond what it can see
INIT_PID: Final = 0

RUNNING: Final = "R"
STOPPED: Final = "T"
UNINTERRUPTIBLE: Final = "D"
EXITING: Final = "X"
ZOMBIE: Final = "Z"
STEADY: Final = Script()

Act: TypeAlias = "Callable[[Process], None]"


@attr.s(auto_attribs=True, slots=True, eq=False)
class Process:
    """One process, the keeper, a worker or somebody below."""

    serial: int
    pid: int
    mother: Process | None
    group: int  # pid
    session: int  # pid
    script: Script = STEADY
    started: int = 0
    uid: int = 0
    pidfd: int = 0
    state: str = RUNNING
    ending: Ending | None = None
    signals: Signals = attr.Factory(Signals)
    children: list[Process] = attr.Factory(list)  # in the order in which they became its own
    leads: bool = False  # it has called setsid
    founder: int = 0  # serial of whoever has begun its session
    executed: bool = False
    subreaper: bool = False
    traced: bool = False  # by a debugger: its end is not shown to its parent yet
    woken: bool = (
        False  # by a signal that it did not act on yet; what comes while stopped wakes not
    )
    doomed: int = 0  # the signal that has settled its end
    stop_signal: int = 0  # of a stop that nobody has waited for
    continued: bool = False  # and nobody has waited for that
    overdue: list[Act] = attr.Factory(list)  # what it does when it runs again

    def exec(self) -> None:
        """Another program in the same process."""
        self.executed = True
        self.signals.exec()

    def stop(self, signum: int) -> None:
        self.state, self.stop_signal, self.continued = STOPPED, signum, False

    def go_on(self) -> None:
        self.state, self.stop_signal, self.continued = RUNNING, 0, True


class Kin:
    """Pids, which go round in a small range, and the groups and sessions that keep them in use."""

    def __init__(self, keeper: Process, pids: int) -> None:
        self.by_pid: dict[int, Process] = {keeper.pid: keeper}
        self.groups: dict[int, list[Process]] = {keeper.group: [keeper]}
        self.sessions: dict[int, list[Process]] = {keeper.session: [keeper]}
        self._pids = pids
        self._last = PID_FIRST - 1

    def free_pid(self) -> int:
        """The next that neither a process nor a group nor a session has; EAGAIN if all are used."""
        last, pids = self._last, self._pids
        for _ in range(pids):
            last = last + 1 if last + 1 < PID_FIRST + pids else PID_FIRST
            if last not in self.by_pid and last not in self.groups and last not in self.sessions:
                self._last = last
                return last
        raise BlockingIOError(errno.EAGAIN, "no pid is free")

    def add(self, process: Process) -> None:
        """A newborn."""
        self.by_pid[process.pid] = process
        self.groups.setdefault(process.group, []).append(process)
        self.sessions.setdefault(process.session, []).append(process)

    def remove(self, process: Process) -> None:
        """It is reaped: its pid may be used again, unless a group or a session has it."""
        del self.by_pid[process.pid]
        _leave(self.groups, process.group, process)
        _leave(self.sessions, process.session, process)

    def setsid(self, process: Process) -> int:
        """A session and a group of its own; errno, or 0."""
        if process.leads or process.pid in self.groups:
            return errno.EPERM
        process.leads = True
        process.founder = process.serial
        self._move(process, process.pid)
        _leave(self.sessions, process.session, process)
        process.session = process.pid
        self.sessions.setdefault(process.session, []).append(process)
        return 0

    def setpgid(self, caller: Process, pid: int, group: int) -> int:
        """Errno, or 0."""
        process = caller if pid == 0 else self.by_pid.get(pid)
        if process is None or (process is not caller and process.mother is not caller):
            return errno.ESRCH
        if process is not caller and process.session != caller.session:
            return errno.EPERM
        if process is not caller and process.executed:
            return errno.EACCES
        group = group or process.pid
        if process.leads or not self._may_join(process, group, caller.session):
            return errno.EPERM
        self._move(process, group)
        return 0

    def is_orphaned(self, group: int, without: Process | None = None) -> bool:
        """Nobody in it has a parent in the same session and another group: no shell cares for it.

        Such a group is not stopped from a terminal; when it becomes one, its stopped members are
        hung up and go on, since nobody would continue them.
        """
        return not any(
            one.mother is not None
            and one.mother.group != group
            and one.mother.session == one.session
            for one in self.groups.get(group, ())
            if one is not without and one.state != ZOMBIE
        )

    def members(self, leader: int, *, sessions: bool) -> list[Process]:
        """Who lives in this group, or in this session too; by pid, as /proc lists them."""
        found = {one.pid: one for one in self.groups.get(leader, ())}
        if sessions:
            found |= {one.pid: one for one in self.sessions.get(leader, ())}
        return [found[pid] for pid in sorted(found) if found[pid].state != ZOMBIE]

    def _may_join(self, process: Process, group: int, session: int) -> bool:
        if group == process.pid:
            return True
        members = self.groups.get(group)
        return members is not None and members[0].session == session

    def _move(self, process: Process, group: int) -> None:
        _leave(self.groups, process.group, process)
        process.group = group
        self.groups.setdefault(group, []).append(process)


def below(process: Process) -> list[Process]:
    """All descendants, parents before their children."""
    found: list[Process] = []
    queue = [process]
    for one in queue:
        found += one.children
        queue += one.children
    return found


def _leave(sets: dict[int, list[Process]], key: int, process: Process) -> None:
    members = sets[key]
    members.remove(process)
    if not members:
        del sets[key]
