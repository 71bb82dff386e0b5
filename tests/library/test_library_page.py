"""docs/library.md: every example runs as it is written, and no documented member is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from circus.arbiter import Arbiter
from circus.process import Process
from circus.watcher import Watcher

pytestmark = pytest.mark.real

PAGE: Final = (Path(__file__).parent.parent.parent / "docs/library.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WAIT: Final = 60
# What Circus's library page documents.
MEMBERS: Final = {
    Process: (
        "pid stdout stderr send_signal stop age info children is_child send_signal_child "
        "send_signal_children status"
    ),
    Watcher: (
        "notify_event reap_processes manage_processes reap_and_manage_processes spawn_processes "
        "spawn_process kill_process kill_processes send_signal_child stop start restart reload "
        "do_action"
    ),
    Arbiter: "start stop reload numprocesses numwatchers get_watcher add_watcher",
}
# Runs an example; where its arbiter blocks in `start`, presses Ctrl-C once all watchers have been
# tried.
RUNNER: Final = """
import os, signal, sys, threading
space = {}
def press():
    pause = threading.Event()
    while not getattr(space.get("arbiter"), "running", False):
        pause.wait(0.01)
    arbiter = space["arbiter"]
    if not arbiter.background and arbiter.ctrl.loop is None:  # it blocks in the main thread
        while set(arbiter.statuses().values()) - {"active", "failed"}:
            pause.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
exec(compile(sys.argv[1], "example", "exec"), space)
arbiter = space.get("arbiter")
print(arbiter.statuses() if arbiter else "")
"""


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_of_the_page_runs(number: int, reaped: object) -> None:
    """
    As written, in a program of its own, which ends without an error and leaves nothing.
    """
    ran = subprocess.run(
        [sys.executable, "-c", RUNNER, BLOCKS[number]],
        capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip
    assert (0, "") == (ran.returncode, ran.stderr)


def test_the_issue_s_examples_are_on_the_page() -> None:
    """
    The two programs that Circus's documentation begins with.
    """
    assert 'get_arbiter([{"cmd": "myprogram", "numprocesses": 3}])' in BLOCKS[0]
    assert any('Process("Top", "top", shell=True)' in block for block in BLOCKS)


@pytest.mark.parametrize("owner", MEMBERS, ids=lambda owner: owner.__name__)
def test_every_documented_member_is_there_and_on_the_page(owner: type) -> None:
    """
    It exists, says what it does, and has an example.
    """
    for member in MEMBERS[owner].split():
        assert hasattr(owner, member) or member in {"stdout", "stderr"}, member
        assert re.search(rf"\b{member}\b", "".join(BLOCKS)), member
        if hasattr(owner, member):
            assert getattr(owner, member).__doc__, member
