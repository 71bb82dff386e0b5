"""Run the parts of `make test` in order, each with its wall time; fail if any of them failed.

All parts run even if an early one fails, so that one run shows everything; pytest comes last, so
that its summary line ends the output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

BIN: Final = Path(sys.executable).parent
ROOT: Final = Path(__file__).parent.parent

# One road that is known to be clean, so that a red run means a change and not bad luck: fresh seeds
# still find something in some hundred thousand decisions, and they are `make sim`.
SIM_SEED: Final = "20261124"
SIM_STEPS: Final = "100000"
SIM_SECONDS: Final = "300"

# Real faults that need no privileges, and the rows in the simulated world, for a short while. All
# rows are `make campaign`.
CAMPAIGN: Final = {
    "ONLY": "F1,F2,F4,F5,F9,F10,F11,F12S,F15,F16,F17,F18",
    "SECONDS": "120",
}

PARTS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "lint": (
        ("ruff", "check", "--quiet", "."),
        ("ruff", "format", "--check", "--quiet", "."),
        ("lint-imports", "--no-logo"),
        ("codespell",),
    ),
    "types": (("mypy",), ("pyright", "--warnings")),
    "cores": (
        (
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            *sorted(map(str, (ROOT / "tests/arbiter").glob("test_arbiter_*.py"))),
            "tests/process/test_life.py",
            "tests/process/test_reaper.py",
            "tests/stories",
            "tests/watcher",
            "--cov",
            "--cov-config=tools/cores.coveragerc",
            "--cov-report=term-missing",
        ),
    ),
    "sim": (
        (
            "python",
            "-m",
            "circus.replay",
            "soak",
            "--seed",
            SIM_SEED,
            "--steps",
            SIM_STEPS,
            "--seconds",
            SIM_SECONDS,
        ),
    ),
    "campaign": (("python", "-m", "campaign"),),
    "tests": (("pytest", "-q", "-n", "2", "--dist", "worksteal", "--cov", "--cov-report=term"),),
}


def main(names: list[str]) -> int:
    """Run the named parts; 0 if all are well, else 1."""
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        print(f"cannot check {unknown}: name some of {', '.join(PARTS)}", file=sys.stderr)
        return os.EX_USAGE
    failed = [
        " ".join(command) for name in names for command in PARTS[name] if not passes(name, command)
    ]
    if failed and names[-1] != "tests":
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def passes(part: str, command: tuple[str, ...]) -> bool:
    """Run one command; its time and outcome are one line, before the tests' own last words."""
    shown = " ".join(command[:2])
    if part == "tests":
        print(f"{part}: {shown}", flush=True)
    started = time.monotonic()
    environ = {**os.environ, **CAMPAIGN} if part == "campaign" else None
    code = subprocess.call([str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environ)
    if part != "tests":
        outcome = "ok" if code == 0 else f"FAILED ({code})"
        print(f"{part}: {shown}: {outcome} in {time.monotonic() - started:.1f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
