"""Room: arbiter -- the nouns: which watchers exist, which jobs are under way.

Knows:     bus.events, bus.record.
Known by:  arbiter.fold (changes them), arbiter.core, arbiter.refusals (read them).
Never:     decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from circus.bus.events import ArbiterConfigured, ArbiterStopped, ArbiterStopping
from circus.bus.record import Body, Command
from circus.bus.shapes import field, mutable


class Phase(Enum):
    """The daemon's life as the arbiter sees it."""

    IDLE = "idle"  # nothing configured yet
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


# What the arbiter's own records make of it. Absent is impossible: the core never says it.
LIFE: Final[Mapping[Phase, Mapping[type[Body], Phase]]] = {
    Phase.IDLE: {ArbiterConfigured: Phase.RUNNING, ArbiterStopping: Phase.STOPPING},
    Phase.RUNNING: {ArbiterConfigured: Phase.RUNNING, ArbiterStopping: Phase.STOPPING},
    Phase.STOPPING: {ArbiterStopped: Phase.STOPPED},
    # The daemon is started again on the same ledger, or asked to end before it has heard so.
    Phase.STOPPED: {ArbiterConfigured: Phase.RUNNING, ArbiterStopping: Phase.STOPPING},
}


@mutable
class Entry:
    """One watcher that should exist. `halted`: an operator stopped it, so it stays stopped."""

    name: str
    address: str
    spec: Mapping[str, Any]
    order: int
    halted: bool = False
    leaving: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        """High priority first, then the order of the file."""
        return (-int(self.spec["priority"]), self.order)


@mutable
class Job:
    """One accepted command (or signal), until every watcher that it concerns has answered."""

    asker: str | None
    id: bytes | str | None = None
    body: Command | None = None  # the note: verb and parameters for each of `todo`
    todo: dict[str, None] = field(factory=dict)  # keys, in order
    waiting: dict[int, tuple[type[Command], str]] = field(factory=dict)  # by the child's seq
    count: int = 0  # children in all
    failed: bool = False
    configures: bool = False
    kind: str = ""  # `add` and `configure` answer in another form, `core` once there is a new one

    @property
    def is_bereft(self) -> bool:
        """All that it was still to send for has been removed: only its end is left to be told."""
        asked = self.body is not None and self.asker is not None
        return asked and not self.todo and not self.waiting

    @property
    def is_untold(self) -> bool:
        """At its end, and nobody waits to hear of it: a signal asked, not a client."""
        asked = self.asker is not None
        return not (asked or self.todo or self.waiting or self.configures)

    @property
    def has_more(self) -> bool:
        """Whether it waits for its turn to go on."""
        return bool(self.todo) or self.configures or self.is_bereft


@mutable
class Successor:
    """What takes the place of a watcher that is being removed."""

    job: int
    spec: Mapping[str, Any]
    start: bool


@mutable
class State:
    """The arbiter: the fold of its own records."""

    phase: Phase = Phase.IDLE
    entries: dict[str, Entry] = field(factory=dict)
    successors: dict[str, Successor] = field(factory=dict)
    jobs: dict[int, Job] = field(factory=dict)
    quit: int = 0  # the job that stops everything
    warmup_delay: int = 0
    warmup: int = 0  # seq of the arming in force
    source: str = "file"
    listed: dict[str, None] = field(factory=dict)  # what the file has had, whatever became of it
