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
from typing import Any, Final, Protocol

from circus.bus.commands import ProcessSignal, ProcessSpawn
from circus.bus.events import (
    CoreHung,
    CoreLost,
    KeeperReexeced,
    KeeperReexecRefused,
    OrphanReaped,
    OutputFailed,
    OutputResumed,
    OutputUncertain,
    ProcessExited,
    ProcessLost,
    ProcessReaped,
    ProcessSignalled,
    ProcessSpawned,
    ProcessSpawnFailed,
    ScribeLost,
    ScribeStarted,
    SignalReceived,
    SocketBound,
    SocketClosed,
    SocketFailed,
)
from circus.bus.past import Spawns
from circus.bus.record import Body, Draft, Record
from circus.bus.values import watcher_of
from circus.bus.vault import VaultError
from circus.process.core import OVER, Life, Phase, evolve
from circus.process.launch import Launch, spawn_failure
from circus.process.lives import LOST, Lives, Settling, draft_about

UNSEEN: Final = "its keeper was killed, and nobody else could wait for it"
# What the keeper holds until it is on record.
ENDS: Final = frozenset({ProcessExited, ProcessSpawnFailed, ProcessLost})
# With so many requests at hand the keeper begins while the rest is still being decided.
CROWD: Final = 128
# The keeper tells these until it hears that they are on record.
NEWS: Final = frozenset({
    OutputFailed, OutputResumed, OutputUncertain, ScribeLost, ScribeStarted, SocketBound,
    SocketClosed, SocketFailed,
})  # fmt: skip


class LinkEnd(Protocol):
    """What the reaper needs of a link; the simulator has its own."""

    def send(self, items: Iterable[Sequence[Any]]) -> None: ...
    def receive(self) -> list[Sequence[Any]]: ...
    def flush(self) -> bool: ...


class Hearing:
    """One batch of reports on its way to becoming one frame."""

    __slots__ = ("acks", "drafts", "lives")

    def __init__(self, lives: Lives, acks: list[int]) -> None:
        self.lives = lives
        self.acks = acks
        self.drafts: list[Draft] = []

    def news(self, spawn_id: int, body: Body, cause: int) -> None:
        self.lives.news(self.drafts, spawn_id, body, cause)

    def about_output(self, spawn_id: int, owner: str, body: Body) -> None:
        """Its process may be over, and is only named: no actor decides anything about output."""
        watcher = watcher_of(owner) or None
        self.drafts.append(Draft(body, watcher=watcher, spawn_id=spawn_id, cause=0))


