"""Room: tests -- the keeper against a real kernel: real children, real signals, kill -9.

Knows:     process.keeper, link, reaper; /proc.
Known by:  nobody.
Never:     sleeps; leaves a process behind (a fixture looks for its mark in every environment).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from circus.process import last_words
from circus.process.keeper import embedded_argv
from circus.process.launch import Launch, Plan
from circus.process.link import Link, LinkClosed, pair
from circus.process.spawn import Spawner

DEADLINE = 30.0
PATH = "/usr/bin:/bin"
SECOND = 1_000_000_000
STUBBORN = "trap '' TERM; echo up; while :; do read x; done"

# A core for tests: it speaks the link and does what its first argument says.
CORE = """
import os, select, signal, sys
from circus.process.launch import Launch, Plan
from circus.process.link import Link
role, link, mark = sys.argv[1], Link.core_end(int(sys.argv[2])), sys.argv[3]
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def out(*operations):
    link.send(operations)
    link.flush()
if role == "refuse":
    sys.exit(78)
sleep = Launch(("sleep", "1000"), {"PATH": "/usr/bin:/bin", "MARK": mark}, close_stdout=True)
out(("list", 1))
while True:
    select.select([link], [], [])
    for report in link.receive():
        say(os.getpid(), *report)
        if report[0] == "held":
            out(("ready",))
            if not report[2]:
                out(("spec", sleep.digest, sleep.to_map()),
                    ("spawn", 2, sleep.digest, "w", sleep.plan))
        elif report[0] == "exited":
            out(("ack", [report[1]]))
        elif report[0] == "os_signal" and role == "polite":
            out(("signal", 9, 2, signal.SIGTERM, "process", None))
        elif report[0] == "os_signal" and role == "deaf":
            select.select([], [], [])
        elif report[0] == "reaped" and role == "polite":
            out(("stopping", 5))
            sys.exit(0)
