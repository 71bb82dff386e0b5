"""Room: tests -- the keeper against a real kernel: real children, real signals.

Knows:     tests/real/keepers.py, process.keeper, link; /proc.
Known by:  nobody.
Never:     sleeps; leaves a process behind (a fixture looks for its mark in every environment).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from keepers import (
    DEADLINE,
    PATH,
    SECOND,
    STUBBORN,
    Embedded,
    count_of,
    gone,
    held_by,
    mark_of,
    read_line,
    wait_end,
)

from circus.process import last_words
from circus.process.keeper import embedded_argv
from circus.process.launch import Launch, Plan
from circus.process.link import LinkClosed
from circus.process.proof import seen
from circus.process.spawn import Spawner


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """Nothing that carries it is left by a test."""
    yield from mark_of(tmp_path)


@pytest.fixture
def keeper(tmp_path: Path, mark: str) -> Iterator[Embedded]:
    yield from held_by(tmp_path, mark)


def test_an_exit_stays_a_zombie_until_it_is_acknowledged(keeper: Embedded) -> None:
    """Peek, report, acknowledge, reap: the zombie is the store of what is not yet on record."""
    spawn_id = keeper.spawn(keeper.launch("sh", "-c", "exit 7"))
    exited = keeper.wait("exited")[0]
    assert (spawn_id, "owner", 7, None) == (exited[1], exited[2], exited[4], exited[5])
    assert "State:\tZ" in Path(f"/proc/{exited[3]}/status").read_text()
    keeper.ask(("ack", [spawn_id]))
    assert [("reaped", spawn_id, exited[3], ())] == keeper.wait("reaped")
    assert gone(exited[3])


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
    assert b"up\n" == read_line(fifo)
    seq = keeper.seq()
    for _ in range(2):
        keeper.ask(("signal", seq, spawn_id, signal.SIGUSR1, "process", None))
    first, second = keeper.wait("signalled", 2)
    assert first == second
    assert b"usr1\n" == read_line(fifo)
    keeper.ask(("signal", keeper.seq(), spawn_id, signal.SIGKILL, "tree", None))
    keeper.wait("exited")
    # The shell may have forked while its tree was being signalled: that ends with the reaping.
    keeper.ask(("ack", [spawn_id]))
    assert b"" == read_line(fifo)
    os.close(fifo)


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
        seen = keeper.until(lambda seen: count_of(seen, "exited") >= batch)
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
    seen = keeper.until(lambda seen: count_of(seen, "orphan") * count_of(seen, "exited") > 0)
    orphan = next(r for r in seen if r[0] == "orphan")
    assert (3, None) == orphan[2:]
    assert gone(orphan[1])
    keeper.ask(("ack", [spawn_id]))


def test_orphans_are_told_after_a_crowd_has_ended(keeper: Embedded) -> None:
    """In a crowd SIGCHLD is not heeded, and again after the look that finds who ended meanwhile."""
    true = keeper.launch("true")
    orphan = keeper.launch("sh", "-c", "(sh -c 'read x <&3; exit 3' 3<&0 &) ; exit 0")
    for _ in range(3):
        crowd = [keeper.spawn(true) for _ in range(8)]
        keeper.wait("exited", len(crowd))
        parent = keeper.spawn(orphan)
        keeper.until(lambda seen: count_of(seen, "orphan") * count_of(seen, "exited") > 0)
        keeper.ask(("ack", [*crowd, parent]))
        keeper.wait("reaped", len(crowd) + 1)


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
    first = keeper.until(lambda seen: count_of(seen, "exited") * count_of(seen, "failed") > 0)
    keeper.ask(("list", 90))
    again = keeper.until(lambda seen: count_of(seen, "exited") * count_of(seen, "failed") > 0)
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
    masks = {int(fields[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")}
    # Signals 32 and 33 belong to the C library, which lets no program change them.
    assert {0} == {mask & ~(0b11 << 31) for mask in masks}
    assert "0" == fields["NoNewPrivs"]
    assert ["0", "1", "2", "3"] == [line for line in lines if line in map(str, range(300))]
    assert str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) == lines[-1]


def test_a_setting_of_the_core_becomes_the_keepers_own(keeper: Embedded) -> None:
    """`no_new_privs` holds for whatever is started after it, and cannot be taken back."""
    path = keeper.state_dir / "status"
    keeper.ask(("settings", {"no_new_privs": True}))
    keeper.spawn(keeper.launch("sh", "-c", f"cat /proc/self/status >{path}"))
    keeper.wait("exited")
    assert "NoNewPrivs:\t1" in path.read_text().splitlines()


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
    host.wait(DEADLINE)
    assert 0 == wait_end(keeper.pid)
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


def test_what_the_first_core_waits_for_is_little() -> None:
    """Between the keeper's own start and that of its core; ctypes alone costs a millisecond."""
    source = (
        "import sys; import circus.process.keeper;"
        "print(sorted({'ctypes', 'msgpack', 'circus.process.keeper_loop'}"
        " & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", source],
        capture_output=True, text=True, check=True, timeout=DEADLINE,
    )  # fmt: skip
    assert "[]\n" == run.stdout


def test_the_keeper_loads_no_third_party_but_msgpack(tmp_path: Path) -> None:
    """Small enough to never be the reason: no zmq, no attrs, no psutil, no asyncio, no cores."""
    source = (
        "import sys; import circus.process.keeper, circus.process.keeper_loop;"
        "print(*sorted(m for m in sys.modules"
        " if m.partition('.')[0] not in sys.stdlib_module_names))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", source],
        capture_output=True, text=True, check=True, timeout=DEADLINE,
    )  # fmt: skip
    modules = run.stdout.split()
    # Names with an underscore are the import hooks of site and what msgpack is compiled with.
    loaded = {name.partition(".")[0] for name in modules if not name.startswith(("_", "cython_"))}
    assert {"circus", "msgpack"} == loaded
    assert [] == [name for name in modules if name.startswith("circus.bus")]


def test_what_is_adopted_twice_is_held_once(keeper: Embedded, reaped: Callable[[int], int]) -> None:
    """A core that asked and died is followed by one that asks again; a wrong identity is refused;
    an end whose status nobody else can say is told, and let go when it is on record."""
    stranger = reaped(Spawner().spawn(keeper.launch("sleep", "1000")))
    pidfd = os.pidfd_open(stranger)
    evidence = seen(stranger, pidfd)
    os.close(pidfd)
    files = len(os.listdir(f"/proc/{keeper.pid}/fd"))
    row = (900, "owner", Plan(), stranger, *evidence)
    wrong = (901, "owner", Plan(), stranger, evidence.started - 10 * SECOND, evidence.inode + 1)
    for barrier in (1, 2):
        keeper.ask(("adopt", (row, wrong)), ("list", barrier))
        (held,) = keeper.wait("held")
        assert [(900, "adopted", stranger)] == [(r[0], *r[2:4]) for r in held[2]]
    assert files + 1 == len(os.listdir(f"/proc/{keeper.pid}/fd"))
    keeper.ask(("signal", 950, 900, signal.SIGTERM, "process", None))
    assert (stranger,) == keeper.wait("signalled")[0][4]
    (exited,) = keeper.wait("exited")
    assert (900, stranger, signal.SIGTERM) == (exited[1], exited[3], exited[5])
    keeper.ask(("ack", (900,)))
    keeper.wait("reaped")
    assert files == len(os.listdir(f"/proc/{keeper.pid}/fd"))
