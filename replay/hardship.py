"""Room: replay -- hardships that a seed draws from chance of their own, most of them rare.

Knows:     replay.world, the seams that they befall.
Known by:  replay.drive.
Never:     draws from the world's common chance: older seeds keep their course.
"""

from __future__ import annotations

from typing import Final

import attr

from circus.replay.sim.agenda import Agenda, Dice
from circus.replay.world import World

FAULTS: Final = (
    "mail.late",
    "core.slow",
    "subscriber outlives the machine",
    "power.relapse",
    "keeper.killed",
)
SHARE: Final = 0.2  # of the worlds, for each hardship
AFAR_SHARE: Final = 0.6  # it takes a power cut and a subscriber, too
LATE_MAIL_MAX: Final = 0.005
SLOW_MAX: Final = 0.9
RELAPSE_MAX: Final = 0.9
KEEPER_MAX: Final = 0.002  # of the happenings


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Hardship:
    """How often what happens."""

    late_mail: float = 0.0  # of the letters between hosts: they are under way for seconds
    slow: float = 0.0  # of the requests: the core takes a while between hearing and recording it
    relapse: float = 0.0  # of the power cuts: there is another one while the core starts
    keeper: float = 0.0  # the keeper is killed
    afar: bool = False  # subscribers are on another machine, whose power stays on

    @classmethod
    def drawn(cls, agenda: Agenda) -> Hardship:
        """Most worlds have none of them."""
        dice = agenda.stream("hardship")
        return cls(
            late_mail=_rate(dice, LATE_MAIL_MAX), slow=_rate(dice, SLOW_MAX),
            relapse=_rate(dice, RELAPSE_MAX), afar=dice.random() < AFAR_SHARE,
            keeper=_rate(dice, KEEPER_MAX),
        )  # fmt: skip

    def befall(self, world: World) -> None:
        """From now on, until all settles."""
        world.bus.late = self.late_mail
        world.relapse = self.relapse
        world.strangers.network.slow = self.slow
        world.strangers.afar = self.afar


def _rate(dice: Dice, most: float) -> float:
    share, rate = dice.random(), dice.random()
    return most * rate if share < SHARE else 0.0
