"""How long a bare interpreter takes to start here and now: what limits of time are measured with.

RELIABILITY names milliseconds, for a machine that has nothing else to do. Here fifty workers come
and go, and perhaps other people's programs: a time beyond its limit is wrong only if it is also
many times what a bare interpreter has taken between the faults.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from campaign.stage import Stage, boot_ns, percentile

BARE: Final = "bare start"
EVERY: Final = 10  # faults between two measurements
TIMES: Final = 8
NS_PER_MS: Final = 1_000_000


def measure(stage: Stage) -> None:
    """Now and then."""
    if stage.done % EVERY:
        return
    begun = boot_ns()
    subprocess.run([sys.executable, "-c", "import zmq, msgpack"], check=True)
    stage.times[BARE].append((boot_ns() - begun) / NS_PER_MS)


def expect_within(stage: Stage, what: str, part: float, limit_ms: float) -> None:
    """So many of these times are within the limit, or not many times longer than a bare start.

    Of a hundred times one may be late; of ten nobody can say what a hundredth part of them is.
    """
    if len(stage.times[what]) * (1 - part) < 1:
        return
    found, bare = (percentile(stage.times[name], part) for name in (what, BARE))
    stage.expect(
        found <= max(limit_ms, TIMES * bare),
        f"{what}: p{part * 100:.0f} is {found:.0f} ms; the limit is {limit_ms:.0f} ms, or {TIMES} "
        f"times a bare start, which took {bare:.0f} ms",
    )
