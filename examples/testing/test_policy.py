"""A restart policy that loses a death: some API processes keep a connection to a dead database.

Found: the policy is busy while it restarts the API, which takes seconds because of `warmup_delay`.
A second death of the database in that time is not seen, and whoever had connected before stays with
a dead one. Hypothesis finds the times. (Circus's own flapping plugin sends its `stop` while the
watcher is locked, so that it is always refused; and some deaths it is never told of.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import Careful, Hasty

from circus.testing import Life, Plot, World
from circus.testing.strategies import seeds

HERE = Path(__file__).parent
TIMES = st.lists(st.integers(5, 20), min_size=1, max_size=3)


class Connections:
    """Which life of the database each process of the API has connected to, by pid."""

    def __init__(self) -> None:
        self.database = 0
        self.of: dict[int, int] = {}

    def database_begins(self, life: Life) -> None:
        """A program that runs until it is told to end: it is a steady one."""
        self.database = life.number

    def api(self, life: Life) -> Plot:
        """Connects once."""
        self.of[life.pid] = self.database
        yield None
        return 0


def check_that_nobody_is_left_behind(policy: Any, seed: int, deaths: list[int]) -> None:
    """The database dies at these seconds; later all are connected to the last one."""
    connections = Connections()
    world = World(seed, directory=HERE)
    world.given_config(
        "stale.toml", {"database": connections.database_begins, "api": connections.api}
    )
    world.expect("watcher.started", watcher="api").within(10)
    world.on("*", policy(world.command).handle)
    for at in deaths:
        world.at(at, lambda: world.workers("database") and world.faults.kill("database"))
    world.run_for(60)
    stale = [w.pid for w in world.workers("api") if connections.of[w.pid] != connections.database]
    assert stale == [], f"{stale} talk to a dead database\n{world.last_words()}"
    assert len(world.workers("api")) == 3


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(deaths=TIMES)
def nobody_is_left_behind_by_the_hasty(deaths: list[int]) -> None:
    check_that_nobody_is_left_behind(Hasty, 0, deaths)


def test_the_first_policy_loses_a_death() -> None:
    """What is wrong, as Hypothesis tells it: two deaths within the seconds of one restart."""
    with pytest.raises(AssertionError, match="talk to a dead database"):
        nobody_is_left_behind_by_the_hasty()


@settings(max_examples=60, deadline=None)
@given(seed=seeds(), deaths=TIMES)
def test_the_mended_policy_leaves_nobody_behind(seed: int, deaths: list[int]) -> None:
    """Whenever the database dies, and however often."""
    check_that_nobody_is_left_behind(Careful, seed, deaths)
