"""Room: replay -- the command that a failing run prints: the same run again.

Knows:     replay.drive.
Known by:  people.
Never:     does anything that the failing test did not do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from circus.replay.drive import STEPS, drive


def main(argv: Sequence[str]) -> int:
    """SEED [STEPS]: exit code 0 and the digest if all held; the violation otherwise."""
    if not argv or not all(word.isdigit() for word in argv):
        sys.stderr.write("usage: python -m circus.replay SEED [STEPS]\n")
        return 64
    steps = int(argv[1]) if len(argv) > 1 else STEPS
    world = drive(int(argv[0]), steps)
    sys.stdout.write(f"{world.digest()} {len(world.truth.records)} records\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
