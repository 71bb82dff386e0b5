"""A real circusd under attack: started, asked, followed, struck, ended by pid."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from campaign.ear import DEADLINE_SECONDS, Ear
from campaign.stage import Stage, Wrong, boot_ns
from circus.client import CallError, Client

POLL_SECONDS: Final = 0.002
# A question that a dying core has swallowed is asked again after a third of this.
CALL_SECONDS: Final = 15.0
SINCE: Final = 19  # in /proc/PID/stat, counted behind the name


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
        self._client: Client | None = None
        self.struck: list[int] = []  # the pids of cores that we have killed

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
        if self._client is not None:
            self._client.close()
        if self.popen is not None and self.popen.poll() is None:
            for pid in freeze(self.popen.pid):
                kill(pid)
            self.popen.wait()

    # --- asking -----------------------------------------------------------------------------------

    def call(self, command: str, **properties: Any) -> dict[str, Any]:
        """One question or command, of the row's own thread; an error reply is a wrong."""
        if self._client is None:
            self._client = Client(self.state, timeout=CALL_SECONDS)
        try:
            reply = self._client.call(command, **properties)
        except CallError as error:
            raise Wrong(f"{command} {properties}: {error}") from error
        if reply["status"] == "error" and "errno" in reply:
            raise Wrong(f"{command} {properties} was answered with {reply}")
        return reply

    def pids(self, watcher: str) -> list[int]:
        """As `list` says."""
        return list(self.call("list", name=watcher)["pids"])

    def core_pid(self) -> int:
        """The core that runs now, as the kernel says; 0 between two."""
        cores = (pid for pid in children(self.pid) if comm(pid) == "circus-core")
        return next((pid for pid in cores if not has_ended(pid)), 0)

    # --- striking ---------------------------------------------------------------------------------

    def strike_core(self) -> int:
        """KILL to the core that runs now; the boot ns before it."""
        until(lambda: self.core_pid() != 0, "there was no core to strike")
        at, core = boot_ns(), self.core_pid()
        if kill(core, wait=False):
            self.struck.append(core)
        return at

    def strike_worker(self, pid: int) -> bool:
        """KILL to a worker, if the number still means a child of the keeper."""
        return kill(pid, wait=False, parent=self.pid)


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


def has_ended(pid: int) -> bool:
    """Gone, or a zombie."""
    return _stat(pid)[:1] in (["Z"], ["X"], [])


class Seen(NamedTuple):
    """A process as it was once seen: whoever has its pid later is not it."""

    pid: int
    since: str  # clock ticks since the boot

    @property
    def has_ended(self) -> bool:
        return has_ended(self.pid) or _since(self.pid) != self.since

    def end(self) -> None:
        """KILL, if it is still there."""
        if not self.has_ended:
            kill(self.pid)


def seen(pids: Iterable[int]) -> list[Seen]:
    """Those that are there now."""
    return [Seen(pid, since) for pid in pids if (since := _since(pid))]


def _since(pid: int) -> str:
    return "".join(_stat(pid)[SINCE : SINCE + 1])


def _stat(pid: int) -> list[str]:
    """From the state (R, S, D, T, t, Z …) and the parent on; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return []


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


def kill(pid: int, *, wait: bool = True, parent: int = 0) -> bool:
    """KILL; and until it has ended. With `parent` only to a child of this one."""
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return False
    try:
        if parent and _stat(pid)[1:2] != [str(parent)]:
            return False
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
