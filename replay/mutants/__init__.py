"""Room: replay -- the register of mutants: bugs that the simulated world has to find.

Knows:     the lists of mutants beside it.
Known by:  `python -m circus.replay.mutants`, `make sim MUTANT=name`, `make mutants`, the tests.
Never:     imports production code, so that a process that imports it can still be changed.

    from circus.replay.mutants import registry, run

    killed = run("reap_before_record", seed=1, steps=200_000)
    assert killed is not None, registry["reap_before_record"].breaks
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from circus.replay.mutants.mutant import Killed, Mutant
from circus.replay.mutants.of_asking import ASKING
from circus.replay.mutants.of_deciding import DECIDING
from circus.replay.mutants.of_hands import HANDS
from circus.replay.mutants.of_record import RECORD

__all__ = ["STEPS_MAX", "Killed", "Mutant", "registry", "run"]

STEPS_MAX: Final = 200_000  # decisions within which every mutant has to be killed
SURVIVED: Final = 1

registry: Final[Mapping[str, Mutant]] = {
    mutant.name: mutant for mutant in (*HANDS, *DECIDING, *RECORD, *ASKING)
}
assert len(registry) == sum(map(len, (HANDS, DECIDING, RECORD, ASKING))), "two of one name"


def run(name: str, seed: int, steps: int = STEPS_MAX) -> Killed | None:
    """Hunt one mutant in a process of its own; None if it has survived."""
    command = (name, "--seed", str(seed), "--steps", str(steps), "--json")
    done = subprocess.run(
        [sys.executable, "-m", "circus.replay.mutants", *command],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.stdout, f"{name}: the hunt did not end, it broke ({done.returncode})"
    killed = json.loads(done.stdout)
    return None if killed is None else Killed(**killed)
