"""Room: bus -- the facts: past participles, values only, nothing live.

Knows:     bus.record, bus.daemon_events (what is said about ourselves).
Known by:  every core, bus.names (their tags on the wire), every reader of the record.
Never:     decides anything.

Times inside a body were observed in the world (wall or boot ns, as the field says); the times at
which a fact was recorded are in its envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from circus.bus import daemon_events
from circus.bus.record import Event, body
from circus.bus.shapes import field

# --- the daemon's own processes (said by `core`): they have a module of their own ---------------

CoreHung = daemon_events.CoreHung
CoreLost = daemon_events.CoreLost
CoreReady = daemon_events.CoreReady
CoreRestarting = daemon_events.CoreRestarting
CoreStarted = daemon_events.CoreStarted
CoreStopped = daemon_events.CoreStopped
HostRestarted = daemon_events.HostRestarted
KeeperAnswered = daemon_events.KeeperAnswered
KeeperSilent = daemon_events.KeeperSilent
KeeperLost = daemon_events.KeeperLost
KeeperReexeced = daemon_events.KeeperReexeced
KeeperReexecRefused = daemon_events.KeeperReexecRefused
OutputFailed = daemon_events.OutputFailed
OutputResumed = daemon_events.OutputResumed
OutputUncertain = daemon_events.OutputUncertain
ScribeLost = daemon_events.ScribeLost
ScribeStarted = daemon_events.ScribeStarted
SignalReceived = daemon_events.SignalReceived
SocketBound = daemon_events.SocketBound
SocketClosed = daemon_events.SocketClosed
SocketFailed = daemon_events.SocketFailed

# --- the ledger's own life ---------------------------------------------------------------------


@body
class LogTailCut(Event):
    """A torn tail was moved to quarantine (RELIABILITY.md, 2.3)."""

    segment: str
    offset: int
    bytes: int


@body
class LogDamaged(Event):
    segment: str
    offset: int
    lost_from: int
    lost_to: int


@body
class LogGap(Event):
    """The disk refused for a while, and records lost_from..lost_to are not in the ledger.

    `frames`: so many decisions; 0 with `lost_to` set: nobody knows, who made them died with them.
    Without `lost_to` nothing is missing.
    """

    reason: str
    frames: int
    lost_from: int = 0
    lost_to: int = 0


@body
class LogTrimmed(Event):
    """The records before `first_seq` are not kept any longer: segments and their bytes."""

    first_seq: int
    segments: int
    bytes: int


@body
class LogSpaceLow(Event):
    """There is no room for the next segment; the newest one still has some."""

    reason: str


# --- commands: what became of them (said by the addressee) ---------------------------------------


@body
class CommandAccepted(Event):
    """`command` is the seq of the command; the envelope's `to` is who asked."""

    command: int


@body
class CommandRefused(Event):
    """Nothing was done. `errno` is Circus's number (CIRCUS.md, 3.3); reason starts "cannot"."""

    command: int
    reason: str
    errno: int = 3


@body
class CommandFinished(Event):
    """Exactly one for every accepted command. `outcome`: `done`, `failed` or `superseded`."""

    command: int
    outcome: str = "done"
    reply: Mapping[str, Any] | None = None


# --- the arbiter --------------------------------------------------------------------------------


@body
class ArbiterStarted(Event):
    """Every watcher that starts by itself has been asked to."""


@body
class ArbiterStopping(Event):
    reason: str


@body
class ArbiterStopped(Event):
    """Every watcher is stopped; the daemon may end."""


