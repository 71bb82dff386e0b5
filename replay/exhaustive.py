"""Room: replay -- a small story in every order of delivery, and with a crash at every touch.

Knows:     replay.sim.agenda (whose delays are chosen here, not drawn), replay.world.
Known by:  tests/sim/test_every_order.py.
Never:     samples: within its bounds every run is made.

A story begins in a quiet world. Whatever delays chance would draw in its first six decisions are
choices here: at once, or as late as may be. A run is its list of choices, and the next run takes
the last of them that can be taken otherwise. `late_max` bounds how many messages are late in one
run; most bugs of order need one or two.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from circus.replay.checks.checkers import Violation
from circus.replay.sim.agenda import Agenda, Happening
from circus.replay.world import World

STEPS_MAX: Final = 6
HAPPENINGS_MAX: Final = 2_000
SEED: Final = 11


class Story(NamedTuple):
    """What is configured, what somebody does to it, and in how many decisions it is looked at."""

    specs: Sequence[Mapping[str, Any]]
    act: Callable[[World], object]
    steps: int = STEPS_MAX


class Explored(NamedTuple):
    """How many runs there were, and how many choices the longest had."""

    runs: int
    choices: int


class Choices(Agenda):
    """An agenda without chance in what comes first."""

    def __init__(self, seed: int, wanted: Sequence[int]) -> None:
        super().__init__(seed)
        self.open = False  # whether there are choices now
        self.taken: list[int] = []
        self._wanted = wanted

    def some(self, most: int) -> int:
        """At once, or as late as may be."""
        return self._choose() * most

    def later(self, delay: int, happening: Happening) -> None:
        """Of two that are due at one time either may be the first."""
        due = self.boot + max(0, delay)
        tie = self._choose() if any(entry[0] == due for entry in self._heap) else 0
        self._count += 1
        heapq.heappush(self._heap, (due, tie, self._count, happening))

    def _choose(self) -> int:
        if not self.open:
            return 0
        index = len(self.taken)
        choice = self._wanted[index] if index < len(self._wanted) else 0
        self.taken.append(choice)
        return choice


def explore(story: Story, late_max: int, *, crashes: bool = False) -> Explored:
    """Every run of the story; each must end as the first one, which had no delay and no crash."""
    expected, touches, _ = _run(story, ())
    runs = longest = 0
    for wanted in orders(story, late_max):
        points = range(1, touches + 1) if crashes else (0,)
        for point in points:
            found, _, taken = _run(story, wanted, point)
            runs, longest = runs + 1, max(longest, len(taken))
            if found != expected:
                how = f"late: {wanted}, crash at touch {point}"
                raise Violation(f"I-EQUIV: {found} instead of {expected}\n{how}")
    return Explored(runs, longest)


def orders(story: Story, late_max: int) -> Iterator[Sequence[int]]:
    """Every list of choices with at most so many late messages, the undelayed one first."""
    wanted: list[int] = []
    while True:
        yield tuple(wanted)
        _, _, taken = _run(story, wanted)
        while taken and (taken[-1] == 1 or sum(taken) >= late_max):
            taken.pop()
        if not taken:
            return
        taken[-1] = 1
        wanted = taken


def _run(
    story: Story, wanted: Sequence[int], crash: int = 0
) -> tuple[Mapping[str, Any], int, list[int]]:
    """How it ended, how often the core touched the world in the story, and the choices."""
    agenda = Choices(SEED, wanted)
    world = World(SEED, agenda=agenda)
    world.configure(story.specs)
    world.settle()
    world.keeper.kernel.lives.calm = False
    begun, touched = world.steps, agenda.touched
    agenda.open = True
    if crash:
        world.crash_at(crash)
    story.act(world)
    for _ in range(HAPPENINGS_MAX):
        if world.steps - begun >= story.steps or not world.step():
            break
    agenda.open = False
    touches = agenda.touched - touched
    world.settle()
    world.examine()
    return ending(world), touches, list(agenda.taken)


def ending(world: World) -> Mapping[str, Any]:
    """What is the same in two runs that differ in times and pids only."""
    core = world.core
    assert core is not None, "the story leaves the daemon alone"
    return {
        name: (view.status, view.spec.numprocesses, len(view.pids))
        for name, view in sorted(core.projection.watchers.items())
    }
