"""Room: tests -- what holds for a watcher whatever happens to it.

Knows:     tests/watcher/driver.py, hypothesis.
Known by:  nobody.
Never:     sleeps, forks, mocks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from driver import Driver

from circus.bus import commands as c
from circus.bus.record import Command
from circus.bus.values import NS_PER_SECOND as S

COMMANDS = st.sampled_from([
    c.WatcherStart(), c.WatcherStop(), c.WatcherStop(S), c.WatcherRestart(), c.WatcherReload(),
    c.WatcherReload(graceful=True, sequential=True), c.WatcherReload(graceful=False),
    c.WatcherIncr(), c.WatcherDecr(), c.WatcherSet({"cmd": "sleep 8"}),
    c.WatcherSet({"cmd": "sleep 9", "numprocesses": 2}), c.WatcherSet({"respawn": False}),
    c.WatcherSet({"numprocesses": 0}), c.WatcherSignal(12), c.WatcherKill(), c.WatcherKill(grace=0),
    c.WatcherManage(), c.WatcherRetry(),
])  # fmt: skip
STEPS = st.one_of(
    COMMANDS, st.sampled_from(["spawned", "spawned", "failed", "exit", "late", "wake", "ended"])
)
SPECS = st.fixed_dictionaries({
    "numprocesses": st.integers(0, 3),
    "respawn": st.booleans(),
    "warmup_delay": st.sampled_from([0, S]),
    "max_retry": st.sampled_from([-1, 0, 3]),
    "backoff": st.sampled_from([0, S // 10]),
    "give_up": st.sampled_from([0, 3]),
    "max_age": st.sampled_from([0, 60 * S]),
    "send_hup": st.booleans(),
})  # fmt: skip


def step(driver: Driver, what: Any) -> None:
    if isinstance(what, Command):
        driver.tell(what)
    elif what == "spawned" and driver.asked:
        driver.spawned()
    elif what == "failed" and driver.asked:
        driver.spawn_failed()
    elif what in {"exit", "late"} and driver.live:
        driver.exit(next(iter(driver.live)), after=5 * S if what == "late" else 0)
    elif what == "ended":
        for spawn_id in [s for s in driver.live if s in driver.signals(15)][:1]:
            driver.exit(spawn_id)
    elif what == "wake" and driver.timers:
        driver.wake()


def quiesce(driver: Driver) -> None:
    """The world obeys from now on; timers other than ages wake."""
    for _ in range(100):
        driver.rest()
        due = [t for t in driver.timers if not t.startswith("age")]
        if not due:
            return
        driver.timers = {t: v for t, v in driver.timers.items() if not t.startswith("age")}
        driver.wake()
    raise AssertionError("no rest")


@settings(max_examples=300, deadline=None)
@given(SPECS, st.lists(STEPS, max_size=30))
def test_every_accepted_command_is_finished_once_and_the_number_is_kept(
    spec: dict[str, Any], steps: list[Any]
) -> None:
    """I-MAX, I-CMD-OUT, I-CONV and the replay laws."""
    driver = Driver(**spec)
    bound = spec["numprocesses"]
    for what in steps:
        step(driver, what)
        bound = max(bound, driver.state.spec.numprocesses)
        assert len(driver.live) <= 2 * bound
    quiesce(driver)
    assert set(driver.finished) == set(driver.accepted)
    assert not driver.state.queue
    assert not driver.state.asides
    if driver.state.status == "active" and driver.state.spec.respawn:
        assert len(driver.live) == driver.state.spec.numprocesses
    assert driver.state.status in {"active", "stopped", "failed"}
    driver.check_fold()


@settings(max_examples=200, deadline=None)
@given(SPECS, st.lists(STEPS, max_size=20))
def test_a_stop_means_stopped(spec: dict[str, Any], steps: list[Any]) -> None:
    """At any moment: start-up, mass respawn, warm-up, backoff, reload."""
    driver = Driver(**spec)
    for what in steps:
        step(driver, what)
    driver.tell(c.WatcherStop())
    quiesce(driver)
    assert driver.live == {}
    assert driver.state.status == "stopped"
    assert driver.state.slots == {}


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_a_singleton_never_has_two(steps: list[Any]) -> None:
    """I-SINGLE."""
    driver = Driver(singleton=True)
    for what in steps:
        step(driver, what)
        assert driver.peak <= 1
