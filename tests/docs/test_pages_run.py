"""What the pages tell a reader to type is typed, and what they show is compared with what came.

A fenced block says what it is by the words after its fence:

    console            commands (`$ …`) that are run, with the output that they show
    console daemon     one `circusd …`, started and left running until the page quits it
    console install    shown only: installs, needs a terminal, or runs until Ctrl-C
    toml NAME, ini NAME  a file that the reader writes; toml without NAME is hello.toml

Numbers, digests and user names differ from run to run and are not compared; a line `…` stands for
any lines. Every circusd and circusctl gets the test's own state directory; for circus-replay `DIR`
is that.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import circus

ROOT: Final = Path(__file__).parent.parent.parent
BIN: Final = Path(sys.executable).parent
PAGES: Final = (
    "README.md", "docs/operations.md", "docs/coming-from-circus.md", "examples/README.md",
    "docs/replay.md",
)  # fmt: skip
BLOCK: Final = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROLES: Final = {"", "daemon", "install"}
DEADLINE_SECONDS: Final = 60
END_MS_MAX: Final = 30_000
VARYING: Final = (
    (re.compile(r"\b(?:[0-9a-f]{16}){1,2}\b"), "DIGEST"),
    (re.compile(r"\(\w+\), pid"), "(USER), pid"),
    (re.compile(r"\d+"), "N"),
    (re.compile(r"[ \t]+"), " "),
)


class Block(NamedTuple):
    """One fenced block: its language, the word after it, and what is in it."""

    language: str
    word: str
    text: str


class Reader:
    """Somebody who does what a page says, in a directory and with a circusd of their own."""

    def __init__(self, directory: Path, state_dir: Path, reaped: Any) -> None:
        self.directory = directory
        self.state_dir = state_dir
        self.daemon: subprocess.Popen[bytes] | None = None
        self._reaped = reaped
        self._environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def start(self, command: str) -> None:
        """Start the daemon, and wait until its configuration has been carried out."""
        assert self.daemon is None, "the page quits one circusd before it starts another"
        self.daemon = subprocess.Popen(
            self._told_where(command).split(), cwd=self.directory, env=self._environ,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._reaped(self.daemon)
        wait_readable(self.daemon, self.state_dir / "run/events.sock")
        with circus.subscribe(self.state_dir, 0) as records:
            for record in records:
                if record.name == "command.finished" and record.actor == "arbiter":
                    return

    def types(self, command: str) -> str:
        """What the terminal shows."""
        done = subprocess.run(
            self._told_where(command), shell=True, cwd=self.directory, env=self._environ,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=DEADLINE_SECONDS, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout

    def quit(self) -> None:
        """Stop the daemon in order, so that no worker is left without a parent."""
        if self.daemon is None:
            return
        if self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(END_MS_MAX / 1000)
        self.daemon = None

    def _told_where(self, command: str) -> str:
        flag = f"--state-dir {self.state_dir}"
        if command.startswith("circus-replay "):
            return re.sub(r" DIR\b", f" {self.state_dir}", command)
        return re.sub(r"^(circusctl|circusd(?! --check))\b", rf"\1 {flag}", command)


def wait_readable(daemon: subprocess.Popen[bytes], door: Path) -> None:
    """Wait until the core listens, or fail as soon as the daemon has ended."""
    pidfd = os.pidfd_open(daemon.pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    tries = END_MS_MAX // 20
    ended = False
    while tries and not door.exists() and not ended:
        ended = bool(poller.poll(20))
        tries -= 1
    os.close(pidfd)
    assert door.exists(), "circusd ended" if ended else "circusd does not listen"


@contextmanager
def free_port() -> Generator[str]:
    """A port that nobody has, for the page's 8000."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield str(port)


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(*found) for found in BLOCK.findall(text)]


def typed(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block with the output that the page shows."""
    for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = entry.partition("\n")
        yield command.partition("  #")[0].strip(), shown


def same(text: str) -> str:
    """Without what differs from run to run."""
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def pattern_of(shown: str) -> str:
    """The page's output as a pattern: a line `…` is any lines."""
    parts = re.split(r"^…$", same(shown), flags=re.MULTILINE)
    return ".*".join(re.escape(part) for part in parts)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_show_what_the_page_shows(
    page: str, tmp_path: Path, state_dir: Path, reaped: Any
) -> None:
    """
    A reader who types a page from top to bottom sees what it shows.
    """
    directory = ROOT if page.startswith("examples/") else tmp_path
    reader = Reader(directory, state_dir, reaped)
    with free_port() as port:
        try:
            for block in blocks_of(page):
                follow(reader, block._replace(text=block.text.replace("8000", port)))
        finally:
            reader.quit()


def follow(reader: Reader, block: Block) -> None:
    """Do what one block says."""
    name = block.word or ("hello.toml" if block.language == "toml" else "")
    if block.language in {"toml", "ini"} and name:
        (reader.directory / name).write_text(block.text, encoding="utf-8")
    if block.language != "console":
        return
    assert block.word in ROLES, f"no such kind of block: console {block.word}"
    for command, shown in typed(block):
        if block.word == "daemon":
            reader.start(command)
        elif not block.word:
            seen = reader.types(command)
            assert re.fullmatch(pattern_of(shown), same(seen), re.DOTALL), (
                f"$ {command}\n--- the page shows:\n{shown}\n--- but it is:\n{seen}"
            )


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_something_to_run(page: str) -> None:
    """
    A page that runs nothing is not tested by being listed here.
    """
    assert any(block.language == "console" and not block.word for block in blocks_of(page))
