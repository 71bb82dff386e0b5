"""A real circusd under attack: started, asked, followed, struck, ended by pid.

Whoever follows it hears the record as any user of the SDK does, in a thread of its own, and checks
on the way that no number is missing and none comes twice.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import circus
from campaign.stage import Stage, Wrong
from circus.bus import events
from circus.bus.record import Record
from circus.client import Client

DEADLINE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.002


class Ear(threading.Thread):
    """Hears everything, in order; keeps what the campaign waits for."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(daemon=True)
        self.ready_at = 0  # boot ns at which the newest core was ready
        self.last_seq = 0
        self.counts: Counter[str] = Counter()
        self.fault: str | None = None
        self._changed = threading.Condition()
        self._records = circus.subscribe(state_dir, after=0)

    def run(self) -> None:
        try:
            for record in self._records:
                self._note(record)
        except Exception as error:
            self._say(f"the subscriber ended with {error!r}")
            raise

    def _note(self, record: Record) -> None:
        if record.seq != self.last_seq + 1:
            self._say(f"a subscriber heard {record.seq} after {self.last_seq}")
        self.last_seq = record.seq
        self.counts[record.name] += 1
        if isinstance(record.body, events.CoreReady):
            with self._changed:
                self.ready_at = record.boot
                self._changed.notify_all()

    def _say(self, text: str) -> None:
        with self._changed:
            self.fault = self.fault or text
            self._changed.notify_all()

    def wait_ready(self, after: int = 0, seconds: float = DEADLINE_SECONDS) -> int:
        """Until a core was ready later than this (boot ns); when it was."""
        with self._changed:
            self._changed.wait_for(lambda: self.ready_at > after or self.fault, timeout=seconds)
            if self.fault:
                raise Wrong(self.fault)
            if self.ready_at <= after:
                raise Wrong(f"no core was ready for {seconds:g} s")
            return self.ready_at


class Supervised:
    """One circusd on a state directory of its own."""

    def __init__(
        self, stage: Stage, config: str, *, name: str = "state", files: int | None = None,
        group: Path | None = None,
    ) -> None:  # fmt: skip
        self.state = stage.folder / name
        self.config = stage.folder / f"{name}.toml"
        self.config.write_text(config, encoding="utf-8")
        self.log = stage.folder / f"{name}.log"
        self._before = [f"ulimit -n {files}"] if files is not None else []
        self._before += [f"echo $$ > {group}/cgroup.procs"] if group is not None else []
        self.popen: subprocess.Popen[bytes] | None = None
        self._ear: Ear | None = None

    # --- life -----------------------------------------------------------------------------------

    def start(self, *extra: str) -> Supervised:
        """Exec it; it answers soon."""
        self.popen = self.another(*extra)
        return self

    def another(self, *extra: str) -> subprocess.Popen[bytes]:
        """One more circusd on the same state directory: only one of them may run."""
        command = [
            sys.executable, "-m", "circus.start", "--state-dir", str(self.state), *extra,
            str(self.config),
        ]  # fmt: skip
        if self._before:
            first = " && ".join([*self._before, 'exec "$@"'])
            command = ["sh", "-c", first, "sh", *command]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """The keeper's."""
        assert self.popen is not None, "start it first"
        return self.popen.pid

    @property
    def ear(self) -> Ear:
        """The one that listens; the first time begins with record 1."""
        if self._ear is None:
            self._ear = Ear(self.state)
            self._ear.start()
        return self._ear

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Until it has ended; its exit code."""
        assert self.popen is not None
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Wrong(f"circusd had not ended after {seconds:g} s") from error

    def stop(self) -> int:
        """TERM, and its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """End it, whatever state it is in, and everything below it."""
        if self.popen is not None and self.popen.poll() is None:
            for pid in freeze(self.popen.pid):
                kill(pid)
            self.popen.wait()

    # --- asking -----------------------------------------------------------------------------------

    def call(self, command: str, **properties: Any) -> dict[str, Any]:
        """One question or command; an error reply is a wrong."""
        with Client(self.state, timeout=DEADLINE_SECONDS) as client:
            reply = client.call(command, **properties)
        if reply["status"] == "error" and "errno" in reply:
            raise Wrong(f"{command} {properties} was answered with {reply}")
        return reply

    def pids(self, watcher: str) -> list[int]:
        """As `list` says."""
        return list(self.call("list", name=watcher)["pids"])

    def core_pid(self) -> int:
        """The core that runs now, as the kernel says; 0 between two."""
        return next((pid for pid in children(self.pid) if comm(pid) == "circus-core"), 0)

    # --- striking ---------------------------------------------------------------------------------

    def strike_core(self) -> int:
        """KILL to the core that runs now; the boot ns before it."""
        until(lambda: self.core_pid() != 0, "there was no core to strike")
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        kill(self.core_pid(), wait=False)
        return at


@contextmanager
def running(stage: Stage, config: str, **more: Any) -> Generator[Supervised]:
    """Started and ready; ended whatever happens; what it said is shown after a wrong."""
    one = Supervised(stage, config, **more)
    try:
        one.start()
        one.ear.wait_ready()
        yield one
    finally:
        one.close()


def until(true: Callable[[], object], text: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for what the kernel does not announce."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Wrong(f"{text} for {seconds:g} s")
        time.sleep(POLL_SECONDS)


def children(pid: int) -> list[int]:
    """Direct children of all its threads; none if it is gone."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    except OSError:
        return found
    return found


def descendants(root: int) -> list[int]:
    """All of them, parents first."""
    found = children(root)
    for pid in found:
        found += children(pid)
    return found


def comm(pid: int) -> str:
    """The name of a process, "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def state_of(pid: int) -> str:
    """R, S, D, T, t, Z …; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def freeze(root: int) -> list[int]:
    """STOP to a process and all below it, until no new one appears."""
    frozen: list[int] = []
    while new := [pid for pid in (root, *descendants(root)) if pid not in frozen]:
        for pid in new:
            frozen.append(pid)
            send(pid, signal.SIGSTOP)
    return frozen


def send(pid: int, signum: int) -> bool:
    """A signal by pidfd, so that it reaches this process or nobody."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return False
    try:
        signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def kill(pid: int, *, wait: bool = True) -> bool:
    """KILL; and until it has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return False
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if wait:
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            if not poller.poll(round(DEADLINE_SECONDS * 1000)):
                raise Wrong(f"process {pid} did not end")
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True
