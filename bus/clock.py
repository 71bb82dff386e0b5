"""Room: bus -- the clock seam: the only module that reads a clock.

Knows:     bus.values.
Known by:  the composition roots; everybody else is handed a Clock.
Never:     is imported by a core.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from circus.bus.values import Moment

BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


class Clock(Protocol):
    """Both clocks at one instant. Boottime goes on in suspend, never steps (RELIABILITY.md 3.2)."""

    def now(self) -> Moment: ...


class SystemClock:
    """CLOCK_REALTIME for people, CLOCK_BOOTTIME for every duration."""

    def now(self) -> Moment:
        return Moment(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def boot_id() -> str:
    """Names this boot: no pid or boot time of another boot means anything in this one."""
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
