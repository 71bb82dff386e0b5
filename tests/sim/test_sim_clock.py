"""Room: tests -- simulated clocks step, slew, sleep and stop as real ones do, and no other way.

Knows:     circus.replay's agenda and clocks.
Known by:  nobody.
Never:     looks at a real clock.
"""

from __future__ import annotations

from functools import partial

import pytest

from circus.replay.sim.agenda import Agenda, Crash, PowerCut, SimClock
from circus.replay.sim.clock import FAULTS, ClockWeather, Stops, trouble_clocks

SECOND = 1_000_000_000


@pytest.mark.parametrize("seed", range(5))
def test_boot_time_never_goes_back_whatever_the_wall_clock_does(seed: int) -> None:
    """Both come from one agenda: one goes on, the other is set by people."""
    agenda = Agenda(seed)
    clock, stops = SimClock(agenda), Stops(agenda)
    weather = ClockWeather(step=0.3, slew=0.3, suspend=0.1, stall=0.3, stop=0.1)
    boots, walls = [], []
    for _ in range(300):
        trouble_clocks(agenda, weather, stops)
        agenda.later(agenda.chance.randrange(SECOND), lambda: None)
        agenda.advance()
        now = clock.now()
        boots.append(now.boot)
        walls.append(now.wall)

    assert sorted(boots) == boots
    assert sorted(walls) != walls
    assert set() == set(FAULTS) - set(agenda.coverage.faults)


def test_a_calm_clock_does_nothing_by_itself() -> None:
    """All rates zero: no fault, and both clocks go on alike."""
    agenda = Agenda(1)
    before = agenda.wall - agenda.boot
    for _ in range(100):
        trouble_clocks(agenda, ClockWeather(), Stops(agenda))
        agenda.later(SECOND, lambda: None)
        agenda.advance()

    assert before == agenda.wall - agenda.boot
    assert not agenda.coverage.faults


def test_a_slew_changes_the_pace_of_the_wall_clock_only() -> None:
    """500 ppm fast: half a millisecond per second."""
    agenda = Agenda(1)
    wall, boot = agenda.moment()
    agenda.slew = 500
    agenda.pass_time(10 * SECOND)

    assert 10 * SECOND == agenda.boot - boot
    assert 10 * SECOND + 5_000_000 == agenda.wall - wall


def test_in_suspend_the_clocks_go_on_and_nothing_else() -> None:
    """What was a second away is a second away when the machine wakes up."""
    agenda = Agenda(1)
    told: list[str] = []
    for name in ("b", "a"):
        agenda.later(SECOND, partial(told.append, name))
    boot = agenda.boot
    agenda.suspend(3600 * SECOND)

    assert boot + 3600 * SECOND == agenda.boot
    assert agenda.boot + SECOND == agenda.next_due()


def test_a_stopped_core_gets_its_turn_when_it_goes_on() -> None:
    """SIGSTOP: what it is told meanwhile waits; one turn afterwards is enough."""
    agenda = Agenda(1)
    stops = Stops(agenda)
    turns: list[int] = []

    def turn() -> None:
        if not stops.holds(turn):
            turns.append(agenda.boot)

    stops.stop(5 * SECOND)
    until = agenda.boot + 5 * SECOND
    turn()
    turn()
    assert not turns
    while (happening := agenda.advance()) is not None:
        happening()

    assert [until] == turns
    turn()
    assert 2 == len(turns)


@pytest.mark.parametrize("crash", [Crash, PowerCut])
def test_a_crash_point_strikes_once_and_says_where(crash: type[Crash]) -> None:
    """The n-th touch of a seam does not return, as a process crash or as a power cut."""
    agenda = Agenda(1)
    agenda.crash_at, agenda.crash = agenda.touched + 2, crash
    agenda.touch("first")
    with pytest.raises(crash, match="second"):
        agenda.touch("second")
    agenda.touch("third")

    assert agenda.crash is Crash
