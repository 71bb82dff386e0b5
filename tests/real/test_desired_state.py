"""What an operator wanted stays wanted, over a new core and a new circusd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Launch = Callable[..., Any]

TEXT: Final = """
[watcher.one]
cmd = "sleep 1000"

[watcher.two]
cmd = "sleep 1000"

[watcher.gone]
cmd = "sleep 1000"
"""


def changed(daemon: Any, tale: Any) -> None:
    """An operator has been there."""
    tale.next("core.ready")
    if not tale.of("arbiter.started"):
        tale.next("arbiter.started")
    daemon.do("stop", name="two")
    daemon.do("set", name="one", options={"max_retry": 9})
    daemon.do("incr", name="one", nb=2)
    daemon.do("add", name="more", cmd="sleep 1000", start=True)


def as_it_was_left(daemon: Any) -> None:
    """All of it still holds."""
    statuses = daemon.ask("status")["statuses"]
    assert ("stopped", "active") == (statuses["two"], statuses["one"])
    assert 9 == daemon.ask("get", name="one", keys=["max_retry"])["options"]["max_retry"]


def test_what_an_operator_changed_survives_a_new_core(launch: Launch) -> None:
    """The file is the same: nothing of it is carried out again."""
    daemon = launch(TEXT).start()
    tale = daemon.tale()
    changed(daemon, tale)
    pids = daemon.pids("one")
    daemon.do("restart-core")
    as_it_was_left(daemon)
    assert pids == daemon.pids("one")
    assert "active" == daemon.ask("status")["statuses"]["more"]
    assert 0 == daemon.stop()
    daemon.judge()


def test_what_an_operator_changed_survives_a_new_circusd(launch: Launch) -> None:
    """What was removed by command stays away, what was added is there and runs again."""
    daemon = launch(TEXT).start()
    tale = daemon.tale()
    changed(daemon, tale)
    daemon.do("rm", name="gone")
    assert 0 == daemon.stop()
    tale = daemon.tale(daemon.head())
    daemon.start()
    tale.next("watcher.started", "more")
    as_it_was_left(daemon)
    assert "gone" not in daemon.ask("status")["statuses"]
    assert 0 == daemon.stop()
    daemon.judge()
