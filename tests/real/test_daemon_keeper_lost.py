"""kill -9 of the keeper: what is proven ours is stopped, recorded, and never runs twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from circus.bus.record import fields_of
from circus.process.orphans_core import NOTED_WITHIN, Evidence, holds_nothing, is_same

Launch = Callable[..., Any]

CONFIG: Final = """
[circus]
loglevel = "error"
orphans = "stop"

[watcher.polite]
cmd = "sleep 1000"
numprocesses = 3

[watcher.deaf]
cmd = '''sh -c 'trap "" TERM; echo up > %(dir)s/up; while :; do sleep 0.1; done' '''
graceful_timeout = 0.5
"""

WRITES: Final = """
[circus]
loglevel = "error"
orphans = "%(orphans)s"

[watcher.writes]
cmd = '''sh -c 'echo $$ > %(dir)s/pid$1; exec sleep 1000' it $(circus.wid)'''
"""


def test_a_core_without_its_keeper_stops_what_is_proven_ours(
    launch: Launch, tmp_path: Path, grown: Any, written: Any
) -> None:
    """By their plans: TERM, then SIGKILL when the grace is over; then it ends with 70."""
    daemon = launch(CONFIG % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "polite")
    tale.next("watcher.started", "deaf")
    written(tmp_path / "up")
    core, pids = daemon.core_pid(), daemon.pids("polite") + daemon.pids("deaf")
    os.kill(daemon.pid, signal.SIGKILL)
    assert -signal.SIGKILL == daemon.wait()
    for pid in (core, *pids):
        grown.ended(pid)
    records = daemon.judge()
    (lost,) = [fields_of(r.body) for r in records if r.name == "keeper.lost"]
    assert (daemon.pid, sorted(pids)) == (lost["pid"], sorted(lost["survivors"]))
    signals = [fields_of(r.body)["signum"] for r in records if r.name == "process.signalled"]
    assert {signal.SIGTERM: 4, signal.SIGKILL: 1} == {s: signals.count(s) for s in set(signals)}
    daemon.start()
    again = daemon.tale()
    again.next("core.ready", where=lambda record: record.incarnation > 1)
    again.next("process.spawned", "deaf", where=lambda record: record.incarnation > 1)
    assert 0 == daemon.stop()


def test_a_daemon_that_comes_back_stops_what_the_last_one_left(
    launch: Launch, tmp_path: Path, grown: Any, written: Any
) -> None:
    """Keeper and core killed: nothing is started before the survivors are gone."""
    daemon = launch(CONFIG % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "deaf")
    written(tmp_path / "up")
    pids = daemon.pids("polite") + daemon.pids("deaf")
    daemon.kill()
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    daemon.start()
    again = daemon.tale()
    lost = again.next("keeper.lost")
    assert sorted(pids) == sorted(fields_of(lost.body)["survivors"])
    again.next("reaper.reconciled", where=lambda record: record.incarnation > 1)
    for pid in pids:
        grown.ended(pid)
    again.next("process.spawned", "deaf", where=lambda record: record.incarnation > 1)
    assert 0 == daemon.stop()


def test_a_worker_that_nobody_was_told_of_is_found_by_its_mark(
    launch: Launch, tmp_path: Path, grown: Any, written: Any
) -> None:
    """The keeper started it and was killed before the core had heard: it is on record as spawned
    and stopped like the others, and nobody says that it never ran."""
    daemon = launch(WRITES % {"dir": tmp_path, "orphans": "stop"}).start()
    spawn_id, pids = _lose_untold(daemon, tmp_path, written)
    daemon.start()
    again = daemon.tale()
    lost = again.next("keeper.lost")
    assert sorted(pids) == sorted(fields_of(lost.body)["survivors"])
    again.next("core.ready", where=lambda record: record.incarnation > 1)
    for pid in pids:
        grown.ended(pid)
    assert 0 == daemon.stop()
    life = [record for record in daemon.judge() if record.spawn_id == spawn_id]
    born = fields_of(life[1].body)
    assert ("process.spawned", True) == (life[1].name, born["adopted"])
    assert born["pid"] in pids


def _lose_untold(daemon: Any, tmp_path: Path, written: Any) -> tuple[int, list[int]]:
    """Keeper and core killed, with a second worker that only the keeper knew of; the seq of its
    request and the pids of both."""
    tale = daemon.tale()
    tale.next("watcher.started", "writes")
    pids = [int(written(tmp_path / "pid1"))]
    core = daemon.core_pid()
    os.kill(daemon.pid, signal.SIGSTOP)
    daemon.ask("incr", name="writes")
    spawn = tale.next("process.spawn", "writes")
    assert core == daemon.core_pid()  # by then the request has left
    os.kill(core, signal.SIGSTOP)
    os.kill(daemon.pid, signal.SIGCONT)
    pids.append(int(written(tmp_path / "pid2")))
    os.kill(daemon.pid, signal.SIGSTOP)
    os.kill(core, signal.SIGKILL)
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    daemon.hang_up()
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    return spawn.seq, pids


def test_a_keeper_that_may_hold_them_makes_no_orphans() -> None:
    """One younger than the record, or than the last list, holds nothing; where no list is known,
    behind a hole, only the first counts: the workers of a living keeper are not stopped."""
    assert holds_nothing(5, 9, anew=True)
    assert holds_nothing(5, 4, anew=False)
    assert not holds_nothing(5, 5, anew=False)
    assert not holds_nothing(5, 0, anew=False)


def test_a_pid_alone_proves_nothing() -> None:
    """The pidfd's inode decides; without one the start must be the one that was noted."""
    assert is_same(Evidence(5, 7), Evidence(0, 7))
    assert not is_same(Evidence(5, 7), Evidence(5, 8))
    assert is_same(Evidence(NOTED_WITHIN, 0), Evidence(1, 8))
    assert not is_same(Evidence(NOTED_WITHIN, 7), Evidence(0, 0))
    assert not is_same(Evidence(5, 0), Evidence(6, 0))


def test_an_upgrade_replaces_core_and_keeper_under_running_workers(launch: Launch) -> None:
    """The same keeper's pid, another core, the same workers, and it is on record."""
    daemon = launch('[watcher.calm]\ncmd = "sleep 1000"\nnumprocesses = 3\n').start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "calm")
    pids, core = daemon.pids("calm"), daemon.core_pid()
    daemon.ask("upgrade")
    tale.next("keeper.reexec")
    assert pids == daemon.pids("calm")
    assert core != daemon.core_pid()
    assert 0 == daemon.stop()
