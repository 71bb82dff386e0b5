"""Room: tests -- the simulated kernel says of every system call what Linux says.

Knows:     kernel_scripts (by chance), kernel_model (ours), kernel_linux (the program for Linux).
Known by:  nobody.
Never:     compares what Linux does not promise: in which order processes get a processor.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernel_model import Call, foretell, replayed
from kernel_scripts import compose

# A night's run asks for 100,000.
SEQUENCES: Final = int(os.environ.get("CIRCUS_SIM_SEQUENCES", "5000"))
FIRST: Final = int(os.environ.get("CIRCUS_SIM_FIRST_SEQUENCE", str(os.getpid() * 10_000_000)))
SECONDS_MAX: Final = 120 + SEQUENCES // 20
HARNESSES: Final = 2
END_SECONDS_MAX: Final = 60
TRIES: Final = 20
TRIES_TO_SHRINK: Final = 3
THIS: Final = "tests/sim/test_kernel_differential.py"
REPEAT: Final = f"CIRCUS_SIM_FIRST_SEQUENCE=%s CIRCUS_SIM_SEQUENCES=2 pytest {THIS}"
RACES_MAX: Final = 2 + SEQUENCES // 500
PROGRAM: Final = Path(__file__).with_name("kernel_linux.py")


class Linux:
    """One harness process: scripts go in, what Linux made of them comes out."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def play(self, script: Sequence[Call]) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(script) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the harness has ended"
        played: list[Any] = json.loads(line)
        return played


@contextmanager
def linux(make: type[Linux] = Linux) -> Generator[Linux]:
    """It ends with its input, and ends all that it has started."""
    command = [sys.executable, "-I", str(PROGRAM)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    with process:
        try:
            yield make(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(END_SECONDS_MAX)


def differs(expected: Sequence[Any], played: Sequence[Any]) -> int | None:
    """Which call is the first that Linux answers otherwise."""
    for index, (ours, real) in enumerate(zip(expected, played, strict=False)):
        if ours[0] != real[0] or not _same(ours[1], real[1], ordered=ours[2]):
            return index
    return None if len(expected) == len(played) else len(played)


def _same(ours: Sequence[Any], real: Sequence[Any], *, ordered: bool) -> bool:
    """A kernel built without lists of children leaves that column out."""
    if not real or real[0] is None:
        return [row[:5] for row in ours[1:]] == [row[:5] for row in real[1:]]
    if not ordered:
        real = [sorted(real[0]), *([*row[:5], *map(sorted, row[5:])] for row in real[1:])]
    return ours == real


def denies(
    real: Linux, script: Sequence[Call], expected: Sequence[Any], tries: int = TRIES
) -> bool:
    """Whether Linux never does what the model says.

    What it does now and then is one of the orders in which processes may get a processor, and the
    copies of the model have missed that there are others.
    """
    return all(differs(expected, real.play(script)) is not None for _ in range(tries))


def shrink(script: list[Call], real: Linux) -> list[Call]:
    """Without every call that the difference does not need."""
    index = len(script) - 1
    while index >= 0:
        shorter = script[:index] + script[index + 1 :]
        expected = foretell(shorter)
        if expected is not None and denies(real, shorter, expected, TRIES_TO_SHRINK):
            script = shorter
        index -= 1
    return script


def told(script: Sequence[Call], real: Linux) -> str:
    """The script as a transcript, with both answers where they part."""
    expected, played = foretell(script) or [], real.play(script)
    first = differs(expected, played)
    lines: list[str] = []
    for index, (call, ours) in enumerate(zip(script, expected, strict=True)):
        lines.append(f"{index:>3} {call} -> {ours[0]}")
        if index == first:
            lines += [f"    model {ours}", f"    linux {played[index : index + 1]}"]
            break
    return "\n".join(lines)


class Compared(NamedTuple):
    """The first difference, as small as it can be told; and how many scripts Linux left open."""

    difference: str | None
    races: int


def compare(seeds: Sequence[int], make: type[Linux] = Linux) -> Compared:
    """These scripts, one after another."""
    races = 0
    with linux(make) as real:
        for seed in seeds:
            composed = compose(seed)
            first = differs(composed.expected, real.play(composed.script))
            if first is None:
                continue
            script, expected = composed.script[: first + 1], composed.expected[: first + 1]
            if denies(real, script, expected):
                transcript = told(shrink(script, real), real)
                return Compared(f"the model is not Linux\n{transcript}\n{REPEAT % seed}", races)
            races += 1
    return Compared(None, races)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(SECONDS_MAX)
def test_every_call_gives_in_the_model_what_it_gives_on_linux() -> None:
    """Results, errnos, statuses, states, parents, groups, sessions, readiness, after every call."""
    seeds = range(FIRST, FIRST + SEQUENCES)
    parts = [seeds[start::HARNESSES] for start in range(HARNESSES)]
    with ThreadPoolExecutor(HARNESSES) as pool:
        compared = list(pool.map(compare, parts))

    differences = [one.difference for one in compared if one.difference is not None]
    assert [] == differences, "\n".join(differences)
    assert sum(one.races for one in compared) <= RACES_MAX


class OffByOne(Linux):
    """A Linux that ends every process with the next code."""

    def play(self, script: Sequence[Call]) -> list[Any]:
        return super().play([[*c[:2], c[2] + 1] if c[0] == "exit" else c for c in script])


@pytest.mark.real
def test_a_difference_is_found_and_told_in_as_few_calls_as_it_needs() -> None:
    """Somebody is born, ends and is waited for: nothing else is in the transcript."""
    difference = compare(range(200), OffByOne).difference

    assert difference is not None
    calls = [line for line in difference.splitlines() if " -> " in line]
    assert 1 == sum("'exit'" in line for line in calls)
    assert len(calls) <= 4


def test_scripts_reach_every_edge_of_a_life_and_every_refusal() -> None:
    """A comparison of what never happens proves nothing."""
    edges: Counter[str] = Counter()
    results: set[object] = set()
    for seed in range(700):
        composed = compose(seed)
        edges += replayed(composed.script).table.edges
        results |= {one[0] for one in composed.expected if isinstance(one[0], int)}

    assert set() == EDGES - set(edges)
    refusals = {errno.EPERM, errno.ESRCH, errno.ECHILD, errno.EACCES, errno.EINVAL}
    assert {0, *(-number for number in refusals)} == results


EDGES: Final = {
    f"kernel: {edge}"
    for edge in (
        "forked", "orphaned", "orphaned group hung up", "running -> stopped",
        "stopped -> running", "stopped -> zombie by SIGKILL", "running -> zombie by exit",
        "running -> zombie by SIGKILL", "running -> zombie by SIGTERM",
        "running -> zombie by SIGHUP", "running -> zombie by SIGSEGV", "signal caught",
        "signal ignored", "signal merged", "signal to a zombie", "signal waits in T",
        "zombie -> gone", "zombie that nobody waits for",
    )
}  # fmt: skip
