"""Room: replay -- a kernel in memory: the keeper's seam on top of the table of processes.

Knows:     process.kernel (the Protocol's values), replay.kernel.lives, replay.kernel.processes.
Known by:  replay.sim.keeper and replay.world; the keeper's logic calls it in place of Linux.
Never:     decides when anything happens: it asks the world's agenda.

Layers, each of which can be read by itself: `sim_signals` (what a signal does to one process),
`sim_kin` (groups, sessions, pids), `sim_ends`, `sim_processes` and `sim_waits` (what Linux does;
compared with it, call by call, by tests/sim/test_kernel_differential.py), `sim_scopes` (whom the
keeper signals), `sim_lives` (what programs do), `sim_notices` (who hears of it) and `sim_spawn`
(what goes wrong). A pidfd names a process and not a pid; its inode is the process's serial.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from typing import Final

from circus.process.fast_road import SpawnFailed
from circus.process.kernel import NOBODY, Child, Orphan
from circus.process.launch import Launch
from circus.process.linux import Ending
from circus.replay.checks.truth import Forked, Misused, OrphanReaped, Reaped, Signalled
from circus.replay.kernel.kin import KEEPER, ZOMBIE, Process
from circus.replay.kernel.lives import Lives
from circus.replay.kernel.notices import Host
from circus.replay.kernel.scopes import Post
from circus.replay.kernel.scripts import NotExecutable, Script
from circus.replay.kernel.signals import KILL
from circus.replay.kernel.spawn import (
    EXEC_HANG_MAX,
    EXEC_HANGS,
    KERNEL_FAULTS,
    KernelWeather,
    refuse_too_long,
    uid_of,
)

PIDFD_FIRST: Final = 1000

MakeLives = Callable[[Host], Lives]


class SimKernel:
    """The keeper's kernel. `lives.weather` says what goes wrong; at first nothing does."""

    def __init__(self, host: Host, make_lives: MakeLives = Lives) -> None:
        self.host = host
        self.agenda = host.agenda
        self.agenda.coverage.expect(*KERNEL_FAULTS)
        self.lives = make_lives(host)
        self.table = self.lives.table
        self.notices = self.lives.notices
        self.processes = self.table.processes  # by serial, zombies included
        self._post = Post(host, self.table)

    # --- the Protocol -----------------------------------------------------------------------------

    def now(self) -> tuple[int, int]:
        return self.agenda.moment()

    def spawn(self, launch: Launch, _mark: bytes = b"", _whose: tuple[int, str] = NOBODY) -> Child:
        lives, agenda = self.lives, self.agenda
        fault = lives.weather.spoil(agenda.chance)
        if fault is not None:
            agenda.coverage.faults[fault.name] += 1
            raise SpawnFailed(fault.step, fault.errno)
        process = _started(lives, launch)
        if self.notices.struck(lives.weather.exec_hang, EXEC_HANGS):
            agenda.pause(agenda.chance.randrange(EXEC_HANG_MAX))
        self.host.happened(Forked(process.serial, process.pid))
        lives.begin(process)
        lives.perhaps_kill_early(process)
        self.notices.perhaps_disturb()
        return Child(process.pid, process.pidfd, process.started, process.serial)

    def adopt(self, pid: int, started: int, inode: int) -> Child | None:
        process = self.processes.get(inode)
        if process is None or (process.pid, process.started) != (pid, started):
            return None
        process.pidfd = PIDFD_FIRST + process.serial
        return Child(pid, process.pidfd, started, inode, adopted=True)

    def watch(self, child: Child) -> None:
        self.notices.watched.add(child.pidfd)
        process = self.processes.get(child.inode)
        if process is not None and process.state == ZOMBIE:
            self.notices.show(child.pidfd)

    def watch_on(self, child: Child) -> None:
        self.notices.watched.add(child.pidfd)

    def peek(self, child: Child) -> Ending | None:
        process = self.processes.get(child.inode)
        if process is None and child.adopted:
            return Ending(None, None, False, {})  # Its parent has reaped it.
        if process is None:
            self.host.happened(Misused("peek after reap", child.pid))
            raise ChildProcessError(errno.ECHILD, "no such child")
        return None if process.traced else process.ending

    def reap(self, child: Child) -> None:
        if child.adopted:
            self.notices.watched.discard(child.pidfd)
            return  # It is somebody else's to reap.
        process = self.processes.get(child.inode)
        if process is None:
            self.host.happened(Misused("reap after reap", child.pid))
            raise ChildProcessError(errno.ECHILD, "no such child")
        if process.state != ZOMBIE or process.traced:
            self.host.happened(Misused("reap of a living process", child.pid))
            return
        members = self.table.kin.members(process.pid, sessions=True)
        self.notices.watched.discard(child.pidfd)
        self.table.ends.release(process)
        self.host.happened(
            Reaped(process.serial, process.pid, tuple(one.serial for one in members))
        )

    def signal(
        self, child: Child, signum: int, scope: str, child_pid: int | None
    ) -> tuple[tuple[int, ...], int]:
        process = self.processes.get(child.inode)
        if process is None:
            self.host.happened(Signalled(0, child.pid, signum, child.inode, self.agenda.boot))
            return (), errno.ESRCH
        self.notices.perhaps_disturb()
        return self._post.scope(process, signum, scope, child_pid)

    def strangers(self, known: Collection[int]) -> frozenset[int]:
        children = self.table.keeper.children
        if len(children) == len(known):
            return frozenset()  # What is known is ours until it is reaped; production counts too.
        return frozenset(one.pid for one in children if one.pid not in known)

    def kill_leftovers(self, child: Child) -> tuple[int, ...]:
        process = self.processes.get(child.inode)
        if process is None:
            self.host.happened(Misused("kill of leftovers after reap", child.pid))
            return ()
        found = self.table.kin.members(process.pid, sessions=True)
        return self._post.each([one for one in found if one is not process], KILL, 0)[0]

    def reap_orphans(self, strangers: frozenset[int]) -> list[Orphan]:
        ended: list[Orphan] = []
        for pid in sorted(strangers):
            process = self.table.kin.by_pid.get(pid)
            if process is None or process.ending is None or process.mother is not self.table.keeper:
                continue
            self.table.ends.release(process)
            self.host.happened(OrphanReaped(process.serial, pid))
            ended.append(Orphan(pid, process.ending.code, process.ending.signal))
        return ended

    # --- for the world ----------------------------------------------------------------------------

    def living(self) -> list[Process]:
        """Every process that is no zombie."""
        return [one for one in self.processes.values() if one.state != ZOMBIE]

    def kill(self, pid: int, signum: int) -> bool:
        """Somebody else sends a signal, as `kill` in a shell does."""
        process = self.table.kin.by_pid.get(pid)
        if process is None or process.serial == KEEPER:
            return False
        return self.table.kill(process, signum) == 0

    def become_calm(self) -> None:
        """Faults are over: what runs goes on until it is told to end, and so does what starts."""
        self.lives.calm = True
        self.lives.weather = KernelWeather()


