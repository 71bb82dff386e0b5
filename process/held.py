"""Room: process -- what the keeper knows of one process that it holds, and of its numbers.

Knows:     process.kernel (a child, an ending), process.launch (a plan), process.marks.
Known by:  process.children, process.stop_plans.
Never:     acts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from circus.process.kernel import Child, Ending
from circus.process.launch import Plan
from circus.process.marks import mark

ALIVE: Final = "alive"
ADOPTED: Final = "adopted"
ZOMBIE: Final = "zombie"
FAILED: Final = "failed"


class Held:
    """One spawn that has not been acknowledged: running, ended or failed."""

    __slots__ = (
        "alone", "child", "ending", "failed", "owner", "plan", "seen", "signal_outcome",
        "signal_seq", "spawn_id",
    )  # fmt: skip

    def __init__(self, spawn_id: int, owner: str, plan: Plan) -> None:
        self.spawn_id = spawn_id
        self.owner = owner
        self.plan = plan
        self.child: Child | None = None
        self.ending: Ending | None = None
        self.seen: tuple[int, int] = (0, 0)
        self.alone = False  # it has ended and left no process behind
        self.failed: tuple[str, int] | None = None
        self.signal_seq = 0
        self.signal_outcome: tuple[int, tuple[int, ...], int] = (0, (), 0)

    def known(self) -> list[Any]:
        """As plain data."""
        return [
            self.spawn_id, self.owner, self.plan, self.child, self.ending, self.seen, self.alone,
            self.failed, self.signal_seq, self.signal_outcome,
        ]  # fmt: skip

    @classmethod
    def recalled(cls, known: Sequence[Any]) -> Held:
        """From plain data. The pidfd in it is another process image's."""
        spawn_id, owner, plan, child, ending, seen, alone, failed, seq, outcome = known
        held = cls(spawn_id, owner, Plan(*plan))
        held.child = Child(*child) if child else None
        held.ending = Ending(*ending) if ending else None
        held.seen, held.alone = (seen[0], seen[1]), alone
        held.failed = (failed[0], failed[1]) if failed else None
        held.signal_seq, held.signal_outcome = seq, (outcome[0], tuple(outcome[1]), outcome[2])
        return held

    @property
    def state(self) -> str:
        if self.failed is not None:
            return FAILED
        if self.ending is not None:
            return ZOMBIE
        return ADOPTED if self.child is not None and self.child.adopted else ALIVE

    def outcome(self) -> Sequence[Any]:
        """The answer to its spawn request, however often it is asked for."""
        if self.failed is not None:
            return ("failed", self.spawn_id, self.owner, *self.failed)
        assert self.child is not None
        child = self.child
        return ("spawned", self.spawn_id, self.owner, child.pid, child.started, child.inode)

    def exit_report(self) -> Sequence[Any]:
        assert self.child is not None
        assert self.ending is not None
        code, signum, core, rusage = self.ending
        if code is None and signum is None:
            return ("lost", self.spawn_id, self.child.pid)
        return (
            "exited", self.spawn_id, self.owner, self.child.pid, code, signum, core, rusage,
            *self.seen,
        )  # fmt: skip

    def row(self) -> Sequence[Any]:
        pid, started, inode = 0, 0, 0
        if self.child is not None:
            pid, started, inode = self.child.pid, self.child.started, self.child.inode
        step, number = self.failed or ("", 0)
        return (self.spawn_id, self.owner, self.state, pid, started, inode, step, number)


class Numbers:
    """What the sequence numbers of all cores so far forbid.

    `given`: the highest in any request; no core may give it again (ADR-0095). `barrier`: no spawn
    up to this one is carried out any more. `log`: the ledger that they are of, in hexadecimal
    digits, as soon as a core has said it.
    """

    __slots__ = ("barrier", "given", "log")

    def __init__(self) -> None:
        self.barrier = 0
        self.given = 0
        self.log = ""

    def mark(self, seq: int) -> bytes:
        """For the environment of the process that is started for this request."""
        return mark(self.log, seq) if self.log else b""

    def note(self, seq: int) -> None:
        """A request has this number."""
        self.given = max(self.given, seq)

    def close(self, barrier: int) -> None:
        """A core has listed what it knows of up to here."""
        self.barrier = max(self.barrier, barrier)
        self.note(barrier)
