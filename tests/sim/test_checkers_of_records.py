"""Room: tests -- doctored histories: each checker of commands, policy and ledger sees its crime.

Knows:     circus.replay, the vocabulary.
Known by:  nobody.
Never:     runs a world where a few records or facts will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.digest import spec_digest
from circus.bus.record import Body, Draft, Record
from circus.bus.shapes import altered
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import Moment
from circus.replay.checks.checkers import Checker, Truth, Violation
from circus.replay.checks.invariants import every_checker
from circus.replay.checks.ledger import Prefix
from circus.replay.checks.truth import (
    Dropped,
    Fact,
    Forked,
    Handed,
    Noted,
    Noticed,
    Obeyed,
    Replied,
    Severed,
    Told,
)

SECOND: Final = 1_000_000_000
HOUR: Final = 3600 * SECOND
SPEC: Final = WatcherSpec(
    name="web", cmd="steady 1", args=("a",), backoff=SECOND // 10, max_retry=2, give_up=3,
    priority=1, graceful_timeout=SECOND,
)  # fmt: skip
DIGEST: Final = spec_digest(SPEC)
WEB: Final = "watcher:web#1"
LOW: Final = "watcher:low#2"
ID: Final = b"0123456789abcdef"
STARTED: Final[Any] = {
    "version": "", "pid": 1, "keeper_pid": 1, "boot_id": "b", "host": "", "kernel": "", "uid": 0,
    "python": "", "seed": 0,
}  # fmt: skip
News = Record | Fact


class Tale:
    """A history in the making: records get their numbers, facts stand between them."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.seq = 0
        self.boot = 100 * SECOND

    def say(self, actor: str, body: Body, *, cause: int = 0, after: int = 0, **rest: Any) -> Tale:
        """One record, `after` ns later."""
        self.seq += rest.pop("skip", 0) + 1
        self.boot += after
        incarnation = rest.pop("incarnation", 1)
        stamp = Stamp(self.seq, cause, actor, Moment(self.boot, self.boot), incarnation)
        self.news.append(stamped(stamp, Draft(body, **rest)))
        return self

    def fact(self, fact: Fact) -> Tale:
        """What happened outside."""
        self.news.append(fact)
        return self

    def tell(self, truth: Truth) -> None:
        """All of it, in order."""
        for one in self.news:
            if isinstance(one, Record):
                truth.observe(one)
            else:
                truth.happened(one)


def only(crime: str) -> Callable[[Truth], Sequence[Checker]]:
    """The one checker alone."""
    return lambda truth: tuple(one for one in every_checker(truth) if one.id == crime)


def two_watchers() -> Tale:
    """web (priority 1) and low (0), born by the arbiter."""
    low = to_data(WatcherSpec(name="low", cmd="steady"))
    tale = Tale().say("arbiter", events.WatcherAdded(to_data(SPEC), DIGEST))
    digest = spec_digest(WatcherSpec(name="low", cmd="steady"))
    return tale.say("arbiter", events.WatcherAdded(low, digest))


def asked(body: Body | None = None, **rest: Any) -> Tale:
    """Record 3 is a client's command to web."""
    given: dict[str, Any] = {"to": WEB, "id": ID, "peer": {"uid": 7}, **rest}
    return two_watchers().say("client", body or commands.WatcherStop(), **given)


def accepted(tale: Tale, command: int = 3) -> Tale:
    return tale.say(WEB, events.CommandAccepted(command), cause=command, to="client")


def finished(tale: Tale, command: int = 3) -> Tale:
    return tale.say(WEB, events.CommandFinished(command), cause=command, to="client")


def two_days_under_one_id() -> Tale:
    """An id is known for a day; the day after it is a new command's, and has its answer."""
    tale = finished(accepted(asked()).fact(replied("accepted", 4, b"a")))
    tale.say("client", commands.WatcherStop(), to=WEB, id=ID, peer={"uid": 7}, after=25 * HOUR)
    return finished(accepted(tale, 6).fact(replied("accepted", 7, b"b")), 6)


def replied(phase: str, seq: int, content: bytes) -> Replied:
    return Replied("me", ID, phase, seq, content)


def spawned(tale: Tale | None = None, **rest: Any) -> Tale:
    """web asks for a process: by default from the spec in force."""
    given: dict[str, Any] = {"spec": DIGEST, **rest}
    return (tale or two_watchers()).say(WEB, commands.ProcessSpawn(**given), to="reaper", slot=1)


def _at(spawn_id: int) -> dict[str, Any]:
    return {"slot": 1, "spawn_id": spawn_id, "to": WEB}


