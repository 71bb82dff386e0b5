"""A subscriber in a process of its own: `python listener.py STATE_DIR`, an SDK user and no more.

It follows from the first record on, says `ready` with the first, and ends with the daemon's own
`arbiter.stopping`, printing what it saw: how many, with how many holes, and how late (from the
moment that the switchboard stamped a record to the moment that this program has it).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from circus.bus.record import Record
from circus.bus.subscribe import subscribe

LAST = "arbiter.stopping"


def boot_ns() -> int:
    """The clock of a record's `boot`."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main(place: str) -> None:
    """Listen until the daemon says that it stops."""
    ready = 0
    seen = holes = expected = 0
    late: list[int] = []
    for record in until_the_end(place):
        now = boot_ns()
        if not seen:
            ready = now
            print("ready", flush=True)
            expected = record.seq
        seen += 1
        holes += record.seq != expected
        expected = record.seq + 1
        if record.boot > ready:
            late.append(now - record.boot)
    took = boot_ns() - ready
    late.sort()
    told = {"seen": seen, "live": len(late), "holes": holes, "ns": took}
    if late:
        told |= {"p50": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "max": late[-1]}
    print(json.dumps(told), flush=True)


def until_the_end(place: str) -> Iterator[Record]:
    """Every record up to the last that matters here."""
    with subscribe(place, after=0) as stream:
        for record in stream:
            yield record
            if record.name == LAST:
                return


if __name__ == "__main__":
    main(sys.argv[1])
