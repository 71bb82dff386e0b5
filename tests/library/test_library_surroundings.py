"""What surrounds an arbiter in a program: its mask, pid file, log, loop, and the keeper's death."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from circus.arbiter import Arbiter
from circus.arbiter.library_asking import KeeperLost
from circus.bus.events import KeeperLost as KeeperGone
from circus.bus.events import ProcessExited, ProcessLost, ScribeStarted
from circus.bus.record import Record
from circus.bus.subscribe import subscribe
from circus.client import Client
from circus.watcher import Watcher

pytestmark = pytest.mark.real

WAIT = 20
SLEEPER = {"name": "sleeper", "cmd": "sleep 1000"}


def made(state_dir: Path, *watchers: dict[str, Any], **options: Any) -> Arbiter:
    """In the background."""
    described = list(watchers or (SLEEPER,))
    return Arbiter(described, background=True, state_dir=str(state_dir), **options)


# --- umask ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o027, "027"])
def test_the_umask_is_that_of_the_workers_and_not_the_programs(
    state_dir: Path, reaped: object, umask: int | str
) -> None:
    """
    A number, or octal digits as in a file.
    """
    mine = os.umask(0o022)
    os.umask(mine)
    script = f"sh -c 'umask > {state_dir}/mask'"
    arbiter = made(state_dir, {"name": "a", "cmd": script, "respawn": False}, umask=umask)
    arbiter.start().result(WAIT)
    with subscribe(str(state_dir), after=0) as records:
        assert any(isinstance(record.body, ProcessExited) for record in records)
    arbiter.stop()
    assert "0027\n" == (state_dir / "mask").read_text(encoding="ascii")
    again = os.umask(mine)
    assert mine == again


# --- captured output ------------------------------------------------------------------------------


def test_a_program_may_have_output_captured(state_dir: Path, reaped: object) -> None:
    """
    The keeper that the library starts has a scribe as every keeper has; all is written at the end.
    """
    out = state_dir / "captured"
    script = (
        "sh -c 'echo one; echo two; trap \"echo three; exit\" TERM; while :; do sleep 0.1; done'"
    )
    stream = {"class": "FileStream", "filename": str(out)}
    arbiter = made(
        state_dir, {"name": "a", "cmd": script, "stdout_stream": stream, "copy_env": True}
    )
    arbiter.start().result(WAIT)
    with subscribe(str(state_dir), after=0) as records:
        assert any(isinstance(record.body, ScribeStarted) for record in records)
    arbiter.stop()
    assert ["one", "two", "three"] == out.read_text(encoding="ascii").split()


# --- pid file -------------------------------------------------------------------------------------


def test_the_pid_file_names_the_program_while_it_runs(state_dir: Path, reaped: object) -> None:
    """
    Written by `start`, removed by the end; a dead process in it is nobody's problem.
    """
    path = state_dir / "pid"
    path.write_text("4194305\n", encoding="ascii")
    arbiter = made(state_dir, pidfile=str(path))
    arbiter.start().result(WAIT)
    assert f"{os.getpid()}\n" == path.read_text(encoding="ascii")
    arbiter.stop()
    assert not path.exists()


def test_the_pid_file_of_another_live_process_is_left_alone(
    state_dir: Path, reaped: object
) -> None:
    """
    `start` raises and nothing runs.
    """
    path = state_dir / "pid"
    path.write_text(f"{os.getppid()}\n", encoding="ascii")
    arbiter = made(state_dir, pidfile=str(path))
    with pytest.raises(RuntimeError, match="pid file"):
        arbiter.start()
    assert (0, False) == (arbiter.numprocesses(), arbiter.running)
    assert f"{os.getppid()}\n" == path.read_text(encoding="ascii")


# --- log ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "told"), [(None, True), ("DEBUG", True), ("error", False)])
def test_the_log_goes_where_the_program_says(
    state_dir: Path, reaped: object, level: str | None, *, told: bool
) -> None:
    """
    One line for each notable record, at the level that is given (info), whole at the end.
    """
    path = state_dir / "log"
    arbiter = made(state_dir, loglevel=level, logoutput=str(path))
    arbiter.start().result(WAIT)
    arbiter.stop()
    text = path.read_text(encoding="utf-8")
    assert told == (1 == text.count("core started")) == (1 == text.count("core stopped"))
    assert ("process spawned" in text) == (level == "DEBUG")
    assert not [t.name for t in threading.enumerate() if t.name == "operator-log"]


def test_without_a_word_about_it_there_is_no_log(
    state_dir: Path, reaped: object, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    A library is silent; `loglevel` alone means standard error.
    """
    silent = made(state_dir / "silent")
    silent.start().result(WAIT)
    silent.stop()
    assert ("", "") == tuple(capfd.readouterr())
    aloud = made(state_dir / "aloud", loglevel="info")
    aloud.start().result(WAIT)
    aloud.stop()
    assert "core started" in capfd.readouterr().err


