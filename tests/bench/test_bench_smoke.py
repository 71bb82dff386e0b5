"""Every benchmark runs at toy size: it measures something, and its ledgers add up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
BENCH: Final = (sys.executable, "-m", "bench")
DEADLINE_SECONDS: Final = 90
ITEMS: Final = (
    "cold_start", "cold_start_one", "imports", "reaction_10", "reaction_500", "anatomy",
    "mass_death", "churn", "idle", "stop", "round_trip", "ctl_status", "switchboard",
    "stream", "ledger", "recovery", "memory", "spawn_price", "input_price",
)  # fmt: skip


def ran(*arguments: str, **environ: str) -> tuple[int, str]:
    """Exit code and output; TERM lets the benchmark end everything that it has started."""
    process = subprocess.Popen(
        [*BENCH, *arguments], cwd=ROOT, env={**os.environ, **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
    return process.returncode, output


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", ITEMS)
def test_a_benchmark_measures_and_its_ledger_adds_up(name: str) -> None:
    """
    At toy size and without peers every item answers with a table and exit code 0, which it does
    only if every ledger that it read back has each spawn and exit exactly once.
    """
    code, output = ran("--toy", ONLY=name, PEERS="0", ROUNDS="1")
    assert code == 0, output
    assert "| ours" in output, output
    assert "runs failed" not in output


@pytest.mark.slow
def test_every_benchmark_is_among_those_tried_here() -> None:
    """
    A new item is smoke-tested too.
    """
    code, output = ran("--names")
    assert (0, list(ITEMS)) == (code, output.split())
