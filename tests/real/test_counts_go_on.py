"""Pauses, ages and numbers of failures go on over new cores and a new circusd: nobody who crashes
again and again gets fresh patience because his supervisor was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from circus.bus.record import Record, fields_of

Launch = Callable[..., Any]

FAILING: Final = """
[watcher.short]
cmd = "false"
backoff = 0.4
give_up = 5

[watcher.missing]
cmd = "no-such-program"
backoff = 0.4
max_retry = 4
"""
# The first short life is forgiven; a spawn that fails is waited for at once.
WAITS: Final = {"short": [2, 3, 4], "missing": [1, 2, 3, 4]}
AGEING: Final = """
[watcher.ageing]
cmd = "sleep 1000"
max_age = 2
max_age_variance = 0
"""
AGE_NS: Final = 2_000_000_000


def kill_core(daemon: Any, tale: Any) -> None:
    """SIGKILL to the core that runs now, and until the next one is ready."""
    os.kill(daemon.core_pid(), signal.SIGKILL)
    tale.next("core.ready")


def waited(tale: Any, watcher: str, failures: int) -> Record:
    """The record that says that it waits after so many failures."""
    if not failed_so_often(tale, watcher, failures):
        tale.next("slot.waiting", watcher, lambda r: failures == fields_of(r.body)["failures"])
    return failed_so_often(tale, watcher, failures)[0]


def failed_so_often(tale: Any, watcher: str, failures: int) -> list[Record]:
    """What has been heard of that."""
    return [
        record for record in tale.of("slot.waiting", watcher)
        if failures == fields_of(record.body)["failures"]
    ]  # fmt: skip


def test_failures_are_counted_on_over_new_cores_and_a_new_circusd(launch: Launch) -> None:
    """
    Each number of failures comes once, and each pause ends with the timer that began it.
    """
    daemon = launch(FAILING).start()
    tale = daemon.tale()
    waited(tale, "short", 2)
    kill_core(daemon, tale)
    waited(tale, "short", 3)
    kill_core(daemon, tale)
    waited(tale, "short", 4)
    daemon.kill()
    daemon.start()
    for name in WAITS:
        if not tale.of("watcher.failed", name):
            tale.next("watcher.failed", name)
    assert 0 == daemon.stop()
    records = daemon.judge()
    for name, counts in WAITS.items():
        own = [record for record in records if record.watcher == name]
        waits = [fields_of(r.body)["failures"] for r in own if r.name == "slot.waiting"]
        assert counts == waits
        armed = [record.seq for record in own if record.name == "timer.arm"]
        woke = [fields_of(record.body)["armed"] for record in own if record.name == "timer.woke"]
        assert armed == woke
    (failed,) = [r for r in records if r.name == "watcher.failed" and r.watcher == "short"]
    assert "died 5 times" in fields_of(failed.body)["reason"]


def test_an_age_is_counted_from_the_birth_whatever_core_is_there(launch: Launch) -> None:
    """A process is replaced when it is old, not when a core has been there for so long."""
    daemon = launch(AGEING).start()
    tale = daemon.tale()
    tale.next("core.ready")
    spawned = tale.of("process.spawned")[:1] or [tale.next("process.spawned", "ageing")]
    armed = tale.of("timer.arm")[:1] or [tale.next("timer.arm", "ageing")]
    kill_core(daemon, tale)
    kill_core(daemon, tale)
    stopping = tale.of("slot.stopping")[:1] or [tale.next("slot.stopping", "ageing")]
    (woke,) = tale.of("timer.woke", "ageing")
    assert 0 == daemon.stop()
    daemon.judge()
    assert "age" == fields_of(stopping[0].body)["reason"]
    assert spawned[0].spawn_id == stopping[0].spawn_id
    assert armed[0].seq == fields_of(woke.body)["armed"]
    assert 1 == armed[0].incarnation < 3 <= woke.incarnation
    assert woke.boot - armed[0].boot >= AGE_NS
