"""Room: bus -- `why`: from a record, a process or a watcher back to who asked; or why it is not.

Knows:     the vocabulary, bus.words (lines and sentences).
Known by:  circusctl why (over a daemon's record), circus-replay why (over files).
Never:     guesses: what the record does not say is not said.

One pass over the record finds what it is about, then the causes are fetched one by one: the walk
costs what it shows, not what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from circus.bus.codec import pack
from circus.bus.commands import ArbiterConfigure, ProcessSpawn
from circus.bus.events import (
    ProcessExited,
    ProcessSpawned,
    ProcessSpawnFailed,
    SlotStopping,
    SlotWaiting,
    WatcherAdded,
    WatcherFailed,
    WatcherRemoved,
    WatcherResized,
    WatcherStarted,
    WatcherStarting,
    WatcherStopped,
    WatcherStopping,
    WatcherUpdated,
)
from circus.bus.record import Record
from circus.bus.words.lines import clock, duration, record_data
from circus.bus.words.plain import as_json, plain
from circus.bus.words.sentences import asked_by, sentence

# A slot that was respawned for months has as long a chain: its two ends say it all.
STEPS_MAX: Final = 200
STEPS_SHOWN: Final = 24
LIFE: Final = (
    WatcherAdded, WatcherStarting, WatcherStarted, WatcherStopping, WatcherStopped, WatcherFailed,
    WatcherRemoved,
)  # fmt: skip


class Unknown(Exception):
    """The record does not know the subject; the text says so."""


class Source(Protocol):
    """A record that can be searched."""

    def containing(self, needle: bytes) -> Iterator[Record]:
        """At least the records of every decision that has these bytes, oldest first."""
        ...

    def of_watcher(self, name: str) -> Iterator[Record]:
        """All that concerns this watcher, oldest first."""
        ...

    def at(self, seq: int) -> Record | None:
        """The record with this number, if it is there."""
        ...


class Found(NamedTuple):
    """The answer before its causes: sentences, and the record where the walk begins."""

    lines: tuple[str, ...]
    begin: Record


class Answer(NamedTuple):
    """Sentences, and the causes: newest first, the subject's own record in front."""

    subject: str
    lines: tuple[str, ...]
    chain: tuple[Record, ...]

    def told(self) -> str:
        """For people."""
        return "\n".join((*self.lines, *_told(self.chain)))

    def as_json(self) -> str:
        """For programs."""
        chain = [record_data(record) for record in self.chain]
        return as_json({"subject": self.subject, "answer": self.lines, "chain": chain})


