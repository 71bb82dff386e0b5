"""Ground truth: what the workers wrote about themselves, compared with what the ledger says.

A worker appends one line when it begins and one just before it ends, with the exit code that it
has chosen itself; one line is one write to a file in append mode, so that lines never mix. Nobody
but the worker knows the code before it is in the file. The times (ns of CLOCK_BOOTTIME) tell two
lives with the same pid apart.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from circus.bus import commands, events
from circus.bus.record import Record

# The shell reads the clock in hundredths of a second.
SLACK_NS: Final = 20_000_000

# A life costs a tenth of what it costs with a shell and `sleep`: the more are disturbed.
SOURCE: Final = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_BOOTTIME, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}
static void say(int fd, char what, long long at, const char *last) {
    char line[128];
    int size = snprintf(line, sizeof line, "%c %d %lld %s\n", what, getpid(), at, last);
    if (write(fd, line, size) != size) _exit(250);
}
int main(int count, char **words) {
    int fd = open(words[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    long long born = now();
    int code = (getpid() + born / 1000) % 200;
    double seconds = atof(words[3]);
    struct timespec pause = {(time_t)seconds, (seconds - (time_t)seconds) * 1e9};
    char last[16];
    if (count != 4 || fd < 0) return 251;
    say(fd, 'b', born, words[2]);
    if (seconds > 0) nanosleep(&pause, NULL);
    snprintf(last, sizeof last, "%d", code);
    say(fd, 'e', now(), last);
    return code;
}
"""
# `$((1${up#*.}))`: 08 alone would be an octal number. The code differs from life to life.
SCRIPT: Final = """#!/bin/sh
read -r up _ < /proc/uptime
echo "b $$ ${up%.*}${up#*.}0000000 $2" >> "$1"
code=$(( ($$ + 1${up#*.}) % 200 ))
[ "$3" = 0 ] || sleep "$3"
read -r up _ < /proc/uptime
echo "e $$ ${up%.*}${up#*.}0000000 $code" >> "$1"
exit $code
"""


def worker(folder: Path) -> Path:
    """The program: TRUTH WHO SECONDS. A shell script where there is no C compiler."""
    path, compiler = folder / "worker", shutil.which("cc")
    if path.exists():
        return path
    if compiler is None:
        path.write_text(SCRIPT, encoding="ascii")
        path.chmod(0o755)
        return path
    source = folder / "worker.c"
    source.write_text(SOURCE, encoding="ascii")
    subprocess.run([compiler, "-O1", "-o", path, source], check=True)
    return path


class Life(NamedTuple):
    """What one worker said."""

    pid: int
    born: int
    who: str
    code: int | None  # None: it never came to its end


class Told(NamedTuple):
    """What the ledger says about one process."""

    spawn_id: int
    watcher: str | None
    pid: int
    started: int
    ended: int  # boot ns at which its end was seen
    code: int | None
    signal: int | None
    asked: bool  # somebody on record had a signal sent to it
    lost: bool


def lives(path: Path) -> list[Life]:
    """From the file, in order of birth."""
    found: list[Life] = []
    alive: dict[int, int] = {}
    text = path.read_text(encoding="ascii") if path.exists() else ""
    for line in text.splitlines():
        what, pid, at, last = line.split()
        if what == "b":
            alive[int(pid)] = len(found)
            found.append(Life(int(pid), int(at), last, None))
        else:
            place = alive.pop(int(pid))
            found[place] = found[place]._replace(code=int(last))
    return found


def told(records: Iterable[Record], watchers: Sequence[str]) -> list[Told]:
    """Every process of these watchers, in order of its birth."""
    born: dict[int, tuple[str | None, int, int]] = {}
    ends: dict[int, Record] = {}
    asked: set[int] = set()
    for record in records:
        body, spawn_id = record.body, record.spawn_id or 0
        if isinstance(body, events.ProcessSpawned) and record.watcher in watchers:
            born[spawn_id] = (record.watcher, body.pid, body.started)
        elif isinstance(body, events.ProcessExited | events.ProcessLost):
            ends[spawn_id] = record
        elif isinstance(body, commands.ProcessSignal) or (
            isinstance(body, events.ProcessSignalled) and not body.errno
        ):
            asked.add(spawn_id)
    return [_one(spawn_id, whom, ends.get(spawn_id), asked) for spawn_id, whom in born.items()]


def _one(
    spawn_id: int, whom: tuple[str | None, int, int], end: Record | None, asked: set[int]
) -> Told:
    watcher, pid, started = whom
    body = None if end is None else end.body
    if isinstance(body, events.ProcessExited):
        by = spawn_id in asked
        return Told(
            spawn_id, watcher, pid, started, body.observed, body.code, body.signal, by, lost=False
        )
    at = 2**63 if end is None else end.boot
    return Told(spawn_id, watcher, pid, started, at, None, None, spawn_id in asked, lost=True)


def compare(
    truth: Sequence[Life], record: Sequence[Told], killed: Iterable[int] = (), *,
    may_lose: bool = False,
) -> list[str]:  # fmt: skip
    """Everything that differs, as sentences. `killed`: pids to which the campaign itself sent KILL.

    A pid has a new owner only after the end of the one before was seen: that tells them apart.
    """
    ours = set(killed)
    wrongs: list[str] = []
    by_pid: dict[int, list[Told]] = defaultdict(list)
    for one in sorted(record, key=lambda one: one.ended):
        by_pid[one.pid].append(one)
    matched: set[int] = set()
    for life in truth:
        owner = _owner(life, by_pid[life.pid], matched)
        if owner is None:
            wrongs.append(f"lived without a record of its own: {life}")
            continue
        matched.add(owner.spawn_id)
        if not (may_lose and owner.lost):  # its keeper was killed, and that is on record
            wrongs += _judge(life, owner, ours)
    silent = [
        one for one in record
        if one.spawn_id not in matched and not _was_ended(one, ours) and not (may_lose and one.lost)
    ]  # fmt: skip
    return [*wrongs, *(f"on record, but never lived: {one}" for one in silent)]


def _owner(life: Life, owners: list[Told], matched: set[int]) -> Told | None:
    """The first that had not ended before this birth; its successor, where that was just now."""
    for one in owners:
        if life.born <= one.ended + SLACK_NS:
            if one.spawn_id not in matched:
                return one
            if life.born < one.ended - SLACK_NS:
                return None  # two lives at one time
    return None


def _judge(life: Life, one: Told, ours: set[int]) -> list[str]:
    if one.lost:
        return [f"its end is not on record: {life}, {one}"]
    if life.code is not None and one.code == life.code:
        return []
    # A signal may come behind the last line and before the exit.
    if one.signal is not None and _was_ended(one, ours):
        return []
    if life.code is None:
        return [f"died of what nobody did: {life}, {one}"]
    return [f"a wrong status: {life}, {one}"]


def _was_ended(one: Told, ours: set[int]) -> bool:
    return one.signal is not None and (one.asked or one.pid in ours)
