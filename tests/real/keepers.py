"""Room: tests -- real keepers: as a library starts one, and with a core of its own.

Knows:     process.keeper, link, spawn; /proc.
Known by:  tests/real/test_keeper*.py.
Never:     sleeps or waits without a deadline; leaves a process behind.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from circus.process.keeper import embedded_argv
from circus.process.launch import Launch, Plan
from circus.process.link import Link, pair
from circus.process.spawn import Spawner

DEADLINE = 30.0
PATH = "/usr/bin:/bin"
MOMENT = 1.0
SECOND = 1_000_000_000
STUBBORN = "trap '' TERM; echo up; while :; do read x; done"

# A core for tests: it speaks the link and does what its first argument says.
CORE = """
import os, select, signal, sys
from circus.process.launch import Launch, Plan
from circus.process.link import Link
role, link, mark = sys.argv[1], Link.core_end(int(sys.argv[2])), sys.argv[3]
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def out(*operations):
    link.send(operations)
    link.flush()
if role == "refuse":
    sys.exit(78)
sleep = Launch(("sleep", "1000"), {"PATH": "/usr/bin:/bin", "MARK": mark}, close_stdout=True)
out(("list", 1))
while True:
    select.select([link], [], [], 0.05 if role == "hung" else None)
    if role == "hung":
        out(("ping", 1))
    for report in link.receive():
        say(os.getpid(), *report)
        if report[0] == "hello" and role == "late" and len(report[3]) < 3:
            sys.exit(1)
        elif report[0] == "held" and role == "dying":
            out(("spec", sleep.digest, sleep.to_map()),
                ("spawn", 2, sleep.digest, "w", sleep.plan._replace(priority=9)),
                ("spawn", 3, sleep.digest, "w", sleep.plan._replace(priority=1)),
                ("spawn", 4, sleep.digest, "w", sleep.plan._replace(priority=5)))
        elif report[0] == "spawned" and role == "dying" and report[1] == 4:
            sys.exit(1)
        elif report[0] == "held" and role == "brief":
            os.kill(os.getppid(), signal.SIGSTOP)
            out(("ping", 1))
            out(("stopping", 5))
            link.close()
            os.kill(os.getppid(), signal.SIGCONT)
            select.select([], [], [], 0.2)
            sys.exit(0)
        elif report[0] == "held":
            out(("ready", os.getpid(), 0))
            if not report[2]:
                out(("spec", sleep.digest, sleep.to_map()),
                    ("spawn", 2, sleep.digest, "w", sleep.plan))
        elif report[0] == "spawned" and role == "hung":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif report[0] == "exited":
            out(("ack", [report[1]]))
        elif report[0] == "os_signal" and role in ("polite", "late", "hung"):
            out(("signal", 9, 2, signal.SIGTERM, "process", None))
        elif report[0] == "os_signal" and role == "deaf":
            select.select([], [], [])
        elif report[0] == "reaped" and role in ("polite", "late", "hung"):
            out(("stopping", 5))
            sys.exit(0)
"""
DAEMON = """
import sys
from circus.process.keeper import KeeperOptions, run_keeper
state, role, core, mark, pause, silence = sys.argv[1:]
sys.exit(run_keeper(KeeperOptions(
    state, lambda fd: [sys.executable, "-c", core, role, str(fd), mark], pauses=(int(pause),),
    silence=int(silence))))
"""


def mark_of(state_dir: Path) -> Iterator[str]:
    """Everything a test starts carries this in its environment; nothing may be left at the end."""
    value = f"circus-test-{state_dir}-{os.getpid()}"
    yield value
    left = [pid for pid in _marked(value) if not _is_ending(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert [] == left


def _is_ending(pid: int) -> bool:
    """Whether it has been killed, and needs only a moment to be gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], MOMENT)[0])
    finally:
        os.close(pidfd)


def _marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found


class Embedded:
    """A keeper as the library starts it, with the test as its core."""

    def __init__(self, state_dir: Path, mark: str, host_pid: int) -> None:
        ours, theirs = pair()
        os.set_inheritable(theirs, True)
        argv = tuple(embedded_argv(str(state_dir), theirs, host_pid))
        self.pid = Spawner().spawn(Launch(argv, {**os.environ, "MARK": mark}))
        os.close(theirs)
        self.link = Link.core_end(ours)
        self.state_dir = state_dir
        self.mark = mark
        self._seq = 1

    def seq(self) -> int:
        self._seq += 1
        return self._seq

    def launch(self, *argv: str, **rest: Any) -> Launch:
        return Launch(argv, {"PATH": PATH, "MARK": self.mark}, **rest)

    def ask(self, *operations: Sequence[Any]) -> None:
        self.link.send(operations)
        assert self.link.flush()

    def spawn(self, launch: Launch, plan: Plan | None = None) -> int:
        seq = self.seq()
        self.ask(
            ("spec", launch.digest, launch.to_map()),
            ("spawn", seq, launch.digest, "owner", plan or launch.plan),
        )
        return seq

    def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Reports, until they are enough."""
        seen: list[Any] = []
        ends = time.monotonic() + DEADLINE
        while not enough(seen):
            ready, _, _ = select.select([self.link], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"nothing more came after {seen[-5:]}"
            seen += self.link.receive()
        return seen

    def wait(self, name: str, count: int = 1) -> list[Any]:
        return [r for r in self.until(lambda seen: count_of(seen, name) >= count) if r[0] == name]

    def end(self) -> int:
        self.link.close()
        return wait_end(self.pid)


def count_of(reports: list[Any], name: str) -> int:
    return sum(report[0] == name for report in reports)


def wait_end(pid: int) -> int:
    pidfd = os.pidfd_open(pid)
    ready, _, _ = select.select([pidfd], [], [], DEADLINE)
    os.close(pidfd)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert ready
    return os.waitstatus_to_exitcode(status)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def read_line(fd: int) -> bytes:
    ready, _, _ = select.select([fd], [], [], DEADLINE)
    assert ready
    return os.read(fd, 100)


class Daemon:
    """A keeper that starts the test core; the core prints every report that it gets."""

    def __init__(
        self,
        state_dir: Path,
        mark: str,
        role: str,
        *,
        pause: int = SECOND,
        silence: int = 30 * SECOND,
    ) -> None:
        self._read, write = os.pipe()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                DAEMON,
                str(state_dir),
                role,
                CORE,
                mark,
                str(pause),
                str(silence),
            ],
            stdout=write,
            stderr=write,
            env={**os.environ, "MARK": mark},
        )
        os.close(write)
        self._lines: deque[str] = deque()
        self._part = b""

    def line(self, word: str) -> list[str]:
        """The next report of this name: the core's pid, then its words."""
        ends = time.monotonic() + DEADLINE
        while True:
            while self._lines:
                words = self._lines.popleft().split()
                if word in words[:2]:
                    return words
            ready, _, _ = select.select([self._read], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"no {word} came in time"
            data = os.read(self._read, 65536)
            assert data, f"all ended, and no {word} came"
            *whole, self._part = (self._part + data).split(b"\n")
            self._lines.extend(line.decode() for line in whole)

    def end(self) -> int:
        try:
            return self.process.wait(DEADLINE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(DEADLINE)
            os.close(self._read)


def held_by(tmp_path: Path, mark: str) -> Iterator[Embedded]:
    """A keeper in this process's place, whose core has been told what it holds; ends well."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.wait("held")
    yield keeper
    assert 0 == keeper.end()
