"""Room: replay -- a kernel in memory: processes, signals, zombies, orphans, a handful of pids.

Knows:     process.kernel (the Protocol's values), replay.scripts, replay.truth.
Known by:  replay.world; the keeper's logic calls it in place of Linux.
Never:     decides when anything happens: it asks the world's agenda.

What it keeps of Linux: a zombie keeps its status until it is reaped; a stopped process acts on
KILL and CONT only, other signals wait, each number once; a signal to a zombie succeeds; children
of an ended process come to the nearest sub-reaper, which is the keeper; a pid is not given again
while a process, a group or a session has it; pidfds name processes and not pids.
"""

from __future__ import annotations

import errno
import random
import signal
from collections.abc import Callable, Collection
from typing import Final, Protocol

import attr

from circus.process.fast_road import SpawnFailed
from circus.process.kernel import Child, Orphan
from circus.process.launch import Launch
from circus.process.linux import Ending
from circus.replay.scripts import NotExecutable, Script, script_of
from circus.replay.truth import Ended, Fact, Forked, Misused, OrphanReaped, Reaped, Signalled

PID_FIRST: Final = 2
PIDS: Final = 60
PIDFD_FIRST: Final = 1000
KEEPER: Final = 0  # the serial of everybody's ancestor
TICK_NS: Final = 10_000_000
RUNNING: Final = "R"
STOPPED: Final = "T"
ZOMBIE: Final = "Z"
SPAWN_FAULTS: Final = (
    ("fork", errno.EAGAIN), ("fork", errno.ENOMEM), ("fork", errno.EMFILE), ("exec", errno.EACCES),
    ("exec", errno.ETXTBSY), ("exec", errno.ENOEXEC), ("chdir", errno.ENOENT),
    ("user", errno.EPERM),
)  # fmt: skip
IGNORED_BY_DEFAULT: Final = frozenset({0, int(signal.SIGCHLD), int(signal.SIGCONT)})
STOPPING: Final = frozenset({int(signal.SIGSTOP), int(signal.SIGTSTP)})


class Agenda(Protocol):
    """What the kernel asks of the world."""

    @property
    def chance(self) -> random.Random: ...
    def moment(self) -> tuple[int, int]: ...
    def later(self, delay: int, happening: Callable[[], None], /) -> None: ...
    def happened(self, fact: Fact, /) -> None: ...
    def readable(self, pidfd: int, /) -> None: ...
    def child_ended(self) -> None: ...


@attr.s(auto_attribs=True, slots=True, eq=False)
class Process:
    """One process, ours or of our workers."""

    serial: int
    pid: int
    parent: int  # serial
    group: int  # pid
    session: int  # pid
    script: Script
    started: int
    state: str = RUNNING
    ending: Ending | None = None
    pending: set[int] = attr.Factory(set)
    pidfd: int = 0


