"""Room: replay -- hardships that a seed draws from chance of their own, most of them rare.

Knows:     replay.world, replay.wishes, the seams that they befall.
Known by:  replay.drive.
Never:     draws from the world's common chance: older seeds keep their course.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attr

from circus.replay import wishes
from circus.replay.sim.agenda import Agenda, Dice
from circus.replay.world import World

Trouble = Callable[[World, Dice], object]
Troubles = Sequence[tuple[float, Trouble]]  # each with its rate per happening

FAULTS: Final = (
    "mail.late",
    "core.slow",
    "subscriber outlives the machine",
    "power.relapse",
    "keeper.killed",
    "snapshot.spoiled",
)
SHARE: Final = 0.2  # of the worlds, for each hardship
AFAR_SHARE: Final = 0.6  # it takes a power cut and a subscriber, too
LATE_MAIL_MAX: Final = 0.005
SLOW_MAX: Final = 0.9
RELAPSE_MAX: Final = 0.9
KEEPER_MAX: Final = 0.002  # of the happenings
STORIES_MAX: Final = 0.05
OUTAGES_MAX: Final = 0.004
CROWDS_MAX: Final = 0.02
SPOILED_MAX: Final = 0.5
WARMUP_MAX: Final = 1_000_000_000
CROWD: Final = 2  # so many letters between the hosts


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Hardship:
    """How often what happens."""

    late_mail: float = 0.0  # of the letters between hosts: they are under way for seconds
    slow: float = 0.0  # of the requests: the core takes a while between hearing and recording it
    relapse: float = 0.0  # of the power cuts: there is another one while the core starts
    keeper: float = 0.0  # the keeper is killed
    afar: bool = False  # subscribers are on another machine, whose power stays on
    stories: float = 0.0  # an operator is in a hurry
    outages: float = 0.0  # the power fails
    crowds: float = 0.0  # the core dies while several letters are under way
    spoiled: float = 0.0  # of the snapshots: one of their bits is another one
    warmup: int = 0  # ns between the starts of two watchers, where that is long

    @classmethod
    def drawn(cls, agenda: Agenda, often: float) -> Hardship:
        """Most worlds have none of them. `often`: less in long ones, for each new core reads all
        that was before it."""
        dice, later = agenda.stream("hardship"), agenda.stream("more hardship")
        return cls(
            late_mail=_rate(dice, LATE_MAIL_MAX), slow=_rate(dice, SLOW_MAX),
            relapse=_rate(dice, RELAPSE_MAX), afar=dice.random() < AFAR_SHARE,
            keeper=_rate(dice, KEEPER_MAX) * often, stories=_rate(later, STORIES_MAX),
            outages=_rate(later, OUTAGES_MAX) * often, crowds=_rate(later, CROWDS_MAX) * often,
            spoiled=_rate(later, SPOILED_MAX), warmup=round(_rate(later, WARMUP_MAX)),
        )  # fmt: skip

    def troubles(self) -> Troubles:
        """What may happen between two happenings, each with its rate."""
        mine: Troubles = [
            (self.stories, wishes.story),
            (self.outages, lambda world, _: world.cut_power()),
            (self.crowds, _crash_in_a_crowd),
        ]
        return [(rate, trouble) for rate, trouble in mine if rate]

    def befall(self, world: World) -> None:
        """From now on, until all settles."""
        world.snapshots.spoiled = self.spoiled
        world.bus.late = self.late_mail
        world.relapse = self.relapse
        world.strangers.network.slow = self.slow
        world.strangers.afar = self.afar


def _crash_in_a_crowd(world: World, _dice: Dice) -> None:
    """What has been said and not been heard has to be said again, and in its order."""
    if world.bus.crowd() >= CROWD:
        world.crash()


def _rate(dice: Dice, most: float) -> float:
    share, rate = dice.random(), dice.random()
    return most * rate if share < SHARE else 0.0
