"""Room: replay -- what Hypothesis may draw: specs, programs, commands and faults of a world.

Knows:     hypothesis (the extra `testing`), replay.world.
Known by:  tests/sim/test_reap_and_manage.py, circus.testing.
Never:     draws by itself: what it gives is data, so that a failure shrinks to little of it.

A wish is (verb, properties); a fault is a named tuple that knows what it does to a world. Simple
things come first in each list: Hypothesis shrinks towards them.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from circus.replay.kernel.spawn import KernelWeather
from circus.replay.world import World

SECOND: Final = 1_000_000_000
MS: Final = 1_000_000
TOUCHES_MAX: Final = 200
PROCESSES_MAX: Final = 4

programs: SearchStrategy[str] = st.sampled_from(
    [
        "steady", "exits 1 0.3", "exits 0 0.3", "instant 3", "stubborn", "slow 1", "crashes 11 0.2",
        "sleeper", "parent 2 1", "careless 2", "daemon", "missing", "moody",
    ]
)  # fmt: skip
graces: SearchStrategy[int] = st.sampled_from([0, SECOND // 10, SECOND])
signals: SearchStrategy[int] = st.sampled_from(
    [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGUSR1]
).map(int)


def specs(name: str, **fixed: Any) -> SearchStrategy[dict[str, Any]]:
    """One watcher of this name; what is fixed is not drawn."""
    drawn: dict[str, SearchStrategy[Any]] = {
        "cmd": programs,
        "numprocesses": st.integers(0, PROCESSES_MAX),
        "graceful_timeout": graces,
        "leftovers": st.sampled_from(["kill", "leave"]),
        "min_uptime": st.sampled_from([0, SECOND // 10]),
        "max_retry": st.sampled_from([-1, 2]),
    }
    common = {"name": name, "backoff": SECOND // 20, **fixed}
    return st.fixed_dictionaries({key: one for key, one in drawn.items() if key not in fixed}).map(
        lambda options: {**common, **options}
    )


def options() -> SearchStrategy[dict[str, Any]]:
    """What `set` may change."""
    return st.one_of(
        st.fixed_dictionaries({"numprocesses": st.integers(0, PROCESSES_MAX)}),
        st.fixed_dictionaries({"graceful_timeout": graces}),
        st.fixed_dictionaries({"respawn": st.booleans()}),
        st.fixed_dictionaries({"max_retry": st.integers(-1, 2)}),
        st.fixed_dictionaries({"cmd": programs}),
    )


class Wish(NamedTuple):
    """What a client asks for."""

    verb: str
    properties: dict[str, Any]

    def make(self, world: World) -> None:
        """Ask."""
        world.command(self.verb, **self.properties)


def wishes(names: Sequence[str]) -> SearchStrategy[Wish]:
    """Any command about one of these watchers."""
    name = st.sampled_from(names)

    def wish(verb: str, **properties: SearchStrategy[Any]) -> SearchStrategy[Wish]:
        return st.fixed_dictionaries({"name": name, **properties}).map(
            lambda drawn: Wish(verb, drawn)
        )

    plain = ("start", "stop", "restart", "manage", "retry", "kill")
    number = st.integers(0, 3)
    return st.one_of(
        *(wish(verb) for verb in plain),
        wish("reload", graceful=st.booleans(), sequential=st.booleans()),
        wish("incr", nb=number),
        wish("decr", nb=number),
        wish("set", options=options()),
        wish("signal", signum=signals, recursive=st.booleans()),
        wish("rm", nostop=st.booleans()),
        wish("add", cmd=programs, start=st.booleans()),
    )


class Killed(NamedTuple):
    """A stranger signals some process."""

    number: int
    signum: int

    def make(self, world: World) -> None:
        """Whoever it is by now."""
        living = world.keeper.kernel.living()
        if living:
            world.kill(living[self.number % len(living)].pid, self.signum)


class CrashedAt(NamedTuple):
    """The core dies at a touch of the world that is still to come."""

    touches: int

    def make(self, world: World) -> None:
        """Some time."""
        world.crash_at(self.touches)


class Crashed(NamedTuple):
    """The core dies at once."""

    def make(self, world: World) -> None:
        """Between two wake-ups."""
        world.crash()


class PowerFailed(NamedTuple):
    """The machine goes off and comes back."""

    def make(self, world: World) -> None:
        """With what the platter has."""
        world.cut_power()


class SpawnsFail(NamedTuple):
    """From now on so many of a hundred do."""

    percent: int

    def make(self, world: World) -> None:
        """Until it is said otherwise."""
        world.keeper.kernel.lives.weather = KernelWeather(spawn_fault=self.percent / 100)


class Stopped(NamedTuple):
    """The core gets SIGSTOP, and SIGCONT later."""

    duration: int

    def make(self, world: World) -> None:
        """It is told nothing meanwhile."""
        world.stops.stop(self.duration)


class Suspended(NamedTuple):
    """The machine sleeps."""

    duration: int

    def make(self, world: World) -> None:
        """And so does everything on it."""
        world.agenda.suspend(self.duration)


class WallStepped(NamedTuple):
    """Somebody sets the clock."""

    by: int

    def make(self, world: World) -> None:
        """Forwards or backwards."""
        world.agenda.wall += self.by


Fault = Killed | CrashedAt | Crashed | PowerFailed | SpawnsFail | Stopped | Suspended | WallStepped
faults: SearchStrategy[Fault] = st.one_of(
    st.builds(Killed, st.integers(0, 20), signals),
    st.builds(SpawnsFail, st.sampled_from([0, 30, 100])),
    st.builds(Crashed),
    st.builds(CrashedAt, st.integers(1, TOUCHES_MAX)),
    st.builds(Stopped, st.integers(1, 1500).map(lambda ms: ms * MS)),
    st.builds(WallStepped, st.integers(-3600, 3600).map(lambda seconds: seconds * SECOND)),
    st.builds(Suspended, st.integers(1, 100).map(lambda seconds: seconds * SECOND)),
    st.builds(PowerFailed),
)
