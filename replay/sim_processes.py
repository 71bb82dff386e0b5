"""Room: replay -- what Linux does when processes fork, end, stop, signal and wait for one another.

Knows:     replay.sim_kin, replay.sim_signals.
Known by:  replay.sim_kernel and replay.sim_lives, and the test that compares it with Linux.
Never:     knows time or chance: each call does what the system call does, at once.

    table = ProcessTable()
    child = table.fork(table.keeper)
    table.kill(child, signal.SIGTERM)
    waitid(table, table.keeper, (os.P_ALL, 0), os.WEXITED | os.WNOHANG)

A call first sends all its signals; then those that got one act, one after another, as processes
do that have to be given a processor. In which order nobody promises: `pick` chooses, and may
say that nobody gets one yet.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from circus.process.linux import Ending
from circus.replay.scripts import Script
from circus.replay.sim_kin import (
    EXITING,
    KEEPER,
    KEEPER_PID,
    PIDS,
    RUNNING,
    STEADY,
    STOPPED,
    UNINTERRUPTIBLE,
    ZOMBIE,
    Kin,
    Process,
)
from circus.replay.sim_signals import (
    CHLD,
    CONT,
    HUP,
    IGNORED_BY_DEFAULT,
    KILL,
    SIGNUM_MAX,
    STOP,
    STOPPING,
    name_of,
)

P_PIDFD: Final = 3
NOBODY: Final = -1
WAITED_FOR: Final = os.WEXITED | os.WSTOPPED | os.WCONTINUED
USAGE: Final = {"utime": 1_000_000, "stime": 500_000, "maxrss": 1024}


class Witness:
    """Told of what happens, while it happens. This one does not care."""

    def ended(self, process: Process) -> None:
        """It is a zombie now."""

    def child_ended(self, process: Process) -> None:
        """Its parent can wait for it from now on."""

    def caught(self, process: Process, signum: int) -> None:
        """Its handler runs."""

    def resumed(self, process: Process) -> None:
        """It runs again, and is behind with what it wanted to do."""


class ProcessTable:
    """All processes, and the system calls about them. Those that can fail give errno, or 0."""

    def __init__(
        self,
        witness: Witness | None = None,
        edges: Counter[str] | None = None,
        *,
        pids: int = PIDS,
    ) -> None:
        self.keeper = Process(KEEPER, KEEPER_PID, None, KEEPER_PID, KEEPER_PID)
        self.keeper.leads = self.keeper.subreaper = True
        self.processes: dict[int, Process] = {}  # by serial, zombies included, without the keeper
        self.kin = Kin(self.keeper, pids)
        self.edges: Counter[str] = Counter() if edges is None else edges
        self.witness = witness or Witness()
        self.pick: Callable[[int], int] | None = None  # who acts next; None: who got it first
        self._serials = KEEPER
        self._ready: list[Process] = []  # have got a signal and did not act on it yet

    def fork(self, mother: Process, script: Script = STEADY, started: int = 0) -> Process:
        """Raises BlockingIOError (EAGAIN) where no pid is free."""
        pid = self.kin.free_pid()
        self._serials += 1
        child = Process(
            self._serials, pid, mother, mother.group, mother.session, script, started, mother.uid
        )
        child.signals = mother.signals.inherited()
        mother.children.append(child)
        self.processes[child.serial] = child
        self.kin.add(child)
        self.edges["kernel: forked"] += 1
        return child

    def exec(self, process: Process) -> None:
        """Another program in the same process."""
        process.executed = True
        process.signals.exec()

    def exit(self, process: Process, code: int) -> None:
        """By itself."""
        self._end(process, code & 0xFF, None)
        self.run()

    # --- signals ----------------------------------------------------------------------------------

    def kill(self, process: Process, signum: int) -> int:
        """To one process, a zombie too."""
        if not 0 <= signum <= SIGNUM_MAX:
            return errno.EINVAL
        self.send(process, signum)
        self.run()
        return 0

    def kill_group(self, group: int, signum: int) -> int:
        """To all members; a group of zombies is one."""
        members = self.kin.groups.get(group)
        if not members:
            return errno.ESRCH
        if not 0 <= signum <= SIGNUM_MAX:
            return errno.EINVAL
        for one in list(members):
            self.send(one, signum)
        self.run()
        return 0

    def send(self, process: Process, signum: int) -> None:
        """Leave it with the process, which acts on it in `run`."""
        signals = process.signals
        if process.state in (ZOMBIE, EXITING):
            self.edges["kernel: signal to a zombie"] += 1
        elif signum != 0:
            self._prepare(process, signum)
            if signals.drops(signum):
                self.edges["kernel: signal ignored"] += 1
                return
            if signum in signals.pending:
                self.edges["kernel: signal merged"] += 1
            self._wake(process, signum)
            signals.pending.add(signum)
            self._ready.append(process)

    def act(self, process: Process) -> None:
        """After it has unblocked a signal: whatever waited is delivered."""
        self._ready.append(process)
        self.run()

    def run(self) -> None:
        """Everybody who has got a signal acts on it."""
        ready = self._ready
        while ready:
            index = self.pick(len(ready)) if self.pick else 0
            if index == NOBODY:
                return
            process = ready.pop(index)
            if process.state == STOPPED and process.doomed:
                process.state = RUNNING  # KILL wakes it for its end
                self._end(process, None, process.doomed, how="stopped")
            elif process.state == RUNNING:
                self._act(process)
                if process.overdue and process.state == RUNNING:
                    self.witness.resumed(process)
            elif process.state in (STOPPED, UNINTERRUPTIBLE):
                self.edges[f"kernel: signal waits in {process.state}"] += 1

    # --- a while without signals ------------------------------------------------------------------

    def hold(self, process: Process) -> None:
        """It waits for a disk: not even KILL gets through."""
        if process.state == RUNNING:
            process.state = UNINTERRUPTIBLE
            self.edges["kernel: running -> uninterruptible"] += 1

    def let_go(self, process: Process) -> None:
        """The disk has answered."""
        if process.state == UNINTERRUPTIBLE:
            process.state = RUNNING
            self.edges["kernel: uninterruptible -> running"] += 1
            self.act(process)

    # --- ends -------------------------------------------------------------------------------------

    def release(self, process: Process) -> None:
        """Nothing is left of it."""
        assert process.state == ZOMBIE, process
        assert process.mother is not None, process
        process.mother.children.remove(process)
        del self.processes[process.serial]
        self.kin.remove(process)
        self.edges["kernel: zombie -> gone"] += 1

    def detach(self, process: Process) -> None:
        """The debugger lets it go: its parent hears of its end now."""
        process.traced = False
        if process.state == ZOMBIE:
            self._announce(process)

    def _prepare(self, process: Process, signum: int) -> None:
        """CONT and what stops cancel each other, whatever the process has arranged for them."""
        if signum == CONT:
            process.signals.pending -= STOPPING
            if process.state == STOPPED:
                self._resume(process)
        elif signum in STOPPING:
            process.signals.pending.discard(CONT)

    def _wake(self, process: Process, signum: int) -> None:
        """The first signal that wakes a process, and KILL at any time, may settle its end at once."""
        if signum == KILL:
            process.doomed = process.doomed or KILL
        elif process.state != STOPPED and signum not in process.signals.blocked:
            if not process.woken and process.signals.dooms(signum):
                process.doomed = process.doomed or signum
            process.woken = True

    def _act(self, process: Process) -> None:
        if process.doomed:
            self._end(process, None, process.doomed)
            return
        signals, process.woken = process.signals, False
        while process.state == RUNNING and (signum := signals.next()):
            signals.pending.discard(signum)
            if signum in signals.caught:
                self.edges["kernel: signal caught"] += 1
                self.witness.caught(process, signum)
            elif signum in STOPPING:
                if signum == STOP or not self.kin.is_orphaned(process.group):
                    self._stop(process, signum)
            elif signum not in IGNORED_BY_DEFAULT and signum not in signals.ignored:
                self._end(process, None, signum)

    def _stop(self, process: Process, signum: int) -> None:
        process.state, process.stop_signal, process.continued = STOPPED, signum, False
        self.edges["kernel: running -> stopped"] += 1

    def _resume(self, process: Process) -> None:
        process.state, process.stop_signal, process.continued = RUNNING, 0, True
        self.edges["kernel: stopped -> running"] += 1
        self._ready.append(process)

    def _end(
        self, process: Process, code: int | None, signum: int | None, how: str = "running"
    ) -> None:
        assert process.state == RUNNING, process
        assert process.mother is not None, process
        why = "exit" if signum is None else name_of(signum)
        self.edges[f"kernel: {how} -> zombie by {why}"] += 1
        process.state = EXITING
        self._give_children_away(process)
        self._hang_up(process, process.mother, without=process)
        process.state = ZOMBIE
        process.ending = Ending(code, signum, core=False, rusage=USAGE)
        process.signals.pending.clear()
        self.witness.ended(process)
        if not process.traced:
            self._announce(process)

    def _give_children_away(self, process: Process) -> None:
        children, process.children = process.children, []
        if not children:
            return
        heir = self._heir(process)
        for child in children:
            child.mother = heir  # one after the other: who comes later still binds its group
            heir.children.append(child)
            self.edges["kernel: orphaned"] += 1
            if child.state == ZOMBIE and not child.traced:
                self._announce(child)
            self._hang_up(child, process)

    def _heir(self, process: Process) -> Process:
        """The nearest ancestor that is a sub-reaper."""
        one = process.mother
        while one is not None and not one.subreaper:
            one = one.mother
        assert one is not None, process
        return one

    def _hang_up(self, process: Process, tie: Process, without: Process | None = None) -> None:
        """If `tie` was what bound the group to its session: its stopped members shall go on."""
        group = process.group
        if tie.group == group or tie.session != process.session:
            return
        members = self.kin.groups[group]
        if not any(one.state == STOPPED for one in members):
            return
        if self.kin.is_orphaned(group, without):
            self.edges["kernel: orphaned group hung up"] += 1
            for signum in (HUP, CONT):
                for one in list(members):
                    self.send(one, signum)

    def _announce(self, process: Process) -> None:
        """The parent hears that it has ended, or has said that it does not want to."""
        assert process.mother is not None, process
        if CHLD in process.mother.signals.ignored:
            self.edges["kernel: zombie that nobody waits for"] += 1
            self.release(process)
        else:
            self.witness.child_ended(process)


class Waited(NamedTuple):
    """What waitid gives: who, si_code and si_status."""

    process: Process
    code: int
    status: int


def waitid(
    table: ProcessTable, caller: Process, which: tuple[int, int], options: int
) -> Waited | None:
    """Always without waiting. P_PIDFD goes by serial, everything else by pid.

    Raises OSError: EINVAL, or ECHILD where no child could ever answer. A zombie is none that could
    tell of a stop; one with a debugger is not shown yet.
    """
    if not options & WAITED_FOR:
        raise OSError(errno.EINVAL, "waitid: nothing to wait for")
    hopeful = False
    for child in caller.children:
        if not _concerns(child, caller, which):
            continue
        found = _report(child, options)
        if found is not None:
            if not options & os.WNOWAIT:
                _take(table, found)
            return found
        hopeful = hopeful or child.state != ZOMBIE or child.traced
    if not hopeful:
        raise ChildProcessError(errno.ECHILD, "waitid: no such child")
    return None


def _concerns(child: Process, caller: Process, which: tuple[int, int]) -> bool:
    kind, number = which
    if kind == os.P_PID:
        return child.pid == number
    if kind == os.P_PGID:
        return child.group == (number or caller.group)
    return kind == os.P_ALL or child.serial == number


def _report(child: Process, options: int) -> Waited | None:
    if child.state == ZOMBIE:
        if not options & os.WEXITED or child.traced:
            return None
        assert child.ending is not None, child
        code, signum, core, _ = child.ending
        if signum is None:
            return Waited(child, os.CLD_EXITED, code or 0)
        return Waited(child, os.CLD_DUMPED if core else os.CLD_KILLED, signum)
    if options & os.WSTOPPED and child.stop_signal:
        return Waited(child, os.CLD_STOPPED, child.stop_signal)
    if options & os.WCONTINUED and child.continued:
        return Waited(child, os.CLD_CONTINUED, CONT)
    return None


def _take(table: ProcessTable, found: Waited) -> None:
    child = found.process
    if found.code == os.CLD_STOPPED:
        child.stop_signal = 0
    elif found.code == os.CLD_CONTINUED:
        child.continued = False
    else:
        table.release(child)
