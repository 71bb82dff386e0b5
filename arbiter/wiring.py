"""Room: arbiter -- the composition of a core: what daemon and library open, in which order.

Knows:     everything of the core; it is the only place that makes these objects.
Known by:  circus.daemon, the library.
Never:     reads the command line or a configuration file.

The order matters: the fold of the past first, then one synced record that a new incarnation has
begun, then the sockets, then the keeper's list; actors hear nothing before that is settled.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import zmq

from circus.arbiter.engine import Engine, Parts
from circus.arbiter.keeper_watch import SILENCE, KeeperWatch
from circus.arbiter.launches import Launches
from circus.arbiter.queries import Sources
from circus.arbiter.recovery import recall
from circus.arbiter.runtime import Ports, ReaperPort, Runtime
from circus.arbiter.snapshotting import Snapshotting
from circus.arbiter.verbs import Options, Refusal
from circus.bus import commands, events
from circus.bus.bind import bind_ctl, bind_events
from circus.bus.clock import SystemClock, boot_id
from circus.bus.disk import RealDisk, await_unlocked
from circus.bus.ledger import LOCK_NAME, Ledger
from circus.bus.publish import EventStream, SyncedStream
from circus.bus.record import Draft, Record
from circus.bus.shapes import keyed
from circus.bus.spec import WatcherSpec
from circus.bus.switchboard import Observer
from circus.bus.syncer import GroupSyncer
from circus.bus.transport import MemoryExchange, ZmqExchange
from circus.bus.values import ARBITER, NS_PER_SECOND
from circus.bus.vault import Vault, VaultError
from circus.bus.wire import OS_ERROR
from circus.process import last_words
from circus.process.link import Link
from circus.process.lives import HOST_RESTART
from circus.process.orphans_core import holds_nothing
from circus.process.probe import sample
from circus.process.reaper import Reaper
from circus.process.version import VERSION

if TYPE_CHECKING:
    from circus.process.orphans import Survivor

LOG_ID_BYTES: Final = 16
SEED_BYTES: Final = 8
STARTTIME: Final = 19  # in /proc/PID/stat, counted behind the name


@keyed
class Wiring:
    """What a core is made of, as its composition root found it."""

    state_dir: str
    ctl: Sequence[str]
    events: Sequence[str]
    link: Link
    keeper_pid: int
    vault: Vault
    environ: Mapping[str, str]
    configure: commands.ArbiterConfigure
    options: Options
    settings: Mapping[str, Any]
    transport: str = "zmq"
    durability: str = "group"
    umask: int | None = None
    no_new_privs: bool = False
    watchdog: int = SILENCE
    orphans: str = "leave"
    cgroup: str = "off"
    on_log_failure: str = "refuse_commands"
    observers: Sequence[Observer] = ()
    # The library puts itself between the reaper and its inbox (ADR-0071).
    hands: Callable[[ReaperPort, Callable[[Sequence[Draft]], None]], ReaperPort] | None = None


class WireOptions:
    """Option values that come over the wire, checked and their secrets put away."""

    def __init__(self, vault: Vault, reload: Any = None) -> None:
        self._vault = vault
        self._reload = reload

    def changes(self, options: Mapping[str, Any], current: WatcherSpec) -> dict[str, Any]:
        """For `set`."""
        from circus.arbiter.config_wire import validate_options

        try:
            values = validate_options(options, current, self._vault)
        except ValueError as error:
            raise Refusal(str(error)) from error
        self._save()
        return values

    def addition(self, options: Mapping[str, Any]) -> WatcherSpec:
        """For `add`."""
        given = dict(options)
        name, cmd, args = given.pop("name"), given.pop("cmd"), given.pop("args", None)
        from circus.arbiter.config_wire import spec_to_add

        try:
            spec = spec_to_add(name, cmd, given, args=args, vault=self._vault)
        except ValueError as error:
            raise Refusal(str(error)) from error
        self._save()
        return spec

    def _save(self) -> None:
        try:
            self._vault.save()
        except VaultError as error:
            raise Refusal(str(error), OS_ERROR) from error

    def configuration(self) -> commands.ArbiterConfigure:
        """For `reloadconfig`: the file again; a bad one changes nothing."""
        if self._reload is None:
            raise Refusal("cannot reload the configuration: it came from a program, not a file")
        configure: commands.ArbiterConfigure = self._reload()
        return configure

    def check_core(self) -> None:
        """For `restart-core`: whether there is a keeper that would start another."""
        if self._reload is None:
            raise Refusal("cannot restart the core: it is a part of the program; restart that")


def open_engine(wiring: Wiring) -> Engine:
    """A core that is ready to run. LinkClosed: its keeper is gone already."""
    clock = SystemClock()
    now = clock.now()
    disk, directory = RealDisk(), f"{wiring.state_dir}/ledger"
    _, _, _, _, given = wiring.link.first()
    # We have a keeper, so that whoever writes has none: it settles what that one left, and ends.
    await_unlocked(f"{directory}/{LOCK_NAME}")
    log_id = os.urandom(LOG_ID_BYTES)
    ledger = Ledger.open(directory, disk, log_id=log_id, now=now)
    ledger.skip(given, now)
    recalled = recall(ledger, disk, directory)
    memory = recalled.memory
    past, projection, outcomes = memory.past, memory.projection, memory.outcomes
    before = past.boot_id
    anew = past.boot_id != boot_id() or is_later(wiring.keeper_pid, past.last)
    this_boot = boot_id()
    if past.boot_id and past.boot_id != this_boot and past.last is not None:
        past.timers.rebase(past.last.boot, now.boot)
    syncer = GroupSyncer()
    ledger.attach(syncer)
    context: zmq.Context[Any] = zmq.Context()
    incarnation = past.incarnation + 1
    seed = int.from_bytes(os.urandom(SEED_BYTES), "little")
    core = (incarnation, seed)
    stream_socket = bind_events(context, wiring.events)
    stream = (
        SyncedStream(stream_socket, ledger, clock, core, want=syncer.want)
        if wiring.durability == "always"
        else EventStream(stream_socket, ledger, clock, core)
    )
    launches = Launches(projection, wiring.vault.reveal, wiring.environ, wiring.umask)
    exchange = (
        MemoryExchange() if wiring.transport == "memory" else ZmqExchange(context, incarnation)
    )

    def hands(say: Callable[[Sequence[Draft]], None]) -> ReaperPort:
        reaper = Reaper(wiring.link, launches.of, say)
        return wiring.hands(reaper, say) if wiring.hands else reaper

    ports = Ports(
        ledger=ledger, clock=clock, exchange=exchange, publisher=stream, reaper=hands,
        recall=lambda: recall(ledger, disk, directory).memory.past,
    )  # fmt: skip
    runtime = Runtime(ports, past, seed)
    sources = Sources(projection, wiring.settings, sample, _shown, os.getpid())
    engine = Engine(
        Parts(
            runtime=runtime, ledger=ledger, syncer=syncer, link=wiring.link, stream=stream,
            router=bind_ctl(context, wiring.ctl), events=stream_socket, clock=clock,
            projection=projection, outcomes=outcomes, sources=sources, options=wiring.options,
            durability=wiring.durability, keeper_pid=wiring.keeper_pid,
            orphans=wiring.orphans, on_log_failure=wiring.on_log_failure,
            found=past.last.seq if past.last else 0,
            watch=KeeperWatch(runtime, wiring.link, wiring.keeper_pid, wiring.watchdog),
            snapshots=Snapshotting(ledger, directory, recalled.begun_at),
            complaints=recalled.complaints,
        )
    )  # fmt: skip
    switchboard = runtime.switchboard
    switchboard.watch(projection.observe, projection.watches)
    switchboard.watch(outcomes.observe, outcomes.watches)
    switchboard.watch(partial(_replace_keeper, wiring.link), (events.CoreRestarting,))
    switchboard.watch(partial(_settle_sockets, wiring.link), (commands.ArbiterConfigure,))
    switchboard.observers += wiring.observers
    _begin(engine, wiring, seed, before=before, anew=anew)
    return engine


def _settle_sockets(link: Link, record: Record) -> None:
    """The arbiter has taken a configuration on: whoever is spawned for it finds its sockets."""
    assert isinstance(record.body, commands.ArbiterConfigure), record
    if record.actor == ARBITER:
        link.send([("settings", {"sockets": record.body.settings.get("sockets", {})})])


def _replace_keeper(link: Link, record: Record) -> None:
    """Of an `upgrade` the keeper is told at once; its answer lets the core go (arbiter.runtime)."""
    assert isinstance(record.body, events.CoreRestarting), record
    if record.body.keeper:
        link.send([("reexec", record.cause, "")])


def is_later(pid: int, last: Record | None) -> bool:
    """Whether the process started after this record was written, in this boot or another."""
    return last is None or _started(pid) > last.boot


def _started(pid: int) -> int:
    """Boot ns, by the end of the tick in which it was."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    tick = NS_PER_SECOND // os.sysconf("SC_CLK_TCK")
    return (int(fields[STARTTIME]) + 1) * tick


