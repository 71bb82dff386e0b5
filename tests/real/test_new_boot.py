"""The machine was started again: nothing that ran before it runs, and its pids are other people's.

The ledger of a daemon that was killed is written again as another boot would have left it: another
boot id, and a boot clock that was a day further on. Its workers still run; they stand for the
strangers that have the old pids now.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from circus.bus import events
from circus.bus.codec import encode_records, records_of
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.reader import LedgerReader
from circus.bus.record import Body, Record, fields_of
from circus.bus.shapes import altered
from circus.bus.values import Moment
from circus.process.lives import HOST_RESTART

Launch = Callable[..., Any]

OTHER_BOOT: Final = "00000000-0000-4000-8000-000000000000"
DAY: Final = 86_400 * 10**9
CONFIG: Final = """
[circus]
orphans = "stop"

[watcher.calm]
cmd = "sleep 1000"
numprocesses = 3

[watcher.halted]
cmd = "sleep 1000"

[watcher.short]
cmd = "false"
backoff = 0.5
"""


def rebooted(state_dir: Path) -> None:
    """The same ledger, as if all of it had been written in another boot of the machine."""
    place, before = state_dir / "ledger", state_dir / "ledger-before"
    place.rename(before)
    ledger = Ledger.open(str(place), RealDisk(), log_id=os.urandom(16), now=Moment(0, 0))
    for frame in LedgerReader(str(before)).frames():
        records = [moved(record) for record in records_of(frame.payload)]
        ledger.append(
            [(len(records), encode_records(records))], Moment(records[-1].at, records[-1].boot)
        )
    ledger.close()


def moved(record: Record) -> Record:
    """One record of the other boot."""
    deadline = None if record.deadline is None else record.deadline + DAY
    return record._replace(
        boot=record.boot + DAY, deadline=deadline, body=moved_body(record.body)
    )  # fmt: skip


def moved_body(body: Body) -> Body:
    """What names the boot, or a time of its clock, in what a record says."""
    if isinstance(body, events.CoreStarted):
        return altered(body, boot_id=OTHER_BOOT)
    if isinstance(body, events.ProcessSpawned):
        return altered(body, started=body.started + DAY)
    if isinstance(body, events.ProcessExited):
        return altered(body, observed=body.observed + DAY)
    return body


def test_after_a_new_boot_nothing_is_signalled_by_an_old_pid(launch: Launch) -> None:
    """
    What ran is lost, and on record as that; what was wanted runs again; what was stopped is
    stopped; a pause goes on with what had remained of it, and failures are counted on.
    """
    is_running = sys.modules["tests_real_daemon"].is_running
    daemon = launch(CONFIG).start()
    tale = daemon.tale()
    tale.next("watcher.started", "calm")
    daemon.do("stop", name="halted")
    strangers = daemon.pids("calm")
    tale.next("slot.waiting", "short", lambda r: fields_of(r.body)["failures"] == 3)
    daemon.kill()
    rebooted(daemon.state_dir)
    head = daemon.head()
    daemon.start()
    tale = daemon.tale(head)
    host = tale.next("host.restarted")
    assert OTHER_BOOT == fields_of(host.body)["old"]
    lost = [fields_of(record.body) for record in tale.some(3, "process.lost", "calm")]
    assert sorted(strangers) == sorted(one["pid"] for one in lost)
    assert {HOST_RESTART} == {one["reason"] for one in lost}
    tale.some(3, "process.spawned", "calm")
    tale.next("slot.waiting", "short", lambda r: fields_of(r.body)["failures"] == 4)
    assert not set(strangers) & set(daemon.pids("calm"))
    assert "stopped" == daemon.ask("status")["statuses"]["halted"]
    daemon.signal(signal.SIGTERM)
    assert 0 == daemon.wait()
    assert [True] * 3 == [is_running(pid) for pid in strangers]
    records = daemon.judge()
    old = {record.spawn_id for record in records[:head] if record.name == "process.spawn"}
    new = [record for record in records[head:] if record.spawn_id in old]
    assert not {record.name for record in new} & {"process.signal", "process.signalled"}
    assert [] == [record for record in records if record.name == "keeper.lost"]


def test_a_pause_goes_on_with_what_had_remained_of_it(launch: Launch) -> None:
    """Its timer is that of the other boot: it wakes here, and once."""
    daemon = launch('[watcher.short]\ncmd = "false"\nbackoff = 1\n').start()
    tale = daemon.tale()
    armed = tale.next("timer.arm", "short")
    daemon.kill()
    rebooted(daemon.state_dir)
    head = daemon.head()
    daemon.start()
    woke = daemon.tale(head).next("timer.woke", "short")
    assert armed.seq == fields_of(woke.body)["armed"]
    assert 0 == daemon.stop()
    daemon.judge()
