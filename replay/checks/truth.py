"""Room: replay -- what really happened in the simulated kernel, for those who check.

Knows:     bus.record.
Known by:  replay.kernel.kernel (writes), the invariants (read).
Never:     is seen by production code.

A `serial` numbers processes per boot, as the inodes of pidfds do, so that a pid that is used again
is never taken for the process that had it before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from circus.bus.record import Record


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


class Ready(NamedTuple):
    """A program said that it is ready for work."""

    serial: int
    pid: int


class ClosedStdout(NamedTuple):
    """A program closed its output and runs on."""

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


class KeeperLost(NamedTuple):
    """The keeper was killed; what it held is nobody's, and its cores are dead."""

    boot: int


# --- clients: said by whoever simulates them -----------------------------------------------------


class Asked(NamedTuple):
    """A client has sent a command, for the first time or again under the same id."""

    client: str  # whose ids these are: one per uid or key
    id: bytes


class Replied(NamedTuple):
    """A client has got an answer.

    `phase`: `accepted`, `refused`, `finished`. `seq` is the record that the answer tells of;
    `durable`: it confirms a change of desired state. `content` is what it says, without the time
    of the answer and the header: equal answers are equal bytes.
    """

    client: str
    id: bytes
    phase: str
    seq: int
    content: bytes
    durable: bool = True


# --- subscribers: said by whoever simulates them -------------------------------------------------


class Handed(NamedTuple):
    """A subscriber of the SDK has handed a record to its user."""

    subscriber: str
    record: Record


class Severed(NamedTuple):
    """A subscriber was told that it cannot go on: `trimmed`, `reset` or `diverged`, and begins
    anew after `seq`."""

    subscriber: str
    reason: str
    seq: int


class Dropped(NamedTuple):
    """A message of the event stream with the records up to `seq` did not reach a raw subscriber."""

    subscriber: str
    seq: int
    boot: int


class Noticed(NamedTuple):
    """A raw subscriber knows, from a later message or a heartbeat, that it has missed records up
    to `seq` (or that the stream has begun anew)."""

    subscriber: str
    seq: int
    boot: int


Fact: TypeAlias = (
    Forked | Ended | Reaped | Signalled | OrphanReaped | Misused | Told | Noted | Obeyed | Settled
    | CoreLost | KeeperLost | Asked | Replied | Handed | Severed | Dropped | Noticed | Ready
    | ClosedStdout
)  # fmt: skip
