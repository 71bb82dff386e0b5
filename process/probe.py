"""Room: process -- what a process looks like now: Circus's info object, sampled with psutil.

Knows:     psutil (imported at the first sample).
Known by:  process.process, the gateway's `stats`.
Never:     decides; raises because a process went away while it was looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

NOT_AVAILABLE: Final = "N/A"
GONE: Final = "No such process (stopped?)"
KEYS: Final = (
    "mem_info1", "mem_info2", "cpu", "mem", "ctime", "pid", "username", "nice", "create_time",
    "age", "cmdline", "children",
)  # fmt: skip
UNITS: Final = ("B", "K", "M", "G", "T", "P")
SCALE: Final = 1024


class Info(dict[str, Any]):
    """Circus's keys; as text the line of its documentation: name, pid, program, user, …"""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.name = name

    def __str__(self) -> str:
        own = ("username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime")
        rest = " ".join(str(self[key]) for key in own)
        return f"{self.name}: {self['pid']}  {self['cmdline']} {rest}"


def sample(pid: int, interval: float = 0.0) -> dict[str, Any] | None:
    """One process now; None where there is none. A field that may not be read is "N/A".

    `interval`: seconds over which cpu is measured; 0: since the last sample, without waiting.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return _values(process, interval)
    except psutil.NoSuchProcess:
        return None


def human(size: float) -> str:
    """32.48M, as Circus writes memory."""
    for unit in UNITS:
        if size < SCALE:
            return f"{int(size)}{unit}" if unit == "B" else f"{size:.2f}{unit}"
        size /= SCALE
    return f"{size:.2f}E"


def clock(seconds: float) -> str:
    """m:ss.cc of processor time; the minutes do not wrap at 60 as Circus's do."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:05.2f}"


def _values(process: Any, interval: float) -> dict[str, Any]:
    import psutil

    zombie = process.status() == psutil.STATUS_ZOMBIE

    def read(value: Callable[[], Any]) -> Any:
        try:
            return value()
        except psutil.NoSuchProcess:
            # A zombie has no memory, no command line; psutil raises a kind of NoSuchProcess.
            if process.is_running():
                return NOT_AVAILABLE
            raise
        except (psutil.AccessDenied, OSError):
            return NOT_AVAILABLE

    created = read(process.create_time)
    return {
        "mem_info1": NOT_AVAILABLE if zombie else read(lambda: human(process.memory_info().rss)),
        "mem_info2": NOT_AVAILABLE if zombie else read(lambda: human(process.memory_info().vms)),
        "cpu": NOT_AVAILABLE if zombie else read(lambda: process.cpu_percent(interval or None)),
        "mem": NOT_AVAILABLE if zombie else read(lambda: round(process.memory_percent(), 3)),
        "ctime": NOT_AVAILABLE if zombie else read(lambda: clock(sum(process.cpu_times()[:2]))),
        "pid": process.pid,
        "username": read(process.username),
        "nice": "Zombie" if zombie else read(process.nice),
        "create_time": created,
        "age": time.time() - created if isinstance(created, float) else NOT_AVAILABLE,
        "cmdline": read(lambda: _program(process)) or NOT_AVAILABLE,
        "children": read(lambda: [child.pid for child in process.children()]),
    }


def _program(process: Any) -> str:
    words = process.cmdline()
    return os.path.basename(words[0]) if words else ""
