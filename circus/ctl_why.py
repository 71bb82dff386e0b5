"""Room: front -- `circusctl why`: from a process or watcher back to who asked.

Knows:     the record (bus.record), bus.subscribe, bus.words.sentences (a record in words).
Known by:  circus.ctl_commands.
Never:     guesses: what the ledger does not say is not said.

One pass over the record finds what it is about, then the causes are fetched one by one: READ gives
the frame of any sequence number, so the walk costs what it shows, not what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from circus.bus.codec import pack
from circus.bus.commands import ArbiterConfigure
from circus.bus.cursor_errors import Trimmed
from circus.bus.dial import doors_of
from circus.bus.events import (
    ProcessExited,
    ProcessSpawned,
    ProcessSpawnFailed,
    SlotStopping,
    SlotWaiting,
    WatcherAdded,
    WatcherFailed,
    WatcherRemoved,
    WatcherStarted,
    WatcherStarting,
    WatcherStopped,
    WatcherStopping,
)
from circus.bus.follow import Batch
from circus.bus.record import Record
from circus.bus.subscribe import Subscription
from circus.bus.subscriber import Sieve, every_record, sieve_for
from circus.bus.words.lines import clock, record_data
from circus.bus.words.plain import as_json, plain
from circus.bus.words.sentences import asked_by, sentence
from circus.ctl_events import reading_errors
from circus.ctl_target import CannotTell, Target, say

# A slot that was respawned for months has as long a chain: its two ends say it all.
STEPS_MAX: Final = 200
STEPS_SHOWN: Final = 24
LIFE: Final = (
    WatcherAdded, WatcherStarting, WatcherStarted, WatcherStopping, WatcherStopped, WatcherFailed,
    WatcherRemoved,
)  # fmt: skip


class Unknown(CannotTell):
    """The record does not know the subject."""

    exit_code = 3


class Found(NamedTuple):
    """The answer before its causes: sentences, and the record where the walk begins."""

    lines: tuple[str, ...]
    begin: Record


def show_why(target: Target, subject: str) -> int:
    """Print the answer and the chain of causes."""
    with reading_errors():
        found = _of_pid(target, int(subject)) if _is_pid(subject) else _of_watcher(target, subject)
        chain = _chain(target, found.begin)
    if target.json:
        whole = {"subject": subject, "answer": found.lines, "chain": [*map(record_data, chain)]}
        say(as_json(whole))
        return 0
    say("\n".join((*found.lines, *_told(chain))))
    return 0


def _is_pid(subject: str) -> bool:
    return subject.isascii() and subject.isdigit()


# --- what it is about -----------------------------------------------------------------------------


def _of_pid(target: Target, pid: int) -> Found:
    """The newest process that had this pid: a kernel uses them again."""
    spawned: Record | None = None
    ended: Record | None = None
    needle = pack("pid") + pack(pid)
    for record in _records(target, 0, _containing(needle)):
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

    def fold(self, record: Record) -> None:
        body, spawn_id = record.body, record.spawn_id or 0
        if isinstance(body, LIFE):
            self.life = record
            if isinstance(body, WatcherStarting | WatcherStopping):
                self.begun = record
        elif isinstance(body, ProcessSpawned):
            self.alive[spawn_id] = (body.pid, record)
        elif isinstance(body, ProcessExited):
            self.alive.pop(spawn_id, None)
            self.trouble = record
        elif isinstance(body, ProcessSpawnFailed | SlotWaiting):
            self.trouble = record


def _of_watcher(target: Target, name: str) -> Found:
    story = _Story()
    for record in _records(target, 0, sieve_for(name)):
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
    if (story.trouble is not None and story.trouble.seq > life.seq) or _gave_up(life):
        trouble = story.trouble
        if trouble is not None:
            lines.append(f"last trouble at {clock(trouble.at)}: {sentence(trouble)}.")
            return Found(tuple(lines), life if _gave_up(life) else trouble)
    settled = isinstance(life.body, WatcherStarted | WatcherStopped)
    return Found(tuple(lines), story.begun if settled and story.begun is not None else life)


def _gave_up(life: Record) -> bool:
    return isinstance(life.body, WatcherFailed)


def _records(target: Target, after: int, sieve: Sieve) -> Iterator[Record]:
    """Everything that is retained."""
    doors = doors_of(target.place)
    try:
        with Subscription(doors, after, sieve, follow=False) as records:
            yield from records
    except Trimmed as trimmed:
        with Subscription(doors, trimmed.first_seq - 1, sieve, follow=False) as records:
            yield from records


def _containing(needle: bytes) -> Sieve:
    def sieve(batch: Batch) -> list[Record]:
        return every_record(batch) if needle in batch.payload else []

    return sieve


# --- the causes -----------------------------------------------------------------------------------


def _chain(target: Target, begin: Record) -> list[Record]:
    """From the answer back to the outside world, newest first."""
    chain = [begin]
    asked = _asked_to_end(target)
    while len(chain) < STEPS_MAX and (cause := _cause(chain[-1], asked)):
        record = next(_records_at(target, cause), None)
        if record is None:
            break
        chain.append(record)
    return chain


def _asked_to_end(target: Target) -> dict[int, int]:
    """By spawn_id, the record in which a watcher asked its process to end."""
    wanted = _containing(pack("slot.stopping"))
    return {
        record.spawn_id: record.seq
        for record in _records(target, 0, wanted)
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


def _records_at(target: Target, seq: int) -> Iterator[Record]:
    doors = doors_of(target.place)
    try:
        with Subscription(doors, seq - 1, every_record, follow=False) as records:
            yield from (record for record in records if record.seq == seq)
    except Trimmed:
        return


def _told(chain: list[Record]) -> Iterator[str]:
    shown = chain[1:]
    if len(shown) > STEPS_SHOWN:
        half = STEPS_SHOWN // 2
        shown = [*shown[:half], *shown[-half:]]
    before: Record = chain[0]
    for record in shown:
        if chain.index(record) > chain.index(before) + 1:
            yield f"  … {chain.index(record) - chain.index(before) - 1} steps between …"
        yield f"  because {sentence(record)}  (#{record.seq}, {clock(record.at)})"
        before = record
    yield _end(chain[-1])


def _end(last: Record) -> str:
    if last.peer is not None:
        return f"  asked by {asked_by(last)}."
    if last.cause:
        return f"  what led to that (#{last.cause}) is further back than shown or retained."
    if isinstance(last.body, ArbiterConfigure):
        return "  the core reads it at each start."
    return f"  that came from outside: {plain(last.actor)} recorded it."
