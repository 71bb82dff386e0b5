"""Room: tests -- small stories in every order of delivery, and with a crash at every touch.

Knows:     circus.replay.exhaustive.
Known by:  nobody.
Never:     samples.
"""

from __future__ import annotations

import pytest

from circus.replay.checks.checkers import Violation
from circus.replay.exhaustive import Explored, Story, explore, orders
from circus.replay.world import World

TWO = ({"name": "web", "cmd": "steady", "numprocesses": 2},)
ONE = ({"name": "web", "cmd": "steady"},)


def workers(world: World) -> list[int]:
    """The pids of those that run."""
    return [one.pid for one in world.keeper.kernel.living() if one.pidfd]


def one_dies(world: World) -> None:
    """Somebody kills the oldest worker."""
    assert world.kill(workers(world)[0])


def both_die(world: World) -> None:
    """And the other one, at the same moment."""
    for pid in workers(world):
        assert world.kill(pid)


def told_to_stop(world: World) -> None:
    """By an operator."""
    assert world.command("stop", name="web")


def dies_and_is_reloaded(world: World) -> None:
    """An exit and a command cross."""
    one_dies(world)
    assert world.command("reload", name="web")


@pytest.mark.parametrize("act", [one_dies, both_die, told_to_stop, dies_and_is_reloaded])
def test_every_order_of_messages_ends_the_same(act: object) -> None:
    """Whichever two of them are late: the same workers run in the end, and all invariants hold."""
    assert callable(act)
    found = explore(Story(TWO, act), late_max=2)

    assert found.runs > found.choices


def test_every_order_of_a_small_story_is_tried() -> None:
    """Without a bound: every subset of its messages may be late."""
    found = explore(Story(ONE, one_dies, steps=4), late_max=99)

    assert 2**found.choices >= found.runs > 2 * found.choices


def test_a_crash_at_every_touch_in_every_order_ends_the_same() -> None:
    """I-EQUIV: one message late, or none, and the core dead at any touch of the story."""
    found = explore(Story(ONE, one_dies), late_max=1, crashes=True)

    assert found.runs > 100


def test_an_order_is_tried_once() -> None:
    """The enumeration ends, and repeats nothing."""
    found = [tuple(one) for one in orders(Story(ONE, one_dies, steps=3), late_max=2)]

    assert len(found) == len(set(found))
    assert () == found[0]


def test_a_story_that_depends_on_the_order_is_found() -> None:
    """What is not the same in every order is a violation that says how it came to be."""

    def sneaks(world: World) -> None:
        one_dies(world)
        core = world.core
        assert core is not None
        if world.agenda.some(1):
            world.command("incr", name="web")

    with pytest.raises(Violation, match="I-EQUIV"):
        explore(Story(ONE, sneaks), late_max=1)
    assert Explored(1, 1).runs == 1
