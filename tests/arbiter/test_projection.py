"""Room: tests -- the projection, its queries, and the wishes that are understood by it.

Knows:     arbiter.projection, arbiter.queries, arbiter.verbs.
Known by:  pytest.
Never:     opens a socket.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from told import WEB, Told

from circus.arbiter.projection import Projection
from circus.arbiter.queries import Sources, answer, slow_answer
from circus.arbiter.verbs import Answered, Refusal, Wish, wish
from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Draft
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import ARBITER, REAPER, Moment

# --- projection -----------------------------------------------------------------------------------


class World:
    """A projection that is told a daemon's life."""

    def __init__(self) -> None:
        self.projection = Projection()
        self.told = Told(self.projection)
        self.spec = self.told.born()
        self.view = self.projection.watchers["web"]
        self.sources = Sources(
            self.projection, {"endpoint": "e"}, self.probe, lambda _, value: value, 42
        )

    def probe(self, pid: int) -> Mapping[str, Any] | None:
        return {"pid": pid} if pid < 100 else None

    def spawn(self, slot: int, pid: int = 0, actor: str = WEB) -> int:
        seq = self.told(commands.ProcessSpawn("d"), actor, slot=slot)
        if pid:
            self.fact(events.ProcessSpawned(pid, 1), seq, actor)
        return seq

    def fact(self, body: Body, spawn_id: int, to: str = WEB) -> None:
        self.told(body, REAPER, to=to, spawn_id=spawn_id)

    def exit(self, spawn_id: int, to: str = WEB) -> None:
        rusage: dict[str, int] = {}
        exited = events.ProcessExited(1, 0, None, core=False, rusage=rusage, wall=1, observed=1)
        self.fact(exited, spawn_id, to)

    def ask(self, command: str, **properties: Any) -> Any:
        slow = slow_answer(command, properties, self.sources)
        return slow() if slow else answer(command, properties, self.sources)


def test_status_is_what_the_watcher_last_said_of_itself() -> None:
    """
    Circus's words, and `failed` with its reason.
    """
    world = World()
    seen = [world.ask("status", name="web")]
    for body in (
        events.WatcherStarting(), events.WatcherStarted(), events.WatcherStopping(),
        events.WatcherStopped(), events.WatcherFailed("tired"), events.InputSetAside(9),
        events.WatcherStarting(),
    ):  # fmt: skip
        world.told(body)
        seen.append(world.ask("status", name="web"))

    words = ["stopped", "starting", "active", "stopping", "stopped", "failed", "failed", "starting"]
    assert words == [one["status"] for one in seen]
    assert ["tired"] == [one["reason"] for one in seen[5:6]]
    assert "record 9" in seen[6]["reason"]


def test_pids_are_those_of_processes_that_run_in_the_order_of_their_spawns() -> None:
    """
    Spawning, stopping, exited, reaped, lost, failed: each is counted as it should.
    """
    world = World()
    first, second = world.spawn(1, 11), world.spawn(2, 12)
    world.spawn(3)
    assert [11, 12] == world.ask("list", name="web")["pids"]
    world.told(events.SlotStopping("stop"), slot=1, spawn_id=first)
    assert [11, 12] == world.view.pids
    assert 2 == world.ask("numprocesses")["numprocesses"]
    world.exit(first)
    world.fact(events.ProcessReaped(11), first)
    world.fact(events.ProcessLost(12, "?"), second)
    assert [] == world.view.pids
    assert {"numprocesses": 0, "watcher_name": "WEB"} == world.ask("numprocesses", name="WEB")
    failed = world.spawn(4)
    world.told(events.SlotWaiting(2, 500), slot=4)
    world.fact(events.ProcessSpawnFailed("exec", 2, "cannot start"), failed)
    assert (1, 1, "cannot start") == (
        world.view.deaths, world.view.spawn_failures, world.view.reason,
    )  # fmt: skip
    assert {4: 500} == world.view.waiting
    world.spawn(4)
    assert {} == world.view.waiting


def test_a_spawn_finds_the_spec_that_it_names() -> None:
    """
    Also the one before the last change; a resize keeps the digest.
    """
    world = World()

    def spec_of(digest: str) -> WatcherSpec:
        draft = Draft(commands.ProcessSpawn(digest), slot=1)
        return world.projection.spec_of(stamped(Stamp(9, 0, WEB, Moment(1, 1), 1), draft))

    old = spec_digest(world.spec)
    world.told(events.WatcherResized(7))
    assert 7 == world.view.spec.numprocesses
    world.told(events.WatcherUpdated({"cmd": "y", "args": ["a"]}, "second"))
    assert ("x", "y") == (spec_of(old).cmd, spec_of("second").cmd)
    assert ("a",) == spec_of("second").args
    world.told(events.WatcherUpdated({"cmd": "z"}, "third"))
    assert "z" == spec_of(old).cmd


