"""Room: watcher -- one process of a library watcher: what Circus's process objects answer.

Knows:     process.probe, process.kernel (children); what the watcher's home tells.
Known by:  the public Watcher (`processes`, `get_active_processes`).
Never:     signals or waits by itself: what is sent is a command on record for the keeper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from circus.bus.clock import SystemClock
from circus.bus.values import NS_PER_SECOND

RUNNING: Final = 0
DEAD_OR_ZOMBIE: Final = 1
UNEXISTING: Final = 2


class Row(NamedTuple):
    """What the projection knows of one process; `started` is wall-clock seconds."""

    pid: int
    wid: int
    started: float
    stopping: bool


class Owner(Protocol):
    """The public Watcher as its processes see it."""

    name: str

    def rows(self) -> Sequence[Row]: ...
    def signal(self, how: Mapping[str, Any], /) -> None: ...
    def end_process(self, pid: int, /) -> None: ...
    def program(self) -> str: ...


class WatchedProcess:
    """One process of a watcher. Equal by pid; ordered by age, as in Circus."""

    def __init__(self, watcher: Owner, row: Row) -> None:
        self.watcher = watcher
        self.pid = row.pid
        self.wid = row.wid
        self.started = row.started
        self.stopping = row.stopping
        self.name = watcher.name
        self.stdout = None
        self.stderr = None

    @property
    def cmd(self) -> str:
        """The watcher's program."""
        return self.watcher.program()

    @property
    def status(self) -> int:
        """0 running, 1 dead and not collected yet, 2 gone."""
        if self.pid not in {row.pid for row in self.watcher.rows()}:
            return UNEXISTING
        return DEAD_OR_ZOMBIE if _is_zombie(self.pid) else RUNNING

    def age(self) -> float:
        """Seconds since it was started."""
        return SystemClock().now().wall / NS_PER_SECOND - self.started

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.status == RUNNING

    def info(self) -> Any:
        """Circus's info object, or the string "No such process (stopped?)"."""
        from circus.process.probe import GONE, Info, sample

        values = sample(self.pid) if self.status != UNEXISTING else None
        return GONE if values is None else Info(self.name, values)

    def children(self, recursive: bool = False) -> list[int]:
        """The pids of its children, or of all its descendants."""
        from circus.process.kernel import children_of, descendants_of

        return descendants_of(self.pid) if recursive else children_of(self.pid)

    def is_child(self, pid: int) -> bool:
        """Whether `pid` is a direct child of it."""
        return pid in self.children()

    def send_signal(self, sig: int) -> None:
        """Send a signal; recorded as `watcher.signal`, then `process.signalled`."""
        self.watcher.signal({"signum": int(sig), "pid": self.pid})

    def send_signal_child(self, pid: int, signum: int) -> None:
        """Send a signal to one direct child."""
        self.watcher.signal({"signum": int(signum), "pid": self.pid, "childpid": pid})

    def send_signal_children(self, signum: int, recursive: bool = False) -> None:
        """Send a signal to its children, or to all its descendants."""
        how = {"signum": int(signum), "pid": self.pid, "children": True, "recursive": recursive}
        self.watcher.signal(how)

    def stop(self) -> None:
        """Stop signal, grace, SIGKILL; recorded as `watcher.kill`. The watcher then replaces it."""
        self.watcher.end_process(self.pid)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WatchedProcess) and other.pid == self.pid

    def __hash__(self) -> int:
        return hash(self.pid)

    def __lt__(self, other: WatchedProcess) -> bool:
        return self.started < other.started


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return True  # Its end is being recorded in this moment.
