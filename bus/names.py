"""Room: bus -- the one place where classes meet the wire; incomplete, it does not import.

Knows:     bus.commands, bus.events.
Known by:  bus.codec, docs/wire.md (a test compares them), the routing table.
Never:     is changed for a tag that a release has written: tags are retired, not respelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from circus.bus import commands, daemon_events, events
from circus.bus.record import Body, Event, body

TAGS: Final[dict[str, type[Body]]] = {
    # requests to the reaper, the clock and oneself
    "process.spawn/1": commands.ProcessSpawn,
    "process.signal/1": commands.ProcessSignal,
    "timer.arm/1": commands.TimerArm,
    "timer.disarm/1": commands.TimerDisarm,
    "actor.continue/1": commands.Continue,
    # requests to a watcher
    "watcher.start/1": commands.WatcherStart,
    "watcher.stop/1": commands.WatcherStop,
    "watcher.restart/1": commands.WatcherRestart,
    "watcher.reload/1": commands.WatcherReload,
    "watcher.incr/1": commands.WatcherIncr,
    "watcher.decr/1": commands.WatcherDecr,
    "watcher.set/1": commands.WatcherSet,
    "watcher.signal/1": commands.WatcherSignal,
    "watcher.kill/1": commands.WatcherKill,
    "watcher.manage/1": commands.WatcherManage,
    "watcher.retry/1": commands.WatcherRetry,
    "watcher.remove/1": commands.WatcherRemove,
    # requests to the arbiter
    "arbiter.configure/1": commands.ArbiterConfigure,
    "arbiter.add/1": commands.ArbiterAdd,
    "arbiter.remove/1": commands.ArbiterRemove,
    "arbiter.start/1": commands.ArbiterStart,
    "arbiter.stop/1": commands.ArbiterStop,
    "arbiter.restart/1": commands.ArbiterRestart,
    "arbiter.reload/1": commands.ArbiterReload,
    "arbiter.quit/1": commands.ArbiterQuit,
    "core.restart/1": commands.CoreRestart,
    # facts
    "core.started/1": events.CoreStarted,
    "core.ready/1": events.CoreReady,
    "core.stopped/1": events.CoreStopped,
    "core.restarting/1": events.CoreRestarting,
    "core.lost/1": events.CoreLost,
    "core.hung/1": events.CoreHung,
    "keeper.silent/1": events.KeeperSilent,
    "keeper.answered/1": events.KeeperAnswered,
    "host.restarted/1": events.HostRestarted,
    "keeper.lost/1": events.KeeperLost,
    "keeper.reexec/1": events.KeeperReexeced,
    "keeper.reexec_refused/1": events.KeeperReexecRefused,
    "scribe.started/1": events.ScribeStarted,
    "scribe.lost/1": events.ScribeLost,
    "output.uncertain/1": events.OutputUncertain,
    "output.failed/1": events.OutputFailed,
    "output.resumed/1": events.OutputResumed,
    "socket.bound/1": events.SocketBound,
    "socket.failed/1": events.SocketFailed,
    "socket.closed/1": events.SocketClosed,
    "signal.received/1": events.SignalReceived,
    "log.tail_cut/1": events.LogTailCut,
    "log.damaged/1": events.LogDamaged,
    "log.gap/1": events.LogGap,
    "log.trimmed/1": events.LogTrimmed,
    "log.space_low/1": events.LogSpaceLow,
    "command.accepted/1": events.CommandAccepted,
    "command.refused/1": events.CommandRefused,
    "command.finished/1": events.CommandFinished,
    "arbiter.started/1": events.ArbiterStarted,
    "arbiter.stopping/1": events.ArbiterStopping,
    "arbiter.stopped/1": events.ArbiterStopped,
    "arbiter.configured/1": events.ArbiterConfigured,
    "watcher.added/1": events.WatcherAdded,
    "watcher.removed/1": events.WatcherRemoved,
    "watcher.updated/1": events.WatcherUpdated,
    "watcher.starting/1": events.WatcherStarting,
    "watcher.started/1": events.WatcherStarted,
    "watcher.stopping/1": events.WatcherStopping,
    "watcher.stopped/1": events.WatcherStopped,
    "watcher.failed/1": events.WatcherFailed,
    "watcher.reloaded/1": events.WatcherReloaded,
    "watcher.resized/1": events.WatcherResized,
    "slot.filled/1": events.SlotFilled,
    "slot.vacated/1": events.SlotVacated,
    "slot.waiting/1": events.SlotWaiting,
    "slot.stopping/1": events.SlotStopping,
    "process.spawned/1": events.ProcessSpawned,
    "process.spawn_failed/1": events.ProcessSpawnFailed,
    "process.never_run/1": events.ProcessNeverRun,
    "process.adopted/1": events.ProcessAdopted,
    "process.exited/1": events.ProcessExited,
    "process.reaped/1": events.ProcessReaped,
    "process.lost/1": events.ProcessLost,
    "process.signalled/1": events.ProcessSignalled,
    "orphan.reaped/1": events.OrphanReaped,
    "reaper.reconciled/1": events.ReaperReconciled,
    "timer.woke/1": events.TimerWoke,
    "actor.failed/1": events.ActorFailed,
    "input.set_aside/1": events.InputSetAside,
    "method.called/1": events.MethodCalled,
}


@body
class Unknown(Event):
    """What a newer version said: kept with its name, acted upon by nobody."""

    name: str
    v: int
    data: Mapping[str, Any]


CLASS_OF: Final[dict[tuple[str, int], type[Body]]] = {
    (tag.partition("/")[0], int(tag.partition("/")[2])): cls for tag, cls in TAGS.items()
}
NAME_OF: Final[dict[type[Body], tuple[str, int]]] = {cls: key for key, cls in CLASS_OF.items()}

_unnamed = {
    cls.__name__
    for module in (commands, daemon_events, events)
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__ and cls not in NAME_OF
}
assert not _unnamed, f"messages without a name on the wire: {sorted(_unnamed)}"
assert len(NAME_OF) == len(TAGS), "a class has two names on the wire"
