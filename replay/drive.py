"""Room: replay -- one run of the world from one number: options, commands and faults by chance.

Knows:     replay.world, replay.wishes, the weathers of kernel, disk and clocks.
Known by:  tests, replay.soak, replay.mutants, `python -m circus.replay SEED [STEPS [MODE]]`.
Never:     checks: the checkers do. It only says what time is long enough.

Swarm testing: each run draws which faults it has and how often, many of them never, so that what
one fault would hide another run can find. How a run ends depends on its mode: `safety` has faults
to the end and then looks at what has come to rest; in `liveness` the faults stop half way, and
from there on the world has to come to what is wanted in time, and stay there; in `ending` somebody
asks the daemon to end in the middle of it all.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import attr

from circus.replay import hardship, machine, wishes
from circus.replay.checks.checkers import Violation
from circus.replay.hardship import Hardship, Trouble, Troubles
from circus.replay.kernel.spawn import KernelWeather
from circus.replay.sim import bus as sim_bus
from circus.replay.sim import clock as sim_clock
from circus.replay.sim.agenda import Agenda, Crash, Dice, PowerCut
from circus.replay.sim.clock import ClockWeather
from circus.replay.sim.disk_weather import CALM, DiskWeather
from circus.replay.sim.network import BusWeather
from circus.replay.world import Cast, World

STEPS: Final = 400
# A step is a decision; a world in which next to nothing is decided has to end as well.
HAPPENINGS_PER_STEP_MAX: Final = 20
CALLS_TO_CRASH_MAX: Final = 300
POWER_SHARE: Final = 0.2  # of the crashes at a touch: it is the machine that goes
WARMUPS: Final = (0, 0, 50_000_000)  # between the starts of two watchers
SHORT: Final = 1_500
LONG: Final = 300  # a restart reads the whole ledger: longer worlds have them more rarely
SECOND: Final = 1_000_000_000
CONVERGED_WITHIN: Final = 60 * SECOND
QUIET_FOR: Final = 600 * SECOND
OVER_WITHIN: Final = 60 * SECOND
ASKED_MAX: Final = 20
# What cannot be spawned and may be retried for ever is retried for ever.
IN_PATIENCE: Final = frozenset(
    {"process.spawn", "process.spawn_failed", "slot.waiting", "timer.arm", "timer.woke"}
)
MODES: Final = ("safety", "liveness", "ending")
DISK_SHARE: Final = 0.2  # of the short worlds: it is their disk that they are about
_RATES: Final = {
    "command": 0.08, "edit": 0.002, "kill": 0.05, "crash": 0.004, "crash_now": 0.004,
    "power_cut": 0.0016,
}  # fmt: skip


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class Weather:
    """How often what happens, per happening; the parts of the world have weathers of their own."""

    command: float
    edit: float
    kill: float
    crash: float
    crash_now: float
    power_cut: float
    clock: ClockWeather
    kernel: KernelWeather
    disk: DiskWeather
    bus: BusWeather

    @classmethod
    def drawn(cls, chance: Dice, steps: int) -> Weather:
        """Half of all faults are absent from a run, and so are most troubles of a disk."""
        rates = {
            name: rate * chance.random() * (chance.random() < 0.5) for name, rate in _RATES.items()
        }
        disk = _disk_drawn(chance, steps)
        if disk.torn:  # Only a power cut tears anything.
            rates["power_cut"] = max(rates["power_cut"], _RATES["power_cut"])
        for name in ("crash", "crash_now", "power_cut"):
            rates[name] *= min(1.0, LONG / steps)
        disk = attr.evolve(disk, cut=disk.cut * patience(steps))
        return cls(
            **rates, clock=ClockWeather.drawn(chance), kernel=KernelWeather.drawn(chance),
            disk=disk, bus=BusWeather.drawn(chance),
        )  # fmt: skip

    def troubles(self) -> Troubles:
        """What may happen between two happenings, each with its rate."""
        mine: Troubles = [(getattr(self, name), trouble) for name, trouble in TROUBLES.items()]
        clocks: Troubles = [
            (getattr(self.clock, name), partial(_of_clocks, trouble))
            for name, trouble in sim_clock.TROUBLES.items()
        ]
        return [(rate, trouble) for rate, trouble in (*mine, *clocks) if rate]


def patience(steps: int) -> float:
    """How often cores may end in a world, against a short one: each new core reads all of it."""
    return 1.0 if steps <= SHORT else LONG / steps


def _disk_drawn(chance: Dice, steps: int) -> DiskWeather:
    kind = chance.random()
    if kind < DISK_SHARE and steps <= SHORT:
        return DiskWeather.drawn_bad(chance)
    return DiskWeather.drawn(chance) if kind < 0.8 else CALM


def drive(
    seed: int, steps: int = STEPS, cast: Cast | None = None, *, mode: str | None = None,
    seen: Callable[[World], object] = bool,
) -> World:  # fmt: skip
    """One whole run. Without a mode the seed decides which; `seen` is given the world at once."""
    world = World(seed, cast)
    seen(world)
    chance = world.agenda.chance
    drawn = chance.choice(MODES)
    mode = mode or drawn
    world.truth.repeat = f"python -m circus.replay {seed} {steps} {mode}"
    weather = Weather.drawn(chance, steps)
    if mode == "liveness":
        weather = attr.evolve(weather, edit=0.0)  # A new file would have workers grow old again.
    specs = wishes.specs(chance, ageless=mode == "liveness")
    hardships = Hardship.drawn(world.agenda, patience(steps))
    world.configure(specs, warmup_delay=hardships.warmup or WARMUPS[seed % len(WARMUPS)])
    world.keeper.kernel.lives.weather = weather.kernel
    world.disk.change_weather(weather.disk)
    invite(world, weather.bus)
    hardships.befall(world)
    world.agenda.coverage.expect(
        *machine.FAULTS, *sim_clock.FAULTS, *wishes.FAULTS, *sim_bus.FAULTS, *hardship.FAULTS
    )
    play(world, weather, steps, hardships)
    if world.ended is None:
        ENDS[mode](world)
    world.examine()
    return world


def failure_of(whole_run: Callable[[], object]) -> tuple[str, str] | None:
    """The invariant that failed, or the name of the exception that ended the world, and its text;
    None if all held."""
    try:
        whole_run()
    except Violation as violation:
        text = str(violation)
        return text.partition(":")[0], text
    except Exception as error:  # noqa: BLE001 - a crash of what is tested is a finding, not an end
        return type(error).__name__, f"{type(error).__name__}: {error}"
    return None


def invite(world: World, weather: BusWeather) -> None:
    """Strangers: none in half of the worlds, some clients and subscribers in the others."""
    chance = world.agenda.chance
    world.strangers.change_weather(weather)
    if chance.random() < 0.5:
        world.strangers.invite(
            clients=chance.randrange(4), subscribers=chance.randrange(3),
            listeners=chance.randrange(2),
        )  # fmt: skip


def play(world: World, weather: Weather, steps: int, hardships: Hardship) -> None:
    """Let things happen until so much has been decided."""
    killer, fate = (world.agenda.stream(one).random for one in ("killer of keepers", "fate"))
    troubles, gloom, keeper = weather.troubles(), hardships.troubles(), hardships.keeper
    often, rarely = (sum(rate for rate, _ in some) for some in (troubles, gloom))
    dice, tally = world.agenda.chance.random, world.tally
    for _ in range(steps * HAPPENINGS_PER_STEP_MAX):
        drawn = dice()
        if drawn < often:
            disturb(world, troubles, drawn)
        if keeper and killer() < keeper:
            world.kill_keeper()
        if rarely and (drawn := fate()) < rarely:
            disturb(world, gloom, drawn)
        if tally.decisions >= steps or world.ended is not None or not world.step():
            return


def disturb(world: World, troubles: Troubles, drawn: float) -> None:
    """A command or a fault: the one whose rate the number lies in."""
    for rate, trouble in troubles:
        drawn -= rate
        if drawn < 0:
            trouble(world, world.agenda.chance)
            return


def _crash_soon(world: World, chance: Dice) -> None:
    world.crash_at(chance.randrange(1, CALLS_TO_CRASH_MAX))
    if chance.random() < POWER_SHARE:
        world.agenda.crash = PowerCut


def _of_clocks(
    trouble: Callable[[Agenda, sim_clock.Stops], None], world: World, _chance: Dice
) -> None:
    trouble(world.agenda, world.stops)


# What each rate of Weather is the rate of.
TROUBLES: Final[Mapping[str, Trouble]] = {
    "command": wishes.command,
    "edit": wishes.edit,
    "kill": wishes.kill,
    "crash": _crash_soon,
    "crash_now": wishes.command_in_vain,
    "power_cut": lambda world, _: world.cut_power(),
}


def rest(world: World) -> None:
    """Everything comes to rest."""
    world.settle()


def converge(world: World) -> None:
    """What is wanted is so, in time, and stays so: nothing is done that nobody asked for."""
    world.settle()
    before = world.truth.records[-1].seq
    world.run_for(QUIET_FOR)
    said = {one.name for one in world.truth.records if one.seq > before} - IN_PATIENCE
    if said:
        raise Violation(f"I-QUIET: nothing was to be done, and there is {said}\n{_how(world)}")


def end(world: World) -> None:
    """Somebody asks for the end, perhaps twice; perhaps the core dies of it."""
    chance = world.agenda.chance
    world.agenda.crash_at = None
    world.agenda.crash = Crash
    while world.keeper.down:
        world.step()
    world.signal(int(chance.choice((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))))
    if chance.random() < 0.3:
        world.crash_at(chance.randrange(1, CALLS_TO_CRASH_MAX))
    if chance.random() < 0.3:
        world.run(chance.randrange(50))
        world.signal(int(signal.SIGTERM))
    _be_over(world)
    left = [one.pid for one in world.keeper.kernel.living() if one.pidfd]
    if not world.truth.blind and (world.ended is None or left):
        raise Violation(f"I-SHUT: not over after a minute, {left} live\n{_how(world)}")


def _be_over(world: World) -> None:
    """Within a minute without a power cut: whatever starts after one has to be asked again."""
    for asked in range(ASKED_MAX):
        if asked:
            world.signal(int(signal.SIGTERM))
        if asked == ASKED_MAX - 1:
            world.disk.change_weather(CALM)  # No machine fails for ever.
            world.relapse = 0.0
        boots = world.boots
        world.run_for(OVER_WITHIN)
        if world.ended is not None or world.boots == boots:
            return


def _how(world: World) -> str:
    return f"seed {world.truth.seed}\n{world.truth.repeat}"


ENDS: Final[dict[str, Callable[[World], None]]] = {
    "safety": rest,
    "liveness": converge,
    "ending": end,
}
