"""Room: front -- what has happened in a world of a test: records and remarks, and their transcript.

Knows:     bus.codec, bus.record, circus.bus.words.sentences (a record as a sentence).
Known by:  circus.testing.setting, circus.testing.world, circus.testing.faults.
Never:     asks anybody: it is told, in order, of what the ledger has taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from circus.bus.codec import records_of
from circus.bus.record import Record
from circus.bus.values import NS_PER_SECOND
from circus.bus.words.sentences import sentence
from circus.replay.sim.agenda import BOOT_START, Agenda
from circus.testing.pattern import Pattern

# Bookkeeping that a reader of a story seldom wants; `story(everything=True)` has it.
UNTOLD: Final = frozenset({
    "timer.arm", "timer.disarm", "timer.woke", "actor.continue", "slot.filled", "process.signalled",
    "process.reaped", "reaper.reconciled", "core.ready", "process.spawn", "command.accepted",
})  # fmt: skip
LINES_MAX: Final = 60


class Remark(NamedTuple):
    """Something that no record tells: a fault of the test, or what a program said."""

    after: int  # seq
    boot: int
    watcher: str  # whose story it belongs to; "": everybody's
    text: str


class Chronicle:
    """Implements the switchboard's Publisher: hears of each frame once it is in the ledger."""

    def __init__(self, agenda: Agenda) -> None:
        self.entries: list[Record | Remark] = []
        self._agenda = agenda
        self._last = 0

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int
    ) -> None:
        """These are in the ledger now."""
        if first_seq <= self._last:
            self.remark(f"records from #{first_seq} on are lost: the disk did not have them yet")
        for _, payload in frames:
            records = records_of(payload)
            self.entries += records
            self._last = records[-1].seq

    def remark(self, text: str, watcher: str = "") -> None:
        """A line that is no record."""
        self.entries.append(Remark(self._last, self._agenda.boot, watcher, text))

    def records(self, pattern: Pattern, start: int = 0) -> Iterator[tuple[int, Record]]:
        """Those that are meant, with their places, from the entry `start` on."""
        for place in range(start, len(self.entries)):
            entry = self.entries[place]
            if isinstance(entry, Record) and pattern.matches(entry):
                yield place, entry

    def story(self, watcher: str | None, *, everything: bool = False) -> list[str]:
        """One line for each entry about a watcher, or about all."""
        name = None if watcher is None else watcher.lower()
        return [
            line_of(entry) for entry in self.entries if _belongs(entry, name, everything=everything)
        ]


def line_of(entry: Record | Remark) -> str:
    """`12.345s  #58 process.exited  process 7 of web (slot 1) was ended by SIGKILL  (from #51)`."""
    when = f"{seconds_of(entry.boot):10.3f}s"
    if isinstance(entry, Remark):
        return f"{when}         -- {entry.text}"
    cause = f"  (from #{entry.cause})" if entry.cause else ""
    return f"{when}  #{entry.seq:<5} {entry.name:<20} {sentence(entry)}{cause}"


def seconds_of(boot: int) -> float:
    """Since the world began."""
    return (boot - BOOT_START) / NS_PER_SECOND


def shortened(lines: Sequence[str]) -> list[str]:
    """The end of a long story."""
    left = len(lines) - LINES_MAX
    return list(lines) if left <= 0 else [f"    … {left} lines before …", *lines[-LINES_MAX:]]


def _belongs(entry: Record | Remark, watcher: str | None, *, everything: bool) -> bool:
    if isinstance(entry, Remark):
        return watcher is None or entry.watcher.lower() in ("", watcher)
    if not everything and (entry.name in UNTOLD or entry.to == entry.actor):
        return False  # What an actor notes for itself (ADR-0030) has been told before.
    if watcher is None or (entry.watcher or "").lower() == watcher:
        return True
    return entry.name.startswith("core.") and entry.name != "core.ready"
