"""Room: replay -- the maker of snapshots: another process, which comes to its end at odd moments.

Knows:     arbiter.recovery (production's maker), replay.sim.disk.
Known by:  replay.machine.
Never:     touches the world's dice: with or without snapshots a seed tells the same story (I-FOLD).
"""

from __future__ import annotations

import random
import sys
from typing import Final

from circus.arbiter.recovery import make_snapshot
from circus.bus.cursor_errors import CursorError
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.disk import SimDisk
from circus.replay.sim.incarnation import DIRECTORY

WITHOUT: Final = 0.3  # of all worlds: every start folds the whole ledger
# Decisions between two snapshots, about. A start looks at the newest: there are a few between two
# starts (replay.drive.LONG), and more would only cost time.
PAUSES: Final = (100, 300, 1000)
NEVER: Final = sys.maxsize


class SimSnapshots:
    """Asked after every happening; what it reads is what a reader beside the core sees."""

    def __init__(self, agenda: Agenda, disk: SimDisk) -> None:
        self._disk = disk
        self._coverage = agenda.coverage
        self._dice = random.Random(~agenda.seed)
        self._pause = 0 if self._dice.random() < WITHOUT else self._dice.choice(PAUSES)
        self.due = self._next(0) if self._pause else NEVER  # how many decisions it waits for

    def make(self, decisions: int, wall: int) -> None:
        """Now; a disk that fails is the next one's trouble."""
        self.due = self._next(decisions)
        try:
            made = make_snapshot(self._disk, DIRECTORY, wall)
        except (OSError, CursorError):
            return
        self._coverage.faults["snapshot.made"] += bool(made)

    def _next(self, decisions: int) -> int:
        return decisions + 1 + self._dice.randrange(2 * self._pause + 1)
