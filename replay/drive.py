"""Room: replay -- one run of the world from one number: options, commands and faults by chance.

Knows:     replay.world, replay.check.
Known by:  tests, `python -m circus.replay SEED [STEPS]`.
Never:     checks: the world and the laws do.

Swarm testing: each run draws which faults it has and how often, many of them never, so that what
one fault would hide another run can find.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final

import attr

from circus.replay.agenda import Dice
from circus.replay.sim_spawn import KernelWeather
from circus.replay.world import Cast, World

STEPS: Final = 400
COMMANDS: Final = ("web", "moody", "single", "broken", "family")
CALLS_TO_CRASH_MAX: Final = 300


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Weather:
    """How often what happens, per step."""

    command: float
    kill: float
    crash: float
    power_cut: float
    pause: float
    wall_jump: float

    @classmethod
    def drawn(cls, chance: Dice) -> Weather:
        """Half of all faults are absent from a run."""
        rates = (0.08, 0.05, 0.01, 0.002, 0.01, 0.01)
        return cls(*(rate * chance.random() * (chance.random() < 0.5) for rate in rates))


def drive(seed: int, steps: int = STEPS, cast: Cast | None = None) -> World:
    """One whole run: settled at its end, and all three laws upheld."""
    world = World(seed, cast)
    chance = world.agenda.chance
    weather = Weather.drawn(chance)
    world.truth.repeat = f"python -m circus.replay {seed} {steps}"
    world.configure(specs(chance))
    world.keeper.kernel.lives.weather = KernelWeather.drawn(chance)
    for _ in range(steps):
        disturb(world, weather)
        if not world.step():
            break
    world.settle()
    world.examine()
    return world


def specs(chance: Dice) -> list[dict[str, Any]]:
    """A configuration that has a bit of everything."""
    common = {"max_retry": -1, "leftovers": chance.choice(("kill", "leave"))}
    several = chance.randrange(1, 5)
    return [
        {"name": "web", "cmd": "steady", "numprocesses": several, **_options(chance), **common},
        {"name": "moody", "cmd": "moody", "numprocesses": several, **_options(chance), **common},
        {"name": "single", "cmd": "slow 1", "singleton": True, **_options(chance), **common},
        {"name": "broken", "cmd": "missing", "max_retry": chance.randrange(4), "numprocesses": 2},
        {"name": "family", "cmd": "parent 2 1.5", "stop_children": True, **_options(chance)},
    ]


def _options(chance: Dice) -> dict[str, Any]:
    second = 1_000_000_000
    return {
        "graceful_timeout": chance.choice((0, second // 10, 2 * second)),
        "backoff": chance.choice((second // 20, second // 10)),
        "warmup_delay": chance.choice((0, 0, second // 20)),
        "max_age": chance.choice((0, 0, 3 * second)),
        "max_age_variance": second,
        "priority": chance.randrange(3),
    }


def disturb(world: World, weather: Weather) -> None:
    """Perhaps a command, perhaps a fault."""
    chance = world.agenda.chance
    if chance.random() < weather.command:
        command(world, chance)
    if chance.random() < weather.kill:
        kill(world, chance)
    if chance.random() < weather.crash:
        world.crash_at(chance.randrange(1, CALLS_TO_CRASH_MAX))
    if chance.random() < weather.power_cut:
        world.cut_power()
    if chance.random() < weather.pause:
        world.agenda.pause(chance.randrange(500_000_000))
    if chance.random() < weather.wall_jump:
        world.agenda.wall += chance.randrange(-(10**12), 10**12)


def command(world: World, chance: Dice) -> None:
    """Something that an operator may wish."""
    name, properties = chance.choice(WISHES)
    drawn = {key: draw(chance) for key, draw in properties.items()}
    world.command(name, **drawn)


def kill(world: World, chance: Dice) -> None:
    """Some living process gets some signal from elsewhere."""
    living = world.keeper.kernel.living()
    if living:
        signum = chance.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT))
        world.kill(chance.choice(living).pid, int(signum))


def _name(chance: Dice) -> str:
    return chance.choice(COMMANDS)


def _number(chance: Dice) -> int:
    return chance.randrange(3)


def _signum(chance: Dice) -> int:
    return int(chance.choice((signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGKILL)))


def _changes(chance: Dice) -> dict[str, Any]:
    return chance.choice(
        (
            {"numprocesses": chance.randrange(5)},
            {"graceful_timeout": chance.randrange(10**9)},
            {"args": (str(chance.randrange(10)),)},
        )
    )


def _flag(chance: Dice) -> bool:
    return chance.random() < 0.5


def _single(_chance: Dice) -> str:
    return "single"


def _two(_chance: Dice) -> dict[str, Any]:
    return {"numprocesses": 2}  # refused: a singleton has one


def _program(chance: Dice) -> str:
    return chance.choice(("steady", "moody", "instant 3"))


def _small(_chance: Dice) -> dict[str, Any]:
    return {"graceful_timeout": 10**8, "backoff": 10**8, "max_retry": -1}


Draws = dict[str, Callable[[Dice], Any]]
WISHES: Final[tuple[tuple[str, Draws], ...]] = (
    ("start", {"name": _name}),
    ("stop", {"name": _name}),
    ("restart", {"name": _name}),
    ("reload", {"name": _name, "graceful": _flag, "sequential": _flag}),
    ("start", {}),
    ("stop", {}),
    ("incr", {"name": _name, "nb": _number}),
    ("decr", {"name": _name, "nb": _number}),
    ("set", {"name": _name, "options": _changes}),
    ("signal", {"name": _name, "signum": _signum, "recursive": _flag}),
    ("kill", {"name": _name}),
    ("manage", {"name": _name}),
    ("retry", {"name": _name}),
    ("set", {"name": _single, "options": _two}),
    ("rm", {"name": _name, "nostop": _flag}),
    ("add", {"name": _name, "cmd": _program, "options": _small, "start": _flag}),
)  # fmt: skip
