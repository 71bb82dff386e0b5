"""Room: tests -- what is folded for clients: outcomes, reads, the projection and its queries.

Knows:     arbiter.outcomes, arbiter.reads, arbiter.projection, arbiter.queries, arbiter.verbs.
Known by:  pytest.
Never:     opens a socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from circus.arbiter import outcomes as outcomes_module
from circus.arbiter.outcomes import ID_AGE_MAX, IDS_MAX, Outcome, Outcomes, Waiter
from circus.arbiter.projection import Projection
from circus.arbiter.queries import Sources, answer, slow_answer
from circus.arbiter.reads import PARKED_MAX, Reads
from circus.arbiter.verbs import Answered, Refusal, Wish, wish
from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.cursor_errors import Damaged, Trimmed
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Draft
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import ARBITER, REAPER, Moment
from circus.bus.wire import Read

WEB: Final = "watcher:web#1"


class Told:
    """Observers that are told records one after another."""

    def __init__(self, *observers: Any) -> None:
        self.observers = observers
        self.seq = 0
        self.at = 10**18

    def __call__(self, body: Body, actor: str = WEB, **envelope: Any) -> int:
        self.seq += 1
        draft = Draft(body, **envelope)
        record = stamped(Stamp(self.seq, 0, actor, Moment(self.at, self.seq), 1), draft)
        for observer in self.observers:
            observer.observe(record)
        return self.seq

    def born(self, name: str = "web", **options: Any) -> WatcherSpec:
        spec = WatcherSpec(name=name, cmd="x", **options)
        self(events.WatcherAdded(to_data(spec), spec_digest(spec)), ARBITER, watcher=name)
        return spec

    def asked(self, identity: bytes = b"i", to: str = WEB, uid: int = 0) -> int:
        return self(commands.WatcherIncr(), "client", to=to, id=identity, peer={"uid": uid})


class Heard:
    """One waiting client."""

    def __init__(self, *, until_finished: bool = False) -> None:
        self.answers: list[tuple[Body | None, int]] = []
        self.waiter = Waiter(until_finished, self.hear)

    def hear(self, outcome: Outcome) -> None:
        self.answers.append((outcome.fact, outcome.seq))


# --- outcomes -------------------------------------------------------------------------------------


def test_one_waits_for_the_word_another_for_the_end() -> None:
    """
    Accepted answers the first; finished the second; each once.
    """
    outcomes = Outcomes()
    told, first, second = Told(outcomes), Heard(), Heard(until_finished=True)
    told.born()
    command = told.asked()
    outcomes.wait(command, first.waiter)
    outcomes.wait(command, second.waiter)
    accepted = told(events.CommandAccepted(command))
    finished = told(events.CommandFinished(command))
    told(events.CommandAccepted(12345))

    assert [(events.CommandAccepted(command), accepted)] == first.answers
    assert [(events.CommandFinished(command), finished)] == second.answers


def test_a_refusal_is_an_end_too() -> None:
    """
    Whoever waits for the end hears it; later words about the command are not believed.
    """
    outcomes = Outcomes()
    told, heard = Told(outcomes), Heard(until_finished=True)
    told.born()
    command = told.asked()
    outcomes.wait(command, heard.waiter)
    refused = told(events.CommandRefused(command, "cannot"))
    told(events.CommandFinished(command))

    assert [(events.CommandRefused(command, "cannot"), refused)] == heard.answers


def test_the_same_id_of_the_same_user_is_the_same_command() -> None:
    """
    Also after a restart: the outcome is a fold of the ledger.
    """
    outcomes = Outcomes()
    told, heard = Told(outcomes), Heard()
    told.born()
    command = told.asked(b"i", uid=5)
    told(events.CommandAccepted(command))

    assert command == outcomes.find((5, b"i"))
    assert outcomes.find((6, b"i")) is None
    outcomes.wait(command, heard.waiter)
    assert 1 == len(heard.answers)


def test_a_removed_watcher_answers_nobody_so_its_removal_does() -> None:
    """
    Those who wait, those who ask again, and those whose command comes too late.
    """
    outcomes = Outcomes()
    told, waiting, again, late = Told(outcomes), Heard(), Heard(), Heard()
    told.born()
    finished = told.asked(b"f")
    told(events.CommandFinished(finished))
    command, silent = told.asked(b"a"), told.asked(b"b")
    outcomes.wait(command, waiting.waiter)
    told(events.WatcherRemoved(WEB))
    outcomes.wait(silent, again.waiter)
    outcomes.wait(told.asked(b"c"), late.waiter)

    for heard in (waiting, again, late):
        ((fact, _seq),) = heard.answers
        assert isinstance(fact, events.CommandRefused)
        assert fact.reason == "cannot carry out: the watcher was removed"
    stored = Heard()
    outcomes.wait(finished, stored.waiter)
    assert isinstance(stored.answers[0][0], events.CommandFinished)


def test_ids_are_remembered_for_a_day() -> None:
    """
    RELIABILITY.md, 1.4.
    """
    outcomes = Outcomes()
    told = Told(outcomes)
    told.born()
    told.asked(b"old")
    told.at += ID_AGE_MAX
    told.asked(b"new")
    assert outcomes.find((0, b"old")) is not None
    told.at += 1
    told.asked(b"newer")
    assert outcomes.find((0, b"old")) is None
    assert outcomes.find((0, b"new")) is not None


def test_ids_are_remembered_up_to_a_number() -> None:
    """
    The oldest go first; an id that was used again is forgotten with its last use.
    """
    outcomes = Outcomes()
    told = Told(outcomes)
    told.born()
    told.asked(b"again")
    second = told.asked(b"again")
    for number in range(IDS_MAX - 1):
        told.asked(number.to_bytes(4, "big"))
    assert second == outcomes.find((0, b"again"))
    told.asked(b"one more")
    assert outcomes.find((0, b"again")) is None
    assert IDS_MAX == len(outcomes._by_seq)
    assert outcomes_module.key_of({"address": "::1"}, b"i") == ("::1", b"i")


# --- reads ----------------------------------------------------------------------------------------


class Raw:
    def __init__(self, data: bytes, first_seq: int, last_seq: int) -> None:
        self.data, self.first_seq, self.last_seq = data, first_seq, last_seq


class FakeLedger:
    """The read side, and the clock."""

    log_id = bytes(16)
    head = 10
    first_retained = 3
    fault: Exception | None = None
    data = b"frames"

    def read_raw(self, after: int, bytes_max: int, /) -> Raw:
        if self.fault is not None:
            raise self.fault
        return Raw(self.data, after + 1, self.head)

    def chain8_at(self, seq: int, /) -> bytes | None:
        return b"chain..8"

    def now(self) -> Moment:
        return Moment(0, 1000)


class Reader:
    def __init__(self) -> None:
        self.ledger = FakeLedger()
        self.reads = Reads(self.ledger, self.ledger)
        self.told: list[Any] = []

    def ask(self, after: int, *, wait_ms: int = 0, **rest: Any) -> Any:
        read = Read(rest.get("log_id"), after, rest.get("chain8"), 100, wait_ms)
        self.reads.ask(read, self.tell)
        return self.told.pop() if self.told else None

    def tell(self, fields: Mapping[str, Any] | Refusal, raw: bytes | None) -> None:
        self.told.append(fields if raw is None else (fields, raw))


def test_a_reader_gets_frames_or_the_reason_why_not() -> None:
    """
    docs/wire.md, READ: every result.
    """
    reader = Reader()
    fields = {"result": "events", "first_seq": 6, "last_seq": 10}
    assert (fields, b"frames") == reader.ask(5)
    assert (fields, b"frames") == reader.ask(5, log_id=bytes(16), chain8=b"chain..8")
    assert {"result": "reset", "log_id": bytes(16)} == reader.ask(5, log_id=b"x" * 16)
    assert {"result": "trimmed", "first_seq": 3} == reader.ask(1)
    assert {"result": "diverged"} == reader.ask(5, chain8=b"other..8")
    assert {"result": "diverged"} == reader.ask(11)
    assert {"result": "nothing"} == reader.ask(10)
    assert {"result": "trimmed", "first_seq": 3} == reader.ask(0, chain8=b"whatever")
    reader.ledger.fault = Trimmed(7)
    assert {"result": "trimmed", "first_seq": 7} == reader.ask(5)


def test_a_parked_reader_hears_of_the_next_append_or_of_the_end_of_its_patience() -> None:
    """
    Long poll; the first to run out of patience is the next to be looked at.
    """
    reader = Reader()
    assert reader.reads.next_due() is None
    reader.ask(10, wait_ms=5)
    reader.ask(10, wait_ms=1)
    assert reader.reads.next_due() == 1000 + 1_000_000
    reader.reads.look_again(1000 + 1_000_000)
    assert [{"result": "nothing"}] == reader.told
    reader.ledger.head = 12
    reader.reads.look_again(1000)
    assert ({"result": "events", "first_seq": 11, "last_seq": 12}, b"frames") == reader.told[1]
    assert reader.reads.next_due() is None


def test_damage_that_a_parked_reader_meets_is_its_answer() -> None:
    """
    The loop goes on.
    """
    reader = Reader()
    reader.ask(10, wait_ms=5)
    reader.ledger.head = 12
    reader.ledger.fault = Damaged("seg", 5, 11, 12)
    reader.reads.look_again(1000)

    (refusal,) = reader.told
    assert isinstance(refusal, Refusal)
    assert (5, True) == (refusal.errno, "records 11 to 12" in refusal.reason)


def test_frames_that_are_in_memory_only_are_waited_for() -> None:
    """
    A full disk: nothing to read yet, and no empty answer to spin on.
    """
    reader = Reader()
    reader.ledger.data = b""
    assert {"result": "nothing"} == reader.ask(5)
    assert reader.ask(5, wait_ms=1) is None
    reader.ledger.data = b"frames"
    reader.reads.look_again(1000)
    assert 1 == len(reader.told)


def test_so_many_may_be_parked() -> None:
    """
    RELIABILITY.md, 7.11; one more is answered at once.
    """
    reader = Reader()
    for _ in range(PARKED_MAX):
        assert reader.ask(10, wait_ms=5) is None
    assert {"result": "nothing"} == reader.ask(10, wait_ms=5)


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
