"""Room: tests -- the keeper's pipes and the scribe, seen from a core: what is told, what arrives.

Knows:     tests/real/keepers.py, process.launch.
Known by:  nobody.
Never:     sleeps; leaves a process behind (a fixture looks for its mark in every environment).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keepers import DEADLINE, Embedded, gone, held_by, mark_of, wait_end

pytestmark = pytest.mark.real

REPLACEMENTS = 10
PIPE_BYTES = 1 << 20
F_GETPIPE_SZ = 1032
COUNT = "i=0; while [ $i -lt {n} ]; do echo $i; i=$((i+1)); done"
FOR_EVER = "i=0; while [ ! -e {stop} ]; do echo $i; i=$((i+1)); done; echo end $i; exec sleep 1000"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Nothing that carries it is left by a test."""
    yield from mark_of(tmp_path)


@pytest.fixture
def keeper(tmp_path: Path, mark: str) -> Iterator[Embedded]:
    yield from held_by(tmp_path, mark)


def _sink(path: Path) -> dict[str, Any]:
    return {"class": "FileStream", "filename": str(path)}


def _shell(keeper: Embedded, text: str, *, out: Path, **more: Any) -> int:
    return keeper.spawn(keeper.launch("sh", "-c", text, streams={"stdout": _sink(out)}, **more))


def _until(path: Path, words: str) -> str:
    """What stands in the file, once it ends with these words."""
    ends = time.monotonic() + DEADLINE
    while not (path.exists() and path.read_text("ascii").endswith(words)):
        assert time.monotonic() < ends, f"{words!r} did not come"
        os.sched_yield()
    return path.read_text("ascii")


def _names(seen: list[Any], *names: str) -> bool:
    """Whether all of these have been told."""
    return {*names} <= {report[0] for report in seen}


