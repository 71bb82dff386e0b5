"""Room: tests -- runs the transcripts beside it: what happened, what the watcher said.

Knows:     tests/watcher/driver.py.
Known by:  nobody.
Never:     is right when a transcript surprises its reader.

A block is `WHAT [ARGUMENT]`, a line of dashes and what was said. `CIRCUS_REWRITE=1` records anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "watcher"))

from driver import Driver

from circus.bus import commands as c
from circus.bus.record import Command, Record, fields_of
from circus.bus.values import NS_PER_MS

HERE = Path(__file__).parent
COMMANDS: dict[str, Command] = {
    "start": c.WatcherStart(),
    "stop": c.WatcherStop(),
    "restart": c.WatcherRestart(),
    "reload": c.WatcherReload(),
    "incr": c.WatcherIncr(),
    "decr": c.WatcherDecr(),
    "kill": c.WatcherKill(),
}
HIDDEN = {"spec", "digest", "bound"}


def line_of(record: Record) -> str:
    """One record for a reader; `!` marks what touches the world."""
    shown = " ".join(
        f"{k}={v}" for k, v in fields_of(record.body).items() if k not in HIDDEN and v is not None
    )
    mark = "! " if record.to in {"reaper", "clock"} else ""
    slot = "" if record.slot is None else f" slot={record.slot}"
    return f"{mark}{record.name}{slot} {shown}".rstrip()


def tell(driver: Driver, line: str) -> None:
    what, _, argument = line.partition(" ")
    if what in COMMANDS:
        driver.tell(COMMANDS[what])
    elif what == "spawned":
        driver.spawned()
    elif what == "failed":
        driver.spawn_failed()
    elif what == "exit":
        driver.exit(driver.state.slots[int(argument)].spawn_id)
    elif what == "pass":
        driver.now += int(argument) * NS_PER_MS
    else:
        assert what == "wake", line
        driver.wake()


def told(text: str) -> str:
    """The transcript as today's core would have it."""
    driver = Driver()
    out: list[str] = []
    for block in text.strip().split("\n\n"):
        typed = block.partition("\n----")[0]
        if typed.startswith("#"):
            out.append(block)
            continue
        if typed.startswith("watcher"):
            options = dict(pair.split("=") for pair in typed.split()[1:])
            driver = Driver(**{key: int(value) for key, value in options.items()})
            out.append(typed)
            continue
        before = len(driver.said)
        for line in typed.split("\n"):
            tell(driver, line)
        said = [line_of(record) for record in driver.said[before:]]
        out.append("\n".join([typed, "----", *said, f"= {driver.state.status}"]))
    driver.check_fold()
    return "\n\n".join(out) + "\n"


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_the_watcher_still_says_what_the_transcript_says(path: Path) -> None:
    """Re-recorded with CIRCUS_REWRITE=1, committed only if understood."""
    text = path.read_text(encoding="utf-8")
    now = told(text)
    if os.environ.get("CIRCUS_REWRITE"):
        path.write_text(now, encoding="utf-8")
    assert now == told(now)
    assert path.read_text(encoding="utf-8") == now
