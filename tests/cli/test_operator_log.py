"""Room: tests -- the operator's log: which records become lines, where, and what they say.

Knows:     circus.operator_log.
Known by:  pytest.
Never:     compares a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from circus import operator_log
from circus.bus import events
from circus.bus.codec import Stamp, stamped
from circus.bus.record import Body, Draft, Record
from circus.bus.values import Moment
from circus.operator_log import LINES_WAITING_MAX, NOTABLE, OperatorLog


def record(body: Body, seq: int = 1, watcher: str | None = None) -> Record:
    draft = Draft(body, watcher=watcher, spawn_id=7 if watcher else None)
    return stamped(Stamp(seq, 0, "core", Moment(1, 1), 1), draft)


def test_notable_records_become_lines_in_order(tmp_path: Path) -> None:
    """
    Level, sentence, seq, watcher and the fields that are worth reading.
    """
    path = tmp_path / "log"
    log = OperatorLog("debug", str(path))
    log.observe(record(events.CoreStarted("1", 5, 4, "b", "h", "k", 0, "3", 99)))
    log.observe(record(events.CommandAccepted(3)))
    log.observe(record(events.ProcessSpawned(42, 1, 77), 8, "web"))
    log.start()
    log.observe(record(events.WatcherFailed("tired"), 9, "web"))
    log.close()

    first, second, third = path.read_text().splitlines()
    assert 'level=info event="core started" seq=1' in first
    assert "seed" not in first
    assert 'level=debug event="process spawned" seq=8' in second
    assert "watcher=web spawn_id=7 pid=42" in second
    assert "inode" not in second
    assert 'level=error event="watcher failed"' in third
    assert "reason=tired" in third


def test_what_is_less_important_than_the_level_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    To standard error where no file is named.
    """
    log = OperatorLog("warning")
    log.observe(record(events.CoreReady()))
    log.observe(record(events.CommandRefused(3, "cannot"), 2))
    log.close()

    (line,) = capsys.readouterr().err.splitlines()
    assert 'event="command refused"' in line


def test_a_log_that_cannot_keep_up_says_what_it_lacks(tmp_path: Path) -> None:
    """
    It never holds up a decision.
    """
    path = tmp_path / "log"
    log = OperatorLog("info", str(path))
    for seq in range(LINES_WAITING_MAX + 3):
        log.observe(record(events.CoreReady(), seq))
    log.start()
    log.close()

    lines = path.read_text().splitlines()
    assert LINES_WAITING_MAX + 1 == len(lines)
    assert ['event="log lines dropped" count=3'] == [
        line.partition("level=warning ")[2] for line in lines if "level=warning" in line
    ]


def test_every_notable_record_has_a_level() -> None:
    """
    The table is complete in itself.
    """
    assert {level for level, _ in NOTABLE.values()} <= set(operator_log.LEVELS)


def test_a_line_has_the_time_of_its_record_and_values_that_a_person_reads(tmp_path: Path) -> None:
    """
    Durations in seconds, names in a row, nothing that is empty.
    """
    path = tmp_path / "log"
    log = OperatorLog("info", str(path))
    configured = events.ArbiterConfigured(("web", "db"), (), {"x": ("cmd", "args")}, "d")
    log.observe(record(configured, 1))
    log.observe(record(events.SlotWaiting(5, 876_837_398), 2, "web"))
    log.note("info", "by the way")
    log.close()

    first, second, third = path.read_text().splitlines()
    assert first.startswith("timestamp=1970-01-01T00:00:00.000Z level=info event=configured seq=1 ")
    assert first.endswith("added=web,db changed=x:cmd,args digest=d")
    assert second.endswith("failures=5 delay=0.877s")
    assert third.startswith("timestamp=2")
