"""Room: tests -- the end: TERM at any moment stops everything, in order, and nothing is left.

Knows:     circus.replay.
Known by:  nobody.
Never:     samples where every moment can be tried.
"""

from __future__ import annotations

import signal
from typing import Final

from circus.replay.world import World

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
MOMENTS: Final = 160
SPECS: Final = (
    {"name": "web", "cmd": "slow 0.5", "numprocesses": 3, "graceful_timeout": SECOND},
    {"name": "deaf", "cmd": "stubborn", "graceful_timeout": SECOND, "leftovers": "kill"},
    {"name": "churn", "cmd": "exits 1 0.2", "numprocesses": 2, "graceful_timeout": SECOND},
    {"name": "broken", "cmd": "missing", "max_retry": -1},
)


def started(seed: int, steps: int) -> World:
    """A world in the middle of something."""
    world = World(seed)
    world.configure(SPECS)
    world.run(steps)
    return world


def over(world: World) -> None:
    """Nothing runs, nothing is a zombie, and the daemon ended well."""
    world.run_for(MINUTE)
    assert 0 == world.ended
    assert [] == [one for one in world.keeper.kernel.processes.values() if one.pidfd]


def test_a_term_at_every_moment_ends_everything() -> None:
    """During the start, mass respawn and churn: none is lost (Circus loses them)."""
    for steps in range(MOMENTS):
        world = started(1, steps)
        world.signal(signal.SIGTERM)
        over(world)
        world.examine()


def test_a_term_is_honoured_though_the_core_dies_of_it_at_any_touch() -> None:
    """Dead before it answered: the plans that came with the spawns are carried out."""
    for calls in range(1, 250, 3):
        world = started(2, 120)
        world.signal(signal.SIGTERM)
        world.crash_at(calls)
        over(world)


def test_a_term_is_not_lost_between_the_keeper_and_a_core_that_dies() -> None:
    """Requests that the core had sent before the signal are no answer to it."""
    world = started(12, 120)
    world.signal(signal.SIGTERM)
    world.crash_at(29)
    over(world)


def test_quit_is_an_end_like_any_other() -> None:
    """By command: all is stopped, and `core.stopped` is the last record."""
    world = started(3, 120)
    assert world.command("quit")
    over(world)

    assert "core.stopped" == world.truth.records[-1].name
