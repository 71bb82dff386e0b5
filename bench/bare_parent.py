"""The bare loop: what a Python parent needs for the same system calls and nothing else.

Run as `python bare_parent.py KIND COUNT PROGRAM FIFO ACTION`. KIND `popen` starts the workers with
`subprocess.Popen`; `spawn` with the very call that the keeper makes, and replaces whoever dies: a
pidfd in an epoll set, waitpid, the next spawn. No record, no policy, no second process. `full`
takes the keeper's other road: fork, and every step in Python. SIGTERM ends the workers (TERM, then
reaping each), says `stopped` on standard output, and waits for the end of standard input.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys


def main(kind: str, count: int, argv: list[str]) -> None:
    """Start, keep, and end on SIGTERM."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGTERM, lambda *_: None)
    pids = by_popen(count, argv) if kind == "popen" else by_spawn(kind, count, argv, read)
    if kind == "popen":
        select.select([read], [], [])
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for pid in pids:
        os.waitpid(pid, 0)
    sys.stdout.write("stopped\n")
    sys.stdout.flush()
    sys.stdin.read()


def by_popen(count: int, argv: list[str]) -> list[int]:
    """The loop that everybody would write."""
    null = subprocess.DEVNULL
    kept = [subprocess.Popen(argv, stdin=null, start_new_session=True) for _ in range(count)]
    pids = [child.pid for child in kept]
    for child in kept:
        child.returncode = 0  # reaped by number, in `main`
    return pids


def by_spawn(kind: str, count: int, argv: list[str], wake: int) -> list[int]:
    """Keep `count` workers until `wake` is readable; who is alive then."""
    from circus.process.launch import Launch
    from circus.process.spawn import Spawner

    launch = Launch(tuple(argv), dict(os.environ), uid=os.getuid() if kind == "full" else None)
    spawner = Spawner()
    epoll = select.epoll()
    epoll.register(wake, select.EPOLLIN)
    children: dict[int, int] = {}

    def start() -> None:
        pid = spawner.spawn(launch)
        pidfd = os.pidfd_open(pid)
        epoll.register(pidfd, select.EPOLLIN)
        children[pidfd] = pid

    for _ in range(count):
        start()
    while True:
        for fd, _ in epoll.poll():
            if fd == wake:
                return list(children.values())
            os.waitpid(children.pop(fd), 0)
            os.close(fd)
            start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
