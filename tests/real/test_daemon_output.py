"""Room: tests -- captured output: every line arrives, whatever becomes of core and scribe.

Knows:     the `launch` fixture, the records about the scribe.
Known by:  pytest.
Never:     sleeps: a worker waits for a line in its pipe, a test for a record or for a file to grow.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from daemon import deadline, end, pid_of, wait_ended

from circus.bus.record import fields_of

pytestmark = [pytest.mark.real, pytest.mark.slow]

KILLS: Final = 20
BYTES_BETWEEN: Final = 200_000
READ_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 10
GIGABYTE: Final = 1 << 30

# Numbered lines of ten bytes at full speed until a file appears, then how many there were.
WRITER: Final = """
import os, signal, sys
n = 0
while not os.path.exists(sys.argv[1]):
    os.write(1, b"".join(b"%09d\\n" % i for i in range(n, n + 100)))
    n += 100
os.write(1, b"end %d\\n" % n)
signal.pause()
"""
CONFIG: Final = """
[circus]
orphans = "adopt"

[watcher.writer]
cmd = "{python} {program} {stop}"
stdout_stream.class = "FileStream"
stdout_stream.filename = "{out}"

[watcher.other]
cmd = "sleep 1000"
backoff = 0
give_up = 0
"""
FLOOD: Final = """
[watcher.flood]
cmd = "sh -c 'head -c {size} /dev/zero; echo all >&2; exec sleep 1000'"
stdout_stream.filename = "/dev/null"
stderr_stream.filename = "{out}"