def short_life(tale: Tale) -> Tale:
    """The process that was asked for last lives a moment, and its slot is vacated."""
    spawn_id, here = tale.seq, _at(tale.seq)
    ended = events.ProcessExited(
        7, 1, None, core=False, rusage={}, wall=0, observed=tale.boot + 1000
    )
    tale.say("reaper", events.ProcessSpawned(7, 0), cause=spawn_id, **here)
    tale.say("reaper", ended, cause=spawn_id, after=1000, **here)
    return tale.say(WEB, events.SlotVacated(short=True), cause=tale.seq, slot=1, spawn_id=spawn_id)


def two_short_lives() -> Tale:
    """The second exit is record 11, slot 1 is vacant after record 12."""
    return short_life(spawned(short_life(spawned(running(two_watchers())))))


def two_short_lives_and_a_kill_between() -> Tale:
    """What was asked to end, and then could not even be started, forgives as an end does."""
    tale = spawned(short_life(spawned(running(two_watchers()))))
    here = _at(tale.seq)
    tale.say(WEB, events.SlotStopping("kill"), slot=1, spawn_id=here["spawn_id"])
    failed = events.ProcessSpawnFailed("exec", 13, "no")
    tale.say("reaper", failed, cause=here["spawn_id"], **here)
    spawn = commands.ProcessSpawn(DIGEST)
    tale = short_life(tale.say(WEB, spawn, cause=tale.seq, to="reaper", slot=1))
    return tale.say(WEB, spawn, cause=tale.seq - 1, to="reaper", slot=1)


def running(tale: Tale) -> Tale:
    return tale.say(WEB, events.WatcherStarting()).say(WEB, events.WatcherStarted())


def armed(duration: int) -> Tale:
    tale = two_watchers().say(WEB, commands.TimerArm("retry:1", duration), to="clock")
    return tale.say("clock", events.TimerWoke("retry:1", 3), cause=3, after=SECOND, to=WEB)


def plan_of(spec: WatcherSpec) -> tuple[Any, ...]:
    return (spec.stop_signal, spec.graceful_timeout, spec.priority, spec.stop_children, False)


def started(argv: Sequence[str], plan: Any = None) -> Tale:
    """The keeper is asked to start process 3."""
    operation = ("spawn", 3, "l", WEB, plan or plan_of(SPEC))
    return spawned().fact(Obeyed(("spec", "l", {"argv": argv}))).fact(Obeyed(operation))


def sent_for(*whom: str) -> Tale:
    tale = two_watchers()
    for address in whom:
        tale.say("arbiter", commands.WatcherStart(), to=address, id="9", cause=2)
    return tale


def noted_stops(*priorities: int) -> Tale:
    tale = Tale()
    for spawn_id, priority in enumerate(priorities):
        plan = (15, 0, priority, False, False)
        tale.fact(Obeyed(("spawn", spawn_id, "l", WEB, plan)))
    for spawn_id in range(len(priorities)):
        tale.fact(Noted(("signalled", 0, spawn_id, 15, (7,), 0)))
    return tale


def handed(*seqs: int, other: bool = False) -> Tale:
    tale = two_watchers()
    records = [one for one in tale.news if isinstance(one, Record)]
    for seq in seqs:
        record = records[seq - 1]
        tale.fact(Handed("s", record._replace(actor="somebody") if other else record))
    return tale


def effects(count: int) -> Tale:
    tale = two_watchers()
    for _ in range(count):
        tale.say(WEB, commands.TimerArm("age:1", 1), cause=2, to="clock")
    return tale


def fork_below(barrier: int) -> Tale:
    tale = spawned().fact(Obeyed(("list", barrier))).fact(Forked(5, 40))
    return tale.fact(Told(("spawned", 3, WEB, 40, 0, 5)))


def with_cause(*causes: int) -> Tale:
    tale = two_watchers()
    for cause in causes:
        tale.say(WEB, events.WatcherReloaded(), cause=cause)
    return tale


