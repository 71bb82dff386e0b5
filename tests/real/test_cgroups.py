"""A cgroup for each process: what is in it is killed by one write. Real where there are any."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from circus.bus.record import fields_of
from circus.process.cgroups import Cgroups, kill, members, oom_kills, own_if_delegated
from circus.process.kernel import LinuxKernel
from circus.process.launch import Launch

Start = Callable[..., Any]

PLACES: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
LOG: Final = "ab" * 16
CONFIG: Final = """
[circus]
loglevel = "error"
orphans = "adopt"
cgroup = "{tree}"

[watcher.tree]
cmd = '''sh -c 'setsid sleep 1000 & (trap "" TERM; sleep 1000) & echo up > {dir}/up; trap "" TERM;
 while :; do sleep 1000; done' '''
stop_children = true
graceful_timeout = 0.3

[watcher.calm]
cmd = "sleep 1000"

[watcher.wrong]
cmd = "no-such-program"
max_retry = 1
"""


@pytest.fixture
def tree() -> Iterator[Path]:
    """A cgroup (v2) of this test; empty at its end."""
    root = next((one for one in PLACES if (one / "cgroup.procs").exists()), None)
    path = None if root is None else root / f"circus-test-{os.getpid()}"
    try:
        if path is not None:
            path.mkdir()
    except OSError:
        path = None
    if path is None or not (path / "cgroup.kill").exists():
        pytest.skip("no cgroup (v2) may be made here")
    yield path
    left = [one for one in path.rglob("*") if one.is_dir()]
    for place in (*reversed(left), path):
        kill(str(place))
        while members(str(place)):
            os.sched_yield()
        place.rmdir()
    assert [] == left


def group_of(pid: int) -> str:
    """The name of its cgroup of version 2."""
    lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def test_the_end_of_a_stop_is_one_write_for_all_that_a_worker_has_started(
    launch: Start, tmp_path: Path, tree: Path, grown: Any, written: Any
) -> None:
    """A session of its own, a deaf child, a grandchild: nothing outlives the stop; cgroups of what
    is over are gone, that of a spawn that failed too."""
    daemon = launch(CONFIG.format(tree=tree, dir=tmp_path)).start()
    tale = daemon.tale()
    tale.next("watcher.started", "tree")
    tale.next("watcher.failed", "wrong")
    written(tmp_path / "up")
    (worker,), (calm,) = daemon.pids("tree"), daemon.pids("calm")
    (root,) = [one for one in tree.iterdir() if one.is_dir()]
    own = tree.parent / group_of(worker).lstrip("/")
    assert root == own.parent
    assert group_of(worker) != group_of(calm)
    assert 2 == len([one for one in root.iterdir() if one.is_dir()])
    inside = members(str(own))
    assert len(inside) >= 3
    daemon.do("stop", name="tree")
    for pid in inside:
        grown.ended(pid)
    tale.next("process.reaped", "tree")
    killed = [
        fields_of(r.body)["pids"]
        for r in tale.heard
        if r.name == "process.signalled" and fields_of(r.body)["signum"] == signal.SIGKILL
    ]
    assert {worker} <= {pid for pids in killed for pid in pids}
    assert 0 == daemon.stop()
    daemon.judge()


def test_an_adopted_process_keeps_its_cgroup(
    launch: Start, tmp_path: Path, tree: Path, grown: Any, written: Any
) -> None:
    """The next keeper finds it by the process, and the last step of the stop is the same."""
    daemon = launch(CONFIG.format(tree=tree, dir=tmp_path)).start()
    tale = daemon.tale()
    tale.next("watcher.started", "tree")
    written(tmp_path / "up")
    (worker,) = daemon.pids("tree")
    inside = members(str(tree.parent / group_of(worker).lstrip("/")))
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait()
    daemon.hang_up()
    daemon.start()
    daemon.tale().next("process.adopted", "tree")
    daemon.do("stop", name="tree")
    for pid in inside:
        grown.ended(pid)
    assert 0 == daemon.stop()
    daemon.judge()


def test_who_was_killed_for_want_of_memory_is_counted(tmp_path: Path) -> None:
    """The kernel's own words, in a directory that looks like a cgroup."""
    assert 0 == oom_kills(str(tmp_path))
    text = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n"
    (tmp_path / "memory.events").write_text(text, encoding="ascii")
    assert 2 == oom_kills(str(tmp_path))


def test_a_directory_that_is_no_cgroup_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """And there are no cgroups then, which is no reason not to start anything."""
    said: list[str] = []
    groups = Cgroups(said.append)
    groups.settle({"cgroup": str(tmp_path), "log": LOG})
    assert [f"no cgroups: {tmp_path}/cgroup.procs: No such file or directory"] == said
    assert "" == groups.make(7)
    groups.settle({"cgroup": "off", "log": LOG})
    assert "" == groups.make(7)


def test_our_own_cgroup_is_taken_only_where_it_is_delegated(tmp_path: Path) -> None:
    """Root may write everywhere, and that says nothing; without version 2 there is none."""
    mount = tmp_path / "tree"
    (mount / "unit").mkdir(parents=True)
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text("4:memory:/x\n0::/unit\n", encoding="ascii")
    (proc / "mountinfo").write_text(
        f"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw\n"
        f"41 31 0:38 / {mount} rw,relatime - cgroup2 cgroup2 rw\n", encoding="ascii",
    )  # fmt: skip
    expected = "" if os.geteuid() == 0 else str(mount / "unit")
    assert expected == own_if_delegated(str(proc))
    (proc / "cgroup").write_text("4:memory:/x\n", encoding="ascii")
    assert "" == own_if_delegated(str(proc))


def test_a_kill_for_want_of_memory_is_evident_in_how_a_process_ended(
    tmp_path: Path, reaped: Callable[[int], int]
) -> None:
    """Only a death by SIGKILL is looked at, and only a count that is not 0 is told."""
    kernel = LinuxKernel()
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 1\n", encoding="ascii")
    for signum, expected in ((signal.SIGKILL, 1), (signal.SIGTERM, None)):
        child = kernel.spawn(Launch(("sleep", "1000"), {"PATH": "/usr/bin:/bin"}))
        reaped(child.pid)
        os.kill(child.pid, signum)
        os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOWAIT)
        ending = kernel.peek(child._replace(group=str(tmp_path)))
        assert ending is not None
        assert expected == ending.rusage.get("oom_kill")
    kernel.close()
