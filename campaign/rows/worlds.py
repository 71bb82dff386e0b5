"""F4, F11, F12S: simulated, where a crash can be at every call, a clock can jump, a spawn can fail.

Nobody sets the clock of a machine that is somebody's, nor cuts its power; here both happen to the
production code between simulated seams (docs/simulation.md), and every invariant is checked.
Worlds of F4 and F11 are numbered from the row's seed on, and nothing else decides what one does: a
failure prints the number with which a row begins with it.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, product
from typing import Any, Final

from campaign.stage import Stage
from circus.replay.checks.checkers import Violation
from circus.replay.exhaustive import ending
from circus.replay.kernel.spawn import KernelWeather, SpawnFault
from circus.replay.sim.agenda import Dice, PowerCut
from circus.replay.sim.clock import TROUBLES
from circus.replay.world import World

HAPPENINGS: Final = 400
SECONDS_AFTER: Final = 10
NS: Final = 1_000_000_000
EVERY_POINT: Final = 1_000  # who wants so many gets each point; else some of many scenarios
POINTS: Final = 10
CMDS: Final = ("steady", "slow 0.3", "stubborn", "instant 3", "exits 1 0.5", "crashes 11 0.2")
BACKOFF: Final = NS // 10  # as in a TOML file: without one, short lives keep a world busy
JUMPS: Final = ("step", "slew", "suspend")
YEAR: Final = 31_557_600
LEAPS: Final = (1, 60, 3_600, 86_400, YEAR, 10 * YEAR)  # seconds, both ways
SPAWNS_MAX: Final = 500
REFUSED: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE)
STRIDE: Final = 577  # a prime: neighbours in time are far apart
BUSY: Final = (
    {"name": "w0", "cmd": "instant 3", "numprocesses": 3, "min_uptime": 0},
    {"name": "w1", "cmd": "steady", "numprocesses": 2},
)


def _world(seed: int) -> World:
    """Two watchers of some kind, running."""
    world = World(seed)
    world.truth.repeat = _repeat("F11", seed)
    kinds = [CMDS[seed % len(CMDS)], CMDS[seed // len(CMDS) % len(CMDS)]]
    world.configure([
        {
            "name": f"w{at}", "cmd": cmd, "numprocesses": 1 + (seed + at) % 3, "max_retry": 4,
            "backoff": BACKOFF,
        }
        for at, cmd in enumerate(kinds)
    ])  # fmt: skip
    return world


def _repeat(row: str, seed: int) -> str:
    return f"make campaign ONLY={row} SEED={seed}"


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
    for seed in count(stage.task.seed):
        if not stage.going():
            break
        calls = _told(stage, partial(_calls, seed), f"scenario {seed}")
        stage.counts["scenarios"] += 1
        points = [*range(1, (calls or 0) + 1)]
        if stage.task.wanted < EVERY_POINT:
            points = random.Random(seed).sample(points, min(POINTS, len(points)))
        for point, power in product(points, (False, True)):
            if stage.going():
                how = f"scenario {seed}, {'power cut' if power else 'crash'} at call {point}"
                end = partial(_equal, stage, seed, point, power=power)
                _told(stage, end, how)
                stage.counts["power cuts" if power else "crashes"] += 1
                stage.did()


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
    for seed in count(stage.task.seed):
        if not stage.going():
            break
        world, dice = _world(seed), random.Random(seed)
        kinds = dice.choices(("far", *JUMPS), k=dice.randrange(5, 40))
        _told(stage, partial(_jumpy, world, dice, kinds), f"world {seed}")
        stage.counts.update(kinds)
        stage.did(len(kinds))


def _jumpy(world: World, dice: random.Random, kinds: Sequence[str]) -> None:
    for kind in kinds:
        world.run(dice.randrange(1, 60))
        if kind == "far":
            world.agenda.wall += dice.choice((-1, 1)) * dice.choice(LEAPS) * NS
        else:
            TROUBLES[kind](world.agenda, world.stops)
        if dice.random() < 0.2:
            world.command("restart", name=f"w{dice.randrange(2)}")
    world.run_for(SECONDS_AFTER * NS)
    world.settle()
    world.examine()


# --- F12S -----------------------------------------------------------------------------------------


class NthSpawn(KernelWeather):
    """A calm day, but for one spawn."""

    def __init__(self, number: int, fault: SpawnFault) -> None:
        super().__init__()
        self.left = number
        self._fault = fault

    def spoil(self, chance: Dice) -> SpawnFault | None:
        self.left -= 1
        return self._fault if self.left == 0 else None


def f12s(stage: Stage) -> None:
    """The Nth spawn of a busy world fails, for each N and errno: others are not affected."""
    cases = [*product(range(1, SPAWNS_MAX + 1), REFUSED)]
    while stage.going():
        number, error = cases[stage.number * STRIDE % len(cases)]
        how = f"{errno.errorcode[error]} at spawn {number}"
        _told(stage, partial(_refused, stage, number, SpawnFault("fork", error)), how)
        stage.did()
    stage.figures["of all cases"] = f"{len(cases):,}"


def _refused(stage: Stage, number: int, fault: SpawnFault) -> None:
    world = World(number)
    world.truth.repeat = f"{fault.name}, number {number}"
    weather = NthSpawn(number, fault)
    world.configure(BUSY)
    world.keeper.kernel.lives.weather = weather
    for _ in range(HAPPENINGS):
        if weather.left <= 0:
            break
        world.run(number)
    stage.expect(weather.left <= 0, f"it never came to spawn {number}")
    stage.counts[fault.name] += 1
    world.settle()
    world.examine()
