"""Room: replay -- how a simulated process ends: its children, its group, and who hears of it.

Knows:     replay.kernel.kin, replay.kernel.signals.
Known by:  replay.kernel.processes, which sends the signals that an end may cause.
Never:     decides that anybody ends.

The order is Linux's: first the children go to the nearest sub-reaper, one after another, then
stopped groups that have lost their last tie to the session are hung up, then the process is a
zombie, then its parent hears of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from circus.process.linux import Ending
from circus.replay.kernel.kin import EXITING, RUNNING, STOPPED, ZOMBIE, Kin, Process
from circus.replay.kernel.signals import CHLD, CONT, HUP, name_of

USAGE: Final = {"utime": 1_000_000, "stime": 500_000, "maxrss": 1024}

Send = Callable[[Process, int], None]


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


class Ends:
    """All processes that are not gone, and the way out."""

    def __init__(self, kin: Kin, edges: Counter[str], witness: Witness, send: Send) -> None:
        self.processes: dict[int, Process] = {}  # by serial, zombies included, without the keeper
        self._kin = kin
        self._edges = edges
        self._witness = witness
        self._send = send

    def end(
        self, process: Process, code: int | None, signum: int | None, how: str = "running"
    ) -> None:
        """With an exit code, or by a signal."""
        assert process.state == RUNNING, process
        assert process.mother is not None, process
        why = "exit" if signum is None else name_of(signum)
        self._edges[f"kernel: {how} -> zombie by {why}"] += 1
        process.state = EXITING
        self._give_children_away(process)
        self._hang_up(process, process.mother, without=process)
        process.state = ZOMBIE
        process.ending = Ending(code, signum, core=False, rusage=USAGE)
        process.signals.pending.clear()
        self._witness.ended(process)
        if not process.traced:
            self._announce(process)

    def release(self, process: Process) -> None:
        """Nothing is left of it."""
        assert process.state == ZOMBIE, process
        assert process.mother is not None, process
        process.mother.children.remove(process)
        del self.processes[process.serial]
        self._kin.remove(process)
        self._edges["kernel: zombie -> gone"] += 1

    def bereave(self, process: Process) -> None:
        """All its children get another parent, as when it has ended."""
        self._give_children_away(process)

    def detach(self, process: Process) -> None:
        """The debugger lets it go: its parent hears of its end now."""
        process.traced = False
        if process.state == ZOMBIE:
            self._announce(process)

    def _give_children_away(self, process: Process) -> None:
        children, process.children = process.children, []
        if not children:
            return
        heir = _heir(process)
        for child in children:
            child.mother = heir  # one after the other: who comes later still binds its group
            heir.children.append(child)
            self._edges["kernel: orphaned"] += 1
            if child.state == ZOMBIE and not child.traced:
                self._announce(child)
            self._hang_up(child, process)

    def _hang_up(self, process: Process, tie: Process, without: Process | None = None) -> None:
        """If `tie` was what bound the group to its session: its stopped members shall go on."""
        group = process.group
        if tie.group == group or tie.session != process.session:
            return
        members = self._kin.groups[group]
        if not any(one.state == STOPPED for one in members):
            return
        if self._kin.is_orphaned(group, without):
            self._edges["kernel: orphaned group hung up"] += 1
            for signum in (HUP, CONT):
                for one in list(members):
                    self._send(one, signum)

    def _announce(self, process: Process) -> None:
        """The parent hears that it has ended, or has said that it does not want to."""
        assert process.mother is not None, process
        if CHLD in process.mother.signals.ignored:
            self._edges["kernel: zombie that nobody waits for"] += 1
            self.release(process)
        else:
            self._witness.child_ended(process)


def _heir(process: Process) -> Process:
    """The nearest ancestor that is a sub-reaper."""
    one = process.mother
    while one is not None and not one.subreaper:
        one = one.mother
    assert one is not None, process
    return one
