"""Room: replay -- the hunt for one mutant: worlds from fresh seeds until an invariant fails.

Knows:     replay.drive, replay.checks.checkers; the mutant is in production's place by now.
Known by:  `python -m circus.replay.mutants`, after replay.mutants.disguise.
Never:     takes any failure for a kill: the invariant must be one that the mutant names.

A step is one decision of production code, appended and delivered. A world in which something else
fails is left for the next seed; what failed is told if the mutant survives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from circus.bus.record import Record
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.invariants import every_checker
from circus.replay.drive import drive, failure_of
from circus.replay.mutants.mutant import Killed, Mutant
from circus.replay.world import Cast

if TYPE_CHECKING:
    from circus.replay.world import World

WORLD_STEPS = 400
AT_ONCE_MAX = 5_000  # records of one wake-up: a mutant may decide without end


class Hunt(NamedTuple):
    """How it ended: `killed`, or what else went wrong, first lines with their seeds."""

    killed: Killed | None
    steps: int
    others: tuple[str, ...]


class Tally:
    """Counts decisions over many worlds."""

    def __init__(self) -> None:
        self.steps = 0

    def checkers(self, truth: Truth) -> Sequence[Checker]:
        """Every checker, and one that only counts."""
        return (*every_checker(truth), _Counting(truth, self))


class _Counting(Checker):
    """One decision is all that one actor says about one input."""

    id = "steps"

    def __init__(self, truth: Truth, tally: Tally) -> None:
        super().__init__(truth)
        self._tally = tally
        self._last: tuple[Any, ...] = ()
        self._at_once = 0

    def recorded(self, record: Record) -> None:
        decision = (record.incarnation, record.actor, record.cause)
        self._tally.steps += decision != self._last
        self._last = decision
        self._at_once += 1
        if self._at_once > AT_ONCE_MAX:
            self.fail("it decides without end")

    def stepped(self, world: World) -> None:
        self._at_once = 0


def hunt(mutant: Mutant, seed: int, steps: int) -> Hunt:
    """One world after the other, each from the next seed, for at most so many steps."""
    tally = Tally()
    cast = Cast(checkers=tally.checkers)
    others: list[str] = []
    while tally.steps < steps:
        failure = failure_of(partial(drive, seed, WORLD_STEPS, cast))
        if failure is not None:
            invariant, text = failure
            if invariant in mutant.killers:
                killed = Killed(mutant.name, invariant, seed, tally.steps, text)
                return Hunt(killed, tally.steps, tuple(others))
            others.append(f"seed {seed}: {text.splitlines()[0]}")
            tally.steps += 1  # A world that fails before its first decision is a step too.
        seed += 1
    return Hunt(None, tally.steps, tuple(others))
