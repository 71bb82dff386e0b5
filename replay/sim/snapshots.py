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
from circus.bus.index import make_missing
from circus.bus.snapshots import snapshot_name
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.disk import SimDisk
from circus.replay.sim.incarnation import DIRECTORY

WITHOUT: Final = 0.3  # of all worlds: every start folds the whole ledger
# Decisions between two snapshots, about. A start looks at the newest: there are a few between two
# starts (replay.drive.LONG), and more would only cost time.
PAUSES: Final = (100, 300, 1000)
NEVER: Final = sys.maxsize
WITHOUT_RESTARTS: Final = 0.8
SALT: Final = 0x5EED
UPGRADES: Final = 0.8  # of the restarts


class Pace:
    """When something happens again, in decisions of the world; by dice of its own."""

    def __init__(self, dice: random.Random, *, without: float) -> None:
        self._dice = dice
        self._pause = 0 if dice.random() < without else dice.choice(PAUSES)
        self.due = NEVER  # how many decisions it waits for
        if self._pause:
            self.pass_on(0)

    def end(self) -> None:
        """Never again."""
        self.due = NEVER

    def pass_on(self, decisions: int) -> None:
        """It has happened now."""
        self.due = decisions + 1 + self._dice.randrange(2 * self._pause + 1)


class SimSnapshots(Pace):
    """The maker; what it reads is what a reader beside the core sees."""

    def __init__(self, agenda: Agenda, disk: SimDisk) -> None:
        super().__init__(random.Random(~agenda.seed), without=WITHOUT)
        self.spoiled = 0.0  # how often one rots as soon as it is made
        self._rot = agenda.stream("rot of snapshots")
        self._disk = disk
        self._coverage = agenda.coverage

    def make(self, decisions: int, wall: int) -> None:
        """Now; a disk that fails is the next one's trouble."""
        self.pass_on(decisions)
        try:
            made = make_snapshot(self._disk, DIRECTORY, wall)
            make_missing(self._disk, DIRECTORY)
        except (OSError, CursorError):
            return
        self._coverage.faults["snapshot.made"] += bool(made)
        if made and self._rot.random() < self.spoiled:
            self._coverage.faults["snapshot.spoiled"] += 1
            self._disk.spoil(f"{DIRECTORY}/{snapshot_name(made)}", self._rot)


class Restarts(Pace):
    """An operator who asks for a new core now and then, in few worlds; sometimes for a new keeper
    with it."""

    def __init__(self, agenda: Agenda) -> None:
        super().__init__(random.Random(agenda.seed ^ SALT), without=WITHOUT_RESTARTS)
        self._whole = agenda.stream("upgrades")

    def verb(self) -> str:
        """What is asked for."""
        return "upgrade" if self._whole.random() < UPGRADES else "restart-core"
