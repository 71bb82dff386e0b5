"""Room: tests -- cycles of reap and manage, in an order that Hypothesis chooses and shrinks.

Knows:     circus.replay, hypothesis.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from circus.replay.world import World

# The long profiles take minutes on a machine that is busy with other tests.
pytestmark = pytest.mark.timeout(900)

NAMES = st.sampled_from(["web", "single"])
SIGNALS = st.sampled_from([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT])
PROGRAMS = st.sampled_from(
    ["steady", "moody", "stubborn", "slow 1", "exits 1 0.3", "instant 3", "parent 2 1", "daemon"]
)
SECOND = 1_000_000_000


class ReapAndManage(RuleBasedStateMachine):
    """One daemon, two watchers, and everything that may befall them. The World checks each step."""

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        program=PROGRAMS,
        numprocesses=st.integers(0, 4),
        grace=st.sampled_from([0, SECOND // 10, SECOND]),
        leftovers=st.sampled_from(["kill", "leave"]),
    )
    def begin(self, seed: int, **options: Any) -> None:
        self.world = World(seed)
        self.world.truth.repeat = "the example that Hypothesis prints"
        grace = options.pop("grace")
        common = {
            "cmd": options.pop("program"), "leftovers": options.pop("leftovers"),
            "graceful_timeout": grace, "backoff": SECOND // 20, "max_retry": -1,
        }  # fmt: skip
        self.world.configure(
            [
                {"name": "web", **common, **options},
                {"name": "single", "singleton": True, **common},
            ]
        )
        self.world.run(40)

    @rule(steps=st.integers(1, 40))
    def let_things_happen(self, steps: int) -> None:
        self.world.run(steps)

    @rule(milliseconds=st.integers(1, 3000))
    def let_time_pass(self, milliseconds: int) -> None:
        self.world.run_for(milliseconds * 1_000_000)

    @rule(name=NAMES, verb=st.sampled_from(["start", "stop", "restart", "manage", "retry", "kill"]))
    def ask(self, verb: str, name: str) -> None:
        self.world.command(verb, name=name)

    @rule(
        name=NAMES,
        how=st.fixed_dictionaries({"graceful": st.booleans(), "sequential": st.booleans()}),
    )
    def reload(self, name: str, how: dict[str, bool]) -> None:
        self.world.command("reload", name=name, **how)

    @rule(verb=st.sampled_from(["incr", "decr"]), nb=st.integers(0, 3))
    def resize(self, verb: str, nb: int) -> None:
        self.world.command(verb, name="web", nb=nb)

    @rule(
        options=st.one_of(
            st.fixed_dictionaries({"numprocesses": st.integers(0, 4)}),
            st.fixed_dictionaries({"graceful_timeout": st.integers(0, SECOND)}),
            st.fixed_dictionaries({"respawn": st.booleans()}),
            st.fixed_dictionaries({"cmd": PROGRAMS}),
        )
    )
    def change(self, options: dict[str, Any]) -> None:
        self.world.command("set", name="web", options=options)

    @rule(index=st.integers(0, 20), signum=SIGNALS)
    def kill_somebody(self, index: int, signum: int) -> None:
        living = self.world.keeper.kernel.living()
        if living:
            self.world.kill(living[index % len(living)].pid, int(signum))

    @rule(signum=st.sampled_from([signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL]))
    def signal_all(self, signum: int) -> None:
        self.world.command("signal", name="web", signum=int(signum), recursive=True)

    @rule(calls=st.integers(1, 200))
    def crash_soon(self, calls: int) -> None:
        self.world.crash_at(calls)

    @rule()
    def crash_now(self) -> None:
        self.world.crash()

    @rule()
    def cut_the_power(self) -> None:
        self.world.cut_power()

    @rule(rate=st.sampled_from([0.0, 0.3, 1.0]))
    def let_spawns_fail(self, rate: float) -> None:
        self.world.keeper.kernel.lives.weather.spawn_fault = rate

    def teardown(self) -> None:
        self.world.settle()
        self.world.examine()


TestReapAndManage = ReapAndManage.TestCase
TestReapAndManage.settings = settings(stateful_step_count=50)