class Reaper:
    """Requests out, reports in. `receive` and `flush` raise LinkClosed when the keeper is gone."""

    __slots__ = (
        "_acks", "_heard", "_launch_of", "_launches", "_link", "_lives", "_operations", "_say",
        "_sent",
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
        self._lives = Lives()
        self._launches: dict[tuple[str, str], Launch] = {}
        self._sent: set[str] = set()
        self._acks: list[int] = []
        self._heard = 0  # so many news are on record, and the keeper does not know
        self._operations: list[Sequence[Any]] = []

    @property
    def reconciled(self) -> bool:
        """Has the keeper's list been compared with the ledger?"""
        return self._lives.reconciled

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
        """The reaper's facts are in the ledger: ends may be acknowledged, lives forgotten."""
        for record in records:
            kind, spawn_id = type(record.body), record.spawn_id
            if kind in NEWS:
                self._heard += 1
                continue
            if spawn_id is None:
                continue
            if kind in ENDS:
                self._acks.append(spawn_id)
            self._lives.forget_over(spawn_id)

    def receive(self) -> None:
        """Read the link; everything that is news becomes one frame."""
        self.hear(self._link.receive())

    def hear(self, reports: Iterable[Sequence[Any]]) -> None:
        """Turn reports, from the link or from the last words of a keeper, into one frame."""
        hearing = Hearing(self._lives, self._acks)
        for report in reports:
            HEARD[report[0]](hearing, *report[1:])
        if hearing.drafts:
            self._say(hearing.drafts)

    @property
    def crowded(self) -> bool:
        """So many requests wait that the keeper should begin with them."""
        return len(self._operations) >= CROWD

    def flush(self) -> None:
        """Send acknowledgements, then requests. Until the list is settled, only the list."""
        if self._lives.reconciled:
            if self._acks:
                self._link.send([("ack", self._acks)])
                self._acks = []
            if self._heard:
                self._link.send([("heard", self._heard)])
                self._heard = 0
            if self._operations:
                self._link.send(self._operations)
                self._operations = []
        self._link.flush()

    def reconcile(self, spawns: Spawns, barrier: int, lost: str = LOST) -> None:
        """Ask the keeper what it holds, to compare it with what the ledger says. `lost`: why what
        it does not hold is gone."""
        self._lives.begin(Settling(spawns, barrier, lost))
        for spawn_id, record in spawns.undecided.items():
            self._lives.known[spawn_id].launch = self._launch(record)
        self._link.send([("list", barrier)])

    # -- requests ----------------------------------------------------------------------------------

    def _spawn(self, record: Record, body: ProcessSpawn) -> None:
        key = (record.actor, body.spec)
        launch = self._launches.get(key)
        known = self._lives.know(record.seq, record, Life())
        if launch is None:
            try:
                launch = self._launch_of(record)
            except (ValueError, LookupError, VaultError) as error:
                # It never reaches the keeper, so its failure is said like one of its reports.
                failed = ProcessSpawnFailed("exec", errno.EINVAL, f"cannot start: {error}")
                known.life = evolve(known.life, failed)
                self._say([draft_about(record.seq, known, failed, record.seq)])
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
        except (ValueError, LookupError, VaultError):
            # Only for a better sentence about a failure of the past.
            return None


def _hello(hearing: Hearing, version: int, pid: int, lost: Iterable[Any], given: int) -> None:
    for gone, code, signum, silent, at in lost:
        if 0 < at <= hearing.lives.lost_until:
            continue  # A core that died before it was ready has put it on record.
        if silent:
            hearing.drafts.append(Draft(CoreHung(gone, silent), cause=0))
        hearing.drafts.append(Draft(CoreLost(gone, code, signum, at), cause=0))


def _held(hearing: Hearing, last: Any, rows: Sequence[Sequence[Any]]) -> None:
    lives = hearing.lives
    settling = lives.settling
    if settling is None:
        return
    settling.rows.update((row[0], row) for row in rows)
    if last:
        lives.settling = None
        hearing.drafts += lives.settle(settling)
        lives.reconciled = True


def _spawned(hearing: Hearing, spawn_id: int, owner: str, *seen: Any) -> None:
    # A process that was found by its mark is `adopted`, which no keeper says.
    hearing.news(spawn_id, ProcessSpawned(*seen), spawn_id)


def _failed(hearing: Hearing, spawn_id: int, owner: str, step: str, number: int) -> None:
    known = hearing.lives.known.get(spawn_id)
    if known is None:
        hearing.acks.append(spawn_id)
        return
    reason = spawn_failure(known.launch, step, number)
    hearing.news(spawn_id, ProcessSpawnFailed(step, number, reason), spawn_id)


def _exited(hearing: Hearing, spawn_id: int, owner: str, *seen: Any) -> None:
    known = hearing.lives.known.get(spawn_id)
    if known is None or known.life.phase is Phase.EXITED:
        # It was on record before an earlier core could acknowledge it.
        hearing.acks.append(spawn_id)
        return
    hearing.news(spawn_id, ProcessExited(*seen), spawn_id)


def _signalled(hearing: Hearing, seq: int, spawn_id: int, *seen: Any) -> None:
    body = ProcessSignalled(seq, *seen)
    known = hearing.lives.known.get(spawn_id)
    if known is not None and known.life.phase not in OVER:
        hearing.news(spawn_id, body, seq or spawn_id)
    elif seq:
        # It crossed the end of the process: nobody waits for it, but it has its outcome.
        hearing.drafts.append(Draft(body, spawn_id=spawn_id, cause=seq))


def _reaped(hearing: Hearing, spawn_id: int, *seen: Any) -> None:
    hearing.news(spawn_id, ProcessReaped(*seen), spawn_id)


def _orphan(hearing: Hearing, *seen: Any) -> None:
    hearing.drafts.append(Draft(OrphanReaped(*seen), cause=0))


def _os_signal(hearing: Hearing, signum: int) -> None:
    hearing.drafts.append(Draft(SignalReceived(signum), cause=0))


def _reexeced(hearing: Hearing, seq: int, version: str) -> None:
    hearing.drafts.append(Draft(KeeperReexeced(version), cause=seq))


def _reexec_refused(hearing: Hearing, seq: int, reason: str) -> None:
    hearing.drafts.append(Draft(KeeperReexecRefused(reason), cause=seq))


def _lost(hearing: Hearing, spawn_id: int, pid: int) -> None:
    if spawn_id not in hearing.lives.known:
        # It was on record before an earlier core could acknowledge it.
        hearing.acks.append(spawn_id)
    hearing.news(spawn_id, ProcessLost(pid, UNSEEN), spawn_id)


def _scribe_started(hearing: Hearing, pid: int) -> None:
    hearing.drafts.append(Draft(ScribeStarted(pid), cause=0))


def _scribe_lost(hearing: Hearing, *seen: Any) -> None:
    hearing.drafts.append(Draft(ScribeLost(*seen), cause=0))


def _output_uncertain(hearing: Hearing, spawn_id: int, owner: str, *seen: Any) -> None:
    hearing.about_output(spawn_id, owner, OutputUncertain(*seen))


def _output_failed(hearing: Hearing, spawn_id: int, owner: str, *seen: Any) -> None:
    hearing.about_output(spawn_id, owner, OutputFailed(*seen))


def _output_resumed(hearing: Hearing, spawn_id: int, owner: str, *seen: Any) -> None:
    hearing.about_output(spawn_id, owner, OutputResumed(*seen))


def _socket_bound(hearing: Hearing, *seen: Any) -> None:
    hearing.drafts.append(Draft(SocketBound(*seen), cause=0))


def _socket_failed(hearing: Hearing, *seen: Any) -> None:
    hearing.drafts.append(Draft(SocketFailed(*seen), cause=0))


def _socket_closed(hearing: Hearing, *seen: Any) -> None:
    hearing.drafts.append(Draft(SocketClosed(*seen), cause=0))


def _pong(hearing: Hearing, number: int) -> None:
    """It lives; nothing is on record about that."""


HEARD: Final[Mapping[str, Callable[..., None]]] = {
    "hello": _hello,
    "held": _held,
    "spawned": _spawned,
    "failed": _failed,
    "exited": _exited,
    "signalled": _signalled,
    "reaped": _reaped,
    "orphan": _orphan,
    "os_signal": _os_signal,
    "pong": _pong,
    "lost": _lost,
    "reexeced": _reexeced,
    "reexec_refused": _reexec_refused,
    "scribe_started": _scribe_started,
    "scribe_lost": _scribe_lost,
    "output_uncertain": _output_uncertain,
    "output_failed": _output_failed,
    "output_resumed": _output_resumed,
    "socket_bound": _socket_bound,
    "socket_failed": _socket_failed,
    "socket_closed": _socket_closed,
}
