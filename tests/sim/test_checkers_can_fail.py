"""Room: tests -- a checker that cannot fail proves nothing: each is shown its own crime.

Knows:     circus.replay, and the production classes that the mutants are made of.
Known by:  nobody.
Never:     patches: a mutant is a subclass that the World is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attr
import pytest

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.machine import Delivered
from circus.bus.record import Decision, Draft, Record
from circus.bus.values import Moment
from circus.process.children import Children
from circus.process.kernel import Child
from circus.process.reaper import Reaper
from circus.replay.checks.checkers import Truth, Violation
from circus.replay.checks.invariants import every_checker
from circus.replay.sim.bus import SimExchange
from circus.replay.world import Cast, World

SECOND: Final = 1_000_000_000
SPEC: Final = {"name": "web", "cmd": "steady", "numprocesses": 2, "graceful_timeout": 2 * SECOND}


class ReapsTooEarly(Children):
    """Lets the zombie go as soon as it has told."""

    __slots__ = ()

    def notice(self, pidfds: Any) -> None:
        super().notice(pidfds)
        self.let_go([held.spawn_id for held in self.ended])


class ForksTwice(Children):
    """Starts a second process with every first."""

    __slots__ = ()

    def _spawn(self, seq: int, digest: str, owner: str, plan: Sequence[Any]) -> Sequence[Any]:
        self._kernel.spawn(self._launches[digest])
        return super()._spawn(seq, digest, owner, plan)


class ForgetsToReap(Children):
    """Hears the acknowledgement and does nothing."""

    __slots__ = ()

    def let_go(self, spawn_ids: Any) -> list[Sequence[Any]]:
        return []


class Misremembers(Children):
    """Tells another exit code than the kernel gave."""

    __slots__ = ()

    def __init__(self, kernel: Any, tell: Any) -> None:
        super().__init__(kernel, lambda reports: tell([_with_code(r, 99) for r in reports]))


class MistakesPids(Children):
    """Tells the pid of somebody else."""

    __slots__ = ()

    def __init__(self, kernel: Any, tell: Any) -> None:
        super().__init__(kernel, lambda reports: tell([_with_pid(r) for r in reports]))


class SignalsTheDead(Children):
    """Uses a pid after it was let go."""

    __slots__ = ()

    def _reap(self, held: Any, child: Child, leftovers: tuple[int, ...]) -> Sequence[Any]:
        report = super()._reap(held, child, leftovers)
        self._kernel.signal(child, 15, "process", None)
        return report


class LeavesFamilies(Children):
    """Forgets that leftovers were to be killed."""

    __slots__ = ()

    def let_go(self, spawn_ids: Any) -> list[Sequence[Any]]:
        for spawn_id in spawn_ids:
            held = self._held[spawn_id]
            held.plan = held.plan._replace(leftovers=False)
        return super().let_go(spawn_ids)


class HidesOrphans(Children):
    """Reaps orphans and says nothing."""

    __slots__ = ()

    def notice_orphans(self) -> None:
        self._kernel.reap_orphans(self._kernel.strangers(self._by_pid))


class SignalsUnasked(Reaper):
    """Sends a signal of its own with every spawn's successor."""

    __slots__ = ()

    def perform(self, record: Record) -> None:
        super().perform(record)
        if isinstance(record.body, commands.ProcessSignal):
            self._operations.append(("signal", 10**6, record.spawn_id or 0, 10, "process", None))


class SpawnsOneTooMany(SimExchange):
    """A watcher's core that asks for one process more, whenever it asks."""

    def receive(self) -> Sequence[tuple[str, Decision]]:
        return [(host, _with_one_more(decision)) for host, decision in super().receive()]


class Impatient(SimExchange):
    """A watcher's core that arms every grace timer for a moment only."""

    def receive(self) -> Sequence[tuple[str, Decision]]:
        return [(host, _impatient(decision)) for host, decision in super().receive()]


class Forgetful(SimExchange):
    """A transport that loses the news of an exit."""

    def send(self, host: str, items: Sequence[Any]) -> None:
        super().send(host, [one for one in items if not _is_exit(one)])


def _with_code(report: Sequence[Any], code: int) -> Sequence[Any]:
    return (*report[:4], code, None, *report[6:]) if report[0] == "exited" else report


def _with_pid(report: Sequence[Any]) -> Sequence[Any]:
    return (*report[:3], 4242, *report[4:]) if report[0] == "spawned" else report


def _with_one_more(decision: Decision) -> Decision:
    spawns = [d for d in decision.drafts if isinstance(d.body, commands.ProcessSpawn)]
    return decision._replace(drafts=(*decision.drafts, *spawns[:1]))


def _impatient(decision: Decision) -> Decision:
    return decision._replace(drafts=tuple(_hurried(draft) for draft in decision.drafts))


def _hurried(draft: Draft) -> Draft:
    body = draft.body
    if isinstance(body, commands.TimerArm) and body.timer.startswith("grace"):
        return draft._replace(body=commands.TimerArm(body.timer, 1000, body.bound))
    return draft


def _is_exit(item: Any) -> bool:
    return isinstance(item, Delivered) and isinstance(item.record.body, events.ProcessExited)


