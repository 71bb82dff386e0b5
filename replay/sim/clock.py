"""Room: replay -- what may happen to the clocks: steps, slews, suspend; a core that is stopped.

Knows:     replay.sim.agenda.
Known by:  replay.world and replay.drive, which draw the weather and let it strike.
Never:     lets boot time go back, or two clocks of one machine disagree about an instant.

The wall clock is set by people and by NTP: it steps and slews, also backwards. Boot time only
goes on, in suspend too. A core that gets SIGSTOP sees neither: the world goes on without it, and
what it is told meanwhile waits (`Stops.holds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attr

from circus.replay.sim.agenda import Agenda, Dice, Happening

SECOND: Final = 1_000_000_000
STEP_NS_MAX: Final = 3600 * SECOND
SLEW_PPM_MAX: Final = 500  # what adjtimex allows
SUSPEND_NS_MAX: Final = 3600 * SECOND
STOP_NS_MAX: Final = 20 * SECOND
STALL_NS_MAX: Final = SECOND // 2
FAULTS: Final = (
    "clock.step_ahead", "clock.step_back", "clock.slew", "clock.suspend", "clock.stall",
    "core.stopped",
)  # fmt: skip


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class ClockWeather:
    """How often what happens, per step of the world."""

    step: float = 0.0  # the wall clock is set, by at most an hour, either way
    slew: float = 0.0  # it goes at another pace from here on
    suspend: float = 0.0  # the machine sleeps
    stall: float = 0.0  # the machine does nothing for a while: whatever is due is late
    stop: float = 0.0  # the core gets SIGSTOP, and SIGCONT some seconds later

    @classmethod
    def drawn(cls, chance: Dice) -> ClockWeather:
        """Half of all faults are absent from a run."""
        rates = {"step": 0.01, "slew": 0.005, "suspend": 0.001, "stall": 0.01, "stop": 0.001}
        return cls(
            **{
                name: rate * chance.random() * (chance.random() < 0.5)
                for name, rate in rates.items()
            }
        )


def trouble_clocks(agenda: Agenda, weather: ClockWeather, stops: Stops) -> None:
    """One step of the world: perhaps something happens to its clocks."""
    for name, trouble in TROUBLES.items():
        if agenda.chance.random() < getattr(weather, name):
            trouble(agenda, stops)


def _step(agenda: Agenda, _stops: Stops) -> None:
    step = agenda.chance.randrange(-STEP_NS_MAX, STEP_NS_MAX)
    agenda.wall += step
    agenda.coverage.faults["clock.step_back" if step < 0 else "clock.step_ahead"] += 1


def _slew(agenda: Agenda, _stops: Stops) -> None:
    agenda.slew = agenda.chance.randrange(-SLEW_PPM_MAX, SLEW_PPM_MAX + 1)
    agenda.coverage.faults["clock.slew"] += 1


def _suspend(agenda: Agenda, _stops: Stops) -> None:
    agenda.suspend(agenda.chance.randrange(SUSPEND_NS_MAX))
    agenda.coverage.faults["clock.suspend"] += 1


def _stall(agenda: Agenda, _stops: Stops) -> None:
    agenda.pause(agenda.chance.randrange(STALL_NS_MAX))
    agenda.coverage.faults["clock.stall"] += 1


def _stop(agenda: Agenda, stops: Stops) -> None:
    stops.stop(agenda.chance.randrange(STOP_NS_MAX))


# What each rate of ClockWeather is the rate of.
TROUBLES: Final[Mapping[str, Callable[[Agenda, Stops], None]]] = {
    "step": _step, "slew": _slew, "suspend": _suspend, "stall": _stall, "stop": _stop,
}  # fmt: skip


class Stops:
    """The core's SIGSTOP: whoever wants to give it a turn asks here first.

    A stop is as long in suspends as without them, so it is kept in the time that the machine has
    been awake. Of two that overlap the one that ends later counts.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._until = 0  # ns awake; a time that is past: it runs
        self._promised = 0  # until when whoever was held is to be called

    @property
    def until(self) -> int:
        """Boot ns; a time that is past: it runs."""
        return self._until + self._agenda.slept

    def stop(self, duration: int) -> None:
        """From now on, for so long at least."""
        self._until = max(self._until, self._agenda.awake + duration)
        self._agenda.coverage.faults["core.stopped"] += 1

    def holds(self, turn: Happening) -> bool:
        """True while the core is stopped: `turn` is called when it is not any more."""
        left = self._until - self._agenda.awake
        if left <= 0:
            return False
        if self._promised != self._until:
            # An older promise, to a core that is gone or for a shorter stop, asks again in vain.
            self._promised = self._until
            self._agenda.later(left, turn)
        return True

    def forget(self) -> None:
        """The core is gone, and so is its being stopped."""
        self._until = 0
