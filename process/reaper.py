"""Room: process -- the reaper: the keeper's voice on the bus, the only hands of every watcher.

Knows:     process.core (what is news), process.link, process.launch, bus.commands, bus.events.
Known by:  the core's runtime.
Never:     has a policy; acknowledges what is not in the ledger; spawns before it has reconciled.

A turn is: `receive` (reports become one frame), `recorded` (exits in the ledger are acknowledged),
`perform` (commands in the ledger become operations), `flush` (acknowledgements first, then the
rest, in one message: deferring them would starve them in churn).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from circus.bus.commands import ProcessSignal, ProcessSpawn
from circus.bus.events import (
    CoreLost,
    OrphanReaped,
    ProcessExited,
    ProcessLost,
    ProcessNeverRun,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
    ReaperReconciled,
    SignalReceived,
)  # fmt: skip
from circus.bus.record import Body, Draft, Record
from circus.bus.values import watcher_of
from circus.process.core import OVER, Life, Phase, decide, evolve
from circus.process.launch import Launch
from circus.process.sentences import spawn_failure

NEVER_RUN = "the core ended between the request and the keeper"
LOST = "the keeper that held it is gone"


class LinkEnd(Protocol):
    """What the reaper needs of a link; the simulator has its own."""

    def send(self, items: Iterable[Sequence[Any]]) -> None: ...
    def receive(self) -> list[Sequence[Any]]: ...
    def flush(self) -> bool: ...


class Known:
    """One process that is not over: whose it is and how far its life is on record."""

    __slots__ = ("launch", "life", "owner", "slot", "watcher")

    def __init__(self, owner: str, watcher: str | None, slot: int | None, life: Life) -> None:
        self.owner = owner
        self.watcher = watcher
        self.slot = slot
        self.life = life
        self.launch: Launch | None = None


class Settling:
    """A reconciliation under way: what the ledger says, and the keeper's rows so far."""

    __slots__ = ("alive", "barrier", "rows", "undecided")

    def __init__(
        self, undecided: Mapping[int, Record], alive: Mapping[int, Record], barrier: int
    ) -> None:
        self.undecided = undecided
        self.alive = alive
        self.barrier = barrier
        self.rows: dict[int, Sequence[Any]] = {}


