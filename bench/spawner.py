"""What one spawn call costs: `python spawner.py ROAD COUNT PROGRAM FIFO ACTION`.

Prints one line: the ns of each call, one after the other, in a process as small as the keeper. The
roads are `popen`, what everybody would write; `own`, the fast road with an error pipe made for each
spawn and read to its end; `shared`, with the keeper's one pipe for all; and `full`, fork and every
step in Python. With `-nofile` behind it the soft limit of descriptors is put back around each.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable


def main(road: str, count: int, argv: list[str]) -> None:
    """Spawn, measure, end those that were spawned."""
    spawn = by_popen(argv) if road == "popen" else by_spawner(road, argv)
    taken: list[int] = []
    pids: list[int] = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        pids.append(spawn())
        taken.append(time.perf_counter_ns() - begun)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print(*taken)


def by_popen(argv: list[str]) -> Callable[[], int]:
    """The standard library's own."""

    def spawn() -> int:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        child.returncode = 0  # reaped by number, in `main`
        return child.pid

    return spawn


def by_spawner(road: str, argv: list[str]) -> Callable[[], int]:
    """The keeper's, in one of its ways."""
    from circus.process.launch import Launch
    from circus.process.spawn import Spawner

    way, _, limited = road.partition("-")
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE) if limited else None
    spawner = Spawner(nofile=nofile)
    if way == "shared":
        spawner.learn()
    launch = Launch(tuple(argv), dict(os.environ), uid=os.getuid() if way == "full" else None)
    return lambda: spawner.spawn(launch)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