def test_what_cannot_be_used_is_refused(state_dir: Path, reaped: object) -> None:
    """
    All at once and before anything starts; a file that cannot be written when it is needed.
    """
    with pytest.raises(ValueError, match="loglevel") as caught:
        made(state_dir, {"cmd": "x", "numprocesses": "many"}, loglevel="loud", umask="888")
    for word in ("'loud'", "'888'", "numprocesses"):
        assert word in str(caught.value)
    arbiter = made(state_dir, logoutput=str(state_dir / "no" / "log"))
    with pytest.raises(FileNotFoundError):
        arbiter.start()
    assert not arbiter.running


# --- loop -----------------------------------------------------------------------------------------


class InThread(Arbiter):
    """As programs run Circus's arbiter in a thread of theirs and stop it from another one."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.up = threading.Event()
        self.outcome: Any = None
        self.failure: RuntimeError | None = None
        self.worker = threading.Thread(target=self.work)

    def work(self) -> None:
        self.loop = None
        self._ensure_ioloop()
        self.ctrl.loop = self.loop
        try:
            self.outcome = self.start(cb=lambda _: self.up.set())
        except RuntimeError as error:
            self.failure = error
            self.up.set()


def test_an_arbiter_in_a_thread_is_stopped_through_its_loop(
    state_dir: Path, reaped: object, until: Callable[[int], None]
) -> None:
    """
    `arbiter.loop.add_callback(arbiter.stop)`; the blocking `start` gives a finished future.
    """
    arbiter = InThread([Watcher("sleeper", "sleep 1000", numprocesses=2)], state_dir=str(state_dir))
    heard: list[Any] = []
    arbiter.worker.start()
    assert arbiter.up.wait(WAIT)
    pids = arbiter.get_watcher("sleeper").pids
    assert 2 == len(pids)
    assert arbiter.ctrl.loop is arbiter.loop

    def fail() -> None:
        raise LookupError("the program's own mistake")

    arbiter.loop.add_callback(fail)
    arbiter.loop.add_callback(lambda *words, **named: heard.append((words, named)), 1, two=2)
    arbiter.loop.add_callback(arbiter.stop)
    arbiter.worker.join(WAIT)
    assert not arbiter.worker.is_alive()
    assert (None, False) == (arbiter.outcome.exception(), arbiter.outcome.result())
    assert [((1,), {"two": 2})] == heard
    for pid in pids:
        until(pid)
    arbiter.loop.add_callback(arbiter.stop)  # after the end: nothing is left to call it


def test_what_the_loop_is_given_before_the_start_is_called_after_it(
    state_dir: Path, reaped: object
) -> None:
    """
    In the thread of the core.
    """
    arbiter = made(state_dir)
    arbiter._ensure_ioloop()
    called = threading.Event()
    threads: list[str] = []

    def note() -> None:
        threads.append(threading.current_thread().name)
        called.set()

    arbiter.loop.add_callback(note)
    assert not threads
    arbiter.start().result(WAIT)
    assert called.wait(WAIT)
    arbiter.stop()
    assert ["circus"] == threads


# --- the keeper's death ---------------------------------------------------------------------------


def test_the_death_of_the_keeper_is_an_error_that_names_what_is_left(
    state_dir: Path, reaped: Callable[[int], int]
) -> None:
    """
    `start` raises: which keeper, what ended it, which workers run on without it, if they are left.
    """
    arbiter, keeper, pids = _bereaved(state_dir, reaped, orphans="leave")
    assert isinstance(arbiter.failure, KeeperLost)
    assert tuple(pids) == arbiter.failure.pids
    text = f"cannot go on: the keeper (pid {keeper}) was ended by SIGKILL; its workers run on"
    assert str(arbiter.failure).startswith(text)
    assert not arbiter.running
    assert arbiter.stop().done()
    with pytest.raises(RuntimeError, match="has stopped"):
        arbiter.reload()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    again = made(state_dir)
    again.start().result(WAIT)
    again.stop()
    with subscribe(str(state_dir), after=0, follow=False) as records:
        told = list(records)
    assert 2 + 2 == _ended(told)


def test_the_workers_of_a_killed_keeper_are_stopped_as_those_of_a_daemon(
    state_dir: Path, reaped: Callable[[int], int]
) -> None:
    """
    By their plans and on record, before `start` raises; the next start finds nobody.
    """
    arbiter, keeper, pids = _bereaved(state_dir, reaped)
    assert isinstance(arbiter.failure, KeeperLost)
    assert () == arbiter.failure.pids
    assert "its workers are stopped; start again" in str(arbiter.failure)
    with subscribe(str(state_dir), after=0, follow=False) as records:
        told = list(records)
    (lost,) = [record.body for record in told if record.name == "keeper.lost"]
    assert KeeperGone(keeper, tuple(pids)) == lost
    assert 2 == _ended(told)


def test_the_next_arbiter_adopts_what_a_killed_keeper_left(
    state_dir: Path, reaped: Callable[[int], int]
) -> None:
    """
    With the same state directory; the processes are the same, and it stops them in the end.
    """
    arbiter, _, pids = _bereaved(state_dir, reaped, orphans="adopt")
    assert isinstance(arbiter.failure, KeeperLost)
    assert tuple(pids) == arbiter.failure.pids
    sleepers = {"name": "sleeper", "cmd": "sleep 1000", "numprocesses": 2}
    again = made(state_dir, sleepers, orphans="adopt")
    again.start().result(WAIT)
    assert pids == sorted(again.get_watcher("sleeper").pids)
    again.stop()
    with subscribe(str(state_dir), after=0, follow=False) as records:
        told = list(records)
    assert 2 == len([record for record in told if record.name == "process.adopted"])
    assert 2 == _ended(told)


def _ended(records: list[Record]) -> int:
    """How many processes have ended on record, each once."""
    ends = [r.spawn_id for r in records if isinstance(r.body, ProcessExited | ProcessLost)]
    assert len(set(ends)) == len(ends)
    return len(ends)


def _bereaved(
    state_dir: Path, reaped: Callable[[int], int], **options: Any
) -> tuple[InThread, int, list[int]]:
    """An arbiter of two workers whose keeper has been killed; the keeper's pid and theirs."""
    watcher = Watcher("sleeper", "sleep 1000", numprocesses=2)
    arbiter = InThread([watcher], state_dir=str(state_dir), **options)
    arbiter.worker.start()
    assert arbiter.up.wait(WAIT)
    pids = [reaped(pid) for pid in sorted(arbiter.get_watcher("sleeper").pids)]
    with Client(str(state_dir)) as client:
        keeper = client.call("status")["keeper"]["pid"]
    os.kill(keeper, signal.SIGKILL)
    arbiter.worker.join(WAIT)
    return arbiter, keeper, pids
