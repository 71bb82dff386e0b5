"""What one spawn call costs, road by road: `python spawner.py COUNT PROGRAM FIFO ACTION`.

Prints as JSON the ns of each call by road, measured in turn (A B C A B C) in a process as small as
the keeper. The roads are `Popen`, what everybody would write; the fast road with an error pipe made
for each spawn and read to its end; with the keeper's one pipe for all; both with the soft limit of
descriptors put back around each spawn; and, for root, `full`: fork and every step in Python.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from circus.process.launch import Launch
from circus.process.spawn import Spawner


def main(count: int, argv: list[str]) -> None:
    """Spawn, measure, end those that were spawned."""
    roads = roads_to(argv)
    taken: dict[str, list[int]] = {name: [] for name in roads}
    pids: list[int] = []
    for _ in range(count):
        for name, spawn in roads.items():
            begun = time.perf_counter_ns()
            pids.append(spawn())
            taken[name].append(time.perf_counter_ns() - begun)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print(json.dumps(taken))


def roads_to(argv: list[str]) -> dict[str, Callable[[], int]]:
    """Every way to start this program; its name says what is special about it."""
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    launch = Launch(tuple(argv), dict(os.environ))
    shared, shared_limited = Spawner(), Spawner(nofile=nofile)
    own, own_limited = Spawner(), Spawner(nofile=nofile)
    shared.learn()
    shared_limited.learn()
    roads = {
        "Popen": lambda: by_popen(argv),
        "shared pipe": lambda: shared.spawn(launch),
        "shared pipe, limit put back": lambda: shared_limited.spawn(launch),
        "own pipe": lambda: own.spawn(launch),
        "own pipe, limit put back": lambda: own_limited.spawn(launch),
    }
    if os.geteuid() == 0:
        # Only root has a full road to take: for anybody else "my own uid" is no change.
        full = Launch(tuple(argv), dict(os.environ), uid=os.getuid())
        roads["full road"] = lambda: own.spawn(full)
    return roads


def by_popen(argv: list[str]) -> int:
    """The standard library's own."""
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    child.returncode = 0  # reaped by number, in `main`
    return child.pid


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
