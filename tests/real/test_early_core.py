"""Room: tests -- the interpreter that waits for its orders, and what becomes of it without any.

Knows:     circus.start.
Known by:  pytest.
Never:     leaves it behind.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from circus.start import start_early

SECONDS_MAX = 30.0
PROGRAM = "import sys; from circus.start import main; sys.exit(main())"

pytestmark = pytest.mark.real


def ended(pid: int) -> int:
    """The exit status of a child of ours, waited for by its pidfd."""
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], SECONDS_MAX)[0]:
            os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)


def test_without_orders_it_ends_and_says_nothing() -> None:
    """
    The end of the link means that no core is wanted.
    """
    early = start_early()
    assert early is not None
    os.close(early.link_fd)
    assert 0 == ended(early.pid)


def test_with_orders_it_is_the_core_that_they_describe(tmp_path: Path) -> None:
    """
    It does with them what a core does that is started with arguments: here it refuses a bad file.
    """
    config = tmp_path / "bad.toml"
    config.write_text("[circus]\nnonsense = 1\n")
    early = start_early()
    assert early is not None
    pid, link_fd = early.begin([str(tmp_path / "state"), str(config), "0", ""])
    (tmp_path / "state").mkdir()
    try:
        assert os.EX_CONFIG == ended(pid)
    finally:
        os.close(link_fd)


def test_orders_for_one_that_has_ended_are_no_fault() -> None:
    """
    The keeper takes it over like any core and sees its end.
    """
    early = start_early()
    assert early is not None
    os.kill(early.pid, signal.SIGKILL)
    with socket.socket(fileno=os.dup(early.link_fd)) as link:
        assert b"" == link.recv(1)
    assert (early.pid, early.link_fd) == early.begin(["a", "b", "0", ""])
    assert -signal.SIGKILL == ended(early.pid)
    os.close(early.link_fd)


@pytest.mark.parametrize("words", [["--no-such-option"], ["/nowhere/circus.toml"]])
def test_a_refused_start_leaves_nobody(words: list[str]) -> None:
    """
    Its interpreter has our standard error open; that is closed when the last of both has ended.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True, text=True, check=False, timeout=SECONDS_MAX,
    )  # fmt: skip
    assert done.returncode in (os.EX_USAGE, os.EX_NOINPUT)
    assert done.stderr.splitlines()[-1].startswith("circusd: cannot")


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_a_question_starts_no_interpreter(word: str) -> None:
    """
    Nothing but the answer is paid for.
    """
    program = (
        "import os, sys\n"
        "from circus.start import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('childless')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, word], capture_output=True, check=True, timeout=SECONDS_MAX
    )
    assert done.stdout.endswith(b"childless\n")
