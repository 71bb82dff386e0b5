"""Room: replay -- the command that hunts mutants: one by its name, a part of them, or all.

Knows:     replay.mutants; replay.mutants.hunt, once the mutant is in place.
Known by:  people, `make mutants`, the tests.
Never:     has two mutants in one process.

    python -m circus.replay.mutants NAME [--seed S] [--steps N] [--json]
    python -m circus.replay.mutants --all [--seed S] [--jobs 2]
    python -m circus.replay.mutants --list
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from circus.replay.mutants import STEPS_MAX, SURVIVED, Killed, Mutant, registry, run
from circus.replay.mutants.disguise import put_on

SEED_BYTES = 4
USAGE = 64
OTHERS_SHOWN = 5


def main(words: Sequence[str]) -> int:
    """0: killed, all of them; 1: one survives; 64: no such mutant."""
    asked = _parser().parse_args(words)
    chosen = int.from_bytes(os.urandom(SEED_BYTES))
    seed: int = chosen if asked.seed is None else asked.seed
    if asked.list:
        sys.stdout.write("".join(f"{row_of(one)}\n" for one in registry.values()))
        return 0
    if asked.all:
        return hunt_all(seed, asked.steps, asked.jobs)
    mutant = registry.get(asked.name)
    if mutant is None:
        sys.stderr.write(f"cannot hunt {asked.name!r}: no such mutant; --list shows them\n")
        return USAGE
    return hunt_one(mutant, seed, asked.steps, as_json=asked.json)


def hunt_one(mutant: Mutant, seed: int, steps: int, *, as_json: bool) -> int:
    """Become the mutant, then look for it."""
    put_on(mutant)
    from circus.replay.mutants.hunt import hunt

    killed, done, others = hunt(mutant, seed, steps)
    if as_json:
        sys.stdout.write(json.dumps(killed._asdict() if killed else None) + "\n")
    elif killed is not None:
        sys.stdout.write(f"{killed.text}\n{_told(killed)}\n")
    if killed is not None:
        return 0
    for other in others[:OTHERS_SHOWN]:
        sys.stderr.write(f"{mutant.name}: not its invariant, {other}\n")
    sys.stderr.write(f"{mutant.name} survives {done} steps from seed {seed} on\n")
    return SURVIVED


def hunt_all(seed: int, steps: int, jobs: int) -> int:
    """Every mutant, a line for each as it dies, and what is left at the end."""
    sys.stdout.write(f"{len(registry)} mutants, seed {seed}, at most {steps} steps each\n")
    alive: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = pool.map(lambda name: _timed(name, seed, steps), registry)
        for number, (name, killed, seconds) in enumerate(outcomes, 1):
            told = _told(killed) if killed else f"{name} SURVIVES"
            sys.stdout.write(f"{number:3}/{len(registry)} {seconds:6.1f} s  {told}\n")
            sys.stdout.flush()
            if killed is None:
                alive.append(name)
    sys.stdout.write(f"{len(registry) - len(alive)} killed, {len(alive)} alive\n")
    sys.stdout.write("".join(f"{row_of(registry[name])}\n" for name in alive))
    return SURVIVED if alive else 0


def _timed(name: str, seed: int, steps: int) -> tuple[str, Killed | None, float]:
    began = time.perf_counter()
    return name, run(name, seed, steps), time.perf_counter() - began


def _told(killed: Killed) -> str:
    return f"{killed.name}: {killed.invariant} after {killed.steps} steps (seed {killed.seed})"


def row_of(mutant: Mutant) -> str:
    """One row of the table in docs/simulation.md, which is this list."""
    return f"| `{mutant.name}` | {mutant.breaks} | {', '.join(mutant.killers)} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m circus.replay.mutants")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", nargs="?", help="the mutant")
    what.add_argument("--all", action="store_true", help="every mutant, and a table")
    what.add_argument("--list", action="store_true", help="names, what they break, who kills them")
    parser.add_argument("--seed", type=int, help="of the first world (chance says, and it is told)")
    parser.add_argument("--steps", type=int, default=STEPS_MAX, help="decisions to survive")
    parser.add_argument("--jobs", type=int, default=2, help="hunts side by side")
    parser.add_argument("--json", action="store_true", help="how it ended as one object")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
