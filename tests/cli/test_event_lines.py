"""A record as one line for people: short, in an operator's units, with nothing invented."""

from __future__ import annotations

import pytest

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import NS_PER_MS, NS_PER_SECOND
from circus.bus.words.lines import duration, human_line, record_data


def recorded(body: Body) -> Record:
    """A record with this body."""
    return Record(
        seq=1, cause=0, name="a.name", v=1, body=body, actor="core", to=None, watcher="web",
        slot=1, spawn_id=None,
        at=0, boot=0, incarnation=1, id=None, peer=None, deadline=None,
    )  # fmt: skip


def told(body: Body) -> str:
    """What the line says about the body."""
    return human_line(recorded(body)).partition("web[1]")[2].strip()


def test_a_watchers_line_has_only_what_was_chosen() -> None:
    """
    Options at the default of either format are left out; durations are in an operator's units.
    """
    spec = WatcherSpec(
        name="web", cmd="run it", backoff=100 * NS_PER_MS, graceful_timeout=5 * NS_PER_SECOND
    )
    added = events.WatcherAdded(spec=to_data(spec), digest="d")
    assert told(added) == 'spec={name=web cmd="run it" graceful_timeout=5s}'


def test_an_exit_with_code_zero_says_so() -> None:
    """
    Zero is a fact; only what is none, false or empty is left out.
    """
    body = events.ProcessExited(
        pid=7, code=0, signal=None, core=False, rusage={"utime": 40 * NS_PER_MS}, wall=1, observed=1
    )
    assert told(body) == "pid=7 code=0 cpu=40ms"
    assert record_data(recorded(body))["data"]["wall"] == 1


def test_signals_are_told_by_name_and_a_seq_is_not_a_signal() -> None:
    """
    `process.signalled` answers the record whose number is in `signal`.
    """
    body = events.ProcessSignalled(signal=15, signum=1, pids=(7,), errno=0)
    assert told(body) == "signum=SIGHUP pids=[7]"
    assert told(events.CoreLost(pid=7, code=None, signal=9)) == "pid=7 signal=SIGKILL"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (30 * NS_PER_SECOND, "30s"),
        (1_500 * NS_PER_MS, "1.5s"),
        (100 * NS_PER_MS, "100ms"),
        (100 * NS_PER_SECOND, "100s"),
    ],
)
def test_durations_are_short(ns: int, text: str) -> None:
    """
    Seconds, or milliseconds below one.
    """
    assert duration(ns) == text


def test_a_delay_is_a_duration() -> None:
    """
    `30s` is read at once, `30000000000` is not.
    """
    arm = commands.TimerArm(timer="retry:1", duration=30 * NS_PER_SECOND, bound="watcher")
    assert told(arm) == "timer=retry:1 duration=30s bound=watcher"
