"""Room: tests -- circus.testing.strategies: what they draw is a world that keeps its promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circus.testing import World
from circus.testing.faults import Fault
from circus.testing.strategies import (
    NAMES,
    Wish,
    commands,
    fault_plans,
    programs,
    seeds,
    watchers,
    worlds,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# A crash loop without a pause is played as it is: thousands of lives for each second.
PATIENT = {"backoff": 0.2, "min_uptime": 1}
CASTS = st.dictionaries(st.sampled_from(NAMES), programs())


@settings(max_examples=25)
@given(
    seed=seeds(), drawn=watchers(), cast=CASTS, wishes=st.lists(commands(), max_size=6),
    plan=fault_plans(NAMES, seconds=30, disk=True),
)  # fmt: skip
def test_any_configuration_survives_any_plan(
    seed: int, drawn: list[dict[str, Any]], cast: dict[str, str], wishes: list[Wish],
    plan: tuple[Fault, ...],
) -> None:  # fmt: skip
    """
    No invariant is broken, nothing hangs, and the ledger can be read to its end.
    """
    world = World(seed)
    names = {one["name"] for one in drawn}
    patient = [{**one, **PATIENT} for one in drawn]
    world.given_watchers(patient, {name: line for name, line in cast.items() if name in names})
    world.suffer(plan)
    for wish in wishes:
        world.run_for(5)
        wish.send(world)
    world.run_for(30)
    world.close()


@settings(max_examples=10)
@given(world=worlds(lambda world: world.given_watchers([{"name": "web", "cmd": "web"}])))
def test_worlds_are_ready_when_they_are_drawn(world: World) -> None:
    """
    With their configuration, and a seed of Hypothesis's own.
    """
    world.expect("watcher.started", watcher="web").within(5)
    assert repr(world) == f"World(seed={world.seed})"
