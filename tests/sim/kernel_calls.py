"""Scripts of system calls by chance, and what the simulated kernel makes of them.

A script is a list of calls, a call a list: its name, who makes it, its arguments. Processes are
named by the order of their births, HARNESS is the keeper. A script is composed call by call on the
model, in several copies that let those that got a signal act in different orders: what these do
not agree about Linux promises nobody, and it is not asked.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from circus.process.kernel import Child
from circus.process.launch import Launch
from circus.replay.agenda import Agenda
from circus.replay.scripts import Script
from circus.replay.sim_kernel import SimKernel
from circus.replay.sim_kin import RUNNING, STOPPED, ZOMBIE, Process
from circus.replay.sim_processes import NOBODY
from circus.replay.sim_waits import waitid
from circus.replay.truth import Fact

HARNESS: Final = -1
NAMES_MAX: Final = 10
CALLS_MAX: Final = 26
PIDFD: Final = 3
HUP: Final = int(signal.SIGHUP)
CONT: Final = int(signal.SIGCONT)
STOP: Final = int(signal.SIGSTOP)
TSTP: Final = int(signal.SIGTSTP)
TERM: Final = int(signal.SIGTERM)
SEGV: Final = int(signal.SIGSEGV)
CHLD: Final = int(signal.SIGCHLD)
PLOTTED: Final = 0.6
OBEDIENT: Final = Script(waits=False)  # for its children when it is told to, not by itself

Call = list[Any]
Pick = Callable[[int], int]


def _at_random(seed: int) -> Pick:
    """Now and then somebody gets a processor, by chance."""
    chance = random.Random(seed)
    return lambda count: chance.randrange(count) if chance.random() < 0.5 else NOBODY


# Who acts on a signal while a call is being made; afterwards all do. None: everybody at once.
ORDERS: Final[Sequence[Callable[[], Pick | None]]] = (
    lambda: None,
    lambda: lambda _count: NOBODY,
    lambda: lambda count: NOBODY if count == 1 else count - 1,
    *(partial(_at_random, seed) for seed in range(4)),
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

    def __init__(self, order: Pick | None = None) -> None:
        self.kernel = SimKernel(Quiet())
        self.table = self.kernel.table
        self.births: dict[int, Process] = {}
        self.sleepers: set[int] = set()  # take no orders
        self._names = {self.table.keeper.pid: HARNESS}
        self.ordered = True
        self._order = order
        self.table.keeper.signals.catch(HUP)

    def play(self, call: Call) -> list[Any]:
        """Its result, how everybody stands, and whether the order of children is still known."""
        result = self.make(call)
        return [result, self.scene(), self.ordered]

    def make(self, call: Call) -> Any:
        word, *rest = call
        living = len(self.names(RUNNING, STOPPED))
        self.table.pick = self._order
        result = getattr(self, f"_do_{word}")(*rest)
        self.table.pick = None
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

    def _actor(self, name: int) -> Process:
        if name != HARNESS and name not in self.obedient():
            raise Impossible(name)
        return self.of(name)

    def _child(self, name: int) -> Child:
        """As the production seam holds it: ours and not reaped."""
        one = self.of(name)
        if not self.here(name) or one.mother is not self.table.keeper:
            raise Impossible(name)
        return Child(one.pid, one.pidfd, one.started, one.serial)

    # --- births -----------------------------------------------------------------------------------

    def _do_spawn(self, name: int) -> int:
        child = self.kernel.spawn(Launch(("steady",), {}))
        self._know(name, self.kernel.processes[child.inode])
        self.sleepers.add(name)
        return 0

    def _do_fork(self, mother: int, name: int) -> int:
        child = self.table.fork(self._actor(mother), OBEDIENT)
        if mother == HARNESS:
            child.signals.default(HUP)
        self._know(name, child)
        return 0

    def _know(self, name: int, process: Process) -> None:
        self.births[name] = process
        self._names[process.pid] = name

    # --- what processes do ------------------------------------------------------------------------

    def _do_tell(self, name: int, word: str, number: int = 0) -> int:
        one = self._actor(name)
        if word == "setsid":
            return -self.table.kin.setsid(one)
        if word == "subreaper":
            one.subreaper = bool(number)
            return 0
        failed: int = getattr(one.signals, word)(number)
        return -failed

    def _do_unblock(self, name: int, signum: int) -> int:
        one = self._actor(name)
        one.signals.unblock(signum)
        self.table.act(one)
        return 0

    def _do_raise(self, name: int, signum: int) -> int:
        self.table.kill(self._actor(name), signum)
        return 0

    def _do_raisepg(self, name: int, signum: int) -> int:
        self.table.kill_group(self._actor(name).group, signum)
        return 0

    def _do_exit(self, name: int, code: int) -> int:
        self.table.exit(self._actor(name), code)
        return 0

    def _do_exec(self, name: int) -> int:
        self._actor(name).exec()
        self.sleepers.add(name)
        return 0

    def _do_kill(self, name: int, target: int, signum: int) -> int:
        self._actor(name)
        one = self.of(target)
        return -self.table.kill(one, signum) if self.here(target) else -3

    def _do_killpg(self, name: int, group: int, signum: int) -> int:
        self._actor(name)
        return -self.table.kill_group(self.of(group).pid, signum)

    def _do_setpgid(self, name: int, target: int, group: int) -> int:
        pid = 0 if name == target else self.of(target).pid
        return -self.table.kin.setpgid(self._actor(name), pid, self.of(group).pid)

    def _do_wait(self, name: int, kind: int, target: int, options: int) -> Any:
        which = KINDS[kind]
        one = self.births.get(target)
        number = 0
        if one is not None:
            number = one.serial if which == PIDFD else one.pid
        try:
            seen = waitid(self.table, self._actor(name), (which, number), options)
        except OSError as error:
            return -(error.errno or 0)
        return [] if seen is None else [self.name_of_pid(seen.process.pid), seen.code, seen.status]

    # --- the production seam ----------------------------------------------------------------------

    def _do_peek(self, name: int) -> Any:
        ending = self.kernel.peek(self._child(name))
        return [] if ending is None else [ending.code, ending.signal, ending.core]

    def _do_reap(self, name: int) -> int:
        child = self._child(name)
        if self.of(name).state != ZOMBIE:
            raise Impossible(name)
        self.kernel.reap(child)
        return 0

    def _do_signal(self, name: int, signum: int, scope: str, child: int | None) -> Any:
        pid = None if child is None else self.of(child).pid
        pids, failed = self.kernel.signal(self._child(name), signum, scope, pid)
        return [-failed, sorted(map(self.name_of_pid, pids))]

    def _do_strangers(self, known: list[int]) -> list[int]:
        found = self.kernel.strangers([self._child(one).pid for one in known])
        return sorted(map(self.name_of_pid, found))

    def _do_leftovers(self, name: int) -> list[int]:
        return sorted(map(self.name_of_pid, self.kernel.kill_leftovers(self._child(name))))

    def _do_orphans(self, names: list[int]) -> list[Any]:
        found = self.kernel.reap_orphans(frozenset(self.of(one).pid for one in names))
        return sorted([self.name_of_pid(one.pid), one.code, one.signal] for one in found)

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


KINDS: Final = (os.P_ALL, os.P_PID, os.P_PGID, PIDFD)
WHICH: Final = range(len(KINDS))


# --- scripts by chance ----------------------------------------------------------------------------

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


class Composer:
    """Draws calls that can be made now. None: not this one."""

    def __init__(self, model: Model, chance: random.Random) -> None:
        self.model = model
        self.chance = chance

    def draw(self) -> Call:
        while True:
            kind = self.chance.choices(list(DRAWS), list(DRAWS.values()))[0]
            call: Call | None = getattr(self, kind)()
            if call is not None:
                return [kind.rpartition("_")[0], *call] if kind.endswith("_") else [kind, *call]

    def spawn(self) -> Call | None:
        return self._newborn()

    def fork(self) -> Call | None:
        newborn = self._newborn()
        return None if newborn is None else [self._actor(), *newborn]

    def tell(self) -> Call | None:
        word = self.chance.choice(("setsid", "subreaper", "ignore", "catch", "default", "block"))
        name = self._servant()
        if name is None:
            return None
        if word == "setsid":
            return [name, word]
        if word == "subreaper":
            return [name, word, self.chance.randrange(2)]
        return [name, word, self._signum()]

    def unblock(self) -> Call | None:
        name = self._servant()
        if name is None:
            return None
        blocked = sorted(self.model.of(name).signals.blocked)
        return [name, self.chance.choice(blocked or SIGNALS)]

    def raise_(self) -> Call | None:
        return self._by_servant(self.chance.choice(SIGNALS))

    def raisepg(self) -> Call | None:
        name = self._servant()
        if name is None or self.model.of(name).group == self.model.table.keeper.group:
            return None  # We are in it ourselves.
        return [name, self.chance.choice(SIGNALS)]

    def exit(self) -> Call | None:
        return self._by_servant(self.chance.choice((0, 1, 7, 255, 256)))

    def exec(self) -> Call | None:
        return self._by_servant()

    def kill(self) -> Call | None:
        name, target = self._actor(), self._anybody()
        if target is None or target == name or (name != HARNESS and not self.model.here(target)):
            return None
        stopped = self.model.of(target).state == STOPPED
        return [name, target, CONT if stopped and self._odds(0.4) else self._signum()]

    def killpg(self) -> Call | None:
        name, group = self._actor(), self._leader()
        if group is None or (name != HARNESS and self.model.of(name).group == self._pid(group)):
            return None
        members = self.model.table.kin.groups.get(self._pid(group))
        # Of an empty group only the existence is asked: by now somebody else might have its number.
        return [name, group, self._signum() if members else 0]

    def setpgid(self) -> Call | None:
        name, target = self._actor(), self._anybody()
        if target is None:
            return None
        target = name if self._odds(0.4) and name != HARNESS else target
        group = target if self._odds(0.5) else self._leader()
        return None if group is None else [name, target, group]

    def wait(self) -> Call | None:
        name, target = self._actor(), self._anybody()
        kinds = [one for one in WHICH if self.model.ordered or KINDS[one] in (os.P_PID, PIDFD)]
        kind = self.chance.choice([one for one in kinds if name == HARNESS or KINDS[one] != PIDFD])
        if target is None:
            return None
        children = self.model.of(name).children
        if children and self._odds(0.6):
            target = self.model.name_of(self.chance.choice(children))
        options = self.chance.choice(WAITS) | os.WNOHANG
        return [name, kind, target, options | (os.WNOWAIT if self._odds(0.4) else 0)]

    # --- the production seam ----------------------------------------------------------------------

    def peek(self) -> Call | None:
        return self._of_child(RUNNING, STOPPED, ZOMBIE)

    def reap(self) -> Call | None:
        return self._of_child(ZOMBIE)

    def signal(self) -> Call | None:
        found = self._of_child(RUNNING, STOPPED, ZOMBIE)
        if found is None or self._in_our_group(found[0]):
            return None
        child = self._anybody() if self._odds(0.3) else None
        return [*found, self.chance.choice((*SIGNALS, 65)), self.chance.choice(SCOPES), child]

    def strangers(self) -> Call | None:
        ours = self._ours(RUNNING, STOPPED, ZOMBIE)
        return [[one for one in ours if self._odds(0.6)]]

    def leftovers(self) -> Call | None:
        found = self._of_child(ZOMBIE)
        return None if found is None or self._in_our_group(found[0]) else found

    def orphans(self) -> Call | None:
        return [[name for name in self._ours(RUNNING, STOPPED, ZOMBIE) if self._odds(0.5)]]

    # --- parts ------------------------------------------------------------------------------------

    def _odds(self, rate: float) -> bool:
        return self.chance.random() < rate

    def _signum(self) -> int:
        return self.chance.choice(SIGNALS)

    def _pid(self, name: int) -> int:
        return self.model.of(name).pid

    def _newborn(self) -> Call | None:
        count = len(self.model.births)
        return [count] if count < NAMES_MAX else None

    def _servant(self) -> int | None:
        servants = self.model.obedient()
        return self.chance.choice(servants) if servants else None

    def _by_servant(self, *rest: int) -> Call | None:
        name = self._servant()
        return None if name is None else [name, *rest]

    def _actor(self) -> int:
        return self.chance.choice([HARNESS, *self.model.obedient()])

    def _anybody(self) -> int | None:
        """Mostly somebody who lives."""
        states = (RUNNING, STOPPED) if self._odds(0.8) else (RUNNING, STOPPED, ZOMBIE)
        present = self.model.names(*states)
        names = present if present and self._odds(0.95) else list(self.model.births)
        return self.chance.choice(names) if names else None

    def _leader(self) -> int | None:
        """Mostly somebody with a group."""
        name = self._anybody()
        if name is None or self._odds(0.2) or self._in_our_group(name):
            return name
        return self.model.name_of_pid(self.model.of(name).group)

    def _ours(self, *states: str) -> list[int]:
        keeper = self.model.table.keeper
        return [one for one in self.model.names(*states) if self.model.of(one).mother is keeper]

    def _of_child(self, *states: str) -> Call | None:
        ours = self._ours(*states)
        return [self.chance.choice(ours)] if ours else None

    def _in_our_group(self, name: int) -> bool:
        return self.model.of(name).group == self.model.table.keeper.group


DRAWS: Final = {
    "spawn": 2, "fork": 14, "tell": 14, "unblock": 4, "raise_": 5, "raisepg": 2, "exit": 5,
    "exec": 1, "kill": 16, "killpg": 5, "setpgid": 6, "wait": 16, "peek": 3, "reap": 3,
    "signal": 8, "strangers": 1, "leftovers": 3, "orphans": 1,
}  # fmt: skip


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
    models = [_replayed(script, order) for order in ORDERS]
    for _ in range(chance.randrange(4, CALLS_MAX)):
        call = Composer(models[0], chance).draw()
        played = _agreed(models, call)
        if played is not None:
            script.append(call)
            expected.append(played)
        else:
            models = [_replayed(script, order) for order in ORDERS]
    return Composed(script, expected)


def foretell(script: Iterable[Call]) -> list[Any] | None:
    """What the model says about a script; None where it cannot be played or Linux does not say."""
    models = [Model(order()) for order in ORDERS]
    told: list[Any] = []
    for call in script:
        played = _agreed(models, call)
        if played is None:
            return None
        told.append(played)
    return told


def _agreed(models: Sequence[Model], call: Call) -> list[Any] | None:
    """What all of them say; None if they do not say the same, or one cannot make the call."""
    try:
        played = [model.play(call) for model in models]
    except Impossible:
        return None
    return played[0] if all(one == played[0] for one in played) else None


def _replayed(script: list[Call], order: Callable[[], Pick | None]) -> Model:
    model = Model(order())
    for call in script:
        model.make(call)
    return model