[watcher.other]
cmd = "sleep 1000"
backoff = 0
give_up = 0
"""


class Writer:
    """A daemon whose only worker writes numbered lines, and the file that they arrive in."""

    def __init__(self, launch: Callable[..., Any], place: Path) -> None:
        self.out, self._stop, program = place / "out", place / "stop", place / "writer.py"
        program.write_text(WRITER, encoding="ascii")
        self.daemon = launch(
            CONFIG.format(python=sys.executable, program=program, stop=self._stop, out=self.out)
        ).start()

    def size(self) -> int:
        return self.out.stat().st_size if self.out.exists() else 0

    def grow(self, count: int = BYTES_BETWEEN) -> None:
        """Until so many more bytes have arrived."""
        enough = self.size() + count
        with deadline("output to arrive"):
            while self.size() < enough:
                os.sched_yield()

    def lines(self) -> list[bytes]:
        """All of them, when the worker has been told to stop and its last line is there."""
        self._stop.touch()
        with deadline("the last line"):
            while b"end" not in (tail := self.out.read_bytes()[-40:]) or tail[-1:] != b"\n":
                os.sched_yield()
        return self.out.read_bytes().split(b"\n")[:-1]


@pytest.fixture
def writer(launch: Callable[..., Any], tmp_path: Path) -> Writer:
    return Writer(launch, tmp_path)


def _whole(lines: list[bytes]) -> bool:
    count = len(lines) - 1
    return lines == [*(b"%09d" % n for n in range(count)), b"end %d" % count]


def test_every_line_written_while_the_core_is_killed_arrives_in_order(writer: Writer) -> None:
    """Issue 4: worker output written while the core is down arrives complete."""
    daemon, tale = writer.daemon, writer.daemon.tale()
    core = pid_of(tale.next("core.started"))
    tale.next("core.ready")
    other = pid_of(tale.next("process.spawned", "other"))
    for _ in range(KILLS):
        writer.grow()
        os.kill(core, signal.SIGKILL)
        core = pid_of(tale.next("core.started"))
        tale.next("core.ready")
        os.kill(other, signal.SIGKILL)  # A core that got nowhere would not be worth restarting.
        other = pid_of(tale.next("process.spawned", "other"))
    assert _whole(writer.lines())
    (worker,) = tale.of("process.spawned", "writer")
    assert [pid_of(worker)] == daemon.pids("writer")
    daemon.stop()
    names = [record.name for record in daemon.judge()]
    assert 1 == names.count("scribe.started")
    assert 0 == names.count("output.uncertain") + names.count("scribe.lost")


def test_a_killed_scribe_costs_one_read_at_most_and_says_so(writer: Writer) -> None:
    """DESIGN 9: without an `output.uncertain` nothing is missing; with it at most one read is."""
    daemon, tale = writer.daemon, writer.daemon.tale()
    for _ in range(KILLS):
        scribe = pid_of(tale.next("scribe.started"))
        writer.grow()
        assert "circus-scribe" == Path(f"/proc/{scribe}/comm").read_text("ascii").strip()
        os.kill(scribe, signal.SIGKILL)
        lost = fields_of(tale.next("scribe.lost").body)
        assert {"pid": scribe, "code": None, "signal": signal.SIGKILL} == lost
    last = pid_of(tale.next("scribe.started"))
    assert last == daemon.ask("status")["scribe"]["pid"]
    lines = writer.lines()
    daemon.stop()
    records = daemon.judge()
    uncertain = [record for record in records if record.name == "output.uncertain"]
    assert {"writer"} >= {record.watcher for record in uncertain}
    assert all(
        {"stream": "stdout", "bytes": READ_BYTES} == fields_of(r.body) for r in uncertain
    )  # fmt: skip
    missing = int(lines[-1].split()[1]) * LINE_BYTES - sum(len(line) + 1 for line in lines[:-1])
    assert missing <= len(uncertain) * READ_BYTES
    numbers = [int(line) for line in lines[:-1] if line.isdigit()]
    assert _breaks(numbers) <= 2 * len(uncertain)


def _breaks(numbers: list[int]) -> int:
    """How often the next number is not the next one: twice at a gap, whose halves make one line."""
    return sum(later != before + 1 for before, later in pairwise(numbers))


def test_a_scribe_that_hangs_holds_up_its_writers_only(writer: Writer) -> None:
    """As if its disk hung: the pipe fills and then the worker waits; everybody else goes on."""
    daemon, tale = writer.daemon, writer.daemon.tale()
    other = pid_of(tale.next("process.spawned", "other"))
    writer.grow()
    scribe = int(daemon.ask("status")["scribe"]["pid"])
    os.kill(scribe, signal.SIGSTOP)
    for _ in range(KILLS):
        os.kill(other, signal.SIGKILL)
        other = pid_of(tale.next("process.spawned", "other"))
    end(pid_of(tale.of("core.started")[0]))
    tale.next("core.ready")
    os.kill(other, signal.SIGKILL)
    tale.next("process.spawned", "other")
    os.kill(scribe, signal.SIGCONT)
    assert _whole(writer.lines())
    daemon.stop()
    assert "output.uncertain" not in {record.name for record in daemon.judge()}


def test_output_of_a_worker_that_is_adopted_goes_on(writer: Writer) -> None:
    """The scribe outlives its keeper for as long as anybody writes; the next keeper has his own."""
    daemon, tale = writer.daemon, writer.daemon.tale()
    worker = pid_of(tale.next("process.spawned", "writer"))
    scribe = pid_of(tale.next("scribe.started"))
    writer.grow()
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    daemon.hang_up()
    writer.grow()
    daemon.start()
    tale = daemon.tale()
    assert worker == pid_of(tale.next("process.adopted", "writer"))
    writer.grow()
    assert _whole(writer.lines())
    assert {"pid": 0} == daemon.ask("status")["scribe"]
    pidfd = os.pidfd_open(scribe)
    daemon.stop()
    wait_ended(pidfd, scribe)
    os.close(pidfd)


def test_a_flood_of_output_holds_up_no_decision(launch: Callable[..., Any], tmp_path: Path) -> None:
    """F15: who writes a gigabyte keeps the scribe busy, and nobody else waits."""
    out = tmp_path / "done"
    daemon = launch(FLOOD.format(size=GIGABYTE, out=out)).start()
    tale = daemon.tale()
    before = pid_of(tale.next("process.spawned", "other"))
    decided = 0
    while not (out.exists() and out.read_text("ascii") == "all\n"):
        os.kill(before, signal.SIGKILL)
        before = pid_of(tale.next("process.spawned", "other"))
        decided += 1
    assert decided > KILLS
    daemon.stop()
    records = {record.seq: record for record in daemon.judge()}
    spawns = [r for r in records.values() if r.name == "process.spawned" and r.watcher == "other"]
    assert decided + 1 == len(spawns)
