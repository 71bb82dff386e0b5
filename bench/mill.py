"""A ledger of any length: production's actors over a reaper whose processes live and die at once.

The records are those of a real daemon in churn, decision by decision, without the price of the
processes: what a recovery reads is what is to be measured, not what it took to write it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from circus.arbiter.memory import blank
from circus.arbiter.runtime import Ports, Runtime
from circus.bus import commands, events
from circus.bus.clock import SystemClock, boot_id
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.past import Spawns
from circus.bus.record import Body, Draft, Record
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.transport import MemoryExchange
from circus.process.version import VERSION

RUSAGE: Final = {"utime": 1_000_000, "stime": 2_000_000, "maxrss": 4_000_000}
DEATHS_PER_TURN: Final = 2
LOG_ID: Final = b"a milled ledger."

Say = Callable[[Sequence[Draft]], None]


class Mill:
    """A reaper: every spawn succeeds, and when told to, the oldest processes end."""

    def __init__(self, say: Say) -> None:
        self.alive: deque[tuple[Record, int]] = deque()
        self.reconciled = False
        self.crowded = False
        self._say = say
        self._news: list[Draft] = []
        self._pid = 1000

    def reconcile(self, spawns: Spawns, barrier: int, lost: str, /) -> None:
        """Nothing is held."""
        self.reconciled = True
        self._say([Draft(events.ReaperReconciled(barrier))])

    def perform(self, record: Record, /) -> None:
        """It runs."""
        if isinstance(record.body, commands.ProcessSpawn):
            self._pid += 1
            self.alive.append((record, self._pid))
            self._tell(record, events.ProcessSpawned(self._pid, record.boot, self._pid))

    def recorded(self, records: Sequence[Record], /) -> None:
        """Exits are acknowledged, and so their processes are reaped."""
        for record in records:
            if isinstance(record.body, events.ProcessExited):
                body = events.ProcessReaped(record.body.pid)
                self._news.append(
                    Draft(body, record.to, record.watcher, record.slot, record.spawn_id, record.seq)
                )

    def receive(self) -> None:
        """Some end."""
        ended = [self.alive.popleft() for _ in range(min(DEATHS_PER_TURN, len(self.alive)))]
        for spawn, pid in ended:
            body = events.ProcessExited(pid, 1, None, False, RUSAGE, spawn.at, spawn.boot)
            self._tell(spawn, body)
        self.flush()

    def hear(self, reports: Iterable[Sequence[object]], /) -> None:
        """There are no last words."""

    def flush(self) -> None:
        """What there is to tell, as one frame."""
        if self._news:
            news, self._news = self._news, []
            self._say(news)

    def _tell(self, spawn: Record, body: Body) -> None:
        self._news.append(
            Draft(body, spawn.actor, spawn.watcher, spawn.slot, spawn.seq, cause=spawn.seq)
        )


class _Nobody:
    def publish(self, frames: object, chains: object, first_seq: int, /) -> None: ...


def mill(directory: str, records: int, *, watchers: int = 10, processes: int = 20) -> int:
    """A ledger with so many records at least, of a daemon that then died; its head."""
    clock = SystemClock()
    ledger = Ledger.open(directory, RealDisk(), log_id=LOG_ID, now=clock.now())
    mills: list[Mill] = []

    def reaper(say: Say) -> Mill:
        mills.append(Mill(say))
        return mills[0]

    ports = Ports(
        ledger=ledger,
        clock=clock,
        exchange=MemoryExchange(),
        publisher=_Nobody(),
        reaper=reaper,
        recall=lambda: blank().found,
    )
    runtime = Runtime(ports, blank().found, 7)
    started = events.CoreStarted(VERSION, 1, 1, boot_id(), "h", "k", 0, "3", 7)
    runtime.begin((Draft(started),))
    runtime.configure(configuration(watchers, processes))
    runtime.pump()
    (one,) = mills
    while ledger.head < records:
        one.receive()
        runtime.pump()
    runtime.close()
    head = ledger.head
    ledger.close()
    return head


def configuration(watchers: int, processes: int) -> commands.ArbiterConfigure:
    """So many watchers of so many processes each."""
    specs = tuple(
        to_data(WatcherSpec(name=f"w{number}", cmd="sleep 1000", numprocesses=processes))
        for number in range(watchers)
    )
    return commands.ArbiterConfigure(specs, {"warmup_delay": 0})