class SimKernel:
    """The keeper's kernel. `spawn_fault_rate` makes that part of all spawns fail."""

    def __init__(self, agenda: Agenda) -> None:
        self.agenda = agenda
        self.spawn_fault_rate = 0.0
        self.calm = False  # every program that starts from now on is steady
        self.processes: dict[int, Process] = {}  # by serial, zombies included
        self._by_pid: dict[int, Process] = {}
        self._watched: set[int] = set()
        self._last_pid = PID_FIRST - 1
        self._serials = 0

    # --- the Protocol -----------------------------------------------------------------------------

    def now(self) -> tuple[int, int]:
        return self.agenda.moment()

    def spawn(self, launch: Launch) -> Child:
        chance = self.agenda.chance
        if not self.calm and chance.random() < self.spawn_fault_rate:
            raise SpawnFailed(*chance.choice(SPAWN_FAULTS))
        try:
            script = script_of(launch.argv, chance)
        except NotExecutable as error:
            raise SpawnFailed(error.step, error.errno) from error
        if self.calm and script.lifetime is not None:
            script = Script()
        process = self._fork(KEEPER, script, own_session=True)
        process.pidfd = PIDFD_FIRST + process.serial
        self.agenda.happened(Forked(process.serial, process.pid))
        self._begin(process)
        return Child(process.pid, process.pidfd, process.started, process.serial)

    def watch(self, child: Child) -> None:
        self._watched.add(child.pidfd)
        process = self.processes.get(child.inode)
        if process is not None and process.state == ZOMBIE:
            self.agenda.readable(child.pidfd)

    def unwatch(self, child: Child) -> None:
        self._watched.discard(child.pidfd)

    def peek(self, child: Child) -> Ending | None:
        process = self.processes.get(child.inode)
        if process is None:
            self.agenda.happened(Misused("peek after reap", child.pid))
            raise ChildProcessError(errno.ECHILD, "no such child")
        return process.ending

    def reap(self, child: Child) -> None:
        process = self.processes.get(child.inode)
        if process is None:
            self.agenda.happened(Misused("reap after reap", child.pid))
            raise ChildProcessError(errno.ECHILD, "no such child")
        if process.state != ZOMBIE:
            self.agenda.happened(Misused("reap of a living process", child.pid))
            return
        members = tuple(
            one.serial for one in self._members(process.pid) if one.serial != process.serial
        )
        self._forget(process)
        self.agenda.happened(Reaped(process.serial, process.pid, members))

    def signal(
        self, child: Child, signum: int, scope: str, child_pid: int | None
    ) -> tuple[tuple[int, ...], int]:
        process = self.processes.get(child.inode)
        if process is None:
            self.agenda.happened(Signalled(0, child.pid, signum, child.inode, self.now()[1]))
            return (), errno.ESRCH
        targets = self._targets(process, scope)
        if child_pid is not None:
            targets = [one for one in targets if one.pid == child_pid]
            if not targets:
                return (), errno.ESRCH
        for target in targets:
            self._send(target, signum, process.serial)
        return tuple(target.pid for target in targets), 0

    def strangers(self, known: Collection[int]) -> frozenset[int]:
        ours = [one.pid for one in self.processes.values() if one.parent == KEEPER]
        return frozenset(pid for pid in ours if pid not in known)

    def kill_leftovers(self, child: Child) -> tuple[int, ...]:
        process = self.processes.get(child.inode)
        if process is None:
            self.agenda.happened(Misused("kill of leftovers after reap", child.pid))
            return ()
        found = [one for one in self._members(process.pid) if one.serial != process.serial]
        for one in found:
            self._send(one, int(signal.SIGKILL), 0)
        return tuple(one.pid for one in found)

    def reap_orphans(self, strangers: frozenset[int]) -> list[Orphan]:
        ended: list[Orphan] = []
        for pid in sorted(strangers):
            process = self._by_pid.get(pid)
            if process is None or process.ending is None:
                continue
            self._forget(process)
            self.agenda.happened(OrphanReaped(process.serial, pid))
            ended.append(Orphan(pid, process.ending.code, process.ending.signal))
        return ended

    # --- for the world ----------------------------------------------------------------------------

    def living(self) -> list[Process]:
        """Every process that is no zombie."""
        return [one for one in self.processes.values() if one.state != ZOMBIE]

    def zombies(self) -> list[Process]:
        """Children of the keeper that wait to be reaped."""
        return [
            one for one in self.processes.values() if one.state == ZOMBIE and one.parent == KEEPER
        ]

    def kill(self, pid: int, signum: int) -> bool:
        """Somebody else sends a signal, as `kill` in a shell does."""
        process = self._by_pid.get(pid)
        if process is None:
            return False
        self._receive(process, signum)
        return True

    def become_calm(self) -> None:
        """Faults are over: what runs goes on until it is told to end, and so does what starts."""
        self.calm = True
        self.spawn_fault_rate = 0.0

    # --- lives ------------------------------------------------------------------------------------

    def _fork(self, parent: int, script: Script, *, own_session: bool) -> Process:
        pid = self._free_pid()
        self._serials += 1
        mother = self.processes.get(parent)
        leader = own_session or mother is None
        group = pid if leader or mother is None else mother.group
        session = pid if leader or mother is None else mother.session
        started = self.now()[1] // TICK_NS * TICK_NS
        process = Process(self._serials, pid, parent, group, session, script, started)
        self.processes[process.serial] = process
        self._by_pid[pid] = process
        return process

    def _free_pid(self) -> int:
        taken = set(self._by_pid)
        for one in self.processes.values():
            taken.add(one.group)
            taken.add(one.session)
        for step in range(1, PIDS + 1):
            pid = PID_FIRST + (self._last_pid - PID_FIRST + step) % PIDS
            if pid not in taken:
                self._last_pid = pid
                return pid
        raise SpawnFailed("fork", errno.EAGAIN)

    def _begin(self, process: Process) -> None:
        script = process.script
        if script.lifetime == 0:
            self._end(process, script.code, script.signum)
            return
        later = self.agenda.later
        for _ in range(script.children):
            later(self.agenda.chance.randrange(1, TICK_NS), lambda: self._bear(process))
        if script.stops_after is not None:
            later(script.stops_after, lambda: self._receive(process, int(signal.SIGSTOP)))
        if script.lifetime is not None:
            later(script.lifetime, lambda: self._finish(process))

    def _bear(self, mother: Process) -> None:
        if mother.state != RUNNING:
            return
        try:
            self._fork(mother.serial, Script(), own_session=mother.script.detached)
        except SpawnFailed:
            self.agenda.child_ended()  # No pid is free: the program notices, and goes on.

    def _finish(self, process: Process) -> None:
        if self.calm or process.state == ZOMBIE:
            return
        if process.state == STOPPED:
            self.agenda.later(TICK_NS, lambda: self._finish(process))
            return
        self._end(process, process.script.code, process.script.signum)

    def _end(self, process: Process, code: int | None, signum: int | None) -> None:
        if process.state == ZOMBIE:
            return
        if signum is not None:
            code = None
        usage = {"utime": 1_000_000, "stime": 500_000, "maxrss": 1024}
        process.state, process.ending = ZOMBIE, Ending(code, signum, core=False, rusage=usage)
        self.agenda.happened(Ended(process.serial, process.pid, code, signum))
        for one in list(self.processes.values()):
            if one.parent == process.serial:
                one.parent = KEEPER
                if one.state == ZOMBIE:
                    self.agenda.child_ended()
        self._tell_parent(process)

    def _tell_parent(self, process: Process) -> None:
        if process.parent == KEEPER:
            self.agenda.child_ended()
            if process.pidfd in self._watched:
                self.agenda.readable(process.pidfd)
            return
        mother = self.processes[process.parent]
        if mother.script.waits:
            self._forget(process)

    def _forget(self, process: Process) -> None:
        del self.processes[process.serial]
        del self._by_pid[process.pid]

    # --- signals ----------------------------------------------------------------------------------

    def _targets(self, process: Process, scope: str) -> list[Process]:
        if scope == "process":
            return [process]
        if scope == "group":
            return self._members(process.pid, groups_only=True)
        below = self._below(process)
        direct = [one for one in below if one.parent == process.serial]
        found = {
            "children": direct,
            "family": [process, *direct],
            "tree": [process, *below],
            "descendants": below,
        }
        return found[scope]

    def _below(self, process: Process) -> list[Process]:
        found: list[Process] = []
        queue = [process.serial]
        while queue:
            serial = queue.pop(0)
            children = [one for one in self.processes.values() if one.parent == serial]
            found += children
            queue += [one.serial for one in children]
        return found

    def _members(self, leader: int, *, groups_only: bool = False) -> list[Process]:
        return [
            one
            for one in self.processes.values()
            if one.state != ZOMBIE
            and (one.group == leader or (one.session == leader and not groups_only))
        ]

    def _send(self, target: Process, signum: int, root: int) -> None:
        fact = Signalled(target.serial, target.pid, signum, root, self.now()[1])
        self.agenda.happened(fact)
        self._receive(target, signum)

    def _receive(self, process: Process, signum: int) -> None:
        if process.state == ZOMBIE:
            return
        if signum == signal.SIGKILL:
            self._end(process, None, signum)
        elif signum == signal.SIGCONT:
            self._continue(process)
        elif process.state == STOPPED:
            process.pending.add(signum)
        elif signum in STOPPING:
            process.state = STOPPED
        elif signum not in IGNORED_BY_DEFAULT and signum not in process.script.shy_of:
            self._die_of(process, signum)

    def _continue(self, process: Process) -> None:
        if process.state != STOPPED:
            return
        process.state = RUNNING
        waiting, process.pending = sorted(process.pending), set()
        for signum in waiting:
            self._receive(process, signum)

    def _die_of(self, process: Process, signum: int) -> None:
        slowness = process.script.slowness
        if slowness:
            self.agenda.later(slowness, lambda: self._end(process, 0, None))
        else:
            self._end(process, None, signum)
