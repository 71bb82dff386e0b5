"""What a start is made of: whole processes that import more and more of what a core needs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from bench import ours
from bench.contestants import plain_environ
from bench.stage import Figures, Item, Run, Stage, percentile

TIMES: Final = 20
NS_PER_MS: Final = 1e6
CHAIN: Final = Path(__file__).parent.parent / "chain.py"
LIBRARIES: Final = "import zmq, msgpack"


def _whole(argv: list[str], stage: Stage) -> Figures:
    """From the start of the process to its end."""
    taken: list[float] = []
    for _ in range(stage.sized(TIMES, 2)):
        begun = time.monotonic_ns()
        subprocess.run(argv, check=True, env=plain_environ())
        taken.append((time.monotonic_ns() - begun) / NS_PER_MS)
    return {"p50 ms": percentile(taken, 0.5), "least ms": min(taken)}


def _importing(source: str) -> Run:
    """As the keeper starts the core: isolated, told where packages are, no `site`."""

    def run(stage: Stage) -> Figures:
        python = ours.program("python")
        asked = [python, "-c", "import sys; print(repr(sys.path[1:]))"]
        paths = subprocess.check_output(asked, text=True, env=plain_environ()).strip()
        # An editable install (toy) is found by its hook, which -S leaves out; the root has it too.
        root = str(CHAIN.parent.parent)
        found = f"import sys; sys.path[:0]={paths}; sys.path.append({root!r}); {source}"
        return _whole([python, "-I", "-S", "-c", found], stage)

    return run


def _chain(stage: Stage) -> Figures:
    return _whole([ours.program("python"), str(CHAIN), "/bin/true"], stage)


ITEMS: Final = (
    Item(
        "imports", "What a start is made of",
        {
            "bare": _importing("pass"),
            "zmq and msgpack": _importing(LIBRARIES),
            "zmq, msgpack and attrs (not needed for a start)": _importing(f"{LIBRARIES}, attr"),
            "two interpreters, zmq and msgpack, one spawn": _chain,
            "ours, front until the core is on its way": _importing("import circus.start, _socket"),
            "ours, front and keeper": _importing("import circus.circusd, circus.process.keeper"),
            "ours, the vocabulary": _importing(f"{LIBRARIES}, circus.bus.names"),
            "ours, the whole core": _importing("import circus.daemon"),
        },
        ratios=False,
        about="Whole processes, from fork to exit, 20 times each. *bare* is an interpreter as the "
        "core has it (`-I -S`). *two interpreters* does what a start cannot do without: one "
        "that starts another, which imports the two libraries and spawns a program.",
    ),
)  # fmt: skip