class Reaper:
    """Requests out, reports in. `receive` and `flush` raise LinkClosed when the keeper is gone."""

    __slots__ = (
        "_acks", "_known", "_launch_of", "_launches", "_link", "_operations", "_say", "_sent",
        "_settling", "reconciled",
    )  # fmt: skip

    def __init__(
        self,
        link: LinkEnd,
        launch_of: Callable[[Record], Launch],
        say: Callable[[Sequence[Draft]], None],
    ) -> None:
        self._link = link
        self._launch_of = launch_of
        self._say = say
        self._known: dict[int, Known] = {}
        self._launches: dict[tuple[str, str], Launch] = {}
        self._sent: set[str] = set()
        self._acks: list[int] = []
        self._operations: list[Sequence[Any]] = []
        self._settling: Settling | None = None
        self.reconciled = False

    def perform(self, record: Record) -> None:
        """A `process.spawn` or `process.signal` that is in the ledger: queue its operation."""
        body = record.body
        if isinstance(body, ProcessSpawn):
            self._spawn(record, body)
        elif isinstance(body, ProcessSignal):
            spawn_id = record.spawn_id or 0
            self._operations.append(
                ("signal", record.seq, spawn_id, body.signum, body.scope, body.child_pid)
            )

    def recorded(self, records: Sequence[Record]) -> None:
        """The reaper's own facts are in the ledger now: ends may be acknowledged, lives forgotten."""
        for record in records:
            kind, spawn_id = type(record.body), record.spawn_id
            if spawn_id is None:
                continue
            if kind is ProcessExited or kind is ProcessSpawnFailed:
                self._acks.append(spawn_id)
            known = self._known.get(spawn_id)
            if known is not None and known.life.phase in OVER:
                del self._known[spawn_id]

    def receive(self) -> None:
        """Read the link; everything that is news becomes one frame."""
        self.hear(self._link.receive())

    def hear(self, reports: Iterable[Sequence[Any]]) -> None:
        """Turn reports, from the link or from the last words of a keeper, into one frame."""
        drafts: list[Draft] = []
        for report in reports:
            HEARD[report[0]](self, drafts, *report[1:])
        if drafts:
            self._say(drafts)

    def flush(self) -> None:
        """Send acknowledgements, then requests. Until the list is settled, only the list."""
        if self.reconciled:
            if self._acks:
                self._link.send([("ack", self._acks)])
                self._acks = []
            if self._operations:
                self._link.send(self._operations)
                self._operations = []
        self._link.flush()

    def reconcile(
        self, undecided: Mapping[int, Record], alive: Mapping[int, Record], barrier: int
    ) -> None:
        """Ask the keeper what it holds; `undecided` are spawns without an outcome in the ledger,
        `alive` processes without an end, each by spawn_id with its spawn (or spawned) record."""
        self._settling = Settling(undecided, alive, barrier)
        for spawn_id, record in undecided.items():
            self._know(spawn_id, record, Life()).launch = self._launch(record)
        for spawn_id, record in alive.items():
            pid = record.body.pid if isinstance(record.body, ProcessSpawned) else 0
            self._know(spawn_id, record, Life(Phase.RUNNING, pid))
        self._link.send([("list", barrier)])

    # -- requests ----------------------------------------------------------------------------------

    def _spawn(self, record: Record, body: ProcessSpawn) -> None:
        key = (record.actor, body.spec)
        launch = self._launches.get(key)
        known = self._know(record.seq, record, Life())
        if launch is None:
            try:
                launch = self._launch_of(record)
            except (ValueError, LookupError) as error:
                # It never reaches the keeper, so its failure is said like one of its reports.
                failed = ProcessSpawnFailed("exec", errno.EINVAL, f"cannot start: {error}")
                known.life = evolve(known.life, failed)
                self._say([_draft(record.seq, known, failed, record.seq)])
                return
            if not launch.by_slot:
                self._launches[key] = launch
        known.launch = launch
        digest = launch.digest
        if digest not in self._sent:
            self._sent.add(digest)
            self._operations.append(("spec", digest, launch.to_map()))
        self._operations.append(("spawn", record.seq, digest, record.actor, launch.plan))

    def _launch(self, record: Record) -> Launch | None:
        try:
            return self._launch_of(record)
        except (ValueError, LookupError):
            # Only for a better sentence about a failure of the past.
            return None

    def _know(self, spawn_id: int, record: Record, life: Life) -> Known:
        """The owner is who asked for the spawn: the actor of the command, the `to` of the fact."""
        owner = record.actor if isinstance(record.body, ProcessSpawn) else record.to
        known = Known(owner or "", record.watcher, record.slot, life)
        self._known[spawn_id] = known
        return known

    # -- reports -----------------------------------------------------------------------------------

    def _news(self, drafts: list[Draft], spawn_id: int, body: Body, cause: int) -> None:
        """Say it if it is news. The life moves at once: one batch may tell a whole life."""
        known = self._known.get(spawn_id)
        if known is not None:
            drafts += [_draft(spawn_id, known, fact, cause) for fact in decide(known.life, body)]
            known.life = evolve(known.life, body)

    def _hello(
        self, drafts: list[Draft], version: int, pid: int, lost: Iterable[Sequence[Any]]
    ) -> None:
        drafts += [Draft(CoreLost(*one), cause=0) for one in lost]

    def _held(self, drafts: list[Draft], last: bool, rows: Sequence[Sequence[Any]]) -> None:
        settling = self._settling
        if settling is None:
            return
        settling.rows.update((row[0], row) for row in rows)
        if last:
            self._settling = None
            drafts += self._settle(settling)
            self.reconciled = True

    def _exited(self, drafts: list[Draft], spawn_id: int, owner: str, *seen: Any) -> None:
        if spawn_id not in self._known:
            # It was on record before an earlier core could acknowledge it.
            self._acks.append(spawn_id)
            return
        self._news(drafts, spawn_id, ProcessExited(*seen), spawn_id)

    def _failed(
        self, drafts: list[Draft], spawn_id: int, owner: str, step: str, number: int
    ) -> None:
        known = self._known.get(spawn_id)
        if known is None:
            self._acks.append(spawn_id)
            return
        reason = spawn_failure(known.launch, step, number)
        self._news(drafts, spawn_id, ProcessSpawnFailed(step, number, reason), spawn_id)

    def _settle(self, settling: Settling) -> list[Draft]:
        """The ledger against the keeper's rows, which are the truth."""
        drafts: list[Draft] = []
        adopted = self._settle_adopted(settling, drafts)
        never_run = [s for s in settling.undecided if s not in settling.rows]
        lost = [s for s in settling.alive if s not in settling.rows]
        for spawn_id in never_run:
            self._news(drafts, spawn_id, ProcessNeverRun(NEVER_RUN), spawn_id)
        for spawn_id in lost:
            pid = self._known[spawn_id].life.pid
            self._news(drafts, spawn_id, ProcessLost(pid, LOST), spawn_id)
        drafts.append(
            Draft(
                ReaperReconciled(
                    settling.barrier, tuple(adopted), tuple(lost), tuple(never_run)
                ),
                cause=0,
            )
        )
        return drafts

    def _settle_adopted(self, settling: Settling, drafts: list[Draft]) -> list[int]:
        adopted: list[int] = []
        for spawn_id, row in settling.rows.items():
            _, owner, state, pid, started, inode, _, _ = row
            if spawn_id not in self._known and (state == "alive" or spawn_id > settling.barrier):
                # The keeper holds what a damaged ledger has forgotten: it is ours all the same.
                self._known[spawn_id] = Known(owner, watcher_of(owner) or None, None, Life())
            known = self._known.get(spawn_id)
            if known is None or state == "failed" or known.life.phase is not Phase.REQUESTED:
                continue
            adopted.append(spawn_id)
            spawned = ProcessSpawned(pid, started, inode, adopted=True)
            self._news(drafts, spawn_id, spawned, spawn_id)
        return adopted


