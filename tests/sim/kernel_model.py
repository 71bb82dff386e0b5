"""What the simulated kernel makes of a script of system calls.

A script is a list of calls, a call a list: its name, who makes it, its arguments. Processes are
named by the order of their births, HARNESS is the keeper. It is played on several copies of the
model that let those that got a signal act in different orders: what these do not agree about Linux
promises nobody, and it is not asked.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from circus.process.kernel import Child
from circus.process.launch import Launch
from circus.replay.checks.truth import Fact
from circus.replay.kernel.kernel import SimKernel
from circus.replay.kernel.kin import RUNNING, STOPPED, ZOMBIE, Process
from circus.replay.kernel.processes import NOBODY
from circus.replay.kernel.scripts import Script
from circus.replay.kernel.waits import waitid
from circus.replay.sim.agenda import Agenda

HARNESS: Final = -1
PIDFD: Final = 3
KINDS: Final = (os.P_ALL, os.P_PID, os.P_PGID, PIDFD)
HUP: Final = int(signal.SIGHUP)
OBEDIENT: Final = Script(waits=False)  # for its children when it is told to, not by itself

Call = list[Any]
Pick = Callable[[int], int]


class Order(NamedTuple):
    """Who acts on a signal: `during` the call, and `after` it, when all do. None: at once."""

    during: Pick | None = None
    after: Pick | None = None


def _by_chance(seed: int) -> Order:
    """Now and then somebody gets a processor while the call goes on."""
    chance = random.Random(seed)
    return Order(
        lambda count: chance.randrange(count) if chance.random() < 0.5 else NOBODY,
        chance.randrange,
    )


ORDERS: Final[Sequence[Callable[[], Order]]] = (
    Order,
    lambda: Order(lambda _count: NOBODY),
    lambda: Order(lambda _count: NOBODY, lambda count: count - 1),
    *(partial(_by_chance, seed) for seed in range(5)),
)
ANSWERED: Final = {"kill", "killpg"}


class Impossible(Exception):
    """A call that nobody could make now: only a script from which calls were taken has one."""


class Quiet:
    """The world around a kernel that is only asked."""

    def __init__(self) -> None:
        self.agenda = Agenda(0)

    def happened(self, fact: Fact) -> None:
        """Nobody checks."""

    def readable(self, pidfd: int) -> None:
        """Nobody polls."""

    def child_ended(self) -> None:
        """Nobody waits."""


class Model:
    """The simulated kernel behind the calls of a script."""

    def __init__(self, order: Order | None = None) -> None:
        self.kernel = SimKernel(Quiet())
        self.table = self.kernel.table
        self.births: dict[int, Process] = {}
        self.sleepers: set[int] = set()  # take no orders
        self._names = {self.table.keeper.pid: HARNESS}
        self.ordered = True
        self._order = order or Order()
        self.table.keeper.signals.catch(HUP)

    def play(self, call: Call) -> list[Any]:
        """Its result, how everybody stands, and whether the order of children is still known."""
        result = self.make(call)
        return [result, self.scene(), self.ordered]

    def make(self, call: Call) -> Any:
        word, *rest = call
        living = len(self.names(RUNNING, STOPPED))
        self.table.pick = self._order.during
        result = MOVES[word](self, *rest)
        self.table.pick = self._order.after
        self.table.run()
        if living - len(self.names(RUNNING, STOPPED)) > 1:
            # Two that die at once give their children away in any order, or through one another.
            self.ordered = False
        if word in ANSWERED and rest[0] != HARNESS and rest[0] not in self.obedient():
            raise Impossible(call)  # Linux may end it before it has answered, or after.
        return result

    def scene(self) -> list[Any]:
        rows = [self._row(one) for one in self.births.values()]
        return [self._children(self.table.keeper), *rows]

    # --- who there is -----------------------------------------------------------------------------

    def names(self, *states: str) -> list[int]:
        return [
            name for name, one in self.births.items() if self.here(name) and one.state in states
        ]

    def here(self, name: int) -> bool:
        return name == HARNESS or self.births[name].serial in self.kernel.processes

    def obedient(self) -> list[int]:
        """Who takes orders now."""
        return [name for name in self.names(RUNNING) if name not in self.sleepers]

    def of(self, name: int) -> Process:
        if name == HARNESS:
            return self.table.keeper
        if name not in self.births:
            raise Impossible(name)
        return self.births[name]

    def actor(self, name: int) -> Process:
        if name != HARNESS and name not in self.obedient():
            raise Impossible(name)
        return self.of(name)

    def child(self, name: int) -> Child:
        """As the production seam holds it: ours and not reaped."""
        one = self.of(name)
        if not self.here(name) or one.mother is not self.table.keeper:
            raise Impossible(name)
        return Child(one.pid, one.pidfd, one.started, one.serial)

    def know(self, name: int, process: Process) -> None:
        self.births[name] = process
        self._names[process.pid] = name

    # --- the production seam ----------------------------------------------------------------------

    # --- parts ------------------------------------------------------------------------------------

    def name_of_pid(self, pid: int) -> int:
        return self._names[pid]

    def name_of(self, process: Process) -> int:
        return self.name_of_pid(process.pid)

    def _children(self, process: Process) -> list[int]:
        names = [self.name_of_pid(one.pid) for one in process.children]
        return names if self.ordered else sorted(names)

    def _row(self, one: Process) -> list[Any]:
        if one.serial not in self.kernel.processes:
            return ["gone", True]
        assert one.mother is not None, one
        kin = map(self.name_of_pid, (one.mother.pid, one.group, one.session))
        return [one.state, one.state == ZOMBIE, *kin, self._children(one)]


# --- the calls ------------------------------------------------------------------------------------


def _spawn(model: Model, name: int) -> int:
    child = model.kernel.spawn(Launch(("steady",), {}))
    model.know(name, model.kernel.processes[child.inode])
    model.sleepers.add(name)
    return 0


def _fork(model: Model, mother: int, name: int) -> int:
    child = model.table.fork(model.actor(mother), OBEDIENT)
    if mother == HARNESS:
        child.signals.default(HUP)
    model.know(name, child)
    return 0


def _tell(model: Model, name: int, word: str, number: int = 0) -> int:
    one = model.actor(name)
    if word == "setsid":
        return -model.table.kin.setsid(one)
    if word == "subreaper":
        one.subreaper = bool(number)
        return 0
    failed: int = getattr(one.signals, word)(number)
    return -failed


def _unblock(model: Model, name: int, signum: int) -> int:
    one = model.actor(name)
    one.signals.unblock(signum)
    model.table.act(one)
    return 0


def _raise(model: Model, name: int, signum: int) -> int:
    model.table.kill(model.actor(name), signum)
    return 0


def _raisepg(model: Model, name: int, signum: int) -> int:
    model.table.kill_group(model.actor(name).group, signum)
    return 0


def _exit(model: Model, name: int, code: int) -> int:
    model.table.exit(model.actor(name), code)
    return 0


def _exec(model: Model, name: int) -> int:
    model.actor(name).exec()
    model.sleepers.add(name)
    return 0


def _kill(model: Model, name: int, target: int, signum: int) -> int:
    model.actor(name)
    one = model.of(target)
    return -model.table.kill(one, signum) if model.here(target) else -3


def _killpg(model: Model, name: int, group: int, signum: int) -> int:
    model.actor(name)
    return -model.table.kill_group(model.of(group).pid, signum)


def _setpgid(model: Model, name: int, target: int, group: int) -> int:
    pid = 0 if name == target else model.of(target).pid
    return -model.table.kin.setpgid(model.actor(name), pid, model.of(group).pid)


def _wait(model: Model, name: int, kind: int, target: int, options: int) -> Any:
    which = KINDS[kind]
    one = model.births.get(target)
    number = 0
    if one is not None:
        number = one.serial if which == PIDFD else one.pid
    try:
        seen = waitid(model.table, model.actor(name), (which, number), options)
    except OSError as error:
        return -(error.errno or 0)
    return [] if seen is None else [model.name_of_pid(seen.process.pid), seen.code, seen.status]


def _peek(model: Model, name: int) -> Any:
    ending = model.kernel.peek(model.child(name))
    return [] if ending is None else [ending.code, ending.signal, ending.core]


def _reap(model: Model, name: int) -> int:
    child = model.child(name)
    if model.of(name).state != ZOMBIE:
        raise Impossible(name)
    model.kernel.reap(child)
    return 0


def _signal(model: Model, name: int, signum: int, scope: str, child: int | None) -> Any:
    pid = None if child is None else model.of(child).pid
    pids, failed = model.kernel.signal(model.child(name), signum, scope, pid)
    return [-failed, sorted(map(model.name_of_pid, pids))]


def _strangers(model: Model, known: list[int]) -> list[int]:
    found = model.kernel.strangers([model.child(one).pid for one in known])
    return sorted(map(model.name_of_pid, found))


def _leftovers(model: Model, name: int) -> list[int]:
    return sorted(map(model.name_of_pid, model.kernel.kill_leftovers(model.child(name))))


def _orphans(model: Model, names: list[int]) -> list[Any]:
    found = model.kernel.reap_orphans(frozenset(model.of(one).pid for one in names))
    return sorted([model.name_of_pid(one.pid), one.code, one.signal] for one in found)


MOVES: Final[dict[str, Callable[..., Any]]] = {
    "spawn": _spawn,
    "fork": _fork,
    "tell": _tell,
    "unblock": _unblock,
    "raise": _raise,
    "raisepg": _raisepg,
    "exit": _exit,
    "exec": _exec,
    "kill": _kill,
    "killpg": _killpg,
    "setpgid": _setpgid,
    "wait": _wait,
    "peek": _peek,
    "reap": _reap,
    "signal": _signal,
    "strangers": _strangers,
    "leftovers": _leftovers,
    "orphans": _orphans,
}


# --- what is promised ----------------------------------------------------------------------------


def foretell(script: Iterable[Call]) -> list[Any] | None:
    """What the model says about a script; None where it cannot be played or Linux does not say."""
    models = [Model(order()) for order in ORDERS]
    told: list[Any] = []
    for call in script:
        played = agreed(models, call)
        if played is None:
            return None
        told.append(played)
    return told


def agreed(models: Sequence[Model], call: Call) -> list[Any] | None:
    """What all of them say; None if they do not say the same, or one cannot make the call."""
    try:
        played = [model.play(call) for model in models]
    except Impossible:
        return None
    return played[0] if all(one == played[0] for one in played) else None


def replayed(script: Iterable[Call], order: Callable[[], Order] = Order) -> Model:
    """The model as a script leaves it."""
    model = Model(order())
    for call in script:
        model.make(call)
    return model
