"""Room: tests -- the reaper between a ledger that is a list and a keeper that is a list.

Knows:     process.reaper, bus.
Known by:  nobody.
Never:     starts a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from circus.bus.codec import Stamp, stamped
from circus.bus.commands import ProcessSignal, ProcessSpawn
from circus.bus.events import CoreLost, ProcessSpawned, ProcessSpawnFailed, ReaperReconciled
from circus.bus.past import Spawns
from circus.bus.record import Draft, Record
from circus.bus.values import Moment
from circus.bus.vault import VaultError
from circus.process.launch import Launch
from circus.process.reaper import Reaper

OWNER = "watcher:web#1"
RUSAGE = {"utime": 1}


class ListLink:
    """A link whose other end is the test."""

    def __init__(self) -> None:
        self.sent: list[Sequence[Any]] = []
        self.reports: list[Sequence[Any]] = []

    def send(self, items: Iterable[Sequence[Any]]) -> None:
        self.sent.extend(items)

    def receive(self) -> list[Sequence[Any]]:
        reports, self.reports = self.reports, []
        return reports

    def flush(self) -> bool:
        return True


class World:
    """A reaper with a ledger of its own; `hear` is one turn."""

    def __init__(self) -> None:
        self.link = ListLink()
        self.said: list[Record] = []
        self.frames = 0
        self.launches = 0
        self.seq = 100
        self.reaper = Reaper(self.link, self._launch_of, self._say)

    def hear(self, *reports: Sequence[Any]) -> list[str]:
        self.link.reports += reports
        before = len(self.said)
        self.reaper.receive()
        new = self.said[before:]
        self.reaper.recorded(new)
        self.reaper.flush()
        return [record.name for record in new]

    def reconcile(
        self,
        undecided: Sequence[int] = (),
        alive: Sequence[int] = (),
        exited: Sequence[int] = (),
    ) -> None:
        spawns = Spawns(
            undecided={s: spawn_record(s) for s in undecided},
            alive={s: spawned_record(s) for s in alive},
            exited=set(exited),
        )
        self.reaper.reconcile(spawns, 99)
        self.reaper.flush()

    def sent(self) -> list[Sequence[Any]]:
        sent, self.link.sent = self.link.sent, []
        return sent

    def _launch_of(self, record: Record) -> Launch:
        self.launches += 1
        if isinstance(record.body, ProcessSpawn) and record.body.spec == "bad":
            raise ValueError("No closing quotation")
        if isinstance(record.body, ProcessSpawn) and record.body.spec == "sealed":
            raise VaultError("cannot find the value of h:1 in the vault")
        return Launch(("prog",), {})

    def _say(self, drafts: Sequence[Draft]) -> None:
        self.frames += 1
        for draft in drafts:
            self.seq += 1
            self.said.append(stamped(Stamp(self.seq, 0, "reaper", Moment(0, 0), 1), draft))


def spawn_record(seq: int, spec: str = "d1") -> Record:
    draft = Draft(ProcessSpawn(spec), to="reaper", watcher="web", slot=3)
    return stamped(Stamp(seq, 1, OWNER, Moment(0, 0), 1), draft)


def spawned_record(spawn_id: int) -> Record:
    draft = Draft(ProcessSpawned(7, 1), to=OWNER, watcher="web", slot=3, spawn_id=spawn_id)
    return stamped(Stamp(spawn_id + 1, spawn_id, "reaper", Moment(0, 0), 1), draft)


def held(*rows: Sequence[Any]) -> Sequence[Any]:
    return ("held", True, rows)


def exited(spawn_id: int) -> Sequence[Any]:
    return ("exited", spawn_id, OWNER, 7, 0, None, False, RUSAGE, 1, 1)


def ready_world() -> World:
    world = World()
    world.reconcile()
    world.hear(held())
    world.sent()
    return world


def test_a_whole_life_is_told_once_with_owner_watcher_slot_and_cause() -> None:
    """Each report becomes one fact about the spawn that it belongs to."""
    world = ready_world()
    world.reaper.perform(spawn_record(100))
    world.reaper.flush()
    assert ["spec", "spawn"] == [operation[0] for operation in world.sent()]
    assert ["process.spawned"] == world.hear(("spawned", 100, OWNER, 7, 1, 0))
    assert ["process.exited"] == world.hear(exited(100))
    assert [("ack", [100])] == world.sent()
    assert ["process.reaped"] == world.hear(("reaped", 100, 7, ()))
    envelopes = {(r.to, r.watcher, r.slot, r.spawn_id, r.cause) for r in world.said[1:]}
    assert {(OWNER, "web", 3, 100, 100)} == envelopes


def test_a_whole_life_in_one_batch_is_one_frame() -> None:
    """A program that ends at once: spawned and exited arrive together and both are said."""
    world = ready_world()
    world.reaper.perform(spawn_record(100))
    frames = world.frames
    assert ["process.spawned", "process.exited"] == world.hear(
        ("spawned", 100, OWNER, 7, 1, 0), exited(100)
    )
    assert 1 == world.frames - frames


def test_a_repeated_report_is_no_news() -> None:
    """The keeper tells again after a new list; the record stays as it was."""
    world = ready_world()
    world.reaper.perform(spawn_record(100))
    world.hear(("spawned", 100, OWNER, 7, 1, 0), exited(100))
    assert [] == world.hear(("spawned", 100, OWNER, 7, 1, 0), exited(100))


def test_an_exit_on_record_that_was_not_acknowledged_is_acknowledged_only() -> None:
    """The core died between the frame and the acknowledgement."""
    world = World()
    world.reconcile()
    world.hear(held((50, OWNER, "zombie", 7, 1, 0, "", 0)), exited(50))
    assert ["reaper.reconciled"] == [record.name for record in world.said]
    assert ("ack", [50]) in world.sent()


def test_nothing_leaves_before_the_list_is_settled() -> None:
    """A spawn decided early waits; otherwise the core would disown its own child."""
    world = World()
    world.reconcile()
    world.reaper.perform(spawn_record(100))
    world.reaper.flush()
    assert [("list", 99)] == world.sent()
    world.hear(held())
    assert ["spec", "spawn"] == [operation[0] for operation in world.sent()]


def test_the_keepers_list_settles_every_undecided_spawn() -> None:
    """Present: adopted. Failed: spawn_failed. Absent: never_run, or lost if it had been seen."""
    world = World()
    world.reconcile(undecided=[10, 11, 12], alive=[20, 21])
    world.hear(
        held((10, OWNER, "alive", 7, 1, 0, "", 0), (20, OWNER, "alive", 8, 1, 0, "", 0),
             (11, OWNER, "failed", 0, 0, 0, "exec", 2)),
        ("failed", 11, OWNER, "exec", 2),
    )  # fmt: skip
    outcome = {record.spawn_id: record.name for record in world.said if record.spawn_id}
    assert {
        10: "process.spawned", 11: "process.spawn_failed", 12: "process.never_run",
        21: "process.lost",
    } == outcome  # fmt: skip
    (reconciled,) = [r.body for r in world.said if isinstance(r.body, ReaperReconciled)]
    assert ReaperReconciled(99, (10,), (21,), (12,)) == reconciled
    assert world.reaper.reconciled
    assert ("ack", [21, 11]) in world.sent()


def test_an_exit_on_record_is_acknowledged_again_and_reaped_once() -> None:
    """Held: acknowledged, not told twice. Not held: it was let go, and its reap is recorded."""
    world = World()
    world.reconcile(alive=[20, 21], exited=[20, 21])
    ended: tuple[Any, ...] = ("exited", 20, OWNER, 8, 0, None, False, {}, 1, 1)
    said = world.hear(held((20, OWNER, "zombie", 8, 1, 0, "", 0)), ended)
    assert ["process.reaped", "reaper.reconciled"] == said
    assert ("ack", [20]) in world.sent()
    assert ["process.reaped"] == world.hear(("reaped", 20, 8, ()))


def test_what_a_damaged_ledger_forgot_is_adopted() -> None:
    """In the keeper's list and in no record: it is ours all the same."""
    world = World()
    world.reconcile()
    assert ["process.spawned", "reaper.reconciled"] == world.hear(
        held((70, OWNER, "alive", 7, 1, 0, "", 0))
    )
    assert (OWNER, "web", True) == (
        world.said[0].to, world.said[0].watcher, getattr(world.said[0].body, "adopted", None),
    )  # fmt: skip