def _begin(engine: Engine, wiring: Wiring, seed: int, *, before: str, anew: bool) -> None:
    """The first records of this incarnation, durable; then the keeper is asked what it holds."""
    parts = engine.parts
    runtime, ledger = parts.runtime, parts.ledger
    kernel = os.uname()
    started = events.CoreStarted(
        version=VERSION, pid=os.getpid(), keeper_pid=wiring.keeper_pid, boot_id=boot_id(),
        host=kernel.nodename, kernel=kernel.release, uid=os.geteuid(),
        python=".".join(map(str, sys.version_info[:3])), seed=seed,
    )  # fmt: skip
    parts.link.send([("settings", _settings(wiring) | {"log": ledger.log_id.hex()})])
    drafts = [Draft(started), *_ledger_findings(ledger)]
    words = last_words.read(wiring.state_dir)
    left: list[Survivor] = []
    if before and before != started.boot_id:
        drafts.append(Draft(events.HostRestarted(before, started.boot_id)))
        runtime.begin(drafts, HOST_RESTART)
    else:
        left = _survivors(parts, words, anew=anew)
        if left and wiring.orphans == "adopt":
            drafts += _take_over(parts, left)
        runtime.begin(drafts)
    _hear_last_words(parts, wiring.state_dir, words)
    if left and wiring.orphans != "adopt":
        _part_with(parts, left)
    runtime.configure(wiring.configure, anew=anew)


