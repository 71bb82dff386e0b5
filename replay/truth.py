"""Room: replay -- what really happened in the simulated kernel, for those who check.

Knows:     nothing.
Known by:  replay.sim_kernel (writes), the invariants (read).
Never:     is seen by production code.

A `serial` numbers processes per boot, as the inodes of pidfds do, so that a pid that is used again
is never taken for the process that had it before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias


class Forked(NamedTuple):
    """The keeper has started a program."""

    serial: int
    pid: int


class Ended(NamedTuple):
    """A process, of ours or below, is a zombie now."""

    serial: int
    pid: int
    code: int | None
    signum: int | None


class Reaped(NamedTuple):
    """The keeper let a zombie go; its pid may be used again."""

    serial: int
    pid: int
    members: tuple[int, ...]  # serials that still live in its group or session


class Signalled(NamedTuple):
    """The keeper sent a signal. `serial` is who got it, 0: nobody of ours had this pid."""

    serial: int
    pid: int
    signum: int
    root: int  # serial of the worker on whose behalf, 0: as a leftover
    boot: int


class OrphanReaped(NamedTuple):
    """The keeper reaped a process that it did not start."""

    serial: int
    pid: int


class Misused(NamedTuple):
    """A call that a correct keeper never makes; the kernel would have refused it or worse."""

    what: str
    pid: int


class Told(NamedTuple):
    """What the keeper reports, whether or not a core is there to hear it."""

    report: Sequence[Any]


class Noted(NamedTuple):
    """What the keeper wrote into its last words, synced, when no core was there to record it."""

    report: Sequence[Any]


class Obeyed(NamedTuple):
    """An operation of the core that reached the keeper, before it is carried out."""

    operation: Sequence[Any]


class Settled(NamedTuple):
    """The keeper has carried out a whole batch."""


class CoreLost(NamedTuple):
    """The keeper has seen that the core died without being asked to."""

    pid: int


Fact: TypeAlias = (
    Forked | Ended | Reaped | Signalled | OrphanReaped | Misused | Told | Noted | Obeyed | Settled
    | CoreLost
)  # fmt: skip
