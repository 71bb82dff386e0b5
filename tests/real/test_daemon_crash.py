"""kill -9 of the core: workers live on, nothing starts twice, no exit is lost or told twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from circus.bus.record import Record, fields_of
from circus.bus.wire import Request, decode_reply, encode_request
from circus.client import Client

Launch = Callable[..., Any]

KILLS: Final = int(os.environ.get("CIRCUS_TEST_KILLS", "30"))
# Each life writes who it is and how it will end; `o` of O_APPEND makes one line one write.
CHURN: Final = """
[circus]
loglevel = "error"

[watcher.churn]
cmd = '''sh -c 'echo $$ >> %(dir)s/truth; sleep 0.0$1; exit $(($$ %% 200))' it $(circus.wid)'''
numprocesses = 6
backoff = 0
give_up = 0

[watcher.calm]
cmd = "sleep 1000"
numprocesses = 3
"""

CALM: Final = '[watcher.calm]\ncmd = "sleep 1000"\n'
STUBBORN: Final = """
[watcher.stubborn]
cmd = '''sh -c 'trap "" TERM; echo > %(dir)s/up; while :; do sleep 1000; done' '''
graceful_timeout = 3
"""
WAIT_SECONDS: Final = 20


def strike(tale: Any) -> None:
    """SIGKILL to the core that runs now."""
    started = tale.of("core.started")[-1]
    os.kill(fields_of(started.body)["pid"], signal.SIGKILL)


def kill_core(tale: Any) -> Record:
    """SIGKILL to the core that runs now; the first record of the next one."""
    strike(tale)
    again: Record = tale.next("core.started")
    return again


def test_thirty_kills_of_the_core_under_churn_change_nothing(
    launch: Launch, tmp_path: Path
) -> None:
    """
    Ground truth is what the workers wrote: each life once in the ledger with its true exit.
    """
    daemon = launch(CHURN % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "calm")
    calm = daemon.pids("calm")
    for number in range(KILLS):
        # At another moment each time: behind another record of the churn.
        tale.some(1 + number % 7, ("process.exited", "process.spawn", "slot.filled")[number % 3])
        again = kill_core(tale)
        assert number + 2 == again.incarnation
        tale.next("core.ready")
    assert calm == daemon.pids("calm")
    assert 0 == daemon.stop()
    records = daemon.judge()
    heard = [record.seq for record in tale.heard]
    assert list(range(1, len(heard) + 1)) == heard
    spawned = [r for r in records if r.name == "process.spawned" and r.watcher == "churn"]
    truth = Counter(int(line.split()[0]) for line in (tmp_path / "truth").read_text().splitlines())
    seen = Counter(fields_of(r.body)["pid"] for r in spawned)
    assert not truth - seen, "lives without a record"
    exits = {r.spawn_id: fields_of(r.body) for r in records if r.name == "process.exited"}
    for record in spawned:
        body = exits[record.spawn_id]
        if body["signal"] is None:
            assert fields_of(record.body)["pid"] % 200 == body["code"]
    # A life that wrote nothing was ended before its first instruction, by the stop at the end.
    silent = seen - truth
    ended = [r for r in spawned if silent[fields_of(r.body)["pid"]]]
    assert {15} >= {exits[r.spawn_id]["signal"] for r in ended}
    lost = [fields_of(r.body)["signal"] for r in records if r.name == "core.lost"]
    assert [signal.SIGKILL] * KILLS == lost
    started = [r for r in records if r.name == "watcher.started" and r.watcher == "calm"]
    assert 1 == len(started)


def test_no_watcher_has_two_lives_in_one_slot(launch: Launch, tmp_path: Path) -> None:
    """Between spawned and exited of a slot no other process of that slot is spawned."""
    daemon = launch(CHURN % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("core.ready")
    for _ in range(5):
        tale.some(5, "process.spawned", "churn")
        kill_core(tale)
    tale.some(10, "process.exited", "churn")
    daemon.signal(signal.SIGTERM)
    assert 0 == daemon.wait()
    alive: dict[tuple[Any, Any], int] = {}
    for record in daemon.judge():
        place = (record.watcher, record.slot)
        if record.name == "process.spawn":
            assert place not in alive, record
            alive[place] = record.seq
        elif record.name in {"process.exited", "process.spawn_failed", "process.never_run"}:
            assert alive.pop(place) == record.spawn_id


BIG: Final = """
[watcher.many]
cmd = "sleep 1000"
numprocesses = 60
warmup_delay = 0.04