def test_a_launch_is_resolved_and_sent_once_per_spec() -> None:
    """A thousand spawns of one watcher cost one resolution and one `spec`."""
    world = ready_world()
    for seq in range(100, 110):
        world.reaper.perform(spawn_record(seq))
    world.reaper.flush()
    assert 1 == world.launches
    assert 1 == sum(operation[0] == "spec" for operation in world.sent())


def test_a_cmd_that_cannot_be_split_fails_its_spawn_with_a_reason() -> None:
    """It never reaches the keeper and is said all the same."""
    world = ready_world()
    world.reaper.perform(spawn_record(100, "bad"))
    body = world.said[-1].body
    assert isinstance(body, ProcessSpawnFailed)
    assert "cannot start: No closing quotation" == body.reason


def test_a_secret_that_the_vault_has_lost_fails_its_spawn_and_not_the_core() -> None:
    """The ledger outlives its vault: the watcher says what is missing, all others go on."""
    world = ready_world()
    world.reaper.perform(spawn_record(100, "sealed"))
    body = world.said[-1].body
    assert isinstance(body, ProcessSpawnFailed)
    assert "cannot start: cannot find the value of h:1 in the vault" == body.reason


def test_a_signal_that_crossed_an_exit_still_has_its_outcome() -> None:
    """Caused by the command, about the spawn, to nobody."""
    world = ready_world()
    draft = Draft(ProcessSignal(15), to="reaper", watcher="web", slot=3, spawn_id=60)
    world.reaper.perform(stamped(Stamp(105, 1, OWNER, Moment(0, 0), 1), draft))
    world.reaper.flush()
    assert [("signal", 105, 60, 15, "process", None)] == world.sent()
    assert ["process.signalled"] == world.hear(("signalled", 105, 60, 15, (), 3))
    assert (105, 60, None) == (world.said[-1].cause, world.said[-1].spawn_id, world.said[-1].to)