def test_a_removed_watcher_is_spoken_of_until_its_last_process_ends() -> None:
    """
    `rm --nostop`; another of the same name is another one.
    """
    world = World()
    left = world.spawn(1, 11)
    world.told(events.WatcherRemoved(WEB))
    assert [] == world.ask("list")["watchers"]
    assert WEB in world.projection._by_address
    world.told.born("WEB")
    world.exit(left)
    assert WEB not in world.projection._by_address
    assert ["web"] == world.ask("list")["watchers"]
    world.told(events.WatcherRemoved(WEB))
    assert 1 == world.ask("numwatchers")["numwatchers"]


def test_what_is_said_about_nobody_changes_nothing() -> None:
    """
    Total: any record in any order can be folded.
    """
    world = World()
    bodies: list[Body] = [
        events.WatcherStarted(), events.WatcherFailed("x"), events.InputSetAside(1),
        events.WatcherUpdated({}, "d"), events.WatcherResized(1), events.SlotWaiting(1, 1),
        events.SlotStopping("stop"), commands.ProcessSpawn("d"), events.ArbiterStarted(),
    ]  # fmt: skip
    for body in bodies:
        world.told(body, "watcher:nobody#99")
    facts: list[Body] = [
        events.ProcessSpawned(1, 1), events.ProcessSpawnFailed("exec", 2, "x"),
        events.ProcessNeverRun("x"), events.ProcessReaped(1), events.ProcessLost(1, "x"),
    ]  # fmt: skip
    for fact in facts:
        world.fact(fact, 5, "watcher:nobody#99")
        world.fact(fact, 5)
    world.exit(5, "watcher:nobody#99")

    assert ("stopped", []) == (world.view.status, world.view.pids)


def test_status_knows_the_scribe_and_the_sockets_of_this_keeper() -> None:
    """
    As the keeper told them; another keeper has none, and another core of the same keeper has all.
    """
    world = World()
    projection, keeper = world.projection, [41, 41, 43]
    cores = [events.CoreStarted("1", 42, pid, "b", "h", "k", 0, "3", 7) for pid in keeper]
    world.told(cores[0], "core")
    assert {"pid": 0} == world.ask("status")["scribe"]
    world.told(events.ScribeStarted(7), REAPER)
    for name, address in (("web", "127.0.0.1:80"), ("api", "/run/api")):
        world.told(events.SocketBound(name, address), REAPER)
    world.told(events.SocketClosed("web", "127.0.0.1:81"), REAPER)
    world.told(cores[1], "core")
    assert {"pid": 7} == world.ask("status")["scribe"]
    assert {"web": "127.0.0.1:80", "api": "/run/api"} == projection.sockets
    world.told(events.SocketClosed("web", "127.0.0.1:80"), REAPER)
    world.told(events.ScribeLost(7, None, 9), REAPER)
    assert ({"pid": 0}, {"api": "/run/api"}) == (world.ask("status")["scribe"], projection.sockets)
    world.told(events.ScribeStarted(8), REAPER)
    again = Projection()
    again.restore(projection.kept())
    assert (8, {"api": "/run/api"}) == (again.scribe, again.sockets)
    world.told(cores[2], "core")
    assert (0, {}) == (projection.scribe, projection.sockets)


def test_questions_are_answered_with_circus_fields() -> None:
    """
    CIRCUS.md, 3.4.
    """
    world = World()
    world.told(events.CoreStarted("1", 42, 41, "b", "h", "k", 0, "3", 7), "core")
    world.told(events.WatcherFailed("tired"))
    world.spawn(1, 11)
    world.spawn(2, 400)
    world.spawn(3)
    status = world.ask("status")
    assert {"web": "failed"} == status["statuses"]
    assert {"web": "tired"} == status["reasons"]
    assert ({"pid": 41}, {"pid": 42, "incarnation": 1}) == (status["keeper"], status["core"])
    options = world.ask("options", name="Web")["options"]
    assert ("x", False) == (options["cmd"], "name" in options)
    assert {"options": {"cmd": "x", "env": []}} == world.ask("get", name="web", keys=("cmd", "env"))
    assert {"options": {"endpoint": "e"}} == world.ask("globaloptions", option="endpoint")
    assert {"options": {"endpoint": "e"}} == world.ask("globaloptions")
    info = {"pid": 11, "started": 10**9, "wid": 1}
    assert {"infos": {"web": {"11": info}}} == world.ask("stats")
    assert {"name": "web", "info": {"11": info}} == world.ask("stats", name="web")
    assert {"process": 11, "info": info} == world.ask("stats", name="web", process=11)
    assert world.ask("incr") is None
    for keys, text in ((5, "not a list"), (("nope",), "option not found")):
        with pytest.raises(Refusal, match=text):
            world.ask("get", name="web", keys=keys)
    with pytest.raises(Refusal, match="option not found"):
        world.ask("globaloptions", option="nope")


