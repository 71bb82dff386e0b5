"""Room: replay -- what Linux does when processes fork, end, stop and signal one another.

Knows:     replay.kernel.kin, replay.kernel.signals, replay.kernel.ends.
Known by:  replay.kernel.kernel and replay.kernel.lives, and the test that compares it with Linux.
Never:     knows time or chance: each call does what the system call does, at once.

    table = ProcessTable()
    child = table.fork(table.keeper)
    table.kill(child, signal.SIGTERM)
    waitid(table, table.keeper, (os.P_ALL, 0), os.WEXITED)      # replay/kernel/waits.py

A call first sends all its signals; then those that got one act, one after another, as processes
do that have to be given a processor. In which order nobody promises: `pick` chooses, and may
say that nobody gets one yet.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import Final

from circus.replay.kernel.ends import Ends, Witness
from circus.replay.kernel.kin import (
    EXITING,
    INIT,
    INIT_PID,
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
from circus.replay.kernel.scripts import Script
from circus.replay.kernel.signals import (
    CONT,
    IGNORED_BY_DEFAULT,
    KILL,
    SIGNUM_MAX,
    STOP,
    STOPPING,
)

NOBODY: Final = -1


class ProcessTable:
    """All processes, and the system calls about them. Those that can fail give errno, or 0."""

    def __init__(
        self,
        witness: Witness | None = None,
        edges: Counter[str] | None = None,
        *,
        pids: int = PIDS,
    ) -> None:
        self.init = Process(INIT, INIT_PID, None, INIT_PID, INIT_PID, subreaper=True)
        self.keeper = Process(KEEPER, KEEPER_PID, self.init, KEEPER_PID, KEEPER_PID)
        self.keeper.leads = self.keeper.subreaper = True
        self.kin = Kin(self.keeper, pids)
        self.edges: Counter[str] = Counter() if edges is None else edges
        self.witness = witness or Witness()
        self.ends = Ends(self.kin, self.edges, self.witness, self.send)
        self.processes = self.ends.processes  # by serial, zombies included, without the keeper
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
        child.founder = mother.founder
        child.signals = mother.signals.inherited()
        mother.children.append(child)
        self.processes[child.serial] = child
        self.kin.add(child)
        self.edges["kernel: forked"] += 1
        return child

    def exit(self, process: Process, code: int) -> None:
        """By itself."""
        self.ends.end(process, code & 0xFF, None)
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
                self.ends.end(process, None, process.doomed, how="stopped")
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

    # --- how a signal does what it does -----------------------------------------------------------

    def _prepare(self, process: Process, signum: int) -> None:
        """CONT and what stops cancel each other, whatever the process has arranged for them."""
        if signum == CONT:
            process.signals.pending -= STOPPING
            if process.state == STOPPED:
                process.go_on()
                self.edges["kernel: stopped -> running"] += 1
                self._ready.append(process)
        elif signum in STOPPING:
            process.signals.pending.discard(CONT)

    def _wake(self, process: Process, signum: int) -> None:
        """The first signal that wakes a process, and any KILL, may settle its end at once."""
        if signum == KILL:
            process.doomed = process.doomed or KILL
        elif process.state != STOPPED and signum not in process.signals.blocked:
            if not process.woken and process.signals.dooms(signum):
                process.doomed = process.doomed or signum
            process.woken = True

    def _act(self, process: Process) -> None:
        if process.doomed:
            self.ends.end(process, None, process.doomed)
            return
        signals, process.woken = process.signals, False
        while process.state == RUNNING and (signum := signals.next()):
            signals.pending.discard(signum)
            if signum in signals.caught:
                self.edges["kernel: signal caught"] += 1
                self.witness.caught(process, signum)
            elif signum in STOPPING:
                if signum == STOP or not self.kin.is_orphaned(process.group):
                    process.stop(signum)
                    self.edges["kernel: running -> stopped"] += 1
            elif signum not in IGNORED_BY_DEFAULT and signum not in signals.ignored:
                self.ends.end(process, None, signum)