"""
DAEMON = """
import sys
from circus.process.keeper import KeeperOptions, run_keeper
state, role, core, mark = sys.argv[1:]
sys.exit(run_keeper(KeeperOptions(
    state, lambda fd: [sys.executable, "-c", core, role, str(fd), mark])))
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Everything a test starts carries this in its environment; nothing may be left at the end."""
    value = f"circus-test-{tmp_path}-{os.getpid()}"
    yield value
    left = _marked(value)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert [] == left


def _marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found


class Embedded:
    """A keeper as the library starts it, with the test as its core."""

    def __init__(self, state_dir: Path, mark: str, host_pid: int) -> None:
        ours, theirs = pair()
        os.set_inheritable(theirs, True)
        argv = tuple(embedded_argv(str(state_dir), theirs, host_pid))
        self.pid = Spawner().spawn(Launch(argv, {**os.environ, "MARK": mark}))
        os.close(theirs)
        self.link = Link.core_end(ours)
        self.state_dir = state_dir
        self.mark = mark
        self._seq = 1

    def seq(self) -> int:
        self._seq += 1
        return self._seq

    def launch(self, *argv: str, **rest: Any) -> Launch:
        return Launch(argv, {"PATH": PATH, "MARK": self.mark}, **rest)

    def ask(self, *operations: Sequence[Any]) -> None:
        self.link.send(operations)
        assert self.link.flush()

    def spawn(self, launch: Launch, plan: Plan | None = None) -> int:
        seq = self.seq()
        self.ask(
            ("spec", launch.digest, launch.to_map()),
            ("spawn", seq, launch.digest, "owner", plan or launch.plan),
        )
        return seq

    def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Reports, until they are enough."""
        seen: list[Any] = []
        ends = time.monotonic() + DEADLINE
        while not enough(seen):
            ready, _, _ = select.select([self.link], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"nothing more came after {seen[-5:]}"
            seen += self.link.receive()
        return seen

    def wait(self, name: str, count: int = 1) -> list[Any]:
        return [r for r in self.until(lambda seen: _count(seen, name) >= count) if r[0] == name]

    def end(self) -> int:
        self.link.close()
        return _wait(self.pid)


def _count(reports: list[Any], name: str) -> int:
    return sum(report[0] == name for report in reports)


def _wait(pid: int) -> int:
    pidfd = os.pidfd_open(pid)
    ready, _, _ = select.select([pidfd], [], [], DEADLINE)
    os.close(pidfd)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert ready
    return os.waitstatus_to_exitcode(status)


@pytest.fixture
def keeper(tmp_path: Path, mark: str) -> Iterator[Embedded]:
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.wait("held")
    yield keeper
    assert 0 == keeper.end()


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_an_exit_stays_a_zombie_until_it_is_acknowledged(keeper: Embedded) -> None:
    """Peek, report, acknowledge, reap: the zombie is the store of what is not yet on record."""
    spawn_id = keeper.spawn(keeper.launch("sh", "-c", "exit 7"))
    exited = keeper.wait("exited")[0]
    assert (spawn_id, "owner", 7, None) == (exited[1], exited[2], exited[4], exited[5])
    assert "State:\tZ" in Path(f"/proc/{exited[3]}/status").read_text()
    keeper.ask(("ack", [spawn_id]))
    assert [("reaped", spawn_id, exited[3], ())] == keeper.wait("reaped")
    assert _gone(exited[3])


def test_a_spawn_asked_for_twice_runs_once(keeper: Embedded) -> None:
    """Idempotent by spawn_id, for what runs, what ended and what failed."""
    sleeps, fails = keeper.launch("sleep", "1000"), keeper.launch("no-such-program")
    for launch in (sleeps, fails):
        spawn_id = keeper.spawn(launch)
        first = keeper.until(bool)[-1]
        keeper.ask(("spawn", spawn_id, launch.digest, "owner", launch.plan))
        assert first == keeper.until(bool)[-1]
        keeper.ask(("ack", [spawn_id]))


def test_a_signal_asked_for_twice_is_sent_once(keeper: Embedded) -> None:
    """The highest signal seq per child is kept; a repeat is answered."""
    path = keeper.state_dir / "heard"
    os.mkfifo(path)
    fifo = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    program = f"exec >{path}; trap 'echo usr1' USR1; echo up; while :; do sleep 1000 & wait; done"
    spawn_id = keeper.spawn(keeper.launch("sh", "-c", program))
    keeper.wait("spawned")
    assert b"up\n" == _read_line(fifo)
    seq = keeper.seq()
    for _ in range(2):
        keeper.ask(("signal", seq, spawn_id, signal.SIGUSR1, "process", None))
    first, second = keeper.wait("signalled", 2)
    assert first == second
    assert b"usr1\n" == _read_line(fifo)
    keeper.ask(("signal", keeper.seq(), spawn_id, signal.SIGKILL, "tree", None))
    keeper.wait("exited")
    assert b"" == _read_line(fifo)
    os.close(fifo)


def _read_line(fd: int) -> bytes:
    ready, _, _ = select.select([fd], [], [], DEADLINE)
    assert ready
    return os.read(fd, 100)


def test_requests_at_or_below_the_barrier_are_refused(keeper: Embedded) -> None:
    """A core that has asked for the list has settled everything older."""
    launch = keeper.launch("true")
    keeper.ask(("list", 50), ("spec", launch.digest, launch.to_map()))
    keeper.ask(("spawn", 50, launch.digest, "owner", launch.plan))
    assert [("failed", 50, "owner", "barrier", 125)] == keeper.wait("failed")


def test_failing_and_good_spawns_are_never_confused(keeper: Embedded) -> None:
    """2,000 execs that fail between 2,000 that succeed: each gets its own outcome."""
    good, bad = keeper.launch("true"), keeper.launch("no-such-program")
    count, batch, spawned, failed = 2000, 250, set(), set()
    keeper.ask(("spec", good.digest, good.to_map()), ("spec", bad.digest, bad.to_map()))
    for start in range(100, 100 + 2 * count, 2 * batch):
        wanted = range(start, start + 2 * batch, 2)
        for seq in wanted:
            keeper.link.send([("spawn", seq, good.digest, "o", good.plan),
                              ("spawn", seq + 1, bad.digest, "o", bad.plan)])  # fmt: skip
        keeper.ask()
        seen = keeper.until(lambda seen: _count(seen, "exited") >= batch)
        spawned |= {r[1] for r in seen if r[0] == "spawned"}
        failed |= {r[1] for r in seen if r[0] == "failed"}
        keeper.ask(("ack", [r[1] for r in seen if r[0] in ("exited", "failed")]))
        keeper.wait("reaped", batch)
    assert set(range(100, 100 + 2 * count, 2)) == spawned
    assert set(range(101, 101 + 2 * count, 2)) == failed


def test_an_orphan_comes_to_the_keeper_and_is_reaped(keeper: Embedded) -> None:
    """A double fork leaves a process to the sub-reaper; its end is reported."""
    program = "(sh -c 'read x <&3; exit 3' 3<&0 &) ; exit 0"
    spawn_id = keeper.spawn(keeper.launch("sh", "-c", program))
    seen = keeper.until(lambda seen: _count(seen, "orphan") * _count(seen, "exited") > 0)
    orphan = next(r for r in seen if r[0] == "orphan")
    assert (3, None) == orphan[2:]
    assert _gone(orphan[1])
    keeper.ask(("ack", [spawn_id]))


def test_leftovers_of_a_worker_are_killed_where_the_plan_says_so(keeper: Embedded) -> None:
    """What remains of its session when it exits, even in another process group."""
    launch = keeper.launch("bash", "-mc", "sleep 1000 & sleep 1001 & exit 0")
    spawn_id = keeper.spawn(launch, Plan(leftovers=True))
    keeper.wait("exited")
    keeper.ask(("ack", [spawn_id]))
    (reaped,) = keeper.wait("reaped")
    assert 2 == len(reaped[3])
    assert set(reaped[3]) == {r[1] for r in keeper.wait("orphan", 2)}


def test_a_new_listing_tells_again_what_was_not_acknowledged(keeper: Embedded) -> None:
    """Reports are level-triggered: another core hears all that is still held."""
    ended, failed = keeper.launch("true"), keeper.launch("no-such-program")
    exit_id, failed_id = keeper.spawn(ended), keeper.spawn(failed)
    first = keeper.until(lambda seen: _count(seen, "exited") * _count(seen, "failed") > 0)
    keeper.ask(("list", 90))
    again = keeper.until(lambda seen: _count(seen, "exited") * _count(seen, "failed") > 0)
    held = next(r for r in again if r[0] == "held")
    assert {(exit_id, "zombie"), (failed_id, "failed")} == {(r[0], r[2]) for r in held[2]}
    for name in ("exited", "failed"):
        assert [r for r in first if r[0] == name] == [r for r in again if r[0] == name]


def test_nothing_that_the_keeper_set_on_itself_leaks(keeper: Embedded) -> None:
    """Signals, mask, descriptors, limits and privileges of a worker are those we inherited."""
    import resource

    path = keeper.state_dir / "status"
    program = f"cat /proc/self/status >{path}; ls /proc/self/fd >>{path}; ulimit -Sn >>{path}"
    keeper.spawn(keeper.launch("sh", "-c", program))
    keeper.wait("exited")
    lines = path.read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {"0" * 16} == {fields[name] for name in ("SigBlk", "SigIgn", "SigCgt")}
    assert "0" == fields["NoNewPrivs"]
    assert ["0", "1", "2", "3"] == [line for line in lines if line in map(str, range(300))]
    assert str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) == lines[-1]


