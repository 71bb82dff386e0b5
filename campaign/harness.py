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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from campaign.stage import FAILED, NOT_RUN, OK, NotHere, Outcome, Row, Stage, Wrong
from campaign.supervised import children, comm, freeze, kill, send

PR_SET_CHILD_SUBREAPER: Final = 36
INSIDE: Final = "CIRCUS_CAMPAIGN_INSIDE"
GRACE_SECONDS: Final = 120.0  # for what a row does after its time is over: stopping and judging
PATIENCE_SECONDS: Final = 5.0  # until what is ending has ended
NEVER: Final = 1e9
STDERR: Final = 2
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


def run_apart(row: Row, wanted: int, seconds: float, tell: Callable[[int], None]) -> Outcome:
    """One row in a process of its own, and what it leaves behind."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "campaign", "--row", row.id, str(wanted), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        last = _listen(process, seconds + GRACE_SECONDS, tell)
    left = _left()
    wrongs = [*last.get("wrongs", ()), *(f"left behind: {one}" for one in left)]
    status = last.get("status", FAILED)
    if status == FAILED and not wrongs:
        wrongs = [f"the row ended with {process.returncode} and said nothing"]
    return Outcome(
        row.id, FAILED if left else status, last.get("done", 0), wanted,
        time.monotonic() - begun, last.get("figures", {}), tuple(wrongs),
    )  # fmt: skip


def _listen(
    process: subprocess.Popen[bytes], seconds: float, tell: Callable[[int], None]
) -> dict[str, Any]:
    """Its lines, until it ends; the last one is its outcome. KILL when it takes too long."""
    assert process.stdout is not None
    end = time.monotonic() + seconds
    rest = b""
    last: dict[str, Any] = {}
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            send(process.pid, signal.SIGABRT)  # where it hangs is on standard error then
            for pid in freeze(process.pid):
                kill(pid, wait=False)
            return {"wrongs": [f"the row had not ended after {seconds:.0f} s"]}
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            return last
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            last = json.loads(line)
            tell(last["done"])


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


def _reap() -> None:
    """Orphans that have ended. The row's own process is reaped by who waits for it."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def play(row: Row, wanted: int, seconds: float) -> int:
    """In the row's own process: run it, and say on standard output how it went."""
    faulthandler.enable(STDERR)
    said = [0.0]

    def say(**more: Any) -> None:
        print(json.dumps(more), flush=True)

    def tell(done: int) -> None:
        if time.monotonic() - said[0] > 0.5:
            said[0] = time.monotonic()
            say(done=done)

    folder = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    folder.chmod(0o755)
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4), "little"))
    stage = Stage(folder, wanted, seconds, seed, tell)
    status = OK
    try:
        row.run(stage)
    except NotHere as reason:
        status, stage.wrongs = NOT_RUN, [str(reason)]
    except Wrong as wrong:
        stage.wrongs.append(str(wrong))
    if status == OK and stage.done == 0 and not stage.wrongs:
        status, stage.wrongs = NOT_RUN, ["there was no time for a single one"]
    if status == OK and stage.wrongs:
        status = FAILED
        again = f"SEED={seed} make campaign ONLY={row.id}"
        stage.wrongs.append(f"{again}; what there is to see is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    say(status=status, done=stage.done, wrongs=stage.wrongs, figures=stage.figures)
    return 0
