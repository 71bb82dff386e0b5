"""What /proc says about processes: processor time and proportional memory."""

from __future__ import annotations

from pathlib import Path


def cpu_ns(pid: int) -> int:
    """Time on a processor of all threads, in ns (schedstat; stat counts in 10 ms)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total


def pss_kib(pid: int) -> int:
    """Memory, what is shared divided among those who share it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(f"cannot find the PSS of {pid}")


def children(pid: int) -> list[int]:
    """Direct children of all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def comm(pid: int) -> str:
    """The name of a process, "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""
