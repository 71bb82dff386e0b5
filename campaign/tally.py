"""What was done on demand, part by part: a line of JSON each, under `.campaign/`; and their sum.

Ten thousand kills are no single run: a part is some hundred of them, on fresh ground, in a process
of its own. It is written down when it has ended, good or bad, with its seed and its surroundings.
The next run goes on where the parts end. A bad one stays in the sum until somebody has looked into
it and taken its line out.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from campaign.stage import FAILED, NOT_RUN, OK, Outcome, Row

ROOT: Final = Path(__file__).parent.parent
PARTS: Final = ROOT / ".campaign" / "parts.jsonl"
KIB_PER_GIB: Final = 1 << 20


class Surroundings(NamedTuple):
    """When, on what, and of which version."""

    date: str
    place: str
    kernel: str
    python: str
    machine: str
    version: str


def surroundings(place: str) -> Surroundings:
    """Now and here."""
    return Surroundings(
        f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}", place, platform.release(),
        platform.python_version(), _machine(), _version(),
    )  # fmt: skip


def _machine() -> str:
    """How many processors of which kind, and how much memory."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    kinds = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    kind = kinds[0] if kinds else platform.machine()
    return f"{os.cpu_count()} × {kind}, {round(int(memory) / KIB_PER_GIB)} GiB"


def _version() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stdout.strip() or "unknown"


def keep(outcome: Outcome, where: Surroundings, path: Path = PARTS) -> None:
    """One more line."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**outcome._asdict(), "where": where._asdict()}) + "\n")


def kept(path: Path = PARTS) -> list[tuple[Outcome, Surroundings]]:
    """All parts so far, oldest first."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [_read(json.loads(line)) for line in text.splitlines()]


def _read(whole: dict[str, Any]) -> tuple[Outcome, Surroundings]:
    where = Surroundings(**whole.pop("where"))
    return Outcome(**whole)._replace(wrongs=tuple(whole["wrongs"])), where


def summed(row: Row, parts: Iterable[Outcome]) -> Outcome:
    """All parts of one row as one outcome; bad if one of them is."""
    mine = [part for part in parts if part.id == row.id]
    run = [part for part in mine if part.status != NOT_RUN]
    counts: Counter[str] = Counter()
    times: dict[str, list[float]] = {}
    for part in run:
        counts.update(part.counts)
        for name, values in part.times.items():
            times.setdefault(name, []).extend(values)
    return Outcome(
        row.id, _status(run), sum(part.done for part in run), row.night,
        sum(part.seconds for part in run), parts=len(run), counts=counts, times=times,
        figures=run[-1].figures if run else {},
        wrongs=tuple(wrong for part in run or mine for wrong in part.wrongs),
    )  # fmt: skip


def _status(run: Sequence[Outcome]) -> str:
    if not run:
        return NOT_RUN
    return OK if all(part.is_good for part in run) else FAILED
