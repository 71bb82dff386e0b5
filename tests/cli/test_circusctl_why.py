"""`circusctl why`: from a pid or a watcher back to who asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from circus.bus import commands, events
from circus.bus.codec import Stamp, encode_records, stamped
from circus.bus.record import Body, Draft
from circus.bus.values import Moment
from circus.circusctl import run

Serve = Callable[..., Any]
RUSAGE = {"utime": 1}
WEB = "watcher:web#2"


class Story:
    """Writes a ledger, one record per decision."""

    def __init__(self, served: Any) -> None:
        self.served = served

    def say(self, actor: str, body: Body, cause: int = 0, **about: Any) -> int:
        seq: int = self.served.ledger.head + 1
        stamp = Stamp(seq, cause, actor, Moment(seq * 10**9, seq), 1)
        self.served.ledger.append(encode_records([stamped(stamp, Draft(body, **about))]), 1)
        return seq

    def crash(self) -> None:
        """Asked for, spawned, killed, spawned again."""
        peer = {"uid": 0, "gid": 0, "pid": 77}
        started = self.say("client", commands.WatcherStart(), to=WEB, watcher="web", peer=peer)
        self.say("arbiter", events.WatcherAdded({}, "d"), watcher="web")
        first = commands.ProcessSpawn("d")
        spawn = self.say(WEB, first, started, to="reaper", watcher="web", slot=1)
        about: dict[str, Any] = {"watcher": "web", "slot": 1, "spawn_id": spawn}
        self.say("reaper", events.ProcessSpawned(501, 5), spawn, **about)
        self.say(WEB, events.WatcherStarted(), started, watcher="web")
        exited = events.ProcessExited(501, None, 9, core=False, rusage=RUSAGE, wall=1, observed=1)
        ended = self.say("reaper", exited, spawn, **about)
        again = commands.ProcessSpawn("d", replaces=spawn)
        spawn = self.say(WEB, again, ended, to="reaper", watcher="web", slot=1)
        about["spawn_id"] = spawn
        self.say("reaper", events.ProcessSpawned(502, 6), spawn, **about)


@pytest.fixture
def story(serve: Serve) -> Story:
    return Story(serve().start())


def why(story: Story, subject: str, *flags: str) -> int:
    return run(["--state-dir", str(story.served.state_dir), "why", subject, *flags])


def test_a_running_process_is_traced_to_who_asked(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the death that it replaced, to the client with uid and pid."""
    story.crash()
    assert 0 == why(story, "502")
    told = capsys.readouterr().out
    assert told.startswith("process 502 of watcher web runs since ")
    assert "because process 501 of web (slot 1) was ended by SIGKILL" in told
    assert "because the start of web was asked for" in told
    assert "uid 0 (root), pid 77" in told


def test_a_dead_process_is_told_with_its_signal(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says that it is not running."""
    story.crash()
    assert 0 == why(story, "501")
    told = capsys.readouterr().out
    assert told.startswith("process 501 of watcher web is not running: ")
    assert "was ended by SIGKILL" in told


def test_a_watcher_that_gave_up_says_the_failed_step(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step and reason of the spawn that failed last."""
    story.say("arbiter", events.WatcherAdded({}, "d"), watcher="web")
    spawn = story.say(WEB, commands.ProcessSpawn("d"), to="reaper", watcher="web", slot=1)
    failed = events.ProcessSpawnFailed("exec", 2, "command not found: nope")
    cause = story.say("reaper", failed, spawn, watcher="web", slot=1, spawn_id=spawn)
    story.say(WEB, events.WatcherFailed("5 failed spawns in a row"), cause, watcher="web")
    assert 0 == why(story, "web")
    told = capsys.readouterr().out
    assert "gave up: 5 failed spawns in a row" in told
    assert "step exec (ENOENT): command not found: nope" in told
    assert "none of its processes is running" in told


def test_json_has_the_chain_of_records(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, with the envelope's names."""
    story.crash()
    assert 0 == why(story, "502", "--json")
    whole = json.loads(capsys.readouterr().out)
    assert [8, 7, 6, 3, 1] == [record["seq"] for record in whole["chain"]]


def test_what_the_record_does_not_know_is_refused(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is guessed."""
    story.crash()
    assert 3 == why(story, "999")
    assert 3 == why(story, "nosuch")
    assert "cannot say why: the record has no watcher nosuch" in capsys.readouterr().err