# --- verbs ----------------------------------------------------------------------------------------


class Options:
    def check_core(self) -> None: ...

    def changes(self, options: Mapping[str, Any], current: WatcherSpec, /) -> dict[str, Any]:
        return {"seen": current.name, **options}

    def addition(self, options: Mapping[str, Any], /) -> WatcherSpec:
        return WatcherSpec(name=options["name"], cmd=options["cmd"])

    def configuration(self) -> commands.ArbiterConfigure:
        return commands.ArbiterConfigure((), {})


def wished(command: str, **properties: Any) -> Any:
    projection = Projection()
    told = Told(projection)
    told.born("web")
    told.born("Worker-1")
    told.born("one", singleton=True)
    wanted = wish(command, properties, projection, Options())
    return (wanted.to, wanted.body) if isinstance(wanted, Wish) else wanted


NEW = to_data(WatcherSpec(name="new", cmd="x"))
WISHES: Final[tuple[tuple[str, dict[str, Any], str, Body], ...]] = (
    ("start", {}, ARBITER, commands.ArbiterStart()),
    ("start", {"name": "*"}, ARBITER, commands.ArbiterStart()),
    ("stop", {"name": "W*"}, ARBITER, commands.ArbiterStop(("web", "worker-1"))),
    ("stop", {"name": r"\D+$", "match": "regex"}, ARBITER, commands.ArbiterStop(("web", "one"))),
    ("stop", {"name": "WEB", "match": "simple"}, ARBITER, commands.ArbiterStop(("web",))),
    ("restart", {"name": "web"}, ARBITER, commands.ArbiterRestart(("web",))),
    (
        "reload", {"graceful": False, "sequential": True}, ARBITER,
        commands.ArbiterReload(None, graceful=False, sequential=True),
    ),
    ("incr", {"name": "web", "nb": 3}, WEB, commands.WatcherIncr(3)),
    ("decr", {"name": "web"}, WEB, commands.WatcherDecr()),
    ("set", {"name": "web", "options": {}}, WEB, commands.WatcherSet({"seen": "web"})),
    ("signal", {"name": "web", "signum": "usr1", "pid": 7}, WEB, commands.WatcherSignal(10, 7)),
    (
        "signal", {"name": "web", "signum": 9, "pid": 7, "childpid": 8, "recursive": True}, WEB,
        commands.WatcherSignal(9, 7, 8, recursive=True),
    ),
    ("kill", {"name": "web", "graceful_timeout": 0.5}, WEB, commands.WatcherKill(grace=5 * 10**8)),
    (
        "add", {"name": "new", "cmd": "x", "start": True}, ARBITER,
        commands.ArbiterAdd(NEW, start=True),
    ),
    ("add", {"name": "new", "cmd": "x", "args": ("a",)}, ARBITER, commands.ArbiterAdd(NEW)),
    ("rm", {"name": "WEB", "nostop": True}, ARBITER, commands.ArbiterRemove("web", nostop=True)),
    ("quit", {"waiting": True}, ARBITER, commands.ArbiterQuit()),
    ("retry", {"name": "web"}, WEB, commands.WatcherRetry()),
    ("manage", {"name": "web"}, WEB, commands.WatcherManage()),
    ("reloadconfig", {}, ARBITER, commands.ArbiterConfigure((), {})),
)  # fmt: skip


@pytest.mark.parametrize(("command", "properties", "to", "body"), WISHES)
def test_a_wish_becomes_one_addressed_command(
    command: str, properties: dict[str, Any], to: str, body: Body
) -> None:
    """
    Circus's names and properties, our commands.
    """
    assert (to, body) == wished(command, **properties)


def test_nobody_matches_nothing() -> None:
    """
    A pattern without a watcher is refused like a name without one.
    """
    with pytest.raises(Refusal, match="program zzz\\* not found"):
        wished("stop", name="zzz*")
    assert Answered({"numprocesses": 1, "singleton": True}) == wished("decr", name="one")
    for properties in ({"name": 5}, {"name": "web", "nb": True}, {"name": "web", "nb": -1}):
        with pytest.raises(Refusal, match="cannot incr"):
            wished("incr", **properties)
    with pytest.raises(Refusal, match="signal invalid"):
        wished("signal", name="web", signum="nope")