def test_when_the_host_is_killed_its_workers_are_stopped(tmp_path: Path, mark: str) -> None:
    """The embedded keeper sees the end of its host, carries out the stop plans and says so."""
    host = subprocess.Popen(["sleep", "1000"])
    keeper = Embedded(tmp_path, mark, host.pid)
    keeper.ask(("list", 1))
    quick = keeper.spawn(keeper.launch("sleep", "1000"))
    stubborn = keeper.spawn(
        keeper.launch("sh", "-c", STUBBORN, close_stdin=False, close_stdout=True),
        Plan(grace=SECOND // 10),
    )
    keeper.wait("spawned", 2)
    host.kill()
    host.wait()
    assert 0 == _wait(keeper.pid)
    words = last_words.read(str(tmp_path))
    ends = {r[1]: r[5] for r in words if r[0] == "exited"}
    assert {quick, stubborn} == set(ends)
    keeper.link.close()


def test_a_second_keeper_on_one_state_directory_refuses(keeper: Embedded) -> None:
    """Flock for life: exit 73, one sentence, nothing touched."""
    before = sorted(os.listdir(keeper.state_dir))
    argv = embedded_argv(str(keeper.state_dir), 0, os.getpid())
    second = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert 73 == second.returncode
    assert second.stderr.startswith("cannot start: another circusd runs on")
    assert before == sorted(os.listdir(keeper.state_dir))


def test_a_body_that_no_message_holds_travels_in_a_memfd(keeper: Embedded) -> None:
    """An environment of 100 KiB reaches the program."""
    big = "x" * 100_000
    path = keeper.state_dir / "size"
    launch = Launch(
        ("sh", "-c", f"echo ${{#BIG}} >{path}"), {"PATH": PATH, "MARK": keeper.mark, "BIG": big}
    )
    keeper.spawn(launch)
    keeper.wait("exited")
    assert "100000\n" == path.read_text()


def test_a_core_that_speaks_nonsense_is_dropped(tmp_path: Path, mark: str) -> None:
    """The keeper reads strictly; embedded, it ends its workers."""
    keeper = Embedded(tmp_path, mark, os.getpid())
    keeper.ask(("list", 1))
    keeper.spawn(keeper.launch("sleep", "1000"))
    keeper.wait("spawned")
    os.write(keeper.link.fileno(), b"\xc1nonsense")
    with pytest.raises(LinkClosed):
        keeper.until(lambda seen: len(seen) < 0)
    assert 0 == keeper.end()


def test_the_keeper_loads_no_third_party_but_msgpack(tmp_path: Path) -> None:
    """Small enough to never be the reason: no zmq, no attrs, no psutil, no asyncio, no cores."""
    source = (
        "import sys; import circus.process.keeper, circus.process.keeper_loop;"
        "print(*sorted(m for m in sys.modules"
        " if m.partition('.')[0] not in sys.stdlib_module_names))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", source], capture_output=True, text=True, check=True
    )
    modules = run.stdout.split()
    # Names with an underscore are the import hooks of site and what msgpack is compiled with.
    loaded = {name.partition(".")[0] for name in modules if not name.startswith(("_", "cython_"))}
    assert {"circus", "msgpack"} == loaded
    assert [] == [name for name in modules if name.startswith("circus.bus")]