@body
class ArbiterConfigured(Event):
    """What the new configuration means, by watcher name: added, removed, changed options."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(factory=dict)
    digest: str = ""


# --- watchers -----------------------------------------------------------------------------------


@body
class WatcherAdded(Event):
    """The birth of the actor `watcher:<name>#<seq of this record>`; its state begins here."""

    spec: Mapping[str, Any]
    digest: str


@body
class WatcherRemoved(Event):
    """The actor in `address` gets nothing any more."""

    address: str


@body
class WatcherUpdated(Event):
    """The options that have new values, and the digest of the whole spec after it."""

    options: Mapping[str, Any]
    digest: str


@body
class WatcherStarting(Event):
    pass


@body
class WatcherStarted(Event):
    """Every process that should run has been spawned."""


@body
class WatcherStopping(Event):
    pass


@body
class WatcherStopped(Event):
    pass


@body
class WatcherFailed(Event):
    """It gave up: `reason` says what happened and what an operator may do."""

    reason: str


@body
class WatcherReloaded(Event):
    pass


@body
class WatcherResized(Event):
    numprocesses: int


# --- slots: a watcher's places for processes, numbered like Circus's wid --------------------------


@body
class SlotFilled(Event):
    """The watcher has seen that its spawn (the envelope's spawn_id) succeeded."""

    pid: int


@body
class SlotVacated(Event):
    """The process of the envelope's spawn_id is gone and is not (yet) replaced.

    `short` says that the life was shorter than min_uptime and unasked for.
    """

    short: bool = False


@body
class SlotWaiting(Event):
    """The slot's respawn is put off for `delay` ns after `failures` short or failed lives."""

    failures: int
    delay: int


@body
class SlotStopping(Event):
    """The process of the envelope's spawn_id has been asked to end, and why: `stop`, `restart`,
    `reload`, `decr`, `age`, `kill`, `quit`."""

    reason: str


# --- processes (said by the reaper, seen by the keeper) ------------------------------------------


@body
class ProcessSpawned(Event):
    """It runs. `started` is boot ns; `inode` is the pidfd's, unique per boot (0: unknown).

    `adopted` says that a restarted core found it with the keeper.
    """

    pid: int
    started: int
    inode: int = 0
    adopted: bool = False


@body
class ProcessSpawnFailed(Event):
    """It never ran a single instruction of its program: `step` and `errno` say what refused.

    Steps: `fork`, `setsid`, `rlimits`, `umask`, `stdio`, `socket NAME`, `sockets`, `chdir`, `user`,
    `groups`, `gid`, `uid`, `exec`. `reason` is the sentence for people, naming the command,
    directory or user.
    """

    step: str
    errno: int
    reason: str


@body
class ProcessNeverRun(Event):
    """The spawn was requested, then the core died before the keeper heard of it."""

    reason: str


@body
class ProcessExited(Event):
    """Seen with the zombie still there: `code`, or `signal` (and `core`), is what the kernel gave.

    `rusage`: utime and stime in ns, maxrss in KiB, then minflt, majflt, inblock, oublock, nvcsw,
    nivcsw; `oom_kill`: so many of its cgroup the kernel has killed for want of memory. `wall` and
    `observed` (boot) are when the keeper saw it.
    """

    pid: int
    code: int | None
    signal: int | None
    core: bool
    rusage: Mapping[str, int]
    wall: int
    observed: int


@body
class ProcessReaped(Event):
    """The exit was in the ledger, so the keeper let the zombie go.

    `leftovers` are the pids killed with it.
    """

    pid: int
    leftovers: tuple[int, ...] = ()


@body
class ProcessAdopted(Event):
    """Its keeper was killed and another one holds it now, which signals and watches it as before;
    it is not that one's child, so that its status may stay unknown (`process.lost`)."""

    pid: int


@body
class ProcessLost(Event):
    """It was ours and is gone, and nobody can say how."""

    pid: int
    reason: str


@body
class ProcessSignalled(Event):
    """What became of the `process.signal` with seq `signal`: errno 0, or why not, per pid."""

    signal: int
    signum: int
    pids: tuple[int, ...]
    errno: int = 0


@body
class OrphanReaped(Event):
    """A descendant of some worker, re-parented to the keeper, ended."""

    pid: int
    code: int | None
    signal: int | None


@body
class ReaperReconciled(Event):
    """The keeper's list has been compared with the ledger. Nothing below `barrier` is spawned."""

    barrier: int
    adopted: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    never_run: tuple[int, ...] = ()


# --- the clock ------------------------------------------------------------------------------------


@body
class TimerWoke(Event):
    """The timer armed by the record `armed` is due; an older arming is ignored."""

    timer: str
    armed: int


# --- the machine ----------------------------------------------------------------------------------


@body
class ActorFailed(Event):
    """A core raised while deciding about the record `input`; it is refolded and tried once more."""

    input: int
    traceback: str
    address: str


@body
class InputSetAside(Event):
    """It failed twice: the input waits for an operator's `retry`."""

    input: int


@body
class MethodCalled(Event):
    """An overridden method of the library was called; what it returned or raised, as text."""

    method: str
    returned: str | None = None
    raised: str | None = None
