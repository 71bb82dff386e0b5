"""Room: tests -- the keeper replaces itself in the simulated world: same pid, same children.

Knows:     circus.replay.
Known by:  nobody.
Never:     sleeps, forks a worker, reads a clock.
"""

from __future__ import annotations

from collections import Counter

from circus.replay.world import World

SEEDS = range(8)
UPGRADES = 4


def upgraded(seed: int) -> World:
    """Steady workers and some that end all the time, while newer code is asked for."""
    world = World(seed)
    world.configure([
        {"name": "web", "cmd": "steady", "numprocesses": 3},
        {"name": "restless", "cmd": "exits 1 0.3", "numprocesses": 2, "backoff": 10**8},
    ])  # fmt: skip
    world.run(200)
    for _ in range(UPGRADES):
        world.command("upgrade")
        world.run(150)
    world.settle()
    world.examine()
    return world


def test_a_replaced_keeper_goes_on_with_everybody_and_every_invariant_holds() -> None:
    """What it knew has gone through a memfd; no worker ends of it, and each end is still seen."""
    names: Counter[str] = Counter()
    for seed in SEEDS:
        world = upgraded(seed)
        records = world.records()
        names.update(record.name for record in records)
        web = [one for one in records if one.watcher == "web"]
        assert 3 == sum(one.name == "process.spawned" for one in web), seed
        assert 0 == sum(one.name == "process.exited" for one in web), seed
        assert world.core is not None
        assert 1 + UPGRADES == world.core.incarnation

    assert names["keeper.reexec"] > 0
    assert names["keeper.reexec_refused"] > 0
    assert UPGRADES * len(SEEDS) == names["keeper.reexec"] + names["keeper.reexec_refused"]


def test_upgrades_while_everything_goes_wrong() -> None:
    """A core that dies over it, a keeper that is killed while newer code is tried."""
    replaced = 0
    for seed in SEEDS:
        world = World(seed)
        world.configure([{"name": "web", "cmd": "moody", "numprocesses": 3, "max_retry": -1}])
        world.run(100)
        for turn in range(6):
            world.command("upgrade")
            world.crash_at(30 + 17 * turn)
            world.run(120)
            if turn % 3 == 2:
                world.kill_keeper()
        world.settle()
        world.examine()
        replaced += world.agenda.coverage.faults["keeper.replaced"]

    assert replaced > 0
