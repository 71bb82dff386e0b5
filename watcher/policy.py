"""Room: watcher -- the arithmetic of patience: delays, ages, scopes. Numbers in, numbers out.

Knows:     bus.chance, bus.commands, bus.spec.
Known by:  watcher.plan, watcher.operations, watcher.core.
Never:     sees a state.
"""

from __future__ import annotations

from typing import Final

from circus.bus.chance import Chance
from circus.bus.commands import WatcherSignal
from circus.bus.spec import WatcherSpec
from circus.bus.values import NS_PER_MS, NS_PER_SECOND

JITTER_PERCENT_MAX: Final = 10
DRAW_RANGE: Final = 2**64
# 2 ** 40 times any delay is past every `backoff_max`: the exponent needs no more.
DOUBLINGS_MAX: Final = 40
# `max_retry = -1` without a backoff: Circus spins here and blocks itself (CIRCUS.md, 5.5).
ENDLESS_DELAY_FIRST: Final = 10 * NS_PER_MS
ENDLESS_DELAY_MAX: Final = 1 * NS_PER_SECOND


def delay_of_life(spec: WatcherSpec, failures: int, chance: Chance, key: str) -> int:
    """How long a slot waits after its `failures`-th short life in a row."""
    if spec.backoff == 0 or failures < 2:
        return 0
    return _doubled(spec.backoff, failures - 2, spec.backoff_max, chance.draw(key))


def delay_of_spawn(spec: WatcherSpec, attempt: int, chance: Chance, key: str) -> int:
    """How long a slot waits after its `attempt`-th failed spawn in a row."""
    if spec.backoff and spec.backoff_max:
        return _doubled(spec.backoff, attempt - 1, spec.backoff_max, chance.draw(key))
    if spec.max_retry >= 0:
        return 0
    return _doubled(ENDLESS_DELAY_FIRST, attempt - 1, ENDLESS_DELAY_MAX, chance.draw(key))


def is_spent(spec: WatcherSpec, attempt: int) -> bool:
    """Whether the `attempt`-th failed spawn in a row was the last: one try and max_retry more."""
    return 0 <= spec.max_retry < attempt


def is_hopeless(spec: WatcherSpec, failures: int) -> bool:
    """Whether the `failures`-th short life in a row was the last."""
    return 0 < spec.give_up <= failures


def age_of(spec: WatcherSpec, chance: Chance, key: str) -> int:
    """The age at which this process is replaced: max_age and a random part of the variance."""
    return spec.max_age + chance.draw(key) * (spec.max_age_variance + 1) // DRAW_RANGE


def scope_of(command: WatcherSignal) -> str:
    """Whom a `signal` command means, in the words of `process.signal`."""
    if command.child_pid is not None:
        return "children"
    if command.children:
        return "descendants" if command.recursive else "children"
    return "tree" if command.recursive else "process"


def _doubled(first: int, times: int, most: int, draw: int) -> int:
    delay = min(first << min(times, DOUBLINGS_MAX), most)
    return delay + delay * JITTER_PERCENT_MAX * draw // (100 * DRAW_RANGE)
