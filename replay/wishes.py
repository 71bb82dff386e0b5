"""Room: replay -- what a drawn configuration has, and what operators and strangers do to it.

Knows:     replay.world.
Known by:  replay.drive, replay.strategies.
Never:     has a chance of its own: whoever calls gives the dice.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from circus.bus.vault import Vault
from circus.replay.checks.subscribers import TAINTS
from circus.replay.kernel.kin import PID_FIRST, PIDS
from circus.replay.sim.agenda import Dice
from circus.replay.world import World

SECOND: Final = 1_000_000_000
SECRETS: Final = tuple(taint.decode() for taint in TAINTS)
SEALED: Final = Vault.in_memory().seal_all({"TOKEN": SECRETS[0]})  # as a file's reader makes it
COMMANDS: Final = ("web", "moody", "single", "broken", "family")
STRANGERS_SIGNALS: Final = (
    signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT,
    signal.SIGUSR1,
)  # fmt: skip


def specs(chance: Dice, *, ageless: bool = False) -> list[dict[str, Any]]:
    """A configuration that has a bit of everything. `ageless`: nothing is replaced for its age."""
    common = {"max_retry": -1, "leftovers": chance.choice(("kill", "leave"))}
    several = chance.randrange(1, 5)
    drawn: list[dict[str, Any]] = [
        {"name": "web", "cmd": "steady", "numprocesses": several, **_options(chance), **common},
        {"name": "moody", "cmd": "moody", **_options(chance), **common, **_tries(chance)},
        {"name": "single", "cmd": "slow 1", "singleton": True, **_options(chance), **common},
        {"name": "broken", "cmd": "missing", "max_retry": chance.randrange(4), "numprocesses": 2},
        {"name": "family", "cmd": "parent 2 1.5", "stop_children": True, **_options(chance)},
    ]
    if ageless:
        for spec in drawn:
            spec["max_age"] = 0
    return drawn


def _tries(chance: Dice) -> dict[str, Any]:
    return {"numprocesses": chance.randrange(1, 5), "max_retry": chance.choice((-1, 0, 1, 3))}


def _options(chance: Dice) -> dict[str, Any]:
    return {
        "graceful_timeout": chance.choice((0, SECOND // 10, 2 * SECOND)),
        "backoff": chance.choice((SECOND // 20, SECOND // 10)),
        "give_up": chance.choice((0, 0, 0, 3)),
        "warmup_delay": chance.choice((0, 0, SECOND // 20)),
        "max_age": chance.choice((0, 0, 3 * SECOND)),
        "max_age_variance": SECOND,
        "min_uptime": chance.choice((0, SECOND // 10, SECOND)),
        "respawn": chance.random() < 0.9,
        "send_hup": chance.random() < 0.1,
        "priority": chance.randrange(3),
        "env": SEALED if chance.random() < 0.5 else {},
    }


def command(world: World, chance: Dice) -> None:
    """Something that an operator may wish."""
    verb, properties = chance.choice(WISHES)
    drawn = {key: draw(chance) for key, draw in properties.items()}
    _ask(world, verb, drawn)
    if "name" in drawn and chance.random() < HASTE:
        verb, others = chance.choice(IMPATIENT.get(verb, SECOND_THOUGHTS))
        _ask(world, verb, {"name": drawn["name"], **others})


def story(world: World, chance: Dice) -> None:
    """Somebody in a hurry: what meets too seldom by chance, one wish soon after the other."""
    name, delay = _name(chance), 0
    for verb, properties in chance.choice(STORIES):
        whole = {} if properties is None else {"name": name, **properties}
        world.agenda.later(delay, partial(_ask, world, verb, whole))
        delay += chance.choice(HASTES)


def command_in_vain(world: World, chance: Dice) -> None:
    """The core dies, and has not heard what it has just been asked for."""
    for _ in range(chance.randrange(IN_VAIN_MAX)):
        command(world, chance)
    world.crash()


def _ask(world: World, verb: str, properties: dict[str, Any]) -> None:
    if world.strangers.clients:
        world.strangers.ask(verb, properties)
    else:
        world.command(verb, **properties)


def kill(world: World, chance: Dice) -> None:
    """Some living process gets some signal from elsewhere."""
    living = world.keeper.kernel.living()
    if living:
        signum = int(chance.choice(STRANGERS_SIGNALS))
        world.agenda.coverage.faults[f"killed by a stranger: {signum}"] += 1
        world.kill(chance.choice(living).pid, signum)


def edit(world: World, chance: Dice) -> None:
    """Somebody writes another configuration file and has it read."""
    world.agenda.coverage.faults["configuration changed"] += 1
    drawn = specs(chance)
    world.configure(drawn[: chance.randrange(2, len(drawn) + 1)])
    world.command("reloadconfig")


# What somebody who has just asked for something else asks of the same watcher.
HASTE: Final = 0.5
IN_VAIN_MAX: Final = 4
SECOND_THOUGHTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("rm", {"nostop": True}), ("rm", {"nostop": True}), ("rm", {}), ("stop", {}),
    ("start", {}), ("restart", {}),
)  # fmt: skip
REMOVALS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("rm", {"nostop": True}), ("rm", {"nostop": True}), ("start", {}),
)  # fmt: skip
IMPATIENT: Final[Mapping[str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "restart": REMOVALS[:2],
    "rm": REMOVALS,
    "stop": (*REMOVALS, ("set", {"options": {"graceful_timeout": 0}})),
    "kill": (("stop", {}), ("stop", {}), ("restart", {}), ("kill", {"graceful_timeout": 0})),
}
HASTES: Final = (0, 0, SECOND // 50, SECOND // 10)
# About one watcher each; without properties a wish is about all of them.
STORIES: Final[tuple[tuple[tuple[str, dict[str, Any] | None], ...], ...]] = (
    (("decr", {"nb": 1}),),
    (("decr", {"nb": 2}),),
    (("incr", {"nb": 2}), ("decr", {"nb": 1})),
    (("set", {"options": {"numprocesses": 4}}), ("set", {"options": {"numprocesses": 1}})),
    (("kill", {"graceful_timeout": 5}), ("kill", {"graceful_timeout": 0})),
    (("kill", {"graceful_timeout": 5}), ("stop", {})),
    (("stop", {}), ("rm", {"nostop": True})),
    (("restart", {}), ("start", {})),
    (("restart", None), ("stop", {})),
    (("start", None), ("signal", {"signum": int(signal.SIGHUP)}), ("start", {})),
)  # fmt: skip
FAULTS: Final = (
    "configuration changed", *(f"killed by a stranger: {int(one)}" for one in STRANGERS_SIGNALS)
)  # fmt: skip


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
            {"respawn": chance.random() < 0.5},
            {"max_retry": chance.randrange(-1, 3)},
            {"env": {"TOKEN": chance.choice(SECRETS)}},
        )
    )


def _flag(chance: Dice) -> bool:
    return chance.random() < 0.5


def _single(_chance: Dice) -> str:
    return "single"


def _two(_chance: Dice) -> dict[str, Any]:
    return {"numprocesses": 2}  # refused: a singleton has one


def _program(chance: Dice) -> str:
    return chance.choice(("steady", "moody", "instant 3", "missing"))


def _broken(_chance: Dice) -> str:
    return "broken"


def _missing(_chance: Dice) -> str:
    return "missing"


def _always(_chance: Dice) -> bool:
    return True


def _patience(chance: Dice) -> float | None:
    return chance.choice((None, 0, 0.2, 5))


def _pid(chance: Dice) -> int | None:
    return chance.choice((None, None, PID_FIRST + chance.randrange(PIDS)))


def _patient(_chance: Dice) -> dict[str, Any]:
    return {"max_retry": -1, "backoff": SECOND}


def _small(chance: Dice) -> dict[str, Any]:
    return {"graceful_timeout": 10**8, "backoff": 10**8, "max_retry": chance.choice((0, 1, 3))}


Draws = dict[str, Callable[[Dice], Any]]
WISHES: Final[tuple[tuple[str, Draws], ...]] = (
    ("start", {"name": _name}),
    ("stop", {"name": _name}),
    ("restart", {"name": _name}),
    ("restart", {"name": _name}),
    ("reload", {"name": _name, "graceful": _flag, "sequential": _flag}),
    ("start", {}),
    ("stop", {}),
    ("restart", {}),
    ("reload", {}),
    ("incr", {"name": _name, "nb": _number}),
    ("decr", {"name": _name, "nb": _number}),
    ("set", {"name": _name, "options": _changes}),
    ("signal", {"name": _name, "signum": _signum, "recursive": _flag, "pid": _pid}),
    ("kill", {"name": _name, "graceful_timeout": _patience, "pid": _pid}),
    ("kill", {"name": _name, "graceful_timeout": _patience}),
    ("manage", {"name": _name}),
    ("retry", {"name": _name}),
    ("set", {"name": _single, "options": _two}),
    ("set", {"name": _broken, "options": _patient}),
    ("start", {"name": _broken}),
    ("rm", {"name": _broken}),
    ("add", {"name": _broken, "cmd": _missing, "options": _small, "start": _always}),
    ("rm", {"name": _name, "nostop": _flag}),
    ("add", {"name": _name, "cmd": _program, "options": _small, "start": _flag}),
)  # fmt: skip
