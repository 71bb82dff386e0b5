"""Room: front -- Hypothesis strategies: watchers, commands, programs, faults, and worlds of them.

Knows:     hypothesis (extra `testing`), circus.testing.world.
Known by:  users' tests.
Never:     draws what cannot be: every value is one that the product takes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from circus.replay.kernel.spawn import SPAWN_FAULTS, KernelWeather
from circus.replay.sim.disk_weather import DiskWeather
from circus.testing.faults import Fault
from circus.testing.world import World

SEED_MAX: Final = 2**32 - 1
NAMES: Final = ("web", "jobs", "mail")
SIGNALS: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP, signal.SIGCONT)
CALLS_MAX: Final = 300
CLOCK_STEP_MAX: Final = 3600.0
STOP_MAX: Final = 20.0


class Wish(NamedTuple):
    """A command that an operator may send."""

    verb: str
    properties: Mapping[str, Any]

    def send(self, world: World) -> bool:
        """See World.command."""
        return world.command(self.verb, **self.properties)


def seeds() -> SearchStrategy[int]:
    """Numbers of worlds."""
    return st.integers(0, SEED_MAX)


def worlds(given: Callable[[World], object]) -> SearchStrategy[World]:
    """Worlds of any seed, each made ready by `given(world)`: its configuration and programs."""

    def ready(seed: int) -> World:
        world = World(seed)
        given(world)
        return world

    return st.builds(ready, seeds())


def programs() -> SearchStrategy[str]:
    """Lines of the small language: what the processes of a watcher do."""
    seconds = st.sampled_from(("0.1", "0.5", "2", "10"))
    codes = st.integers(0, 3).map(str)
    return st.one_of(
        st.sampled_from(("steady", "stubborn", "daemon", "sleeper", "silent", "missing")),
        st.builds("slow {}".format, seconds),
        st.builds("exits {} {}".format, codes, seconds),
        st.builds("instant {}".format, codes),
        st.builds("parent {} {}".format, st.integers(1, 3), seconds),
        st.builds("stuck {}".format, seconds),
    )


def watchers(names: Collection[str] = NAMES) -> SearchStrategy[list[dict[str, Any]]]:
    """Watchers as `World.given_watchers` and `get_arbiter` take them; durations are seconds."""
    seconds = st.sampled_from((0, 0.1, 1, 5))
    options = st.fixed_dictionaries(
        {"cmd": st.just("program")},
        optional={
            "numprocesses": st.integers(0, 4), "respawn": st.booleans(),
            "warmup_delay": st.sampled_from((0, 0.1)), "max_retry": st.integers(-1, 5),
            "backoff": seconds, "backoff_max": seconds, "min_uptime": seconds,
            "give_up": st.integers(0, 5), "graceful_timeout": seconds,
            "stop_children": st.booleans(), "max_age": st.sampled_from((0, 5)),
            "priority": st.integers(0, 2), "send_hup": st.booleans(),
        },
    )  # fmt: skip
    return st.lists(
        st.tuples(st.sampled_from(sorted(names)), options), min_size=1, max_size=len(names),
        unique_by=lambda pair: pair[0],
    ).map(lambda pairs: [{"name": name, **given} for name, given in pairs])  # fmt: skip


def commands(names: Collection[str] = NAMES) -> SearchStrategy[Wish]:
    """Commands to these watchers, also such as will be refused."""
    name = st.fixed_dictionaries({"name": st.sampled_from(sorted(names))})
    counted = st.fixed_dictionaries(
        {"name": st.sampled_from(sorted(names)), "nb": st.integers(0, 3)}
    )
    return st.one_of(
        st.builds(Wish, st.sampled_from(("start", "stop", "restart", "reload", "kill")), name),
        st.builds(Wish, st.sampled_from(("manage", "retry")), name),
        st.builds(Wish, st.sampled_from(("incr", "decr")), counted),
    )


def kernel_weathers() -> SearchStrategy[KernelWeather]:
    """Kernels that sometimes refuse a spawn, kill early or tell late."""
    rate = st.sampled_from((0.0, 0.0, 0.05, 0.3))
    kinds = st.lists(st.sampled_from(SPAWN_FAULTS), min_size=1, max_size=3, unique=True).map(tuple)
    return st.builds(
        KernelWeather, spawn_fault=rate, early_death=rate, pidfd_late=rate, sigchld_late=rate,
        spawn_faults=kinds,
    )  # fmt: skip


def disk_weathers() -> SearchStrategy[DiskWeather]:
    """Disks under the ledger that are full, fail or lie for a while."""
    rate = st.sampled_from((0.0, 0.0, 0.001, 0.01))
    return st.builds(DiskWeather, full=rate, write_error=rate, sync_error=rate, sync_slow=rate)


def fault_plans(
    watchers: Collection[str] = (), *, seconds: float = 60.0, faults: int = 5, disk: bool = False
) -> SearchStrategy[tuple[Fault, ...]]:
    """Up to `faults` pieces of bad luck within so many seconds, for `World.suffer`.

    With `watchers`, workers of these are killed too; with `disk`, the ledger's disk fails too.
    """
    when = st.floats(0, seconds).map(lambda at: round(at, 3))
    plan = st.lists(single_faults(watchers, when=when, disk=disk), max_size=faults)
    return plan.map(lambda drawn: tuple(sorted(drawn, key=lambda fault: fault.at)))


def single_faults(
    watchers: Collection[str] = (), *, when: SearchStrategy[float] | None = None,
    disk: bool = False,
) -> SearchStrategy[Fault]:  # fmt: skip
    """One piece of bad luck, for `world.faults.strike`, or with its time for a plan."""
    at = st.just(0.0) if when is None else when
    kinds = [
        _fault(at, "crash_core"),
        _fault(at, "cut_power"),
        _fault(at, "crash_core_after", calls=st.integers(1, CALLS_MAX)),
        _fault(at, "stop_core", seconds=st.floats(0, STOP_MAX)),
        _fault(at, "suspend", seconds=st.floats(0, CLOCK_STEP_MAX)),
        _fault(at, "set_clock", seconds=st.floats(-CLOCK_STEP_MAX, CLOCK_STEP_MAX)),
        _fault(at, "kernel", weather=kernel_weathers()),
    ]
    if watchers:
        names, signums = st.sampled_from(sorted(watchers)), st.sampled_from(SIGNALS).map(int)
        kinds.append(_fault(at, "kill", watcher=names, signum=signums))
    if disk:
        kinds.append(_fault(at, "disk", weather=disk_weathers()))
    return st.one_of(kinds)


def _fault(
    when: SearchStrategy[float], name: str, **given: SearchStrategy[Any]
) -> SearchStrategy[Fault]:
    return st.builds(Fault, when, st.just(name), st.fixed_dictionaries(given))


__all__ = [
    "Wish", "commands", "disk_weathers", "fault_plans", "kernel_weathers", "programs", "seeds",
    "single_faults", "watchers", "worlds",
]  # fmt: skip
