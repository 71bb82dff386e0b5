"""Room: process -- processes of which only a killed keeper knew, found by their marks.

Knows:     process.marks, process.proof; /proc.
Known by:  arbiter.bereaved.
Never:     proves by itself that a process is ours: a program may pass its environment on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from circus.process.marks import mark
from circus.process.orphans_core import Evidence
from circus.process.proof import seen, stat_of

SESSION: Final = 3  # in /proc/PID/stat, counted behind the name


class Marked(NamedTuple):
    """A process that carries a mark of ours and leads a session, as every worker does."""

    spawn_id: int
    pid: int
    uid: int
    evidence: Evidence


def marked(log: str, spawn_ids: Collection[int]) -> list[Marked]:
    """The processes of these spawns; of several with one mark the first that was started."""
    wanted = {mark(log, spawn_id): spawn_id for spawn_id in spawn_ids}
    found: dict[int, Marked] = {}
    for pid in _pids() if wanted else ():
        spawn_id = next((wanted[one] for one in _environment(pid) if one in wanted), None)
        one = None if spawn_id is None else _worker(spawn_id, pid)
        if one is not None:
            before = found.get(one.spawn_id, one)
            found[one.spawn_id] = min(one, before, key=lambda each: each.evidence)
    return [found[spawn_id] for spawn_id in sorted(found)]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.readall().split(b"\0")
    except OSError:
        return []  # It has ended, or is somebody else's.


def _worker(spawn_id: int, pid: int) -> Marked | None:
    """None: what a worker has started carries its mark too, but it is not asked for by us."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None  # There is no such process any more.
    try:
        fields = stat_of(pid)
        if not fields or int(fields[SESSION]) != pid:
            return None
        uid = os.stat(f"/proc/{pid}").st_uid
        return Marked(spawn_id, pid, uid, seen(pid, pidfd))
    except OSError:
        return None  # It has ended meanwhile.
    finally:
        os.close(pidfd)
