"""Room: replay -- subscribers: the SDK's engine fed by a lossy stream, and a raw SUB without it.

Knows:     bus.follow (the SDK), bus.wire, replay.sim.network, replay.checks.truth.
Known by:  replay.world.
Never:     mends a hole itself: what the SDK hands out is what is told to the checkers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from circus.bus.cursor_errors import Damaged, Diverged, Reset, Trimmed
from circus.bus.follow import Batch, Follow, ReadRefused, Step
from circus.bus.subscriber import every_record
from circus.bus.values import Cursor
from circus.bus.wire import EVENT, HEARTBEAT, decode_live
from circus.replay.checks.truth import Dropped, Fact, Handed, Noticed, Severed
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.network import Line, Meaning, Network
from circus.replay.sim.readings import Read

SECOND: Final = 1_000_000_000
REFUSED_NS: Final = 5 * SECOND  # a user's patience with a READ that was refused
QUEUE_MAX: Final = 1000  # RCVHWM
REFUSALS_MAX: Final = 3
# What keeps a heartbeat from being sent, or from arriving, in time.
EXCUSES: Final = (
    "clock.suspend", "clock.stall", "core.stopped", "bus.late", "events.reconnect",
    "disk.sync_slow",
)  # fmt: skip


class SimSubscriber:
    """A user of `circus.subscribe`, who begins anew when told that it cannot go on."""

    def __init__(
        self,
        network: Network,
        tell: Callable[[Fact], None],
        *,
        uid: int,
        name: str,
        read: Read,
    ) -> None:
        self.name = name
        self.applied: list[int] = []  # since the last reset
        self.resets: list[str] = []
        self._network = network
        self._agenda: Agenda = network.agenda
        self._tell = tell
        self._uid = uid
        self._read = read
        self._stored: Cursor | int = 0  # what it goes on from after a power cut
        self._sdk = self._follow(self._stored)
        self._queue: deque[Sequence[bytes]] = deque()
        self._barrier = b""
        self._alarm: int | None = None
        self._refusals = 0
        self._connect(network)

    @property
    def lag(self) -> int:
        """Records that exist and have not been handed out, as far as the SDK knows."""
        return self._sdk.lag

    def move(self, network: Network) -> None:
        """Its machine starts again; it goes on from the cursor that it has stored."""
        self._sdk = self._follow(self._cursor() or self._stored)
        self._connect(network)

    def reach(self, network: Network) -> None:
        """The daemon's machine starts again, and this one's has run on: sockets connect again, and
        ask again for what they want."""
        barrier = self._barrier
        self._connect(network)
        if barrier:
            self._ear.subscribe(barrier)
            self._barrier = barrier

    def _connect(self, network: Network) -> None:
        self._network = network
        self._queue.clear()
        self._barrier, self._alarm = b"", None
        self._ear = network.tune_in(self._heard, turn=self.turn)
        for topic in (EVENT, HEARTBEAT):
            self._ear.subscribe(topic)
        self._line: Line = network.dial(self._uid, self._answered)
        self._agenda.later(0, self.turn)

    def turn(self) -> None:
        """What a driver of the SDK does at each wake-up."""
        sdk = self._sdk
        self._drain()
        if sdk is self._sdk:
            step = sdk.step(self._agenda.boot)
            self._carry_out(step)
            self._drain()
            self._wake_at(step.wake)

    def _follow(self, after: Cursor | int) -> Follow:
        self._stored = after
        return Follow(after, fresh=lambda: self._agenda.chance.randbytes(16))

    def _drain(self) -> None:
        sdk = self._sdk
        try:
            while sdk.ready or (self._queue and sdk.listening):
                while sdk.ready:
                    self._hand_out(sdk.ready.popleft())
                if self._queue and sdk.listening:
                    sdk.hear(self._queue.popleft(), self._agenda.boot)
        except (Reset, Diverged, Trimmed) as error:
            self._begin_anew(error)

    def _hand_out(self, batch: Batch) -> None:
        self._refusals = 0
        for record in every_record(batch, self._read):
            self.applied.append(record.seq)
            self._tell(Handed(self.name, record))

    def _carry_out(self, step: Step) -> None:
        if step.subscribe is not None:
            if self._barrier:
                self._ear.unsubscribe(self._barrier)
            self._ear.subscribe(step.subscribe)
            self._barrier = step.subscribe
        if step.redial:
            self._line.close()
            self._line = self._network.dial(self._uid, self._answered)
        if step.request is not None:
            self._line.send((step.request,))

    def _wake_at(self, due: int) -> None:
        """One alarm at a time, the earliest."""
        alarm = due - self._agenda.slept
        if self._alarm is None or alarm < self._alarm:
            self._alarm = alarm
            self._agenda.later(due - self._agenda.boot, lambda: self._ring(alarm))

    def _ring(self, alarm: int) -> None:
        if self._alarm == alarm:
            self._alarm = None
            self.turn()

    def _heard(self, frames: Sequence[bytes]) -> None:
        if len(self._queue) < QUEUE_MAX:
            self._queue.append(frames)

    def _answered(self, frames: Sequence[bytes], _meaning: Meaning) -> None:
        try:
            self._sdk.answered(frames, self._agenda.boot)
        except (Reset, Diverged, Trimmed) as error:
            self._begin_anew(error)
        except (ReadRefused, Damaged):  # refused by the server, or rotten on the way to us
            self._refusals += 1
            self._agenda.later(REFUSED_NS, self._ask_again)
            return
        self.turn()

    def _ask_again(self) -> None:
        """A user whose READ was refused tries from where it is, and at last behind the damage."""
        if self._refusals >= REFUSALS_MAX:
            self._sever("damaged", self._sdk.head)
        else:
            self._sdk = self._follow(self._cursor() or self._sdk.place.seq or 0)
        self.turn()

    def _cursor(self) -> Cursor | None:
        """Where it is, so that histories can be compared; None before the first record."""
        place = self._sdk.place
        if place.log_id is None or place.seq is None or place.chain8 is None:
            return None
        return Cursor(place.log_id, place.seq, place.chain8)

    def _begin_anew(self, error: Reset | Diverged | Trimmed) -> None:
        after = error.first_seq - 1 if isinstance(error, Trimmed) else 0
        self._sever(type(error).__name__.lower(), after)
        self._wake_at(self._agenda.boot)

    def _sever(self, reason: str, after: int) -> None:
        self._refusals = 0
        self.resets.append(reason)
        self.applied.clear()
        self._tell(Severed(self.name, reason, after))
        self._sdk = self._follow(after)


class RawListener:
    """A SUB without the SDK: it cannot mend what it misses, but it must be able to see it.

    It tells of a loss when it has noticed it, and only if that could be done in time: clocks that
    jumped meanwhile, or a heartbeat that was lost as well, are nobody's fault.
    """

    def __init__(
        self, network: Network, tell: Callable[[Fact], None], *, name: str = "raw listener"
    ) -> None:
        self.name = name
        self.missed = 0
        self._network = network
        self._tell = tell
        self._head: int | None = None  # known from the first message on
        self._core = (0, 0)
        self._lost: deque[tuple[Dropped, int]] = deque()  # each with the excuses of its time
        self._ear = network.tune_in(self._heard, dropped=self._dropped)
        for topic in (EVENT, HEARTBEAT):
            self._ear.subscribe(topic)

    def _heard(self, frames: Sequence[bytes]) -> None:
        header = decode_live(frames).header
        if header.core != self._core:
            self._core, self._head = header.core, header.head_seq
            self._lost.clear()
            return
        head = self._head or 0
        before = header.head_seq if header.frame_seq is None else header.frame_seq - 1
        if before > head:
            self._notice(before)
        self._head = max(head, header.head_seq)

    def _notice(self, seq: int) -> None:
        self.missed += 1
        known: list[tuple[Dropped, int]] = []
        while self._lost and self._lost[0][0].seq <= seq:
            known.append(self._lost.popleft())
        if known and known[0][1] == self._excused():
            self._tell(known[0][0])
            self._tell(Noticed(self.name, seq, self._network.agenda.boot))

    def _dropped(self, frames: Sequence[bytes]) -> None:
        live = decode_live(frames)
        if live.topic != EVENT:
            self._lost = deque((lost, -1) for lost, _ in self._lost)
        elif self._head is not None:
            lost = Dropped(self.name, live.header.head_seq, self._network.agenda.boot)
            self._lost.append((lost, self._excused()))

    def _excused(self) -> int:
        faults = self._network.agenda.coverage.faults
        return self._network.life + sum(faults[name] for name in EXCUSES)
