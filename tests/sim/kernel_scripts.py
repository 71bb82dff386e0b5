"""Scripts of system calls by chance, for the comparison of the simulated kernel with Linux.

A script is composed call by call on the model (kernel_model.py): each call can be made where it
stands, and Linux promises what comes of it.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

from kernel_model import (
    HARNESS,
    HUP,
    KINDS,
    ORDERS,
    PIDFD,
    Call,
    Model,
    agreed,
    foretell,
    replayed,
)

from circus.replay.kernel.kin import RUNNING, STOPPED, ZOMBIE

CALLS_MAX: Final = 26
CONT: Final = int(signal.SIGCONT)
STOP: Final = int(signal.SIGSTOP)
TSTP: Final = int(signal.SIGTSTP)
TERM: Final = int(signal.SIGTERM)
SEGV: Final = int(signal.SIGSEGV)
CHLD: Final = int(signal.SIGCHLD)
PLOTTED: Final = 0.6
NAMES_MAX: Final = 10
SIGNALS: Final = tuple(
    int(one)
    for one in (
        signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGSTOP,
        signal.SIGCONT, signal.SIGCONT, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
        signal.SIGUSR1, signal.SIGSEGV, signal.SIGCHLD, signal.SIGCHLD, signal.SIGTSTP,
        signal.SIGTSTP, signal.SIGTTIN, signal.SIGURG, signal.SIGWINCH, signal.SIGRTMIN,
    )
)  # fmt: skip
ALL: Final = os.WEXITED | os.WSTOPPED | os.WCONTINUED
WAITS: Final = (
    os.WEXITED, os.WEXITED, os.WSTOPPED, os.WCONTINUED, os.WEXITED | os.WSTOPPED,
    os.WSTOPPED | os.WCONTINUED, ALL, ALL, ALL, ALL, 0,
)  # fmt: skip
SCOPES: Final = ("process", "children", "family", "tree", "descendants", "group")


# How half of all scripts begin: what chance alone would seldom bring about.
WORKER: Final[tuple[Call, ...]] = (["fork", HARNESS, 0], ["tell", 0, "setsid"])
PLOTS: Final[Sequence[Sequence[Call]]] = (
    (*WORKER, ["fork", 0, 1], ["fork", 0, 2], ["fork", 1, 3]),  # a family in one group
    (*WORKER, ["fork", 0, 1], ["setpgid", 1, 1, 1], ["fork", 1, 2], ["kill", HARNESS, 2, STOP]),
    (*WORKER, ["fork", 0, 1], ["fork", 0, 2], ["setpgid", 0, 1, 1], ["setpgid", 0, 2, 1],
     ["kill", 0, 1, STOP]),  # a shell with a stopped job
    (*WORKER, ["tell", 0, "ignore", CHLD], ["fork", 0, 1], ["fork", 1, 2], ["fork", 0, 3]),
    (*WORKER, ["tell", 0, "subreaper", 1], ["fork", 0, 1], ["fork", 1, 2], ["fork", 2, 3]),
    (*WORKER, ["tell", 0, "block", TERM], ["tell", 0, "block", SEGV], ["kill", HARNESS, 0, TERM]),
    (*WORKER, ["tell", 0, "block", HUP], ["kill", HARNESS, 0, HUP], ["kill", HARNESS, 0, STOP]),
    (*WORKER, ["tell", 0, "catch", TERM], ["fork", 0, 1], ["kill", HARNESS, 1, STOP],
     ["kill", HARNESS, 1, TERM]),
    (*WORKER, ["fork", 0, 1], ["tell", 1, "setsid"], ["fork", 1, 2], ["exit", 1, 0]),  # a daemon
    (*WORKER, ["fork", 0, 1], ["fork", 1, 2], ["exit", 1, 3], ["exit", 0, 4]),  # leftovers
    (["fork", HARNESS, 0], ["setpgid", 0, 0, 0], ["kill", HARNESS, 0, TSTP]),
    (["spawn", 0], ["kill", HARNESS, 0, STOP], ["kill", HARNESS, 0, TERM]),
)  # fmt: skip
WHICH: Final = range(len(KINDS))


class Composer:
    """Draws calls, and whom they concern."""

    def __init__(self, model: Model, chance: random.Random) -> None:
        self.model = model
        self.chance = chance

    def draw(self) -> Call:
        """Whatever can be made now."""
        while True:
            word = self.chance.choices(list(DRAWS), WEIGHTS)[0]
            call = DRAWS[word][1](self)
            if call is not None:
                return [word, *call]

    def odds(self, rate: float) -> bool:
        return self.chance.random() < rate

    def signum(self) -> int:
        return self.chance.choice(SIGNALS)

    def pid(self, name: int) -> int:
        return self.model.of(name).pid

    def newborn(self) -> Call | None:
        count = len(self.model.births)
        return [count] if count < NAMES_MAX else None

    def servant(self) -> int | None:
        servants = self.model.obedient()
        return self.chance.choice(servants) if servants else None

    def by_servant(self, *rest: int) -> Call | None:
        name = self.servant()
        return None if name is None else [name, *rest]

    def actor(self) -> int:
        return self.chance.choice([HARNESS, *self.model.obedient()])

    def anybody(self) -> int | None:
        """Mostly somebody who lives."""
        states = (RUNNING, STOPPED) if self.odds(0.8) else (RUNNING, STOPPED, ZOMBIE)
        present = self.model.names(*states)
        names = present if present and self.odds(0.95) else list(self.model.births)
        return self.chance.choice(names) if names else None

    def leader(self) -> int | None:
        """Mostly somebody with a group."""
        name = self.anybody()
        if name is None or self.odds(0.2) or self.in_our_group(name):
            return name
        return self.model.name_of_pid(self.model.of(name).group)

    def ours(self, *states: str) -> list[int]:
        keeper = self.model.table.keeper
        return [one for one in self.model.names(*states) if self.model.of(one).mother is keeper]

    def of_child(self, *states: str) -> Call | None:
        ours = self.ours(*states)
        return [self.chance.choice(ours)] if ours else None

    def in_our_group(self, name: int) -> bool:
        return self.model.of(name).group == self.model.table.keeper.group


# --- the calls ------------------------------------------------------------------------------------


def _spawn(composer: Composer) -> Call | None:
    return composer.newborn()


def _fork(composer: Composer) -> Call | None:
    newborn = composer.newborn()
    return None if newborn is None else [composer.actor(), *newborn]


def _tell(composer: Composer) -> Call | None:
    word = composer.chance.choice(("setsid", "subreaper", "ignore", "catch", "default", "block"))
    name = composer.servant()
    if name is None:
        return None
    if word == "setsid":
        return [name, word]
    if word == "subreaper":
        return [name, word, composer.chance.randrange(2)]
    return [name, word, composer.signum()]


def _unblock(composer: Composer) -> Call | None:
    name = composer.servant()
    if name is None:
        return None
    blocked = sorted(composer.model.of(name).signals.blocked)
    return [name, composer.chance.choice(blocked or SIGNALS)]


def _raise(composer: Composer) -> Call | None:
    return composer.by_servant(composer.chance.choice(SIGNALS))


def _raisepg(composer: Composer) -> Call | None:
    name = composer.servant()
    if name is None or composer.model.of(name).group == composer.model.table.keeper.group:
        return None  # We are in it ourselves.
    return [name, composer.chance.choice(SIGNALS)]


def _exit(composer: Composer) -> Call | None:
    return composer.by_servant(composer.chance.choice((0, 1, 7, 255, 256)))


def _exec(composer: Composer) -> Call | None:
    return composer.by_servant()


def _kill(composer: Composer) -> Call | None:
    name, target = composer.actor(), composer.anybody()
    if target is None or target == name or (name != HARNESS and not composer.model.here(target)):
        return None
    stopped = composer.model.of(target).state == STOPPED
    return [name, target, CONT if stopped and composer.odds(0.4) else composer.signum()]


def _killpg(composer: Composer) -> Call | None:
    name, group = composer.actor(), composer.leader()
    if group is None or (name != HARNESS and composer.model.of(name).group == composer.pid(group)):
        return None
    members = composer.model.table.kin.groups.get(composer.pid(group))
    # Of an empty group only the existence is asked: by now somebody else might have its number.
    return [name, group, composer.signum() if members else 0]


def _setpgid(composer: Composer) -> Call | None:
    name, target = composer.actor(), composer.anybody()
    if target is None:
        return None
    target = name if composer.odds(0.4) and name != HARNESS else target
    group = target if composer.odds(0.5) else composer.leader()
    return None if group is None else [name, target, group]


def _wait(composer: Composer) -> Call | None:
    name, target = composer.actor(), composer.anybody()
    kinds = [one for one in WHICH if composer.model.ordered or KINDS[one] in (os.P_PID, PIDFD)]
    kind = composer.chance.choice([one for one in kinds if name == HARNESS or KINDS[one] != PIDFD])
    if target is None:
        return None
    children = composer.model.of(name).children
    if children and composer.odds(0.6):
        target = composer.model.name_of(composer.chance.choice(children))
    options = composer.chance.choice(WAITS) | os.WNOHANG
    return [name, kind, target, options | (os.WNOWAIT if composer.odds(0.4) else 0)]


def _peek(composer: Composer) -> Call | None:
    return composer.of_child(RUNNING, STOPPED, ZOMBIE)


def _reap(composer: Composer) -> Call | None:
    return composer.of_child(ZOMBIE)


def _signal(composer: Composer) -> Call | None:
    found = composer.of_child(RUNNING, STOPPED, ZOMBIE)
    if found is None or composer.in_our_group(found[0]):
        return None
    child = composer.anybody() if composer.odds(0.3) else None
    return [*found, composer.chance.choice((*SIGNALS, 65)), composer.chance.choice(SCOPES), child]


def _strangers(composer: Composer) -> Call | None:
    ours = composer.ours(RUNNING, STOPPED, ZOMBIE)
    return [[one for one in ours if composer.odds(0.6)]]


def _leftovers(composer: Composer) -> Call | None:
    found = composer.of_child(ZOMBIE)
    return None if found is None or composer.in_our_group(found[0]) else found


def _orphans(composer: Composer) -> Call | None:
    return [[name for name in composer.ours(RUNNING, STOPPED, ZOMBIE) if composer.odds(0.5)]]


# How often each call is drawn, and by whom. None: it cannot be made now.
DRAWS: Final[dict[str, tuple[int, Callable[[Composer], Call | None]]]] = {
    "spawn": (2, _spawn),
    "fork": (14, _fork),
    "tell": (14, _tell),
    "unblock": (4, _unblock),
    "raise": (5, _raise),
    "raisepg": (2, _raisepg),
    "exit": (5, _exit),
    "exec": (1, _exec),
    "kill": (16, _kill),
    "killpg": (5, _killpg),
    "setpgid": (6, _setpgid),
    "wait": (16, _wait),
    "peek": (3, _peek),
    "reap": (3, _reap),
    "signal": (8, _signal),
    "strangers": (1, _strangers),
    "leftovers": (3, _leftovers),
    "orphans": (1, _orphans),
}
WEIGHTS: Final = [weight for weight, _ in DRAWS.values()]


# --- a whole script -------------------------------------------------------------------------------


class Composed:
    """A script with what the model says about each call."""

    def __init__(self, script: list[Call], expected: list[Any]) -> None:
        self.script = script
        self.expected = expected


def compose(seed: int) -> Composed:
    """The script of this number."""
    chance = random.Random(seed)
    script: list[Call] = list(chance.choice(PLOTS)) if chance.random() < PLOTTED else []
    expected = foretell(script) or []
    assert len(expected) == len(script), script
    models = [replayed(script, order) for order in ORDERS]
    for _ in range(chance.randrange(4, CALLS_MAX)):
        call = Composer(models[0], chance).draw()
        played = agreed(models, call)
        if played is not None:
            script.append(call)
            expected.append(played)
        else:
            models = [replayed(script, order) for order in ORDERS]
    return Composed(script, expected)