# -- with a core of its own ---------------------------------------------------------------------


class Daemon:
    """A keeper that starts the test core; the core prints every report that it gets."""

    def __init__(self, state_dir: Path, mark: str, role: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(state_dir), role, CORE, mark],
            stdout=subprocess.PIPE,
            env={**os.environ, "MARK": mark},
        )

    def line(self, word: str) -> list[str]:
        """The next report of this name: the core's pid, then its words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            words = line.decode().split()
            if len(words) > 1 and words[1] == word:
                return words
        raise AssertionError(f"no {word} came")

    def end(self) -> int:
        try:
            return self.process.wait(DEADLINE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


def test_a_core_that_refuses_its_configuration_ends_the_keeper(tmp_path: Path, mark: str) -> None:
    """An exit code of sysexits before it was ever ready is the keeper's own."""
    assert 78 == Daemon(tmp_path, mark, "refuse").end()


def test_a_killed_core_is_replaced_and_its_workers_run_on(tmp_path: Path, mark: str) -> None:
    """Kill -9 of the core: the same worker is held by the next one, which hears of the loss."""
    daemon = Daemon(tmp_path, mark, "polite")
    first, worker = (words := daemon.line("spawned"))[0], words[4]
    os.kill(int(first), signal.SIGKILL)
    hello = daemon.line("hello")
    assert first != hello[0]
    assert first in " ".join(hello)
    held = " ".join(daemon.line("held"))
    assert "'alive'" in held
    assert worker in held
    daemon.process.send_signal(signal.SIGTERM)
    assert 5 == daemon.end()


def test_term_is_the_cores_to_answer_and_its_exit_code_is_ours(tmp_path: Path, mark: str) -> None:
    """`stopping` with a code, then the core's exit: the keeper ends with that code."""
    daemon = Daemon(tmp_path, mark, "polite")
    daemon.line("spawned")
    daemon.process.send_signal(signal.SIGTERM)
    assert 5 == daemon.end()
    assert [] == last_words.read(str(tmp_path))


def test_a_core_that_does_not_answer_a_term_is_done_without(tmp_path: Path, mark: str) -> None:
    """After two seconds the keeper stops everything itself and keeps what it saw."""
    daemon = Daemon(tmp_path, mark, "deaf")
    spawned = daemon.line("spawned")
    daemon.process.send_signal(signal.SIGTERM)
    assert 0 == daemon.end()
    words = last_words.read(str(tmp_path))
    assert [int(spawned[4])] == [r[3] for r in words if r[0] == "exited"]
