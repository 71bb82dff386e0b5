"""The Python that README.md shows is run as it stands, with a state directory of the test's own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import circus

ROOT: Final = Path(__file__).parent.parent.parent
BLOCKS: Final = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
PROGRAM: Final = "sleep 1000"


def snippet(word: str) -> str:
    """The one block with this word in it."""
    (found,) = [block for block in BLOCKS if word in block]
    return str(found)


@pytest.fixture
def filled(state_dir: Path, reaped: Any) -> Path:
    """A state directory in which three workers have been spawned, and stopped by Ctrl-C."""
    text = snippet("get_arbiter").replace("myprogram", PROGRAM)
    text = text.replace("}])", f"}}], state_dir={str(state_dir)!r})")
    program = subprocess.Popen([sys.executable, "-c", text], env=os.environ)
    reaped(program)
    while not (state_dir / "run/events.sock").exists():
        assert program.poll() is None, "the program of the page has ended"
        os.sched_yield()
    spawned = 0
    with circus.subscribe(state_dir, 0) as records:
        for record in records:
            spawned += record.name == "process.spawned"
            if record.name == "watcher.started":
                break
    program.send_signal(signal.SIGINT)
    assert program.wait(30) == 0
    assert spawned == 3
    return state_dir


def test_an_arbiter_starts_blocks_and_stops(filled: Path) -> None:
    """
    `start` blocks until Ctrl-C, and everything is stopped then.
    """
    names = [record.name for record in circus.subscribe(filled, 0, follow=False)]
    assert names.count("process.exited") == 3


def test_a_subscriber_prints_every_record(filled: Path, reaped: Any) -> None:
    """
    The loop of the page shows the whole history, from the first record.
    """
    head = max(record.seq for record in circus.subscribe(filled, 0, follow=False))
    text = snippet("circus.subscribe").replace("/path/of/the/state-directory", str(filled))
    program = subprocess.Popen(
        [sys.executable, "-u", "-c", text.replace("after=0", "after=0, follow=False")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    reaped(program)
    shown = program.communicate(timeout=30)[0].splitlines()
    assert [str(seq) for seq in range(1, head + 1)] == [line.split()[0] for line in shown]


def test_a_process_alone_is_started_told_about_and_stopped(reaped: Any) -> None:
    """
    No arbiter is needed, and no ZeroMQ.
    """
    # `exec`: the shell's child would outlive the test, as that of any program's shell does.
    text = snippet("Process(").replace('"top"', repr(f"exec {PROGRAM}"))
    program = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    reaped(program)
    shown = program.communicate(timeout=30)[0]
    assert program.returncode == 0
    assert shown.startswith("Top: ")
