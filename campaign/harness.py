"""Where the campaign runs: a PID namespace of its own, or below a sub-reaper; nothing is left.

As root (or where users may make namespaces) the campaign is process 1 of a PID namespace: whatever
it leaves behind ends with it, and nobody else's process has a pid that it could signal. Elsewhere
it is a sub-reaper: orphans become its children. In both cases every row is a process of its own,
and when it has ended, whatever still runs below the harness is a wrong of that row, and is ended.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from campaign.stage import FAILED, NOT_RUN, OK, NotHere, Outcome, Row, Stage, Task, Wrong
from campaign.supervised import children, comm, freeze, has_ended, kill, send

PR_SET_CHILD_SUBREAPER: Final = 36
INSIDE: Final = "CIRCUS_CAMPAIGN_INSIDE"
GRACE_SECONDS: Final = 120.0  # for what a row does after its time is over: stopping and judging
TELL_SECONDS: Final = 0.5  # between two words of a row about how far it is
PATIENCE_SECONDS: Final = 5.0  # until what is ending has ended
NEVER: Final = 1e9
STDERR: Final = 2
PIPE_BYTES: Final = 65536
ROOT: Final = Path(__file__).parent.parent


def namespaced(arguments: Sequence[str]) -> int | None:
    """Run the same command again as process 1 of a namespace; None where that cannot be."""
    unshare = shutil.which("unshare")
    if INSIDE in os.environ or unshare is None:
        return None
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    enter = [unshare, *own, "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        return None
    command = [*enter, sys.executable, "-m", "campaign", *arguments]
    with subprocess.Popen(command, env={**os.environ, INSIDE: "1"}, cwd=ROOT) as process:
        before = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT,)}
        try:
            return process.wait()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def become_reaper() -> str:
    """Orphans come to us; how, in a word for the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))  # process 1 ignores it else
    if os.getpid() == 1:
        return "a PID namespace of its own"
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return "a sub-reaper"


def run_apart(row: Row, task: Task, tell: Callable[[int], None]) -> Outcome:
    """One row in a process of its own, and what it leaves behind."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "campaign", "--row", row.id, *map(str, task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        last = _listen(process, task.seconds + GRACE_SECONDS, tell)
    left = _left()
    wrongs = [*last.get("wrongs", ()), *(f"left behind: {one}" for one in left)]
    status = last.get("status", FAILED)
    if status == FAILED and not wrongs:
        wrongs = [f"the row ended with {process.returncode} and said nothing"]
    if left or status == FAILED:
        status, wrongs = FAILED, [*wrongs, f"repeat it: {again(row, task)}"]
    return Outcome(
        row.id, status, last.get("done", 0), task.wanted, time.monotonic() - begun, task.seed,
        counts=last.get("counts", {}), times=last.get("times", {}),
        figures=last.get("figures", {}), wrongs=tuple(wrongs),
    )  # fmt: skip


def again(row: Row, task: Task) -> str:
    """The command that does the same once more."""
    return (
        f"make campaign ONLY={row.id} SEED={task.seed} COUNT={task.wanted} BEFORE={task.before} "
        f"SECONDS={task.seconds:.0f}"
    )


def _listen(
    process: subprocess.Popen[bytes], seconds: float, tell: Callable[[int], None]
) -> dict[str, Any]:
    """Its lines, until it ends; the last one is its outcome. KILL when it takes too long."""
    last: dict[str, Any] = {}
    try:
        for line in _lines(process, time.monotonic() + seconds):
            last = json.loads(line)
            tell(last["done"])
    except TimeoutError:
        send(process.pid, signal.SIGABRT)  # where it hangs is on standard error then
        for pid in freeze(process.pid):
            kill(pid, wait=False)
        return {"wrongs": [f"the row had not ended after {seconds:.0f} s"]}
    return last


def _lines(process: subprocess.Popen[bytes], end: float) -> Iterator[bytes]:
    """What it says until it ends; orphans are reaped meanwhile, as any process 1 does."""
    assert process.stdout is not None
    said, rest = process.stdout.fileno(), b""
    with _told_of_children() as ended:
        while left := max(0.0, end - time.monotonic()):
            ready = select.select([said, ended], [], [], left)[0]
            if ended in ready:
                os.read(ended, PIPE_BYTES)
                _reap(but=process.pid)
            if said not in ready:
                continue
            data = os.read(said, PIPE_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
    raise TimeoutError


@contextmanager
def _told_of_children() -> Generator[int]:
    """A descriptor that is readable after a child has ended."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(reading)
        os.close(writing)


def _left() -> list[str]:
    """Our children that are not ended: there should be none. They are ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        _reap()
        found = children(os.getpid())
        if not found or time.monotonic() > end:
            break
        time.sleep(0.01)
    words = [f"{pid} {comm(pid)}" for pid in found]
    while found:
        for pid in found:
            kill(pid)
        _reap()
        found = children(os.getpid())
    return words


def _reap(but: int = 0) -> None:
    """Orphans that have ended. The row's own process is reaped by who waits for it."""
    for pid in children(os.getpid()):
        if pid != but and has_ended(pid):
            os.waitpid(pid, 0)


def play(row: Row, task: Task) -> int:
    """In the row's own process: run it, and say on standard output how it went."""
    faulthandler.enable(STDERR)
    said = [0.0]

    def say(**more: Any) -> None:
        print(json.dumps(more), flush=True)

    def tell(done: int) -> None:
        if time.monotonic() - said[0] > TELL_SECONDS:
            said[0] = time.monotonic()
            say(done=done)

    folder = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    folder.chmod(0o755)
    stage = Stage(folder, task, tell)
    status = _played(row, stage)
    if status == FAILED:
        stage.wrongs.append(f"what there is to see is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    say(
        status=status, done=stage.done, wrongs=stage.wrongs, counts=stage.counts,
        times=stage.times, figures=stage.figures,
    )  # fmt: skip
    return 0


def _played(row: Row, stage: Stage) -> str:
    """Its status, once it has ended."""
    try:
        row.run(stage)
    except NotHere as reason:
        stage.wrongs = [str(reason)]
        return NOT_RUN
    except Wrong as wrong:
        stage.wrongs.append(str(wrong))
    if stage.wrongs:
        return FAILED
    if stage.done == 0:
        stage.wrongs = ["there was no time for a single one"]
        return NOT_RUN
    return OK