def test_the_keepers_own_news_is_said() -> None:
    """Lost cores, orphans and signals to the daemon."""
    world = ready_world()
    names = ["core.lost", "core.hung", "core.lost", "orphan.reaped", "signal.received"]
    lost = ((6, None, 9, 0, 1), (7, None, 9, 30, 2))
    assert names == world.hear(
        ("hello", 1, 5, lost, 0), ("orphan", 8, 0, None), ("os_signal", 15), ("pong", 1)
    )


def test_an_adoption_is_said_once_for_each_keeper() -> None:
    """A row says that the keeper holds what another one left; a second core of it says nothing. A
    process that only the killed keeper knew is born first, and one that is gone again is lost."""
    rows = [(s, OWNER, "adopted", 7, 1, 5, "", 0) for s in (20, 21, 30)]
    world = World()
    alive = {s: spawned_record(s) for s in (20, 21, 22, 23)}
    world.reaper.reconcile(Spawns({30: spawn_record(30)}, alive, adopted={21, 23}), 99)
    world.hear(held(*rows))
    told = [(record.spawn_id, record.name) for record in world.said if record.spawn_id]
    assert [
        (20, "process.adopted"), (30, "process.spawned"), (30, "process.adopted"),
        (22, "process.lost"), (23, "process.lost"),
    ] == told  # fmt: skip
    assert ["process.lost"] == world.hear(("lost", 20, 7))
    assert [] == world.hear(("lost", 20, 7))
    world.reaper.flush()
    assert ("ack", [20]) in world.sent()


def test_a_core_that_is_on_record_as_lost_is_not_lost_again() -> None:
    """The keeper tells of every core until one is ready; those in between may have died of it."""
    world = World()
    world.reaper.reconcile(Spawns(lost_until=5), 99)
    lost = ((6, None, 9, 30, 4), (7, 1, None, 0, 5), (8, 1, None, 0, 6))
    world.hear(("hello", 1, 5, lost, 0))
    assert [CoreLost(8, 1, None, 6)] == [record.body for record in world.said]


def test_a_report_about_nobodys_process_is_no_news() -> None:
    """What no ledger and no list has ever named has no owner to tell."""
    world = ready_world()
    assert [] == world.hear(("spawned", 4711, OWNER, 7, 1, 0), ("reaped", 4711, 7, ()))


def test_news_of_the_keepers_holdings_are_counted_off_when_they_are_on_record() -> None:
    """Each is said, about whose it is if it is anybody's, and the keeper hears how many were."""
    world = ready_world()
    news = {
        ("scribe_started", 7): "scribe.started",
        ("scribe_lost", 7, None, 9): "scribe.lost",
        ("output_uncertain", 100, OWNER, "stdout", 65536): "output.uncertain",
        ("output_failed", 100, OWNER, "stdout", "cannot write"): "output.failed",
        ("output_resumed", 100, OWNER, "stdout"): "output.resumed",
        ("socket_bound", "web", "127.0.0.1:80"): "socket.bound",
        ("socket_failed", "web", "127.0.0.1:80", "address already in use"): "socket.failed",
        ("socket_closed", "web", "127.0.0.1:80"): "socket.closed",
    }
    assert list(news.values()) == world.hear(*news)
    assert [("heard", len(news))] == world.sent()
    about = [(r.watcher, r.spawn_id, r.to) for r in world.said if r.name.startswith("output.")]
    assert [("web", 100, None)] * 3 == about
    assert ["scribe.started"] == world.hear(("scribe_started", 8))
    assert [("heard", 1)] == world.sent()
