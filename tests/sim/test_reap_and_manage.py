"""Room: tests -- cycles of reap and manage, in an order that Hypothesis chooses and shrinks.

Knows:     circus.replay, hypothesis.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from circus.replay import strategies as drawn
from circus.replay.world import World

# The long profiles take minutes on a machine that is busy with other tests.
pytestmark = pytest.mark.timeout(900)

NAMES: Final = ("web", "single")
STEPS: Final = 60
EXAMPLES_CI: Final = 300


class ReapAndManage(RuleBasedStateMachine):
    """One daemon, two watchers, and everything that may befall them. The World checks each step."""

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        web=drawn.specs("web"),
        single=drawn.specs("single", singleton=True, numprocesses=1),
    )
    def begin(self, seed: int, web: dict[str, Any], single: dict[str, Any]) -> None:
        self.world = World(seed)
        self.world.truth.repeat = "the example that Hypothesis prints"
        self.world.configure([web, single])
        self.world.run(40)

    @rule(happenings=st.integers(1, 40))
    def let_things_happen(self, happenings: int) -> None:
        self.world.run(happenings)

    @rule(milliseconds=st.integers(1, 3000))
    def let_time_pass(self, milliseconds: int) -> None:
        self.world.run_for(milliseconds * drawn.MS)

    @rule(wish=drawn.wishes(NAMES))
    def ask(self, wish: drawn.Wish) -> None:
        wish.make(self.world)

    @rule(fault=drawn.faults)
    def have_bad_luck(self, fault: drawn.Fault) -> None:
        fault.make(self.world)

    def teardown(self) -> None:
        self.world.settle()
        self.world.examine()


TestReapAndManage = ReapAndManage.TestCase
TestReapAndManage.settings = settings(
    stateful_step_count=STEPS,
    max_examples=EXAMPLES_CI if os.environ.get("HYPOTHESIS_PROFILE") == "ci" else 40,
)