def _pipes(keeper: Embedded) -> list[str]:
    """Those that it holds an end of."""
    ends: list[str] = []
    for fd in Path(f"/proc/{keeper.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since the listing
            ends.append(os.readlink(fd))
    return sorted(end for end in ends if end.startswith("pipe:"))


@pytest.mark.parametrize(
    "road", [{}, {"limits": {"nofile": (64, 64)}}], ids=["the fast road", "the full road"]
)
def test_both_roads_capture_all_that_a_worker_writes(
    keeper: Embedded, tmp_path: Path, road: dict[str, Any]
) -> None:
    """Of a worker that is gone before the scribe is there, too; stderr has a pipe of its own."""
    out, err = tmp_path / "out", tmp_path / "err"
    streams = {"stdout": _sink(out), "stderr": _sink(err)}
    size = f"{sys.executable} -S -c 'import fcntl; print(fcntl.fcntl(1, {F_GETPIPE_SZ}))'"
    text = f"{COUNT.format(n=1000)}; {size} ; echo bad >&2; ls /proc/self/fd >&2"
    keeper.spawn(keeper.launch("sh", "-c", text, streams=streams, **road))
    keeper.wait("exited")
    assert ["bad", "0", "1", "2", "3"] == _until(err, "3\n").split()
    *numbers, size = _until(out, "\n").split()
    assert [str(n) for n in range(1000)] == numbers
    assert int(size) == PIPE_BYTES or os.geteuid() != 0


def test_a_pipe_is_given_up_when_nobody_can_write_to_it_any_more(
    keeper: Embedded, tmp_path: Path
) -> None:
    """Not with its worker: what that left behind still writes."""
    out, go = tmp_path / "out", tmp_path / "go"
    os.mkfifo(go)
    counts = []
    for number in range(3):
        spawn_id = _shell(keeper, f"(read x <{go}; echo late) & echo early", out=out)
        keeper.wait("exited")
        keeper.ask(("ack", [spawn_id]))
        keeper.wait("reaped")
        _until(out, "early\n")
        held = len(_pipes(keeper))
        go.write_text("x\n", encoding="ascii")
        assert "early\nlate\n" * (number + 1) == _until(out, "late\n")
        ends = time.monotonic() + DEADLINE
        while len(_pipes(keeper)) != held - 1:
            assert time.monotonic() < ends, _pipes(keeper)
        counts.append(held)
    assert 1 == len(set(counts)), counts


def test_no_worker_is_captured_and_there_is_no_scribe(keeper: Embedded) -> None:
    """Without a stream: no pipe, no process, no other road."""
    before = _pipes(keeper)
    keeper.spawn(keeper.launch("sleep", "1000"))
    keeper.wait("spawned")
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text("ascii").split()
    assert 1 == len(children)
    assert before == _pipes(keeper)


def test_news_are_told_until_they_are_on_record(keeper: Embedded, tmp_path: Path) -> None:
    """A core that dies before it could record them leaves them to the next one."""
    _shell(keeper, "echo x", out=tmp_path / "out")
    (started,) = keeper.wait("scribe_started")
    os.kill(started[1], signal.SIGKILL)
    (lost,) = keeper.wait("scribe_lost")
    assert ("scribe_lost", started[1], None, signal.SIGKILL) == lost
    (again,) = keeper.wait("scribe_started")
    keeper.ask(("list", 1))  # as another core does
    assert [started, again] == keeper.wait("scribe_started", 2)
    keeper.ask(("heard", 2), ("list", 1))
    assert [again] == keeper.wait("scribe_started")


def test_what_cannot_be_written_waits_and_is_told(keeper: Embedded, tmp_path: Path) -> None:
    """Nothing is dropped: it arrives when its directory does."""
    out = tmp_path / "missing" / "out"
    spawn_id = _shell(keeper, "echo kept; exec sleep 1000", out=out)
    (failed,) = keeper.wait("output_failed")
    reason = f"cannot write {out}: no such file or directory; it is tried again"
    assert ("output_failed", spawn_id, "owner", "stdout", reason) == failed
    out.parent.mkdir()
    assert [("output_resumed", spawn_id, "owner", "stdout")] == keeper.wait("output_resumed")
    assert "kept\n" == out.read_text("ascii")


def test_a_replaced_keeper_and_its_scribe_lose_no_line(keeper: Embedded, tmp_path: Path) -> None:
    """Pipes, scribe and news go over the exec; the scribe makes room for one of the new version."""
    out, stop = tmp_path / "out", tmp_path / "stop"
    _shell(keeper, FOR_EVER.format(stop=stop), out=out)
    scribes = [keeper.wait("scribe_started")[0][1]]
    counts = []
    for number in range(REPLACEMENTS):
        size = out.stat().st_size if out.exists() else 0
        keeper.ask(("reexec", number, ""))
        seen = keeper.until(lambda seen: _names(seen, "reexeced", "scribe_started"))
        scribes += [report[1] for report in seen if report[0] == "scribe_started"]
        assert [] == [r for r in seen if r[0] in ("scribe_lost", "output_uncertain")]
        while out.stat().st_size <= size:
            os.sched_yield()
        counts.append(len(_pipes(keeper)))
    assert 1 == len(set(counts)), counts
    assert len(scribes) == len(set(scribes)) == 1 + REPLACEMENTS
    stop.touch()
    lines = _until(out, "\n")
    while "end" not in lines:
        lines = _until(out, "\n")
    *numbers, last = lines.splitlines()
    assert f"end {len(numbers)}" == last
    assert [str(n) for n in range(len(numbers))] == numbers


def test_a_killed_keeper_leaves_the_scribe_to_the_last_line(tmp_path: Path, mark: str) -> None:
    """Nobody holds the pipes but the scribe: it reads to their end, then it ends."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.wait("held")
    out, go = tmp_path / "out", tmp_path / "go"
    os.mkfifo(go)
    _shell(keeper, f"echo early; read x <{go}; echo late", out=out)
    scribe = keeper.wait("scribe_started")[0][1]
    _until(out, "early\n")
    os.kill(keeper.pid, signal.SIGKILL)
    assert -signal.SIGKILL == wait_end(keeper.pid)
    keeper.link.close()
    go.write_text("x\n", encoding="ascii")
    assert "early\nlate\n" == _until(out, "late\n")
    ends = time.monotonic() + DEADLINE
    while not gone(scribe):
        assert time.monotonic() < ends


def test_an_end_waits_for_what_is_in_the_pipes(tmp_path: Path, mark: str) -> None:
    """The last words of all workers are written before the keeper has ended."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.wait("held")
    out = tmp_path / "out"
    text = f"trap '{COUNT.format(n=5000)}; exit 0' TERM; echo up; while :; do read x; done"
    _shell(keeper, text, out=out, close_stdin=True)
    _until(out, "up\n")
    assert 0 == keeper.end()
    assert ["up", *map(str, range(5000))] == out.read_text("ascii").split()


def test_an_end_without_a_scribe_has_one_more(tmp_path: Path, mark: str) -> None:
    """One that was killed before it wrote anything is not replaced at once; the end does not lose
    what waits for the next one."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.wait("held")
    out = tmp_path / "out"
    _shell(keeper, COUNT.format(n=5000), out=out)
    told = {
        report[0]: report for report in keeper.until(lambda seen: _names(seen, "scribe_started"))
    }
    os.kill(told["scribe_started"][1], signal.SIGKILL)
    keeper.until(lambda seen: _names([*told.values(), *seen], "scribe_lost", "exited"))
    assert 0 == keeper.end()
    assert [str(n) for n in range(5000)] == out.read_text("ascii").split()


def test_an_end_says_what_could_not_be_written(
    tmp_path: Path, mark: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody is there who could put it on record."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.wait("held")
    _shell(keeper, "echo lost", out=Path("/dev/full"))
    keeper.wait("output_failed")
    assert 0 == keeper.end()
    assert "circus-keeper: the end of some output could not be written\n" in capfd.readouterr().err