def zombies(kernel: SimKernel) -> list[Process]:
    """Children of the keeper that wait to be reaped."""
    return [one for one in kernel.table.keeper.children if one.state == ZOMBIE]


def lose_keeper(kernel: SimKernel) -> None:
    """It is killed: its children are init's, who waits for them, and nobody holds a pidfd. The
    service manager kills what is left of the service (`KillMode=control-group`)."""
    table = kernel.table
    kernel.notices.watched.clear()
    for process in table.processes.values():
        process.pidfd = 0
    table.ends.bereave(table.keeper)
    for process in list(table.processes.values()):
        table.kill(process, KILL)


def _started(lives: Lives, launch: Launch) -> Process:
    """Fork, a session of its own, exec. Raises SpawnFailed."""
    table = lives.table
    try:
        script = lives.script_of(launch)
    except NotExecutable as error:
        raise SpawnFailed(error.step, error.errno) from error
    if lives.calm and (script.lifetime is not None or script.forks_every):
        script = Script()
    uid = uid_of(launch, table.keeper.uid)
    refuse_too_long(launch)
    try:
        process = table.fork(table.keeper, script, lives.tick())
    except BlockingIOError as error:
        raise SpawnFailed("fork", errno.EAGAIN) from error
    table.kin.setsid(process)
    process.exec()
    process.uid = uid
    process.pidfd = PIDFD_FIRST + process.serial
    return process
