"""Room: bus -- the single sequencer: stamp, append, deliver, publish, in this order.

Knows:     bus.codec, bus.routing, bus.machine (messages to hosts), the ports below.
Known by:  the runtime and the simulator, which compose it.
Never:     waits, decides, does anything O(history), lets a record be seen that is not appended.

One wake-up, one write: decisions are collected with `submit` and leave together with `flush`, which
makes one frame of each decision, appends all frames with one write, and only then tells anybody
(ADR-0003). Nothing that was submitted is dropped on an early way out: an earlier sketch lost
exits that way, and only the ledger's reader noticed (DESIGN.md, 12).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from circus.bus.clock import Clock
from circus.bus.codec import Stamp, encode_records, stamped
from circus.bus.machine import Delivered, Lease, Stamped
from circus.bus.record import Body, Claim, Decision, Record, new_tuple
from circus.bus.routing import addressee, home
from circus.bus.values import Moment


class Log(Protocol):
    """What the switchboard needs of the ledger."""

    head: int

    def append(self, frames: Sequence[tuple[int, bytes]], now: Moment, /) -> Sequence[bytes]: ...


class Exchange(Protocol):
    """What the switchboard needs of the transport."""

    def send(self, host: str, items: Sequence[Stamped | Delivered], /) -> None: ...


class Observer(Protocol):
    """Sees every record, in order, after it is appended and before any effect of it."""

    def observe(self, record: Record, /) -> None: ...


class Publisher(Protocol):
    """Sends appended frames to subscribers; loss is allowed, they read the ledger."""

    def publish(
        self, frames: Sequence[tuple[int, bytes]], chains: Sequence[bytes], first_seq: int, /
    ) -> None: ...


OnStamped = Callable[[Stamped], None]


class Switchboard:
    """Everything that actors say to each other goes through here."""

    def __init__(
        self, log: Log, clock: Clock, incarnation: int, *, exchange: Exchange, publisher: Publisher
    ) -> None:
        self.incarnation = incarnation
        self.last: Record | None = None  # of this incarnation
        self.observers: list[Observer] = []
        self._watching: dict[type[Body], list[Callable[[Record], None]]] = {}
        self._log = log
        self._clock = clock
        self._exchange = exchange
        self._publisher = publisher
        self._submitted: list[tuple[Decision, str | OnStamped]] = []

    @property
    def head(self) -> int:
        """The highest sequence number in the ledger."""
        return self._log.head

    def watch(self, observe: Callable[[Record], None], kinds: Iterable[type[Body]]) -> None:
        """Like an observer, of these kinds of records only: nobody pays for the others."""
        for kind in kinds:
            self._watching.setdefault(kind, []).append(observe)

    def lease(self) -> Lease:
        """The numbers that follow, for one host of this thread, until the next flush.

        What it decides with them is written first, so that nothing comes between; as long as it is
        not written, nothing of it has left this thread.
        """
        return Lease(self._log.head + 1, self._clock.now())

    def submit(self, decision: Decision, sender: str | OnStamped) -> None:
        """Take one decision. `sender` is the host to hand the stamps back to, or a callback."""
        assert decision.drafts, decision
        self._submitted.append((decision, sender))

    def flush(self) -> bool:
        """Make all that was submitted true. False if there was nothing."""
        if not self._submitted:
            return False
        # Places that are claimed come first; sorting keeps the order of the rest.
        submitted, self._submitted = sorted(self._submitted, key=_is_unclaimed), []
        now = self._clock.now()
        first_seq = self._log.head + 1
        batch = _Batch(now, self.incarnation, first_seq)
        for decision, sender in submitted:
            batch.take(decision, sender)
        chains = self._log.append(batch.frames, now)
        assert self._log.head == batch.seq - 1, (self._log.head, batch.seq)
        self.last = batch.records[-1]
        self._tell(batch)
        self._publisher.publish(batch.frames, chains, first_seq)
        return True

    def _tell(self, batch: _Batch) -> None:
        watching = self._watching
        for record in batch.records:
            for observe in watching.get(type(record.body), ()):
                observe(record)
            for observer in self.observers:
                observer.observe(record)
        for on_stamped, item in batch.callbacks:
            on_stamped(item)
        for host, items in batch.mail.items():
            self._exchange.send(host, items)


class _Batch:
    """What one flush will write and tell, in ledger order."""

    def __init__(self, now: Moment, incarnation: int, seq: int) -> None:
        self.seq = seq
        self.frames: list[tuple[int, bytes]] = []
        self.records: list[Record] = []
        self.mail: dict[str, list[Stamped | Delivered]] = {}
        self.callbacks: list[tuple[OnStamped, Stamped]] = []
        self._now = now
        self._incarnation = incarnation

    def take(self, decision: Decision, sender: str | OnStamped) -> None:
        """Stamp and encode one decision; the sender hears of it before anybody it wrote to."""
        place = decision.claim or Claim(self.seq, self._now)
        assert place.first_seq == self.seq, (place, self.seq, decision)
        if decision.claim is None:
            self._answer(sender, Stamped(decision.actor, *place))
        stamp = Stamp(place.first_seq, decision.cause, decision.actor, place.now, self._incarnation)
        records: list[Record] = []
        for draft in decision.drafts:
            record = stamped(stamp, draft)
            records.append(record)
            address = addressee(record)
            if address is not None:
                self._post(home(address), new_tuple(Delivered, (address, record)))
            stamp.seq += 1
        self.seq = stamp.seq
        self.records += records
        self.frames.append((len(records), encode_records(records)))

    def _answer(self, sender: str | OnStamped, item: Stamped) -> None:
        if isinstance(sender, str):
            self._post(sender, item)
        else:
            self.callbacks.append((sender, item))

    def _post(self, host: str, item: Stamped | Delivered) -> None:
        items = self.mail.get(host)
        if items is None:
            self.mail[host] = [item]
        else:
            items.append(item)


def _is_unclaimed(submitted: tuple[Decision, object]) -> bool:
    return submitted[0].claim is None
