"""Room: tests -- one contract, every road from a launch to a running program.

Knows:     process.spawn, process.kernel.
Known by:  nobody.
Never:     sleeps; leaves a process (every child is reaped by its pidfd).
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from circus.process.fast_road import by_popen
from circus.process.kernel import Child, Ending, LinuxKernel, SpawnFailed
from circus.process.launch import Launch
from circus.process.spawn import Spawner

ENV = {"PATH": "/usr/bin:/bin"}
DEADLINE_MS = 20_000
Road = Callable[[Launch], Child]


def _force_full(launch: Launch) -> Launch:
    """A limit that changes nothing sends a launch down the full road."""
    launch.limits = {"core": (0, 0)}
    return launch


class ByPopen(Spawner):
    """What a Python with another private signature would use."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self._fast = by_popen


@pytest.fixture(params=["fast", "popen", "full"])
def road(request: pytest.FixtureRequest) -> Iterator[Road]:
    kernel = LinuxKernel(ByPopen() if request.param == "popen" else Spawner())

    def start(launch: Launch) -> Child:
        return kernel.spawn(_force_full(launch) if request.param == "full" else launch)

    yield start
    kernel.close()


def _end(child: Child) -> Ending:
    poller = select.poll()
    poller.register(child.pidfd, select.POLLIN)
    if not poller.poll(DEADLINE_MS):
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        poller.poll(DEADLINE_MS)
    kernel = LinuxKernel()
    ending = kernel.peek(child)
    kernel.reap(child)
    kernel.close()
    assert ending is not None
    return ending


def _refused(road: Road, launch: Launch) -> tuple[str, int]:
    with pytest.raises(SpawnFailed) as failed:
        road(launch)
    return failed.value.step, failed.value.errno


def test_a_program_runs_and_its_end_is_seen(road: Road) -> None:
    """Code, rusage; the peek leaves the zombie for the reap."""
    ending = _end(road(Launch(("sh", "-c", "exit 3"), ENV)))
    assert (3, None, False) == ending[:3]
    assert ending.rusage["maxrss"] > 0


def test_a_signal_that_ended_it_is_told(road: Road) -> None:
    """`signal` instead of `code`."""
    assert (None, 9) == _end(road(Launch(("sh", "-c", "kill -9 $$"), ENV)))[:2]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("no-such-program",), ("exec", errno.ENOENT)),
        (("/etc/passwd",), ("exec", errno.EACCES)),
        (("/etc",), ("exec", errno.EACCES)),
        (("a\0b",), ("exec", errno.EINVAL)),
        ((), ("exec", errno.ENOENT)),
    ],
)
def test_what_cannot_be_executed_says_why(
    road: Road, argv: tuple[str, ...], expected: tuple[str, int]
) -> None:
    """(step, errno), and nothing is left to reap."""
    assert expected == _refused(road, Launch(argv, ENV))
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_missing_working_directory_is_its_own_step(road: Road) -> None:
    """Even if the program does not exist either."""
    assert ("chdir", errno.ENOENT) == _refused(road, Launch(("true",), ENV, cwd="/no/such/place"))


@pytest.mark.parametrize(("who", "step"), [("uid", "user"), ("gid", "groups")])
def test_an_unknown_user_or_group_is_refused(road: Road, who: str, step: str) -> None:
    """Never run as ourselves instead."""
    assert (step, errno.ENOENT) == _refused(road, Launch(("true",), ENV, **{who: "nobody-here"}))


def test_it_runs_where_and_as_it_was_told(road: Road, tmp_path: Path) -> None:
    """Directory, umask, environment, a session of its own, /dev/null as standard input."""
    program = "pwd; umask; env; cat; cut -d' ' -f1,5,6 /proc/$$/stat"
    launch = Launch(
        ("sh", "-c", f"({program}) >out"), {**ENV, "A": "b=c"}, cwd=str(tmp_path), umask=0o027
    )
    child = road(launch)
    _end(child)
    lines = (tmp_path / "out").read_text().splitlines()
    assert [str(tmp_path), "0027"] == lines[:2]
    assert "A=b=c" in lines
    assert f"{child.pid} {child.pid} {child.pid}" == lines[-1]


def test_no_descriptor_is_left_open_in_us(road: Road) -> None:
    """Neither by a good start nor by a bad one."""
    _end(road(Launch(("true",), ENV)))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        _end(road(Launch(("true",), ENV)))
        _refused(road, Launch(("no-such-program",), ENV))
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_another_user_cannot_come_back() -> None:
    """uid, gid and groups are dropped in the order that makes it final."""
    kernel = LinuxKernel()
    read, write = os.pipe()
    launch = Launch(("sh", "-c", "id -u; id -g; id -G"), ENV, uid=65534, gid=65534)
    pid = Spawner().spawn(launch, (-1, write, -1))
    os.close(write)
    with open(read, encoding="ascii") as output:
        words = output.read().split()
    os.waitpid(pid, 0)
    kernel.close()
    assert {"65534"} == set(words)


def test_limits_are_those_of_the_launch() -> None:
    """Soft and hard; an unknown name is a failed step."""
    kernel = LinuxKernel()
    program = 'test "$(ulimit -Sn) $(ulimit -Hn)" = "64 128"'
    child = kernel.spawn(Launch(("sh", "-c", program), ENV, limits={"nofile": (64, 128)}))
    assert 0 == _end(child).code
    step = _refused(kernel.spawn, Launch(("true",), ENV, limits={"nonsense": (1, 1)}))
    assert ("rlimits", errno.EINVAL) == step
    kernel.close()


def test_a_strange_hosts_blocked_signals_do_not_leak() -> None:
    """A program that uses the library may block TERM; its children can be stopped politely."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        spawner = Spawner(strange=True)
        pid = spawner.spawn(Launch(("sleep", "1000"), ENV))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    spawner.close()
    assert -signal.SIGTERM == os.waitstatus_to_exitcode(status)


def test_one_pipe_for_all_spawns_misses_and_mixes_up_nothing() -> None:
    """
    Where vfork waits for the exec: a thousand failures among a thousand that run, each its own.
    """
    spawner = Spawner()
    spawner.learn()
    good, bad = Launch(("/bin/true",), {}), Launch(("/nonexistent/program",), {})
    for _ in range(1000):
        with pytest.raises(SpawnFailed) as failure:
            spawner.spawn(bad)
        assert ("exec", errno.ENOENT) == (failure.value.step, failure.value.errno)
        os.waitpid(spawner.spawn(good), 0)
    spawner.close()
