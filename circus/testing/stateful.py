"""Room: front -- a Hypothesis state machine around a world: whatever may happen, in any order.

Knows:     hypothesis (extra `testing`), circus.testing.strategies.
Known by:  users' tests.
Never:     knows what should be true: the user's subclass says it.

    class Shop(WorldMachine):
        watchers = ("web",)

        def given(self, world):
            world.given_config("shop.toml", {"web": "slow 2"})

        def at_rest(self, world):
            assert world.status("web") != "failed"

    TestShop = Shop.TestCase
"""

from __future__ import annotations

from typing import ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from circus.testing.faults import Fault
from circus.testing.strategies import Wish, commands, seeds, single_faults
from circus.testing.world import World

WAIT_MAX: Final = 30.0
REST: Final = 60.0
WISHES = st.runner().flatmap(lambda machine: commands(machine.watchers))
FAULTS = st.runner().flatmap(lambda machine: single_faults(machine.watchers))


class WorldMachine(RuleBasedStateMachine):
    """Commands, faults and time, as Hypothesis chooses; a failure shrinks to a few of them.

    A subclass says which `watchers` are commanded and killed, what is `given`, what has to be true
    `at_rest`, a minute after the last fault, and with Hypothesis's `@invariant` what always has to
    be. Rules of its own take part; `self.world` is the world.
    """

    watchers: ClassVar[tuple[str, ...]]
    world: World

    def given(self, world: World) -> None:
        """Make a new world ready: its configuration, programs, services, `never`s."""
        raise NotImplementedError("cannot begin: say in `given` which configuration the world has")

    def at_rest(self, world: World) -> None:
        """What has to be true a minute after faults and commands have stopped."""

    @initialize(seed=seeds())
    def begin(self, seed: int) -> None:
        """A new world."""
        self.world = World(seed, repeat="the steps that Hypothesis prints")
        self.given(self.world)
        self.world.run_for(1)

    @rule(seconds=st.floats(0.01, WAIT_MAX))
    def let_time_pass(self, seconds: float) -> None:
        """Nothing else."""
        self.world.run_for(seconds)

    @rule(wish=WISHES)
    def command(self, wish: Wish) -> None:
        """An operator wants something."""
        wish.send(self.world)

    @rule(fault=FAULTS)
    def suffer(self, fault: Fault) -> None:
        """Something goes wrong."""
        self.world.faults.strike(fault)

    def teardown(self) -> None:
        """Faults stop; everything comes to rest."""
        if hasattr(self, "world"):
            self.world.faults.calm()
            self.world.run_for(REST)
            self.at_rest(self.world)
            self.world.close()


__all__ = ["WorldMachine"]
