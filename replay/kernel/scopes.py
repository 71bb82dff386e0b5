"""Room: replay -- the keeper's signals in the simulated kernel: whom a scope means, who got them.

Knows:     replay.kernel.processes, replay.checks.truth.
Known by:  replay.kernel.kernel.
Never:     reaches anybody whom production's process/kernel.py would not reach.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Final

from circus.replay.checks.truth import Signalled
from circus.replay.kernel.kin import Process, below
from circus.replay.kernel.notices import Host
from circus.replay.kernel.processes import ProcessTable
from circus.replay.kernel.signals import SIGNUM_MAX

TARGETS: Final[Mapping[str, Callable[[Process], list[Process]]]] = {
    "process": lambda process: [process],
    "children": lambda process: list(process.children),
    "family": lambda process: [process, *process.children],
    "tree": lambda process: [process, *below(process)],
    "descendants": below,
}

Reached = tuple[tuple[int, ...], int]  # pids, and errno or 0


class Post:
    """Delivers, and has every delivery known."""

    def __init__(self, host: Host, table: ProcessTable) -> None:
        self._host = host
        self._table = table

    def scope(self, process: Process, signum: int, scope: str, child_pid: int | None) -> Reached:
        """To those around an unreaped process whom `scope` names."""
        if scope == "group":
            return self._group(process, signum)
        targets = TARGETS[scope](process)
        if scope != "process" and child_pid is not None:
            if child_pid not in (one.pid for one in process.children):
                return (), errno.ESRCH
            if scope == "children":
                targets = [one for one in targets if one.pid == child_pid]
        return self.each(targets, signum, process.serial)

    def _group(self, process: Process, signum: int) -> Reached:
        members = self._table.kin.members(process.pid, sessions=False)
        if 0 <= signum <= SIGNUM_MAX:
            for one in members:
                self._tell(one, signum, process.serial)
        failed = self._table.kill_group(process.pid, signum)
        return ((), failed) if failed else (tuple(one.pid for one in members), 0)

    def each(self, targets: list[Process], signum: int, root: int) -> Reached:
        """One after another; the signal before may have freed a later one."""
        if targets and not 0 <= signum <= SIGNUM_MAX:
            return (), errno.EINVAL
        reached: list[int] = []
        for one in targets:
            if one.serial in self._table.processes:
                self._tell(one, signum, root)
                self._table.kill(one, signum)
                reached.append(one.pid)
        return tuple(reached), 0

    def _tell(self, target: Process, signum: int, root: int) -> None:
        fact = Signalled(target.serial, target.pid, signum, root, self._host.agenda.boot)
        self._host.happened(fact)