CRIMES: Final[Sequence[tuple[str, str, Callable[[], Tale]]]] = (
    ("I-CMD1", "one id twice", lambda: asked().say(
        "client", commands.WatcherStop(), to=WEB, id=ID, peer={"uid": 7})),
    ("I-CMD1", "accepted twice", lambda: accepted(accepted(asked()))),
    ("I-CMD1", "told before it is on record",
     lambda: asked().fact(replied("accepted", 4, b""))),
    ("I-CMD-OUT", "finished twice", lambda: finished(finished(accepted(asked())))),
    ("I-CMD-OUT", "finished without acceptance", lambda: finished(asked())),
    ("I-CMD-OUT", "refused after acceptance", lambda: accepted(asked()).say(
        WEB, events.CommandRefused(3, "cannot"), cause=3, to="client")),
    ("I-CMD-OUT", "answered by another", lambda: asked().say(
        LOW, events.CommandAccepted(3), cause=3, to="client")),
    ("I-IDEM", "another answer", lambda: accepted(asked())
        .fact(replied("accepted", 4, b"a")).fact(replied("accepted", 4, b"b"))),
    ("I-IDEM", "refused and accepted", lambda: accepted(asked())
        .fact(replied("accepted", 4, b"a")).fact(replied("refused", 4, b"a"))),
    ("I-EXPIRE", "accepted too late", lambda: accepted(asked(deadline=SECOND))),
    ("I-BACKOFF", "no pause", lambda: two_short_lives().say(
        WEB, commands.ProcessSpawn(DIGEST), cause=11, to="reaper", slot=1)),
    ("I-BACKOFF", "too early", lambda: spawned(two_short_lives().say(
        WEB, events.SlotWaiting(2, SECOND // 10), slot=1, cause=11))),
    ("I-BACKOFF", "a shorter pause", lambda: two_short_lives().say(
        WEB, events.SlotWaiting(2, SECOND // 20), slot=1, cause=11)),
    ("I-BACKOFF", "one attempt more", lambda: spawned(attempt=3).say(
        "reaper", events.ProcessSpawnFailed("exec", 2, "no"), cause=3, spawn_id=3, slot=1, to=WEB)
        .say(WEB, commands.ProcessSpawn(DIGEST, 4), cause=4, to="reaper", slot=1)),
    ("I-BACKOFF", "after giving up", lambda: spawned(two_watchers().say(
        WEB, events.WatcherFailed("cannot")))),
    ("I-BACKOFF", "woken early", lambda: armed(2 * SECOND)),
    ("I-RELOAD", "an old spec", lambda: spawned(spec="another")),
    ("I-RELOAD", "a mix of arguments", lambda: started(("steady", "1", "b"))),
    ("I-RELOAD", "a mix of plans", lambda: started(("steady", "1", "a"), (9, 0, 0, False, False))),
    ("I-RELOAD", "an unchanged watcher", lambda: two_watchers().say(
        "core", commands.ArbiterConfigure((to_data(SPEC),), {}), to="arbiter").say(
            "arbiter", commands.WatcherRestart(), to=WEB, watcher="web", cause=3)),
    ("I-RELOAD", "an old process is left", lambda: spawned().say(
        WEB, events.WatcherUpdated({"args": ("z",)}, spec_digest(_altered("z")))).say(
            WEB, events.WatcherReloaded())),
    ("I-DEP", "the lower first", lambda: sent_for(LOW, WEB)),
    ("I-DEP", "stop plans upside down", lambda: noted_stops(2, 1)),
    ("I-WAL", "a spawn on credit", lambda: two_watchers().fact(
        Obeyed(("spawn", 3, "l", WEB, plan_of(SPEC))))),
    ("I-WAL", "a signal on credit", lambda: spawned().fact(
        Obeyed(("signal", 4, 3, 15, "process", None)))),
    ("I-WAL", "an end on credit", lambda: spawned().fact(Obeyed(("ack", (3,))))),
    ("I-SEQ", "a hole", lambda: two_watchers().say(WEB, events.WatcherStarting(), skip=1)),
    ("I-SEQ", "an incarnation from nowhere",
     lambda: two_watchers().say(WEB, events.WatcherStarting(), incarnation=2)),
    ("I-SEQ", "an incarnation again",
     lambda: two_watchers().say("core", events.CoreStarted(**STARTED))),
    ("I-SEQ", "boot time goes back",
     lambda: two_watchers().say(WEB, events.WatcherStarting(), after=-1)),
    ("I-SUB", "a gap", lambda: handed(1).fact(Severed("s", "reset", 1)).fact(
        Handed("s", _third()))),
    ("I-SUB", "a duplicate", lambda: handed(1, 2, 2)),
    ("I-SUB", "another record", lambda: handed(1, other=True)),
    ("I-DETECT", "too late", lambda: Tale().fact(Dropped("s", 5, 0)).fact(
        Noticed("s", 9, 2 * SECOND))),
    ("I-BOUND", "too much at once", lambda: effects(257)),
    ("I-SECRET", "in a command line", lambda: Tale().fact(
        Obeyed(("spec", "l", {"argv": ("x", "taint-of-a-secret"), "env": {}})))),
    ("I-FENCE", "answered again", lambda: with_cause(2, 1)),
    ("I-FENCE", "started below the barrier", lambda: fork_below(3)),
)  # fmt: skip


def _altered(argument: str) -> WatcherSpec:
    return altered(SPEC, args=(argument,))


def _third() -> Record:
    tale = two_watchers().say(WEB, events.WatcherStarting())
    record = tale.news[-1]
    assert isinstance(record, Record)
    return record


@pytest.mark.parametrize(
    ("crime", "tale"), [(c, t) for c, _, t in CRIMES], ids=[f"{c} {n}" for c, n, _ in CRIMES]
)
def test_a_doctored_history_is_seen_by_the_checker_that_it_offends(
    crime: str, tale: Callable[[], Tale]
) -> None:
    """A few records and facts are enough; the text begins with the invariant."""
    with pytest.raises(Violation, match=f"^{crime}: "):
        tale().tell(Truth(0, only(crime)))


HONEST: Final[Sequence[Callable[[], Tale]]] = (
    lambda: finished(accepted(asked())).fact(replied("accepted", 4, b"a")),
    lambda: accepted(asked(deadline=200 * SECOND)),
    lambda: asked(deadline=SECOND).say(
        WEB, events.CommandRefused(3, "cannot"), cause=3, to="client"
    ),
    two_days_under_one_id,
    lambda: spawned(short_life(spawned(running(two_watchers())))),
    two_short_lives_and_a_kill_between,
    lambda: armed(SECOND),
    lambda: started(("steady", "1", "a")),
    lambda: sent_for(WEB, LOW),
    lambda: handed(1, 2),
    lambda: Tale().fact(Dropped("s", 5, 0)).fact(Noticed("s", 9, SECOND)),
    lambda: effects(256),
    lambda: with_cause(1, 2),
    lambda: fork_below(2),
)


@pytest.mark.parametrize("tale", HONEST)
def test_an_honest_history_offends_nobody(tale: Callable[[], Tale]) -> None:
    """The counter-check, with all checkers at once."""
    tale().tell(Truth(0, every_checker))


def test_stop_plans_in_the_right_order_are_no_crime() -> None:
    """Without a core the lowest priority is asked first."""
    noted_stops(1, 2).tell(Truth(0, only("I-DEP")))


def test_every_checker_that_is_told_is_counted() -> None:
    """The program prints how often each was called; a checker that hears nothing shows a 0."""
    truth = Truth(0, every_checker)
    accepted(asked()).tell(truth)

    told = {checker.id: truth.told(checker) for checker in truth.checkers}
    assert 2 == told["I-CMD1"]
    assert 4 == told["I-SEQ"]
    assert 0 == told["I-SIG"]


def test_after_a_power_cut_the_ledger_may_be_shorter_but_not_another() -> None:
    """What was synced is there, what is there is what was; then a new incarnation begins."""
    before = Truth(0, only("I-PREFIX"))
    asked().tell(before)
    listed = Obeyed(("list", 0))

    kept = two_watchers().say("core", events.CoreStarted(**STARTED), incarnation=2).fact(listed)
    kept.tell(Truth(0, only("I-PREFIX"), before))

    other = asked(commands.WatcherStart()).fact(listed)
    with pytest.raises(Violation, match=r"^I-PREFIX: the ledger goes on with"):
        other.tell(Truth(0, only("I-PREFIX"), before))

    promise = before.checkers[0]
    assert isinstance(promise, Prefix)
    promise.safe = 3
    with pytest.raises(Violation, match=r"^I-PREFIX: up to 3 all was synced, recovered is up to 2"):
        kept.tell(Truth(0, only("I-PREFIX"), before))


def test_a_restarted_core_reads_what_was_written() -> None:
    """One altered record is history that was changed."""
    truth = Truth(0, only("I-PREFIX"))
    asked().tell(truth)
    two_watchers().tell(truth)

    with pytest.raises(Violation, match=r"^I-PREFIX: 3 was"):
        asked(commands.WatcherStart()).tell(truth)


def test_what_a_client_was_told_is_durable_survives_a_power_cut() -> None:
    """The record that the answer told of is in the recovered ledger."""
    before = Truth(0, only("I-ACKDUR"))
    accepted(asked()).fact(replied("accepted", 4, b"")).tell(before)
    listed = Obeyed(("list", 0))

    accepted(asked()).fact(listed).tell(Truth(0, only("I-ACKDUR"), before))
    with pytest.raises(Violation, match=r"^I-ACKDUR: "):
        asked().fact(listed).tell(Truth(0, only("I-ACKDUR"), before))
