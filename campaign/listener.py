"""A subscriber in a process of its own, as a user would write one; what it says is JSON lines.

`hear STATE` follows everything and says how late it is; `slow STATE COUNT` are so many in one
process that pause again and again; `join STATE SEED` comes and goes with its cursor, and folds what
it hears. All of them end when the watcher `mark` has stopped.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import circus
from campaign.stage import boot_ns
from campaign.yardstick import NS_PER_MS
from circus.arbiter.projection import Projection
from circus.bus.record import Record, fields_of
from circus.bus.subscribe_async import subscribe as subscribe_async

MARK: Final = "mark"
SAY_EVERY: Final = 20
PAUSE_EVERY: Final = 500
PAUSE_SECONDS: Final = 0.2
STAY_MAX: Final = 400


def is_mark(record: Record) -> bool:
    """What all of them listen for."""
    return record.name == "watcher.stopped" and record.watcher == MARK


def text_of(record: Record) -> bytes:
    """All of a record, in one way of writing it."""
    fields = fields_of(record.body)
    return f"{record.seq} {record.name} {record.actor} {sorted(fields.items())}".encode()


def state_of(projection: Projection) -> dict[str, Any]:
    """What a fold has come to, as the daemon's own answers say it."""
    return {
        name: [view.status, view.pids, view.spec.numprocesses, view.spec.max_retry]
        for name, view in projection.watchers.items()
    }


class Heard:
    """What has come so far: how many, the last one, and how often one was missing."""

    def __init__(self) -> None:
        self.count = self.last = self.holes = 0

    def note(self, record: Record) -> None:
        self.count += 1
        self.holes += record.seq != self.last + 1
        self.last = record.seq

    def end(self) -> None:
        """The last line."""
        print(json.dumps({"count": self.count, "last": self.last, "holes": self.holes}), flush=True)


def hear(state: str) -> None:
    """Once it has caught up: of every so many records, when they were made, and how late (ms)."""
    heard, is_live, begun = Heard(), False, boot_ns()
    records = circus.subscribe(state, after=0)
    for record in records:
        heard.note(record)
        is_live = is_live or (records.lag == 0 and record.boot > begun)
        if is_live and heard.count % SAY_EVERY == 0:
            print(json.dumps([record.boot, (boot_ns() - record.boot) / NS_PER_MS]))
        if is_mark(record):
            break
    heard.end()


def slow(state: str, count: str) -> None:
    """Each as a task."""
    asyncio.run(_all_slow(state, int(count)))


async def _all_slow(state: str, count: int) -> None:
    await asyncio.gather(*(_one_slow(state) for _ in range(count)))


async def _one_slow(state: str) -> None:
    heard = Heard()
    async for record in subscribe_async(state, after=0):
        heard.note(record)
        if heard.count % PAUSE_EVERY == 0:
            await asyncio.sleep(PAUSE_SECONDS)
        if is_mark(record):
            break
    heard.end()


class Joiner:
    """Leaves and comes back with its cursor, and folds what it hears."""

    def __init__(self, seed: int) -> None:
        self.is_over = False
        self._dice = random.Random(seed)
        self._projection = Projection()
        self._cursor: Any = 0
        self._count = self._digest = 0

    def stay(self, state: str) -> None:
        """For some records, or until the mark."""
        left = self._dice.randrange(1, STAY_MAX)
        with circus.subscribe(state, after=self._cursor) as records:
            for record in islice(records, left):
                self._digest = zlib.crc32(text_of(record), self._digest)
                self._projection.observe(record)
                self._count += 1
                if is_mark(record):
                    self.is_over = True
                    break
            self._cursor = records.cursor

    def say(self) -> None:
        """How many records, their digest, and at the end what they fold to."""
        folded = state_of(self._projection) if self.is_over else None
        whole = {"count": self._count, "digest": self._digest, "state": folded}
        print(json.dumps(whole), flush=True)


def join(state: str, seed: str) -> None:
    """Come and go, and say how it stands each time."""
    joiner = Joiner(int(seed))
    while not joiner.is_over:
        joiner.stay(state)
        joiner.say()


ROLES: Final[Mapping[str, Callable[..., None]]] = {"hear": hear, "slow": slow, "join": join}


def main(arguments: Sequence[str]) -> None:
    """ROLE STATE …"""
    role, *rest = arguments
    ROLES[role](*rest)


if __name__ == "__main__":
    main(sys.argv[1:])
