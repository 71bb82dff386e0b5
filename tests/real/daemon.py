"""A real `circusd` under test: started, followed, asked, ended by pid, and its ledger judged.

Knows:     the command lines, circus.Client, circus.subscribe, `checks/laws.py` beside it.
Known by:  the fixtures of this directory.
Never:     sleeps: every wait is for a record, a pidfd or a line in a pipe, with a deadline.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

import zmq

import circus
from circus.bus.dial import dial_ctl
from circus.bus.record import Record, fields_of
from circus.client import Client

DEADLINE_SECONDS: Final = 20
DEATH_MS_MAX: Final = 30_000
MARK: Final = "CIRCUS_TEST_MARK"

Where = Callable[[Record], bool]


class TooLate(AssertionError):
    """What was waited for did not happen."""


@contextlib.contextmanager
def deadline(what: str, seconds: float = DEADLINE_SECONDS) -> Generator[None]:
    """Whatever blocks inside is interrupted when the time is over. Main thread only."""

    def late(_signum: int, _frame: FrameType | None) -> None:
        raise TooLate(f"waited {seconds:g} s in vain for {what}")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Tale:
    """The record as a subscriber hears it; keeps all that it has heard."""

    def __init__(self, state_dir: Path, after: Any = 0) -> None:
        self.heard: list[Record] = []
        self._records = circus.subscribe(state_dir, after)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._records.close()

    @property
    def cursor(self) -> Any:
        """Where this subscriber stands."""
        return self._records.cursor

    def next(self, name: str, watcher: str | None = None, where: Where | None = None) -> Record:
        """The next record of this name that has not been heard yet."""
        with deadline(f"{name} of {watcher or 'anybody'}"):
            for record in self._records:
                self.heard.append(record)
                meant = record.name == name and watcher in {None, record.watcher}
                if meant and (where is None or where(record)):
                    return record
        raise AssertionError(f"the stream ended before {name}")

    def some(self, count: int, name: str, watcher: str | None = None) -> list[Record]:
        """The next `count` of this name."""
        return [self.next(name, watcher) for _ in range(count)]

    def of(self, name: str, watcher: str | None = None) -> list[Record]:
        """All heard so far of this name."""
        return [r for r in self.heard if r.name == name and watcher in {None, r.watcher}]


class Asking:
    """How a test talks to a daemon: by circusctl, and by the one client of the test."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._client: Client | None = None

    def client(self) -> Client:
        """The one client of this test."""
        if self._client is None:
            self._client = Client(self.state_dir, timeout=DEADLINE_SECONDS / 2)
        return self._client

    def ask(self, command: str, **properties: Any) -> dict[str, Any]:
        """A question or a command; the reply's body, which must be a good one."""
        reply = self.client().call(command, **properties)
        assert "reason" not in reply or "errno" not in reply, reply
        return reply

    def do(self, command: str, **properties: Any) -> dict[str, Any]:
        """A command, waited for to its end."""
        return self.ask(command, waiting=True, **properties)

    def refused(self, command: str, **properties: Any) -> dict[str, Any]:
        """A command that must be refused; the error reply."""
        reply = self.client().call(command, **properties)
        assert reply["status"] == "error", reply
        assert isinstance(reply["errno"], int)
        return reply

    def ctl(self, *line: str) -> subprocess.CompletedProcess[str]:
        """A line of circusctl."""
        command = [
            sys.executable, "-m", "circus.circusctl", "--state-dir", str(self.state_dir), *line,
        ]  # fmt: skip
        return subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )

    def pids(self, watcher: str) -> list[int]:
        """As `list` says."""
        return list(self.ask("list", name=watcher)["pids"])

    def core_pid(self) -> int:
        """The core's, as the status says."""
        return int(self.ask("status")["core"]["pid"])

    def raw(self, frames: list[bytes], seconds: float = DEADLINE_SECONDS) -> list[bytes]:
        """Any frames to ctl on a socket of their own; the frames of the answer, [] for none."""
        context: zmq.Context[Any] = zmq.Context()
        dialled = dial_ctl(context, self.client().endpoint)
        try:
            dialled.setsockopt(zmq.SNDTIMEO, DEATH_MS_MAX)
            dialled.send_multipart(frames)
            return dialled.recv_multipart() if dialled.poll(round(seconds * 1000)) else []
        finally:
            dialled.close(0)
            context.term()

    def hang_up(self) -> None:
        """Give the client's socket back."""
        if self._client is not None:
            self._client.close()


