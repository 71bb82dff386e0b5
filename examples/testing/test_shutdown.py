"""A `graceful_timeout` that is too short: SIGKILL in the middle of an order, and the order is lost.

Found: the worker needs up to six seconds to finish its order, and gets four. It shows only where an
order is long and a worker is stopped early in it: a deploy on a quiet day is no test. (In Circus
the output of such a worker is lost as well, and its children live on.)
"""

from __future__ import annotations

import signal

import pytest

from circus.testing import Life, Plot, World


class Orders:
    """The books: what was begun and what was finished."""

    def __init__(self) -> None:
        self.begun = 0
        self.finished = 0


def worker(orders: Orders, life: Life) -> Plot:
    """One order after the other, one to six seconds each; TERM lets it finish the one in hand."""
    told_to_end: tuple[int, ...] = ()
    while not told_to_end:
        orders.begun += 1
        told_to_end = yield from life.work(life.random.uniform(1, 6))
        orders.finished += 1
    return 0


def a_day_of_deploys(world: World, config: str) -> Orders:
    """Many deploys, and workers that grow old; then the end."""
    orders = Orders()
    world.given_config(config, {"orders": lambda life: worker(orders, life)})
    world.expect("watcher.started", watcher="orders").within(1)
    world.never("process.signal", watcher="orders", signum=signal.SIGKILL)
    for verb in ("restart", "reload") * 8:
        world.run_for(30)
        world.command(verb, name="orders")
    world.run_for(200)
    world.signal(signal.SIGTERM)
    world.expect("arbiter.stopped").within(30)
    return orders


@pytest.mark.seed(range(5))
def test_the_first_configuration_kills_a_worker_at_work(world: World) -> None:
    """What is wrong: the story ends with SIGKILL, four seconds after TERM."""
    with pytest.raises(AssertionError, match="never wanted: process") as found:
        a_day_of_deploys(world, "shutdown_bad.ini")
    assert "SIGKILL was to be sent to orders" in str(found.value)


@pytest.mark.seed(range(5))
def test_the_mended_configuration_loses_no_order(world: World) -> None:
    """Ten seconds are enough for the longest order."""
    orders = a_day_of_deploys(world, "shutdown.ini")
    assert orders.begun == orders.finished
    assert orders.begun > 300