def play(cast: Cast, **options: Any) -> World:
    """A little of everything: a start, a death, a crash of the core, a stop."""
    world = World(5, cast)
    world.configure([{**SPEC, **options}])
    world.run(150)
    living = world.keeper.kernel.living()
    if living:
        world.kill(living[0].pid)
    world.run(100)
    world.command("stop", name="web")
    world.run_for(5 * SECOND)
    world.settle()
    world.examine()
    return world


CRIMES: Final[Sequence[tuple[str, Cast, dict[str, Any]]]] = (
    ("I-NOPEEK", Cast(make_children=ReapsTooEarly), {}),
    ("I-SPAWN1", Cast(make_children=ForksTwice), {}),
    ("I-ZOMBIE", Cast(make_children=ForgetsToReap), {}),
    ("I-STATUS", Cast(make_children=Misremembers), {}),
    ("I-REUSE", Cast(make_children=MistakesPids), {}),
    ("I-SIG", Cast(make_children=SignalsTheDead), {}),
    ("I-GROUP", Cast(make_children=LeavesFamilies), {"cmd": "parent 2 1", "leftovers": "kill"}),
    ("I-ORPHAN", Cast(make_children=HidesOrphans), {"cmd": "careless 2 1"}),
    ("I-LOG-SIG", Cast(make_reaper=SignalsUnasked), {}),
    ("I-MAX", Cast(make_exchange=SpawnsOneTooMany), {}),
    ("I-SINGLE", Cast(make_exchange=SpawnsOneTooMany), {"numprocesses": 1, "singleton": True}),
    ("I-STOPSEQ", Cast(make_exchange=Impatient), {"cmd": "stubborn"}),
)


@pytest.mark.parametrize(("crime", "cast", "options"), CRIMES, ids=[one[0] for one in CRIMES])
def test_a_mutant_is_caught_by_the_checker_that_it_offends(
    crime: str, cast: Cast, options: dict[str, Any]
) -> None:
    """The one invariant alone, without the help of the others, finds its crime."""

    def only(truth: Truth) -> tuple[Any, ...]:
        return tuple(one for one in every_checker(truth) if one.id == crime)

    with pytest.raises(Violation, match=f"^{crime}: "):
        play(attr.evolve(cast, checkers=only), **options)


def test_the_same_story_with_honest_parts_is_no_crime() -> None:
    """The counter-check: what catches the mutants lets production pass."""
    for _, _, options in CRIMES:
        play(Cast(), **options)


def test_a_violation_says_seed_story_and_command() -> None:
    """Whoever reads it can see what happened to the process, and see it happen again."""
    with pytest.raises(Violation) as caught:
        play(Cast(make_children=ReapsTooEarly))

    text = str(caught.value)
    assert "seed 5" in text
    assert "process.spawned" in text
    assert "python -m circus.replay 5" in text


def record(seq: int, body: Any) -> Record:
    """A record as the reaper would have it."""
    actor = "watcher:web#1" if seq == 1 else "reaper"
    return stamped(Stamp(seq, 0, actor, Moment(0, 0), 1), Draft(body, spawn_id=1))


EXIT: Final = events.ProcessExited(7, 0, None, core=False, rusage={}, wall=0, observed=0)
SPAWNED: Final = events.ProcessSpawned(7, 0)
LIVES: Final[Sequence[tuple[str, Sequence[Any]]]] = (
    ("I-RES", (SPAWNED, events.ProcessNeverRun("no"))),
    ("I-REAP1", (SPAWNED, EXIT, EXIT)),
    ("I-REAP1", (SPAWNED, EXIT, events.ProcessReaped(7), events.ProcessReaped(7))),
    ("I-ORDER", (EXIT,)),
    ("I-ORDER", (SPAWNED, events.ProcessReaped(7))),
)


@pytest.mark.parametrize(("crime", "bodies"), LIVES)
def test_an_impossible_life_is_seen_in_the_records_alone(crime: str, bodies: Sequence[Any]) -> None:
    """Two outcomes, two ends, two reaps, or the right ones in the wrong order."""

    def only(truth: Truth) -> tuple[Any, ...]:
        return tuple(one for one in every_checker(truth) if one.id == crime)

    truth = Truth(0, only)
    truth.observe(record(1, commands.ProcessSpawn("digest")))

    def tell() -> None:
        for seq, body in enumerate(bodies, 2):
            truth.observe(record(seq, body))

    with pytest.raises(Violation, match=f"^{crime}: "):
        tell()


LAWBREAKERS: Final[Sequence[tuple[str, Callable[..., SimExchange]]]] = (
    ("I-DET", SpawnsOneTooMany),
    ("I-DET", Impatient),
)


@pytest.mark.parametrize(("law", "make_exchange"), LAWBREAKERS)
def test_what_no_core_decided_is_a_divergence(
    law: str, make_exchange: Callable[..., SimExchange]
) -> None:
    """The second law compares decisions byte for byte: a draft more or changed is seen."""
    with pytest.raises(Violation, match=r"^I-(DET|FOLD): "):
        play(Cast(make_exchange=make_exchange, checkers=lambda _truth: ()))