class Daemon(Asking):
    """One circusd on one state directory; may be started again after it ended."""

    def __init__(self, state_dir: Path, config: str, *, suffix: str = ".toml") -> None:
        super().__init__(state_dir)
        self.config = state_dir / f"under-test{suffix}"
        self.config.write_text(config, encoding="utf-8")
        self.log = state_dir / "log"
        self.popen: subprocess.Popen[bytes] | None = None
        self._tales: list[Tale] = []

    # --- life -----------------------------------------------------------------------------------

    def start(
        self, *extra: str, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> Daemon:
        """exec circusd; it is running, not necessarily listening, when this returns."""
        command = [
            sys.executable, "-m", "circus.start", "--state-dir", str(self.state_dir), *extra,
            str(self.config),
        ]  # fmt: skip
        whole = {**os.environ, MARK: str(self.state_dir), **(env or {})}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=whole, cwd=cwd
            )
        return self

    @property
    def pid(self) -> int:
        """The keeper's."""
        assert self.popen is not None, "start it first"
        return self.popen.pid

    def signal(self, signum: int) -> None:
        """To circusd itself."""
        os.kill(self.pid, signum)

    def wait(self) -> int:
        """Until circusd has ended; its exit code."""
        assert self.popen is not None
        with deadline("the end of circusd"):
            return self.popen.wait()

    def stop(self) -> int:
        """SIGTERM, wait, and nothing is left."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert [] == self.left()
        return code

    def kill(self) -> None:
        """SIGKILL to keeper and core, neither of whom sees the other end: the workers run on."""
        core = self.core_pid()
        self.signal(signal.SIGSTOP)
        for pid in (core, self.pid):
            os.kill(pid, signal.SIGKILL)
        self.wait()

    def locked(self) -> None:
        """Until circusd has set up its signals and taken its lock."""
        path = self.state_dir / "lock"
        with deadline("the lock to be taken"):
            while not path.exists():
                os.sched_yield()

    def logged(self, words: str) -> None:
        """Until these words stand in what circusd wrote."""
        with deadline(f"{words!r} in the log"):
            while words not in self.text():
                os.sched_yield()

    def text(self) -> str:
        """What it wrote to its standard output and error."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tale(self, after: Any = 0) -> Tale:
        """A new subscriber; closed with the daemon."""
        tale = Tale(self.state_dir, after)
        self._tales.append(tale)
        return tale

    # --- the end --------------------------------------------------------------------------------

    def left(self) -> list[int]:
        """Processes that carry our mark in their environment, circusd excepted."""
        mark = os.fsencode(f"{MARK}={self.state_dir}")
        pids = [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]
        return [pid for pid in pids if pid != os.getpid() and mark in environment_of(pid)]

    def head(self) -> int:
        """The newest seq in the files."""
        return int(laws().read(self.state_dir)[-1].seq)

    def judge(self) -> list[Record]:
        """The whole ledger, which obeys the laws."""
        records: list[Record] = laws().judge(self.state_dir)
        return records

    def close(self) -> None:
        """Everything ends, whatever state it is in: stopped first, so that nothing new appears."""
        for tale in self._tales:
            tale.__exit__(None, None, None)
        self.hang_up()
        if self.popen is None:
            return
        if self.popen.poll() is None:
            for pid in freeze_tree(self.popen.pid):
                end(pid)
            self.popen.wait()
        for pid in self.left():
            end(pid)


def environment_of(pid: int) -> list[bytes]:
    """What a process was started with; nothing if it is not there any more."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def freeze_tree(root: int) -> list[int]:
    """SIGSTOP to a process and all its descendants, until no new one is found."""
    frozen: list[int] = []
    while new := [pid for pid in (root, *descendants(root)) if pid not in frozen]:
        for pid in new:
            frozen.append(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
    return frozen


def descendants(root: int) -> list[int]:
    """By the kernel's list of children."""
    found: list[int] = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
        except OSError:
            continue  # It has just ended.
        found += children
        todo += children
    return found


def end(pid: int) -> None:
    """SIGKILL by pidfd, and wait until it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_ended(pidfd, pid)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def wait_ended(pidfd: int, pid: int) -> None:
    """Until the process behind a pidfd has ended."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(DEATH_MS_MAX), f"process {pid} did not end"


def is_running(pid: int) -> bool:
    """Whether there is a process that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def laws() -> Any:
    """The module beside this one, as the fixtures have loaded it."""
    return sys.modules["tests_real_laws"]


def data(record: Record) -> dict[str, Any]:
    """The fields of a record's body."""
    return fields_of(record.body)


def pid_of(record: Record) -> int:
    """The pid in a record's body."""
    pid: int = data(record)["pid"]
    return pid


class Grown:
    """The children that a worker has, which only the kernel can tell us when they are there."""

    def __call__(self, pid: int, count: int) -> list[int]:
        """Exactly `count` children of `pid`, waited for."""
        children = Path(f"/proc/{pid}/task/{pid}/children")
        with deadline(f"{count} children of {pid}"):
            while True:
                found = [int(child) for child in children.read_text(encoding="ascii").split()]
                if len(found) == count:
                    return found
                os.sched_yield()

    def ended(self, pid: int) -> None:
        """`pid` has ended, perhaps long ago."""
        with deadline(f"the end of {pid}"):
            while is_running(pid):
                os.sched_yield()


def written(path: Path) -> str:
    """What stands in a file that a worker writes, once there is something."""
    with deadline(f"{path.name} to be written"):
        while not (path.exists() and path.stat().st_size):
            os.sched_yield()
    return path.read_text(encoding="utf-8")
