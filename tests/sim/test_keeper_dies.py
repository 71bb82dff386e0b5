"""Room: tests -- kill -9 of the simulated keeper: its service is ended, and begins anew.

Knows:     circus.replay.
Known by:  nobody.
Never:     sleeps, forks a worker, reads a clock.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from circus.bus import events
from circus.replay.kernel.kernel import SimKernel, zombies
from circus.replay.world import World

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND


def at_work(**options: Any) -> World:
    """Three processes of `web` run."""
    world = World(5)
    world.configure([{"name": "web", "cmd": "steady", "numprocesses": 3, **options}])
    world.run_for(SECOND)
    return world


def said(world: World, kind: type) -> list[Any]:
    return [one.body for one in world.records() if isinstance(one.body, kind)]


def kernel_of(world: World) -> SimKernel:
    return world.keeper.kernel


def test_what_a_killed_keeper_held_is_lost_and_replaced() -> None:
    """Another keeper holds nothing: three are lost, three are started, in the same boot."""
    world = at_work()
    world.kill_keeper()
    world.settle()
    world.examine()

    assert 3 == len(said(world, events.ProcessLost))
    assert 6 == len(said(world, events.ProcessSpawned))
    assert 3 == len(kernel_of(world).living())
    assert {"boot-1"} == {one.boot_id for one in said(world, events.CoreStarted)}


def test_nobody_outlives_the_service_of_a_killed_keeper() -> None:
    """Leaders, children and whoever went to a session of his own: init waits for them all."""
    world = at_work(cmd="daemon", max_retry=-1)
    assert kernel_of(world).living()
    world.kill_keeper()

    assert ([], []) == (kernel_of(world).living(), zombies(kernel_of(world)))
    assert world.keeper.down


def test_a_new_keeper_waits_for_who_cannot_be_killed_yet() -> None:
    """A process that waits for a disk dies when the disk answers; nothing is started before."""
    world = at_work(cmd="stuck 3")
    while not any(one.state == "D" for one in kernel_of(world).living()):
        world.step()
    world.kill_keeper()
    forked = len(said(world, events.ProcessSpawned))
    while world.keeper.down:
        assert kernel_of(world).living()
        assert forked == len(said(world, events.ProcessSpawned))
        world.step()
        if not kernel_of(world).living():
            break
    world.settle()
    assert 3 == len(kernel_of(world).living())


def test_what_a_keeper_did_alone_is_recorded_under_the_next_one() -> None:
    """Its last words: the signals that it has sent by itself, and the ends that it has seen."""
    world = at_work(cmd="slow 5", graceful_timeout=20 * SECOND)
    world.signal(15)
    world.crash()  # It has not heard of it: the stop plans run.
    for _ in range(100):
        if not world.words:
            world.step()
    assert world.words
    world.kill_keeper()
    world.settle()

    assert [] == world.words
    assert 3 <= len([one for one in said(world, events.ProcessSignalled) if one.signal == 0])
    assert 3 == len(kernel_of(world).living())


@pytest.mark.parametrize("after", range(0, 200, 40))
def test_a_keeper_may_die_at_any_time(after: int) -> None:
    """While processes are started, stopped and replaced: what should run runs in the end."""
    world = World(after)
    world.configure([{"name": "web", "cmd": "exits 1 0.3", "numprocesses": 3, "max_retry": -1}])
    world.run(after)
    world.kill_keeper()
    world.run(50)
    world.kill_keeper()
    world.run_for(MINUTE)
    world.settle()
    world.examine()

    assert 3 == len(kernel_of(world).living())
