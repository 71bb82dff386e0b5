"""Room: tests -- circus.testing.stateful: a state machine that users derive from."""

from __future__ import annotations

from signal import SIGKILL
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from circus.testing import World
from circus.testing.faults import Fault
from circus.testing.stateful import WorldMachine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WEB = {"name": "web", "cmd": "web", "numprocesses": 2, "backoff": 0.1, "graceful_timeout": 1}
KILL = Fault(0, "kill", {"watcher": "web", "signum": SIGKILL})


class Shop(WorldMachine):
    """A watcher with patience."""

    watchers = ("web",)
    limits: ClassVar[dict[str, float]] = {"give_up": 0}

    def given(self, world: World) -> None:
        world.given_watchers([{**WEB, "max_retry": -1, **self.limits}], {"web": "slow 2"})

    def at_rest(self, world: World) -> None:
        assert world.status("web") != "failed"

    @invariant()
    def nobody_is_too_many(self) -> None:
        """The reserve of a graceful reload included, and whoever is still on the way out."""
        assert len(self.world.workers("web")) < 40


class Impatient(Shop):
    """One to which the first death within an hour is the end, among neighbours who kill."""

    limits: ClassVar[dict[str, float]] = {"give_up": 1, "min_uptime": 3600}

    @rule()
    def a_neighbour_kills(self) -> None:
        """A rule of one's own: what is looked for happens in most examples, not in a rare one."""
        self.world.faults.strike(KILL)


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def test_a_machine_finds_what_is_wrong_with_a_configuration() -> None:
    """
    One worker that dies young, and the watcher has failed: found, whatever Hypothesis draws.
    """
    found = settings(
        max_examples=200, stateful_step_count=12, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate],
    )  # fmt: skip
    with pytest.raises(AssertionError, match="failed"):
        run_state_machine_as_test(Impatient, settings=found)
