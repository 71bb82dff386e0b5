"""Room: tests -- where captured output goes: appended, rotated between lines, never lost.

Knows:     process.scribe_sinks; real files.
Known by:  pytest.
Never:     starts a process.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from circus.process.scribe_sinks import FileSink, Stuck, sink_of

PID = 4711


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def _sink(out: Path, **more: Any) -> FileSink:
    sink = sink_of({"class": "FileStream", "filename": str(out), **more})
    assert isinstance(sink, FileSink)
    return sink


def _files(out: Path) -> dict[str, str]:
    return {path.name: path.read_text("ascii") for path in sorted(out.parent.iterdir())}


def test_output_is_appended_to_what_is_there(out: Path) -> None:
    """A restart of a worker, of the scribe or of circusd begins no file anew."""
    out.write_bytes(b"before\n")
    sink = _sink(out)
    sink.write(b"one\ntw")
    sink.write(b"o\n")
    assert b"before\none\ntwo\n" == out.read_bytes()


def test_a_new_file_is_not_for_everybody(out: Path) -> None:
    """Output may be private: the owner writes, the group reads."""
    _sink(out).write(b"x\n")
    assert 0 == out.stat().st_mode & 0o137


def test_a_file_is_rotated_between_two_lines(out: Path) -> None:
    """With max_bytes and backup_count no file is larger, no line is in two of them."""
    sink = _sink(out, max_bytes=10, backup_count=2)
    sink.write(b"11\n22\n33\n44\n")
    sink.write(b"55\n66\n")
    sink.write(b"77\n")
    assert {"out": "77\n", "out.1": "44\n55\n66\n", "out.2": "11\n22\n33\n"} == _files(out)


def test_the_last_backup_is_given_up(out: Path) -> None:
    """As many are kept as backup_count says."""
    sink = _sink(out, max_bytes=3, backup_count=1)
    for line in (b"11\n", b"22\n", b"33\n"):
        sink.write(line)
    assert {"out": "33\n", "out.1": "22\n"} == _files(out)


def test_a_line_that_has_begun_is_ended_in_its_file(out: Path) -> None:
    """A read ends anywhere; the rotation waits for the end of the line."""
    sink = _sink(out, max_bytes=4, backup_count=3)
    for part in (b"long ", b"line\nnext", b" one\n"):
        sink.write(part)
    assert {"out": "next one\n", "out.1": "long line\n"} == _files(out)


def test_a_line_longer_than_a_file_may_be_is_in_one_file(out: Path) -> None:
    """There is no better place for it."""
    sink = _sink(out, max_bytes=4, backup_count=3)
    sink.write(b"much too long\nb\n")
    assert {"out": "b\n", "out.1": "much too long\n"} == _files(out)


def test_output_without_lines_is_rotated_all_the_same(out: Path) -> None:
    """Who never writes a newline does not fill the disk with one file."""
    sink = _sink(out, max_bytes=4, backup_count=1)
    for _ in range(20):
        sink.write(b"1234")
    assert all(path.stat().st_size <= 12 for path in out.parent.iterdir())


@pytest.mark.parametrize("half", [{"max_bytes": 2}, {"backup_count": 2}])
def test_half_of_a_rotation_rotates_nothing(out: Path, half: dict[str, int]) -> None:
    """As in Circus both options are needed."""
    _sink(out, **half).write(b"11\n22\n")
    assert {"out": "11\n22\n"} == _files(out)


def test_a_file_that_was_moved_away_is_made_anew(out: Path) -> None:
    """Log rotators need tell nobody."""
    sink = _sink(out)
    sink.write(b"one\n")
    out.rename(out.with_name("moved"))
    sink.write(b"two\n")
    assert {"moved": "one\n", "out": "two\n"} == _files(out)


def test_each_line_begins_with_time_and_pid(out: Path) -> None:
    """Once for each line, however it was cut; two workers do not share one."""
    sink = _sink(out, time_format="%H:%M")
    for pid, data in ((1, b"a\nb"), (1, b"c\n"), (1, b"d"), (2, b"e\n")):
        sink.write(sink.shape(data, pid))
    lines = [re.sub(r"^\d\d:\d\d ", "", line) for line in out.read_text("ascii").splitlines()]
    assert ["[1] | a", "[1] | bc", "[1] | d", "[2] | e"] == lines


def test_what_cannot_be_written_is_handed_back(out: Path) -> None:
    """A directory that is missing may be there later; nothing is lost until then."""
    sink = _sink(out.parent / "missing" / "out")
    with pytest.raises(Stuck, match=r"cannot write .*missing/out: no such file") as caught:
        sink.write(b"kept\n")
    assert b"kept\n" == caught.value.rest
    (out.parent / "missing").mkdir()
    sink.write(caught.value.rest)
    assert "kept\n" == (out.parent / "missing" / "out").read_text("ascii")


def test_a_full_disk_hands_back_exactly_what_is_not_written() -> None:
    """/dev/full is a disk without room."""
    with pytest.raises(Stuck, match="no space left on device") as caught:
        _sink(Path("/dev/full")).write(b"kept\n")
    assert b"kept\n" == caught.value.rest


def test_neither_a_link_nor_a_pipe_is_written_to(out: Path) -> None:
    """A link may lead anywhere; a pipe without a reader would hold up everybody."""
    out.symlink_to(out.with_name("elsewhere"))
    with pytest.raises(Stuck, match="too many levels of symbolic links"):
        _sink(out).write(b"x\n")
    pipe = out.with_name("pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(Stuck, match="it is no file"):
        _sink(pipe).write(b"x\n")
    os.close(reader)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for somebody else")
def test_a_file_is_made_with_the_rights_of_its_worker(tmp_path: Path) -> None:
    """The name comes from a configuration; what it may reach is what its worker may reach."""
    place = tmp_path / "theirs"
    place.mkdir()
    os.chown(place, 65534, 65534)
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o111)
    sink = _sink(place / "out", uid="nobody", gid=65534)
    sink.write(b"x\n")
    assert (65534, 65534) == ((place / "out").stat().st_uid, (place / "out").stat().st_gid)
    (tmp_path / "ours").mkdir(mode=0o700)
    with pytest.raises(Stuck, match="permission denied"):
        _sink(tmp_path / "ours" / "out", uid=65534, gid=65534).write(b"x\n")
    assert 0 == os.geteuid()
    with pytest.raises(Stuck, match="unknown user"):
        _sink(place / "out", uid="no-such-user-here").write(b"x\n")
