"""Room: replay -- what waitid gives in the simulated kernel.

Knows:     replay.kernel.processes.
Known by:  the test that compares the model with Linux; whoever simulates a parent that waits.
Never:     waits.
"""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

from circus.replay.kernel.kin import ZOMBIE, Process
from circus.replay.kernel.processes import ProcessTable
from circus.replay.kernel.signals import CONT

WAITED_FOR: Final = os.WEXITED | os.WSTOPPED | os.WCONTINUED


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
        table.ends.release(child)
