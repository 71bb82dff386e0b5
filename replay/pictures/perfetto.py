"""Room: replay -- the record in Chrome's trace event format, for Perfetto's viewer.

Knows:     replay.pictures.axis, lives, tale.
Known by:  replay.pictures.verbs (circus-replay timeline --perfetto); circus.replay gives `trace`.
Never:     leaves out a life that has not ended: it lasts to the newest record, and says so.

A watcher is a process of the trace, a slot a thread of it, a life a slice; a mark is an instant.
From what caused a spawn there is an arrow to the life, where both are drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from circus.bus.commands import ProcessSpawn
from circus.bus.record import Record
from circus.replay.pictures.axis import Axis
from circus.replay.pictures.lives import Life, Lives, Outcome
from circus.replay.pictures.tale import Kind, kind_of, only, subject_of, text_of

NS_PER_US: Final = 1000
DAEMON: Final = "circusd"
# Colours by the viewer's own names.
COLOURS: Final = {
    Outcome.RUNNING: "good", Outcome.ASKED: "grey", Outcome.FORCED: "bad", Outcome.CLEAN: "good",
    Outcome.FAILED: "terrible", Outcome.KILLED: "terrible", Outcome.LOST: "black",
    Outcome.UNBORN: "terrible",
}  # fmt: skip

Event = dict[str, Any]


class Trace:
    """A fold of records into events of the trace."""

    def __init__(self, since: int | None = None) -> None:
        self.events: list[Event] = []
        self._since = since or 0
        self._axis, self._fold = Axis(), Lives(self._add_life)
        self._tracks: dict[tuple[str, int], tuple[int, int]] = {}
        self._marked: dict[int, tuple[tuple[int, int], int]] = {}  # seq: its track and time
        self._causes: dict[int, int] = {}  # spawn_id: the record that led to it
        self._at = 0

    def take(self, record: Record) -> None:
        """The next one."""
        self._at = at = self._axis.at(record)
        self._fold.take(record, at)
        if at < self._since:
            return
        if isinstance(record.body, ProcessSpawn):
            self._causes[record.seq] = record.cause
        kind = kind_of(record)
        if kind is Kind.NONE:
            return
        track = self._track(*subject_of(record))
        self._marked[record.seq] = track, at
        self.events.append(
            {
                **_place(track, at), "ph": "i", "s": "t", "cat": kind.value, "name": record.name,
                "args": {"seq": record.seq, "cause": record.cause, "says": text_of(record)},
            }
        )  # fmt: skip

    def finish(self) -> dict[str, Any]:
        """The whole trace, to be written as JSON."""
        self._fold.finish()
        return {"traceEvents": [*self._names(), *self.events], "displayTimeUnit": "ms"}

    def _add_life(self, life: Life) -> None:
        ended = self._at if life.ended is None else life.ended.at
        if ended < self._since:
            return
        track = self._track(life.watcher, life.slot)
        self.events.append(
            {
                **_place(track, life.begins), "ph": "X", "cat": "life",
                "dur": max(0, ended - life.begins) / NS_PER_US, "cname": COLOURS[life.outcome],
                "name": f"pid {life.pid}" if life.pid else "no process",
                "args": {
                    "spawn_id": life.spawn_id, "pid": life.pid, "outcome": life.outcome.value,
                    "how": life.how, "asked to end for": life.reason, "attempt": life.attempt,
                },
            }
        )  # fmt: skip
        cause = self._causes.pop(life.spawn_id, 0)
        if cause in self._marked:
            self._add_arrow(self._marked[cause], (track, life.begins), life.spawn_id)

    def _add_arrow(
        self, source: tuple[tuple[int, int], int], target: tuple[tuple[int, int], int], number: int
    ) -> None:
        arrow = {"cat": "cause", "name": "cause", "id": number}
        self.events.append({**arrow, **_place(*source), "ph": "s"})
        self.events.append({**arrow, **_place(*target), "ph": "f", "bp": "e"})

    def _track(self, watcher: str, slot: int) -> tuple[int, int]:
        """Numbers of the trace: watchers as they come, slots as they are."""
        known = self._tracks.get((watcher, slot))
        if known is None:
            process = self._tracks.get((watcher, 0), (len(self._tracks) + 1, 0))[0]
            self._tracks.setdefault((watcher, 0), (process, 0))
            known = self._tracks[watcher, slot] = (process, slot)
        return known

    def _names(self) -> Iterator[Event]:
        for (watcher, slot), (process, thread) in self._tracks.items():
            place = {"pid": process, "tid": thread, "ph": "M"}
            name = f"slot {slot}" if slot else watcher or DAEMON
            if not slot:
                yield {**place, "name": "process_name", "args": {"name": watcher or DAEMON}}
            yield {**place, "name": "thread_name", "args": {"name": name}}


def trace(
    records: Iterable[Record], *, since: int | None = None, watchers: Collection[str] = ()
) -> dict[str, Any]:
    """The trace of some records, oldest first: from `since` (wall ns) on, of some watchers."""
    made = Trace(since)
    for record in only(records, watchers):
        made.take(record)
    return made.finish()


def _place(track: tuple[int, int], at: int) -> Event:
    process, thread = track
    return {"pid": process, "tid": thread, "ts": at / NS_PER_US}


__all__ = ["Trace", "trace"]