[watcher.stubborn]
cmd = '''sh -c 'trap "" TERM; echo > %(dir)s/up; while :; do sleep 1000; done' '''
graceful_timeout = 1
leftovers = "kill"
"""


def test_a_core_killed_during_start_and_during_stop_finishes_both(
    launch: Launch, tmp_path: Path, written: Any
) -> None:
    """The start goes on where it was; the stop too, and its command gets its one end."""
    daemon = launch(BIG % {"dir": tmp_path}).start()
    tale = daemon.tale()
    for step in (1, 3, 5):
        tale.some(step, "process.spawned", "many")
        kill_core(tale)
    tale.next("watcher.started", "many")
    if not tale.of("watcher.started", "stubborn"):
        tale.next("watcher.started", "stubborn")
    written(tmp_path / "up")
    assert 60 == len(set(daemon.pids("many")))
    identity = os.urandom(16)
    stop = encode_request(Request(identity, "stop", {"name": "stubborn"}))
    assert "ok" == decode_reply(daemon.raw([stop])).body["status"]
    tale.next("slot.stopping", "stubborn")
    kill_core(tale)
    waiting = encode_request(Request(identity, "stop", {"name": "stubborn", "waiting": True}))
    assert "ok" == decode_reply(daemon.raw([waiting])).body["status"]
    assert "stopped" == daemon.ask("status", name="stubborn")["status"]
    assert 60 == len(daemon.pids("many"))
    daemon.signal(signal.SIGTERM)
    tale.next("arbiter.stopping")
    strike(tale)
    assert 0 == daemon.wait()
    assert [] == daemon.left()
    if (daemon.state_dir / "last-words").exists():
        # The keeper ended the rest by itself; what it saw then is told by the next core.
        head = daemon.head()
        daemon.start()
        daemon.tale(head).next("core.ready")
        assert 0 == daemon.stop()
    records = daemon.judge()
    asked = [r for r in records if r.actor == "client"]
    assert 1 == len(asked)


def test_a_client_s_command_over_a_kill_is_carried_out_once(launch: Launch) -> None:
    """The client asks again with the same id, and gets the stored outcome."""
    daemon = launch('[watcher.one]\ncmd = "sleep 1000"\nnumprocesses = 1\n').start()
    tale = daemon.tale()
    tale.next("core.ready")
    replies: list[str] = []
    script = (
        "import sys; from circus.client import Client\n"
        "client = Client(sys.argv[1], timeout=6)\n"
        "for _ in range(40): print(client.call('incr', name='one', waiting=True)['numprocesses'])"
    )
    command = [sys.executable, "-c", script, str(daemon.state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        reader = threading.Thread(target=lambda: replies.extend(asking.stdout or ()))
        reader.start()
        for count in (3, 9, 5):
            tale.some(count, "command.accepted", "one")
            kill_core(tale)
        reader.join()
    assert list(range(2, 42)) == [int(line) for line in replies]
    assert 41 == len(daemon.pids("one"))
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_bad_file_does_not_end_what_a_killed_core_ran(launch: Launch) -> None:
    """The file was broken meanwhile: the core that comes back goes on as the ledger says."""
    daemon = launch('[watcher.one]\ncmd = "sleep 1000"\nnumprocesses = 2\n').start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "one")
    pids = daemon.pids("one")
    daemon.config.write_text("[watcher.one]\nnumprocess = 1\n")
    again = kill_core(tale)
    assert 2 == again.incarnation
    tale.next("core.ready")
    assert pids == daemon.pids("one")
    daemon.do("incr", name="one")
    assert 3 == len(daemon.pids("one"))
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_start_goes_on_where_the_operator_left(launch: Launch) -> None:
    """What was stopped stays stopped, over a kill of the core and over a new start."""
    text = '[watcher.one]\ncmd = "sleep 1000"\n[watcher.two]\ncmd = "sleep 1000"\n'
    daemon = launch(text).start()
    tale = daemon.tale()
    tale.next("core.ready")
    tale.next("watcher.started", "two")
    daemon.do("stop", name="one")
    kill_core(tale)
    tale.next("core.ready")
    assert {"one": "stopped", "two": "active"} == daemon.ask("status")["statuses"]
    assert 0 == daemon.stop()
    tale = daemon.tale(daemon.head())
    daemon.start()
    tale.next("watcher.started", "two")
    assert {"one": "stopped", "two": "active"} == daemon.ask("status")["statuses"]
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_waiting_client_notices_a_new_core_at_once(
    launch: Launch, tmp_path: Path, written: Any
) -> None:
    """A request that was on its way is sent again when the connection ends, not when its time is
    nearly over: a third of this one's is longer than the test may take."""
    daemon = launch(STUBBORN % {"dir": tmp_path}).start()
    tale = daemon.tale()
    tale.next("watcher.started", "stubborn")
    written(tmp_path / "up")
    replies: list[dict[str, Any]] = []

    def ask() -> None:
        with Client(daemon.state_dir, timeout=600) as client:
            replies.append(client.call("stop", name="stubborn", waiting=True))

    asking = threading.Thread(target=ask)
    asking.start()
    tale.next("watcher.stopping", "stubborn")
    kill_core(tale)
    asking.join(WAIT_SECONDS)
    assert ["ok"] == [reply["status"] for reply in replies]
    assert 0 == daemon.stop()


def test_a_core_that_was_lost_is_told_once(launch: Launch) -> None:
    """The keeper tells of it until a core is ready; the one in between has put it on record."""
    daemon = launch(CALM).start()
    tale = daemon.tale()
    tale.next("core.ready")
    kill_core(tale)
    tale.next("core.lost")
    last = kill_core(tale)
    tale.next("core.ready", where=lambda record: record.incarnation == last.incarnation)
    assert 0 == daemon.stop()
    lost = [fields_of(record.body) for record in daemon.judge() if record.name == "core.lost"]
    assert len(lost) == len({one["pid"] for one in lost})
