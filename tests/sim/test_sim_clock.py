"""Room: tests -- simulated clocks step, slew, sleep and stop as real ones do, and no other way.

Knows:     circus.replay's agenda and clocks.
Known by:  nobody.
Never:     looks at a real clock.
"""

from __future__ import annotations

from functools import partial

import pytest

from circus.bus.routing import WORLD
from circus.replay.sim.agenda import Agenda, Crash, PowerCut, SimClock
from circus.replay.sim.bus import BUS_LATE_MAX, SWITCHBOARD, SimBus, SimExchange
from circus.replay.sim.clock import FAULTS, ClockWeather, Stops, trouble_clocks
from circus.replay.world import Cast, World

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


class Stopped:
    """A core that asks for a turn at once, and is told when it may go on."""

    def __init__(self) -> None:
        self.agenda = Agenda(1)
        self.began = self.agenda.boot
        self.stops = Stops(self.agenda)
        self.turns: list[int] = []

    def turn(self) -> None:
        if not self.stops.holds(self.turn):
            self.turns.append(self.agenda.boot - self.began)

    def first_turn(self) -> int:
        """How long it took until the core had a turn, ns; it is held exactly until then."""
        while not self.turns:
            happening = self.agenda.advance()
            assert happening is not None, "nobody wakes the core"
            happening()
        assert self.stops.until == self.began + self.turns[0]
        return self.turns[0]


@pytest.mark.parametrize("second", [1, 4, 9])
def test_of_two_stops_that_overlap_the_one_that_ends_later_counts(second: int) -> None:
    """The core runs again when it is said to run again, whichever stop came last."""
    core = Stopped()
    core.stops.stop(5 * SECOND)
    core.turn()
    core.stops.stop(second * SECOND)

    assert max(5, second) * SECOND == core.first_turn()


def test_a_suspend_puts_off_the_end_of_a_stop_and_the_turn_that_follows_it() -> None:
    """Who would send the SIGCONT sleeps, too."""
    core = Stopped()
    core.stops.stop(5 * SECOND)
    core.turn()
    core.agenda.suspend(60 * SECOND)

    assert 65 * SECOND == core.first_turn()


def test_a_core_that_is_stopped_for_less_than_the_dead_one_before_it_goes_on_in_time() -> None:
    """What was promised to the dead one is no promise to this one."""
    core = Stopped()
    core.stops.stop(20 * SECOND)
    core.turn()
    core.stops.forget()
    core.stops.stop(2 * SECOND)
    core.turn()

    assert 2 * SECOND == core.first_turn()


def test_mail_that_comes_while_a_turn_waits_for_the_disk_wakes_the_core() -> None:
    """Time passes within a turn: what has come meanwhile has nobody else to say so."""
    buses: list[SimBus] = []

    def exchange(bus: SimBus, incarnation: int) -> SimExchange:
        buses.append(bus)
        return SimExchange(bus, incarnation)

    world = World(1, Cast(make_exchange=exchange))
    world.configure([])
    world.settle()
    core, bus = world.core, buses[-1]
    assert core is not None
    core.turn()
    bus.prompt, bus.late = False, 1.0
    bus.post(WORLD, SWITCHBOARD, core.incarnation, ())
    world.agenda.pause(BUS_LATE_MAX)

    assert world.agenda.boot == core.next_due()


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
