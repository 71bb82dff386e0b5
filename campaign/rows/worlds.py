"""F4, F11: in the simulated world, where a crash can be at every call and a clock can jump.

Nobody sets the clock of a machine that is somebody's, nor cuts its power; here both happen to the
production code between simulated seams (docs/simulation.md), and every invariant is checked.
Worlds are numbered from the row's seed on, and nothing else decides what one does: a failure
prints the number with which a row begins with it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count, product
from typing import Any, Final

from campaign.stage import Stage
from circus.replay.checks.checkers import Violation
from circus.replay.exhaustive import ending
from circus.replay.sim.agenda import PowerCut
from circus.replay.sim.clock import TROUBLES
from circus.replay.world import World

HAPPENINGS: Final = 400
SECONDS_AFTER: Final = 30
NS: Final = 1_000_000_000
EVERY_POINT: Final = 100_000  # who wants so many gets each point; else some of many scenarios
POINTS: Final = 10
CMDS: Final = ("steady", "slow 0.3", "stubborn", "instant 3", "exits 1 0.5", "crashes 11 0.2")
BACKOFF: Final = NS // 10  # as in a TOML file: without one, short lives keep a world busy
JUMPS: Final = ("step", "slew", "suspend")


def _world(seed: int) -> World:
    """Two watchers of some kind, running."""
    world = World(seed)
    world.truth.repeat = _repeat("F11", seed)
    kinds = [CMDS[seed % len(CMDS)], CMDS[seed // len(CMDS) % len(CMDS)]]
    world.configure([
        {"name": f"w{at}", "cmd": cmd, "numprocesses": 1 + (seed + at) % 3, "max_retry": 4,
         "backoff": BACKOFF}
        for at, cmd in enumerate(kinds)
    ])  # fmt: skip
    return world


def _repeat(row: str, seed: int) -> str:
    return f"SEED={seed} make campaign ONLY={row}"


def _told(stage: Stage, what: Callable[[], Any], how: str) -> Any:
    try:
        return what()
    except Violation as violation:
        first, *_, again = str(violation).splitlines()
        stage.expect(False, f"{how}: {first}; {again}")
        return None


# --- F4 -------------------------------------------------------------------------------------------


def f4(stage: Stage) -> None:
    """A scenario once undisturbed, then again with its end at each call of an interface."""
    scenarios: set[int] = set()
    counts: Counter[str] = Counter()
    for seed in count(stage.seed):
        if not stage.going():
            break
        calls = _told(stage, partial(_calls, seed), f"scenario {seed}")
        scenarios.add(seed)
        points = [*range(1, (calls or 0) + 1)]
        if stage.wanted < EVERY_POINT:
            points = random.Random(seed).sample(points, min(POINTS, len(points)))
        for point, power in product(points, (False, True)):
            if stage.going():
                how = f"scenario {seed}, {'power cut' if power else 'crash'} at call {point}"
                end = partial(_equal, stage, seed, point, power=power)
                _told(stage, end, how)
                counts["power cuts" if power else "crashes"] += 1
                stage.did()
    stage.figures["scenarios"] = str(len(scenarios))
    stage.figures |= {what: f"{count:,}" for what, count in counts.items()}


def _calls(seed: int) -> int:
    return _played(seed, 0, power=False)[1]


def _equal(stage: Stage, seed: int, point: int, *, power: bool) -> None:
    """I-EQUIV: it ends as without the crash. (All other invariants are checked on the way.)"""
    calm, _ = _played(seed, 0, power=False)
    found, _ = _played(seed, point, power=power)
    if not power:
        stage.expect(found == calm, f"scenario {seed}, crash at {point}: {found}, not {calm}")


def _played(seed: int, point: int, *, power: bool) -> tuple[Any, int]:
    """They run, one is killed, an operator wants one more, and asks again if nobody has heard it.

    How it ends, and at how many calls it may end before.
    """
    world = World(seed)
    world.truth.repeat = _repeat("F4", seed)
    world.configure([
        {"name": f"w{at}", "cmd": ("steady", "slow 0.3", "stubborn")[(seed >> at) % 3],
         "numprocesses": 1 + (seed >> (2 + at)) % 2}
        for at in range(2)
    ])  # fmt: skip
    world.settle()
    before = world.agenda.touched
    if point:
        world.crash_at(point)
        if power:
            world.agenda.crash = PowerCut
    wanted = _numprocesses(world) + 1
    world.kill(next(one.pid for one in world.keeper.kernel.living() if one.pidfd))
    world.command("set", name="w0", options={"numprocesses": wanted})
    world.run(HAPPENINGS)
    calls = world.agenda.touched - before
    world.settle()
    while world.core is not None and _numprocesses(world) < wanted:
        world.command("set", name="w0", options={"numprocesses": wanted})
        world.settle()
    world.examine()
    return ending(world), calls


def _numprocesses(world: World) -> int:
    """Of the first watcher, as an operator sees it."""
    view = None if world.core is None else world.core.projection.watchers.get("w0")
    return 0 if view is None else view.spec.numprocesses


# --- F11 ------------------------------------------------------------------------------------------


def f11(stage: Stage) -> None:
    """Wall clocks jump and drift, machines sleep: durations are what they were."""
    counts: Counter[str] = Counter()
    for seed in count(stage.seed):
        if not stage.going():
            break
        world, dice = _world(seed), random.Random(seed)
        jumps = dice.randrange(5, 40)
        _told(stage, partial(_jumpy, world, dice, jumps), f"world {seed}")
        counts.update({
            name: count for name, count in world.agenda.coverage.faults.items()
            if name.startswith("clock.")
        })  # fmt: skip
        stage.did(jumps)
    stage.figures |= {name: f"{count:,}" for name, count in sorted(counts.items()) if count}


def _jumpy(world: World, dice: random.Random, jumps: int) -> None:
    for _ in range(jumps):
        world.run(dice.randrange(1, 60))
        TROUBLES[dice.choice(JUMPS)](world.agenda, world.stops)
        if dice.random() < 0.2:
            world.command("restart", name=f"w{dice.randrange(2)}")
    world.run_for(SECONDS_AFTER * NS)
    world.settle()
    world.examine()