def why(source: Source, subject: str) -> Answer:
    """`501` is a pid, `#77` a record, anything else a watcher. Unknown: it is not on record."""
    if subject.startswith("#") and _is_number(subject[1:]):
        found = _of_record(source, int(subject[1:]))
    elif _is_number(subject):
        found = _of_pid(source, int(subject))
    else:
        found = _of_watcher(source, subject)
    return Answer(subject, found.lines, tuple(_chain(source, found.begin)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


# --- what it is about -----------------------------------------------------------------------------


def _of_record(source: Source, seq: int) -> Found:
    record = source.at(seq)
    if record is None:
        raise Unknown(f"cannot say why: the record has no number {seq}")
    return Found((f"{sentence(record)} at {clock(record.at)}.",), record)


def _of_pid(source: Source, pid: int) -> Found:
    """The newest process that had this pid: a kernel uses them again."""
    spawned: Record | None = None
    ended: Record | None = None
    for record in source.containing(pack("pid") + pack(pid)):
        body = record.body
        if isinstance(body, ProcessSpawned) and body.pid == pid:
            spawned, ended = record, None
        elif isinstance(body, ProcessExited) and body.pid == pid:
            ended = record
    if spawned is None:
        raise Unknown(f"cannot say why: the record has no process {pid} of any watcher")
    named = f"process {pid} of watcher {plain(spawned.watcher or '?')}"
    if ended is not None:
        return Found((f"{named} is not running: {sentence(ended)} at {clock(ended.at)}.",), ended)
    return Found((f"{named} runs since {clock(spawned.at)}.",), spawned)


class _Story:
    """What one watcher went through, as far as the answer needs it."""

    def __init__(self) -> None:
        self.life: Record | None = None
        self.begun: Record | None = None  # starting or stopping: its cause is who asked
        self.trouble: Record | None = None
        self.alive: dict[int, tuple[int, Record]] = {}
        self.waiting: dict[int, Record] = {}  # by slot
        self.options: dict[str, Any] = {}

    def fold(self, record: Record) -> None:
        body = record.body
        if isinstance(body, LIFE):
            self._live(record, body)
        elif isinstance(body, WatcherUpdated):
            self.options.update(body.options)
        elif isinstance(body, WatcherResized):
            self.options["numprocesses"] = body.numprocesses
        else:
            self._fold_process(record, body)

    def _live(self, record: Record, body: object) -> None:
        self.life = record
        if isinstance(body, WatcherAdded):
            self.options = dict(body.spec)
        elif isinstance(body, WatcherStarting | WatcherStopping):
            self.begun = record

    def _fold_process(self, record: Record, body: object) -> None:
        spawn_id, slot = record.spawn_id or 0, record.slot or 0
        if isinstance(body, ProcessSpawn):
            self.waiting.pop(slot, None)
        elif isinstance(body, ProcessSpawned):
            self.alive[spawn_id] = (body.pid, record)
        elif isinstance(body, ProcessExited):
            self.alive.pop(spawn_id, None)
            self.trouble = record
        elif isinstance(body, ProcessSpawnFailed | SlotWaiting):
            self.trouble = record
            if isinstance(body, SlotWaiting):
                self.waiting[slot] = record

    def why_not(self) -> Iterator[str]:
        """What keeps it from running, as far as the record says."""
        life, options = self.life, self.options
        if isinstance(life and life.body, WatcherAdded) and options.get("autostart") is False:
            yield "it does not start by itself (autostart = false)."
        if not isinstance(life and life.body, WatcherStarting | WatcherStarted):
            return
        if options.get("numprocesses") == 0:
            yield "it is to keep no process (numprocesses = 0)."
        if options.get("respawn") is False:
            yield "what has ended is not started again (respawn = false)."
        for slot, record in self.waiting.items():
            delay = getattr(record.body, "delay", 0)
            due = clock(record.at + delay)
            yield f"slot {slot} is tried again at {due}, {duration(delay)} after its last failure."


def _of_watcher(source: Source, name: str) -> Found:
    story = _Story()
    for record in source.of_watcher(name):
        story.fold(record)
    life = story.life
    if life is None:
        raise Unknown(f"cannot say why: the record has no watcher {plain(name)}")
    lines = [f"watcher {sentence(life).removeprefix('watcher ')}, since {clock(life.at)}."]
    if story.alive:
        pids = ", ".join(str(pid) for pid, _ in story.alive.values())
        lines.append(f"{len(story.alive)} running: {pids}.")
    elif not isinstance(life.body, WatcherAdded | WatcherRemoved):
        lines.append("none of its processes is running.")
    if not story.alive:
        lines += story.why_not()
    trouble = story.trouble
    if trouble is not None and (trouble.seq > life.seq or _gave_up(life)):
        lines.append(f"last trouble at {clock(trouble.at)}: {sentence(trouble)}.")
        return Found(tuple(lines), life if _gave_up(life) else trouble)
    settled = isinstance(life.body, WatcherStarted | WatcherStopped)
    return Found(tuple(lines), story.begun if settled and story.begun is not None else life)


def _gave_up(life: Record) -> bool:
    return isinstance(life.body, WatcherFailed)


# --- the causes -----------------------------------------------------------------------------------


def _chain(source: Source, begin: Record) -> Iterator[Record]:
    """From the answer back to the outside world, newest first."""
    yield begin
    asked = _asked_to_end(source)
    record = begin
    for _ in range(STEPS_MAX - 1):
        cause = _cause(record, asked)
        earlier = source.at(cause) if cause else None
        if earlier is None:
            return
        record = earlier
        yield record


def _asked_to_end(source: Source) -> dict[int, int]:
    """By spawn_id, the record in which a watcher asked its process to end."""
    return {
        record.spawn_id: record.seq
        for record in source.containing(pack("slot.stopping"))
        if isinstance(record.body, SlotStopping) and record.spawn_id is not None
    }


def _cause(record: Record, asked: Mapping[int, int]) -> int:
    """What led to it: its cause, or what its body says it answers.

    The cause of an exit is the spawn; but where the process was asked to end, that is why it did.
    """
    request = asked.get(record.spawn_id or 0, 0)
    if isinstance(record.body, ProcessExited) and 0 < request < record.seq:
        return request
    armed: Any = getattr(record.body, "armed", 0)
    cause = record.cause or armed
    if not cause and record.spawn_id and record.spawn_id != record.seq:
        cause = record.spawn_id
    return cause if 0 < cause < record.seq else 0


def _told(chain: tuple[Record, ...]) -> Iterator[str]:
    shown = list(enumerate(chain))[1:]
    if len(shown) > STEPS_SHOWN:
        half = STEPS_SHOWN // 2
        shown = [*shown[:half], *shown[-half:]]
    before = 0
    for at, record in shown:
        if at > before + 1:
            yield f"  … {at - before - 1} steps between …"
        yield f"  because {sentence(record)}  (#{record.seq}, {clock(record.at)})"
        before = at
    yield _end(chain[-1])


def _end(last: Record) -> str:
    if last.peer is not None:
        return f"  asked by {asked_by(last)}."
    if last.cause:
        return f"  what led to that (#{last.cause}) is further back than shown or retained."
    if isinstance(last.body, ArbiterConfigure):
        return "  the core reads it at each start."
    return f"  that came from outside: {plain(last.actor)} recorded it."


__all__ = ["Answer", "Source", "Unknown", "why"]
