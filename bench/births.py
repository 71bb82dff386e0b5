"""The worker that is measured: its first act is to say when it was born.

The worker is a small dynamically linked C program, as most programs are: exec, the loader, then
`clock_gettime(CLOCK_BOOTTIME)` as the first instruction of `main` and one write of `pid ns` to a
FIFO. The time is taken by the worker itself, so that whoever reads the FIFO may do so at leisure
and steals no time from what is measured. Without a C compiler it is a shell script, which cannot
read that clock: its line says 0, and the reader's own clock is taken on arrival. The same worker
is used for the bare loop and for the peers, so that ratios hold either way.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import time
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

NAME: Final = "bench-worker"
STAY: Final = "stay"
EXIT: Final = "exit"
PIPE_BYTES: Final = 1024 * 1024
SLICE_SECONDS: Final = 0.005

SOURCE: Final = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timespec now;
    char line[64];
    clock_gettime(CLOCK_BOOTTIME, &now);
    /* Without O_NONBLOCK a worker that outlives the measurement would wait for a reader forever. */
    int fd = open(words[1], O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return 1;
    int size = snprintf(line, sizeof line, "%d %lld\n", getpid(),
                        now.tv_sec * 1000000000LL + now.tv_nsec);
    if (write(fd, line, size) != size) return 1;
    close(fd);
    while (count > 2 && words[2][0] == 's') pause();
    return 0;
}
"""
SCRIPT: Final = """#!/bin/sh
echo "$$ 0" 1<>"$1"
[ "$2" = exit ] || exec sleep 1000000
"""


class Birth(NamedTuple):
    """One worker's first words."""

    pid: int
    at: int


def boot_ns() -> int:
    """The clock of every figure here: the one that the worker reads too."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def worker_program(folder: Path) -> Path:
    """The worker, built once per source."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    text = SOURCE if compiler else SCRIPT
    digest = blake2b(text.encode(), digest_size=4).hexdigest()
    program = folder / f"worker-{digest}" / NAME
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    if compiler:
        source = program.with_suffix(".c")
        source.write_text(text, encoding="ascii")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    else:
        program.write_text(text, encoding="ascii")
        program.chmod(0o755)
    return program


class Births:
    """The FIFO's reading end, and every worker that was heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[Birth] = []
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._rest = b""

    def next(self, seconds: float) -> Birth | None:
        """The next one to be heard; None if nobody is born in time."""
        end = time.monotonic() + seconds
        before = len(self.heard)
        while len(self.heard) == before:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                return None
            self.drain()
        return self.heard[before]

    def reach(self, total: int, seconds: float) -> bool:
        """Wait until so many were heard in all, looking seldom: the reader must not disturb."""
        end = time.monotonic() + seconds
        while len(self.heard) < total:
            if time.monotonic() > end:
                return False
            time.sleep(SLICE_SECONDS)
            self.drain()
        return True

    def drain(self) -> None:
        """Take everything that is in the pipe."""
        now = boot_ns()
        while True:
            try:
                data = os.read(self._fd, PIPE_BYTES)
            except BlockingIOError:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                pid, _, at = line.partition(b" ")
                self.heard.append(Birth(int(pid), int(at) or now))

    def close(self) -> None:
        """Close the pipe and end, one by one, every worker that is still there."""
        self.drain()
        os.close(self._fd)
        for pid in {birth.pid for birth in self.heard}:
            if is_worker(pid):
                os.kill(pid, signal.SIGKILL)


def is_worker(pid: int) -> bool:
    """Whether this pid is (still) one of our workers, and not somebody who got its number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return NAME.encode() in words or b"sleep\0001000000" in words
