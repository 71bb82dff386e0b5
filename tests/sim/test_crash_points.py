"""Room: tests -- one small story, told with a crash at every single touch of the world.

Knows:     circus.replay.
Known by:  nobody.
Never:     samples: every point is tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.invariants import every_checker
from circus.replay.checks.truth import Forked
from circus.replay.world import Cast, World

SEED: Final = 11
STEPS_MAX: Final = 3000
FORKS: Final = 3  # two workers, and one in the place of the one that dies


class Forks(Checker):
    """Counts what the keeper starts."""

    id = "FORKS"

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.count = 0

    def happened(self, fact: object) -> None:
        self.count += isinstance(fact, Forked)


def counting(truth: Truth) -> tuple[Checker, ...]:
    """All checkers, and one that counts."""
    return (Forks(truth), *every_checker(truth))


class Story:
    """Start two workers, one dies; then, perhaps, stop. The operator asks until it is heard."""

    def __init__(self, disturb: Callable[[World], None]) -> None:
        self.world = World(SEED, Cast(checkers=counting))
        self.world.configure([{"name": "web", "cmd": "steady", "numprocesses": 2}])
        disturb(self.world)

    def tell(self, *, stop: bool) -> Story:
        """From beginning to end."""
        self.until(self.is_whole)
        self.world.kill(self.pids()[0])
        self.until(self.is_whole)
        if stop:
            while self.status() not in ("stopping", "stopped"):
                self.world.command("stop", name="web")
                self.world.run(30)
            self.until(lambda: not self.pids())
        self.world.settle()
        self.world.examine()
        return self

    def until(self, wanted: Callable[[], bool]) -> None:
        """Let time pass until it is so."""
        for _ in range(STEPS_MAX):
            if wanted():
                return
            if not self.world.step():
                break
        assert wanted(), self.world.truth.records[-20:]

    def pids(self) -> list[int]:
        """Who runs."""
        return sorted(one.pid for one in self.world.keeper.kernel.living())

    def is_whole(self) -> bool:
        """Two run, as configured."""
        return len(self.pids()) == 2

    def has_crashed(self) -> bool:
        """The crash that was ordered is over."""
        return self.world.agenda.crash_at is None

    def status(self) -> str:
        """What an operator sees."""
        core = self.world.core
        view = None if core is None else core.projection.watchers.get("web")
        return "" if view is None else view.status

    @property
    def forks(self) -> int:
        """How many programs have been started."""
        counter = self.world.truth.checkers[0]
        assert isinstance(counter, Forks)
        return counter.count


def crashing(point: int) -> Callable[[World], None]:
    """The core dies at its `point`-th touch of the world."""
    return lambda world: world.crash_at(point)


def undisturbed(_world: World) -> None:
    """No fault."""


@pytest.mark.parametrize("end", ["running", "stopped"])
def test_a_core_may_die_at_every_touch_of_the_world(end: str) -> None:
    """
    Afterwards the same workers run as without the crash; nothing was started twice (I-EQUIV).
    """
    stop = end == "stopped"
    calm = Story(undisturbed).tell(stop=stop)
    expected = (FORKS, len(calm.pids()), calm.status())
    points = calm.world.agenda.touched
    assert points > 100

    for point in range(1, points + 1):
        story = Story(crashing(point)).tell(stop=stop)
        found = (story.forks, len(story.pids()), story.status())
        assert expected == found, f"crash at touch {point}"


def test_a_second_crash_in_the_recovery_from_the_first_changes_nothing() -> None:
    """The next core dies too, some touches after its start."""
    start = Story(undisturbed)
    start.until(start.is_whole)

    for point in range(5, start.world.agenda.touched, 11):
        for again in range(1, 90, 7):
            story = Story(crashing(point))
            story.until(story.has_crashed)
            story.world.crash_at(again)
            story.tell(stop=False)
            assert (FORKS, 2) == (story.forks, len(story.pids())), (point, again)


def test_the_power_may_fail_after_every_happening() -> None:
    """Whatever the platter kept: the ledger opens, and two workers run in the end."""
    calm = Story(undisturbed)
    calm.until(calm.is_whole)
    happenings = 0
    for _ in range(200):
        happenings += calm.world.step()

    for moment in range(1, happenings):
        story = Story(undisturbed)
        story.world.run(moment)
        story.world.cut_power()
        story.until(story.is_whole)
        story.world.settle()
        story.world.examine()
        assert 2 == len(story.pids()), f"power cut after happening {moment}"