def _draft(spawn_id: int, known: Known, body: Body, cause: int) -> Draft:
    return Draft(
        body, to=known.owner, watcher=known.watcher, slot=known.slot, spawn_id=spawn_id,
        cause=cause,
    )  # fmt: skip


def _hear_spawned(
    reaper: Reaper, drafts: list[Draft], spawn_id: int, owner: str, *seen: Any
) -> None:
    reaper._news(drafts, spawn_id, ProcessSpawned(*seen), spawn_id)


def _hear_signalled(
    reaper: Reaper, drafts: list[Draft], seq: int, spawn_id: int, *seen: Any
) -> None:
    body = ProcessSignalled(seq, *seen)
    if spawn_id in reaper._known:
        reaper._news(drafts, spawn_id, body, seq or spawn_id)
    elif seq:
        # It crossed the end of the process: nobody waits for it, but it has its outcome.
        drafts.append(Draft(body, spawn_id=spawn_id, cause=seq))


def _hear_reaped(reaper: Reaper, drafts: list[Draft], spawn_id: int, *seen: Any) -> None:
    reaper._news(drafts, spawn_id, ProcessReaped(*seen), spawn_id)


def _hear_orphan(reaper: Reaper, drafts: list[Draft], *seen: Any) -> None:
    drafts.append(Draft(OrphanReaped(*seen), cause=0))


def _hear_os_signal(reaper: Reaper, drafts: list[Draft], signum: int) -> None:
    drafts.append(Draft(SignalReceived(signum), cause=0))


def _hear_pong(reaper: Reaper, drafts: list[Draft], number: int) -> None:
    """It lives; nothing is on record about that."""


HEARD: Mapping[str, Callable[..., None]] = {
    "hello": Reaper._hello,
    "held": Reaper._held,
    "spawned": _hear_spawned,
    "failed": Reaper._failed,
    "exited": Reaper._exited,
    "signalled": _hear_signalled,
    "reaped": _hear_reaped,
    "orphan": _hear_orphan,
    "os_signal": _hear_os_signal,
    "pong": _hear_pong,
}
