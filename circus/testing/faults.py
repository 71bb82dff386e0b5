"""Room: front -- bad luck on purpose: what a test does to machine, daemon and workers.

Knows:     replay.world, the weathers of kernel and disk.
Known by:  circus.testing.setting, circus.testing.strategies.
Never:     does what no real machine does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from circus.bus.values import seconds_to_ns
from circus.replay.kernel.spawn import KernelWeather
from circus.replay.sim.disk_weather import CALM, DiskWeather

if TYPE_CHECKING:
    from circus.testing.setting import Setting


class Faults:
    """`world.faults`: each method is one piece of bad luck, at once. Durations are seconds."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._weather = KernelWeather()

    def kill(self, watcher: str, slot: int | None = None, signum: int = signal.SIGKILL) -> int:
        """Somebody else signals a worker, the oldest if no slot is given; its pid.

        LookupError: no such worker is alive.
        """
        for worker in self._setting.workers(watcher):
            if slot in (None, worker.slot):
                name = signal.Signals(signum).name
                self._say(f"{name} from a stranger to process {worker.pid}", watcher)
                self._setting.simulated.kill(worker.pid, int(signum))
                return worker.pid
        raise LookupError(f"cannot kill a worker of {watcher}: none is alive; let time pass first")

    def crash_core(self) -> None:
        """The core dies by SIGKILL; the keeper starts another one."""
        self._say("the core is killed")
        self._setting.simulated.crash()

    def crash_core_after(self, calls: int) -> None:
        """The core dies in the middle of something, at its `calls`-th touch of the world."""
        self._say(f"the core will die instead of its touch {calls} of clock, disk, link or bus")
        self._setting.simulated.crash_at(calls)

    def stop_core(self, seconds: float) -> None:
        """The core gets SIGSTOP, and SIGCONT so much later: it is slow, not dead."""
        self._say(f"the core is stopped for {seconds:g} s")
        self._setting.simulated.stops.stop(seconds_to_ns(seconds))

    def cut_power(self) -> None:
        """Everything stops; the machine comes back after 5 s with what its disk had synced."""
        self._say("the power is cut")
        self._setting.simulated.cut_power()
        self._set_weather(self._weather)

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: the clocks go on, and nothing else does."""
        self._say(f"the machine is suspended for {seconds:g} s")
        self._setting.simulated.agenda.suspend(seconds_to_ns(seconds))

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock, by so much; negative: back. No duration depends on it."""
        self._say(f"the wall clock is set by {seconds:+g} s")
        self._setting.simulated.agenda.wall += seconds_to_ns(seconds)

    def kernel(self, weather: KernelWeather) -> None:
        """From now on the kernel fails as often as this says."""
        self._say(f"the kernel from now on: {weather}")
        self._weather = weather
        self._set_weather(weather)

    def disk(self, weather: DiskWeather) -> None:
        """From now on the ledger's disk fails as often as this says."""
        self._say(f"the disk from now on: {weather}")
        self._setting.simulated.disk.change_weather(weather)

    def calm(self) -> None:
        """No more faults; what has been broken stays broken."""
        self._say("faults are over")
        self._weather = KernelWeather()
        self._set_weather(self._weather)
        self._setting.simulated.disk.change_weather(CALM)
        self._setting.simulated.agenda.crash_at = None

    def strike(self, fault: Fault) -> None:
        """One of a plan. What cannot happen just now (nobody to kill) does not."""
        try:
            FAULTS[fault.name](self, **fault.given)
        except LookupError as error:
            self._say(f"not done: {error}")

    def _set_weather(self, weather: KernelWeather) -> None:
        self._setting.simulated.keeper.kernel.lives.weather = weather

    def _say(self, text: str, watcher: str = "") -> None:
        self._setting.chronicle.remark(text, watcher)


FAULTS: Final[Mapping[str, Callable[..., Any]]] = {
    made.__name__: made
    for made in (
        Faults.kill, Faults.crash_core, Faults.crash_core_after, Faults.stop_core,
        Faults.cut_power, Faults.suspend, Faults.set_clock, Faults.kernel, Faults.disk, Faults.calm,
    )
}  # fmt: skip


class Fault(NamedTuple):
    """One piece of bad luck: a method of Faults by name, when, and with what.

    `at`: seconds from the call of `world.suffer`.
    """

    at: float
    name: str
    given: Mapping[str, Any] = {}
