"""Room: arbiter -- makes one snapshot of a ledger and what indexes it lacks, and ends.

Knows:     arbiter.recovery.
Known by:  arbiter.snapshotting, which starts it beside a living core.
Never:     writes to the ledger, takes its lock, hurries; nobody waits for it.

Reading from the snapshot before on, it verifies every frame of the segment it stands in once more:
what has rotted since it was written is found here, and the next start says so.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from circus.arbiter.recovery import make_snapshot
from circus.bus.clock import SystemClock
from circus.bus.cursor_errors import CursorError
from circus.bus.disk import RealDisk
from circus.bus.index import make_missing
from circus.bus.past import Unfoldable
from circus.process import linux

COMM: Final = "circus-snapshot"
NICENESS: Final = 19
EX_USAGE: Final = 64


def main(argv: Sequence[str]) -> int:
    """DIRECTORY PARENT: of the ledger; the core, whose end is ours."""
    if len(argv) != 2 or not argv[1].isdigit():
        sys.stderr.write("cannot start: give the directory of a ledger and the pid of its core\n")
        return EX_USAGE
    directory, parent = argv
    linux.name_process(COMM)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        return os.EX_OK  # It has ended meanwhile, and the next one asks when it wants one.
    os.nice(NICENESS)
    gc.disable()  # what a fold makes dies by its reference counts, or stays
    try:
        make_snapshot(RealDisk(), directory, SystemClock().now().wall)
        make_missing(RealDisk(), directory)
    except (OSError, CursorError, Unfoldable) as error:
        sys.stderr.write(f"{COMM}: cannot make a snapshot of {directory}: {error}\n")
        return os.EX_IOERR
    return os.EX_OK