def _survivors(parts: Parts, words: Sequence[Sequence[Any]], *, anew: bool) -> list[Survivor]:
    """Whom an earlier keeper has left behind that was killed: nothing is started in their places
    before it is settled what becomes of them."""
    spawns = parts.runtime.spawns
    if not (spawns.alive or spawns.undecided):
        return []
    if not holds_nothing(_started(parts.keeper_pid), spawns.reconciled, anew=anew):
        return []
    # What it takes to find and stop strangers, no start of a first worker waits for.
    from circus.arbiter.bereaved import survivors

    ended = {report[1] for report in words if report[0] in ("exited", "lost")}
    found = survivors(spawns, parts.projection, parts.ledger.log_id.hex())
    return [one for one in found if one.spawn_id not in ended]


def _hear_last_words(parts: Parts, state_dir: str, words: Sequence[Sequence[Any]]) -> None:
    """What a keeper saw and did while no core was there: on record before it is forgotten."""
    if words:
        parts.runtime.reaper.hear(words)
        parts.runtime.pump()
        parts.ledger.sync(parts.clock.now())
        last_words.forget(state_dir)


def _take_over(parts: Parts, left: Sequence[Survivor]) -> list[Draft]:
    """Ask the keeper to hold them. That leaves together with the question for the list, which is
    behind the records of this beginning."""
    from circus.arbiter.bereaved import loss, to_adopt

    parts.link.send([("adopt", [to_adopt(one) for one in left])])
    return loss(parts.runtime, left)


def _part_with(parts: Parts, left: Sequence[Survivor]) -> None:
    """Stop them, or say at least that they run."""
    from circus.arbiter.bereaved import record_loss, stop_recorded

    record_loss(parts.runtime, left, parts.runtime.pump)
    if parts.orphans == "stop":
        stop_recorded(parts.runtime, left, parts.runtime.pump)


def _settings(wiring: Wiring) -> dict[str, Any]:
    """What `[circus]` asks of the keeper itself."""
    return {
        "no_new_privs": wiring.no_new_privs,
        "cgroup": wiring.cgroup,
        "silence": wiring.watchdog,
        "sockets": wiring.configure.settings.get("sockets", {}),
    }


def _shown(name: str, value: Any) -> Any:
    from circus.arbiter.config_options import show_option

    return show_option(name, value)


def _ledger_findings(ledger: Ledger) -> list[Draft]:
    found = ledger.recovered
    drafts: list[Draft] = []
    if found.tail_cut is not None:
        cut = found.tail_cut
        drafts.append(Draft(events.LogTailCut(cut.segment, cut.offset, cut.bytes)))
    drafts += [
        Draft(events.LogDamaged(one.segment, one.offset, one.lost_from, one.lost_to))
        for one in found.damaged
    ]
    if found.gap is not None:
        drafts.append(Draft(events.LogGap(*found.gap)))
    return drafts


assert sys.platform == "linux", "the front refuses other platforms before this is imported"
