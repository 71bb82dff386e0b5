"""Room: replay -- the checkers of one boot, asked: who wants to hear what, and how often each was.

Knows:     replay.checks.checkers.
Known by:  replay.machine, replay.world, replay.soak (the counts).
Never:     calls a checker that has nothing to say there: most care for one kind of news.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from circus.replay.checks.checkers import Checker, Truth

if TYPE_CHECKING:
    from circus.replay.world import World

Question = Callable[["World"], None]


class Panel:
    """Asks the checkers of a truth, and counts."""

    def __init__(self, truth: Truth) -> None:
        self._checkers = truth.checkers
        self.steps = 0
        self._truth = truth
        self._asked: Counter[str] = Counter()
        self._of_step: Sequence[Question] = [one.stepped for one in having("stepped", truth)]
        self._of_history: Sequence[Question] = [one.examined for one in having("examined", truth)]

    def step(self, world: World) -> None:
        """One happening is over."""
        self.steps += 1
        for ask in self._of_step:
            ask(world)

    def examine(self, world: World) -> None:
        """A look at the whole history."""
        self._asked["examined"] += 1
        for ask in self._of_history:
            ask(world)

    def rest(self, world: World) -> None:
        """All is quiet."""
        self._asked["rested"] += 1
        for checker in self._checkers:
            checker.rested(world)

    def calls(self) -> Counter[str]:
        """How often each checker was asked or told anything, by its id."""
        calls: Counter[str] = Counter()
        self._asked["stepped"] = self.steps
        for checker in self._checkers:
            asked = sum(times for hook, times in self._asked.items() if has(checker, hook))
            calls[checker.id] += asked + self._truth.told(checker)
        return calls


def having(hook: str, truth: Truth) -> Sequence[Checker]:
    """Those that do something there."""
    return [checker for checker in truth.checkers if has(checker, hook)]


def has(checker: Checker, hook: str) -> bool:
    """Whether it does."""
    return getattr(type(checker), hook) is not getattr(Checker, hook)
