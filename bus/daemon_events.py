"""Room: bus -- the facts about the daemon's own processes: cores, keeper, scribe, what they hold.

Knows:     bus.record.
Known by:  bus.events, through which everybody else names them; bus.names.
Never:     decides anything.
"""

from __future__ import annotations

from circus.bus.record import Event, body

# --- the core's own life (said by `core`, about the outside world) ------------------------------


@body
class CoreStarted(Event):
    """The first record of every incarnation, synced before anything else happens.

    `seed` is the incarnation's chance (64 bit); `flags` the rule versions in force.
    """

    version: str
    pid: int
    keeper_pid: int
    boot_id: str
    host: str
    kernel: str
    uid: int
    python: str
    seed: int
    flags: tuple[str, ...] = ()


@body
class CoreReady(Event):
    """Recovered, reconciled, listening."""


@body
class CoreStopped(Event):
    """The last record of a clean end."""

    reason: str


@body
class CoreRestarting(Event):
    """The arbiter's: this incarnation ends now, and the next one has been asked for."""

    keeper: bool = False


@body
class HostRestarted(Event):
    """Another boot of the machine: nothing that ran before it runs."""

    old: str
    new: str


@body
class CoreLost(Event):
    """Told by the keeper: an earlier core ended without being asked. code or signal is set.

    `observed` is when the keeper saw that (boot ns): what it tells again is known by it.
    """

    pid: int
    code: int | None = None
    signal: int | None = None
    observed: int = 0


@body
class CoreHung(Event):
    """Told by the keeper: that core said nothing for `silent` ns, so it was replaced."""

    pid: int
    silent: int


@body
class KeeperSilent(Event):
    """The keeper has not answered for `silent` ns: it hangs, or is stopped. The workers run on, but
    none is started, signalled or reaped."""

    pid: int
    silent: int


@body
class KeeperAnswered(Event):
    """It is there again."""

    pid: int


@body
class KeeperLost(Event):
    """The keeper is gone and has left these processes (pids) behind, which nobody else may reap.
    What is proven to be ours is stopped, unless `orphans` says to leave it."""

    pid: int
    survivors: tuple[int, ...] = ()


@body
class KeeperReexeced(Event):
    """The keeper goes on as this version, in its process and with all that it held."""

    version: str


@body
class KeeperReexecRefused(Event):
    """It goes on as it was: `reason` says what the newer code could not do."""

    reason: str


@body
class SignalReceived(Event):
    """The daemon itself got a signal; routed to the arbiter."""

    signum: int


# --- what the keeper holds for the workers (told by the keeper, at least once) -------------------


@body
class ScribeStarted(Event):
    """It reads the workers' captured output from now on, beginning with what waits in the pipes."""

    pid: int


@body
class ScribeLost(Event):
    """It ended unasked; the next one is started. What its streams may lack follows, each by an
    `output.uncertain`."""

    pid: int
    code: int | None = None
    signal: int | None = None


@body
class OutputUncertain(Event):
    """The scribe ended between a read and its write: of this process's `stream` at most `bytes`
    were lost here. Without this record nothing was."""

    stream: str
    bytes: int


@body
class OutputFailed(Event):
    """What was read cannot be written. It is kept and tried again; meanwhile the pipe fills, and
    then the process waits."""

    stream: str
    reason: str


@body
class OutputResumed(Event):
    """It could be written after all: nothing is missing."""

    stream: str


@body
class SocketBound(Event):
    """The keeper listens there, until the configuration says otherwise."""

    socket: str
    address: str


@body
class SocketFailed(Event):
    """It could not be bound: what was bound before stays; a spawn that needs it tries again."""

    socket: str
    address: str
    reason: str


@body
class SocketClosed(Event):
    """The keeper has given it up; a process that inherited it may still serve it."""

    socket: str
    address: str
