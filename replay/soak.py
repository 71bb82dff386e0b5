"""Room: replay -- many worlds in turn from one seed, added up: what they had, and what failed.

Knows:     replay.drive; the file of seeds that have failed before.
Known by:  replay.program, tests.
Never:     prints; runs two worlds in one process at a time.

Many short worlds find more than one long one: each draws its own configuration, faults and rates.
Some are long, so that what grows with a history is seen to grow.
"""

from __future__ import annotations

import gc
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from circus.replay.checks.edges import UNREACHED
from circus.replay.drive import drive, failure_of
from circus.replay.sim.agenda import Dice
from circus.replay.sim.coverage import Coverage
from circus.replay.world import World

SHORT_STEPS: Final = (200, 1_500)
LONG_STEPS: Final = 12_000
LONG_SHARE: Final = 0.03
# The trace of a seed is that of its first worlds: so it is the same however long a run was.
TRACED_WORLDS: Final = 4
MILLION: Final = 1_000_000
TIMES_PER_MILLION: Final = 100
FAILED_BEFORE: Final = Path(__file__).resolve().parents[1] / "tests/sim/failing_seeds.toml"


class Errand(NamedTuple):
    """One world to be run."""

    number: int
    seed: int
    steps: int
    mode: str | None = None


class Outcome(NamedTuple):
    """What became of it. `failure`: the text that says how to see it again; "" if all held."""

    errand: Errand
    steps: int
    failure: str
    invariant: str
    coverage: Coverage
    checkers: Mapping[str, int]
    digest: str


def errands(seed: int) -> Iterator[Errand]:
    """The worlds of one seed, without end."""
    index = 0
    while True:
        digest = blake2b(f"{seed}/{index}".encode(), digest_size=4).digest()
        chance = Dice(digest)
        short = chance.randrange(*SHORT_STEPS)
        steps = LONG_STEPS if index and chance.random() < LONG_SHARE else short
        yield Errand(index, int.from_bytes(digest, "big"), steps)
        index += 1


def failed_before(path: Path = FAILED_BEFORE) -> Sequence[Errand]:
    """The seeds that have found a bug, to be run first; none where there is no such file."""
    if not path.exists():
        return ()
    rows: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["failure"]
    return [
        Errand(-1 - index, row["seed"], row["steps"], row["mode"]) for index, row in enumerate(rows)
    ]


def run(errand: Errand) -> Outcome:
    """One world, whatever becomes of it. Its garbage is looked for when it is over."""
    gc.disable()
    gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()  # Classes and modules stay: no later look has to pass over them.
    world: list[World] = []
    failure = failure_of(
        lambda: drive(errand.seed, errand.steps, mode=errand.mode, seen=world.append)
    )
    if failure is None:
        return _outcome(errand, world[0], "", "")
    invariant, text = failure
    if not text.startswith(f"{invariant}: ") or not invariant.startswith("I-"):
        invariant = f"uncaught {invariant}"
        text = f"{text}\nseed {errand.seed}\n{world[0].truth.repeat}"
    return _outcome(errand, world[0], text, invariant)


def _outcome(errand: Errand, world: World, failure: str, invariant: str) -> Outcome:
    return Outcome(
        errand, world.steps, failure, invariant, world.agenda.coverage, world.calls(),
        world.digest() if 0 <= errand.number < TRACED_WORLDS else "",
    )  # fmt: skip


class Sum:
    """Of many outcomes."""

    def __init__(self) -> None:
        self.steps = 0
        self.worlds = 0
        self.coverage = Coverage()
        self.checkers: Counter[str] = Counter()
        self.failures: list[Outcome] = []
        self._traced: dict[int, str] = {}

    def add(self, outcome: Outcome) -> None:
        """One more world."""
        self.steps += outcome.steps
        self.worlds += 1
        self.coverage.add(outcome.coverage)
        self.checkers.update(outcome.checkers)
        if outcome.failure:
            self.failures.append(outcome)
        if outcome.digest:
            self._traced[outcome.errand.number] = outcome.digest

    @property
    def traced(self) -> bool:
        """Whether the trace is complete."""
        return len(self._traced) == TRACED_WORLDS

    def trace(self) -> str:
        """One digest of the traced worlds' ledgers."""
        whole = "".join(self._traced[index] for index in sorted(self._traced))
        return blake2b(whole.encode(), digest_size=16).hexdigest()

    def rarest(self) -> list[tuple[str, int]]:
        """Faults and moves of the life tables, the rarest first."""
        counts = {**self.coverage.faults, **self.coverage.edges}
        found = [(name, count) for name, count in counts.items() if name not in UNREACHED]
        return sorted(found, key=lambda item: (item[1], item[0]))

    def missed(self) -> list[str]:
        """What a run of at least a million steps has had too rarely to prove anything."""
        if self.steps < MILLION:
            return []
        least = TIMES_PER_MILLION * self.steps / MILLION
        return [f"{name} ({count})" for name, count in self.rarest() if count < least]
