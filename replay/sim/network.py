"""Room: replay -- between clients and the core: ctl and the event stream, late, lossy, cut off.

Knows:     replay.sim.agenda.
Known by:  replay.sim.front (the core's end), replay.sim.clients and replay.sim.subscriber (theirs).
Never:     changes the order of what one end sends another; changes a byte unless it says so.

What a client has sent to a core that died is lost, or arrives at the next one: ZeroMQ does both.
Nothing on the event stream is ever sent twice, and anything may be dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

import attr

from circus.replay.sim.agenda import Agenda, Dice

SECOND: Final = 1_000_000_000
PROMPT_NS_MAX: Final = 2_000_000
SLOW_NS_MAX: Final = 40_000_000
LATE_NS_MAX: Final = 10 * SECOND
AWAY_NS_MAX: Final = 3 * SECOND
BURST_MAX: Final = 20
FAULTS: Final = (
    "bus.late", "ctl.twice", "ctl.garbled", "ctl.vanished", "ctl.nobody_there",
    "ctl.lost_with_core", "ctl.stale", "ctl.asked_again", "events.lost", "events.reconnect",
)  # fmt: skip


@attr.s(auto_attribs=True, frozen=True, slots=True, kw_only=True)
class BusWeather:
    """How often what happens, per message; all zero is a network without faults."""

    late: float = 0.0  # up to 10 s; what the same end sends afterwards waits behind it
    twice: float = 0.0  # a client sends a request two times
    garbled: float = 0.0  # a client sends rubbish before a request
    vanish: float = 0.0  # a client gives its connection up before the answer
    stale: float = 0.0  # a request to a core that died arrives at the next one
    lost: float = 0.0  # the event stream drops some messages to a subscriber (HWM)
    rejoin: float = 0.0  # a subscriber's connection breaks and is made again

    @classmethod
    def drawn(cls, chance: Dice) -> BusWeather:
        """Half of all faults are absent from a run."""
        return cls(
            **{
                name: most * chance.random() * (chance.random() < 0.5)
                for name, most in _MOST.items()
            }
        )


_MOST: Final = {
    "late": 0.02, "twice": 0.2, "garbled": 0.2, "vanish": 0.2, "stale": 1.4, "lost": 0.02,
    "rejoin": 0.01,
}  # fmt: skip
FAIR: Final = BusWeather()


class Meaning(NamedTuple):
    """What an answer tells of, for those who check: nothing of it is on the wire."""

    seq: int = 0
    phase: str = ""
    durable: bool = False


class Doors(Protocol):
    """The living core's end of both sockets."""

    def asked(self, line: Line, frames: Sequence[bytes], /) -> None: ...
    def subscribed(self, ear: Ear, message: bytes, /) -> None: ...


def _ignore(_frames: Sequence[bytes]) -> None:
    """Nobody checks."""


class Network:
    """Outlives cores. `wake` is called when something has arrived at the living one."""

    def __init__(
        self, agenda: Agenda, wake: Callable[[], None], weather: BusWeather = FAIR
    ) -> None:
        self.agenda = agenda
        self.wake = wake
        self.weather = weather
        self.durability = "group"  # of the daemon that it leads to
        self.slow = 0.0  # how often the core takes a while over what it has heard
        self.doors: Doors | None = None
        self.life = 0  # which core it is that listens, or listened last
        self._routes = 0
        self._lines: dict[bytes, Line] = {}
        self._ears: list[Ear] = []
        agenda.coverage.expect(*FAULTS)

    def strikes(self, name: str, rate: float) -> bool:
        """Whether this fault happens now; counted if it does."""
        if rate and self.agenda.chance.random() < rate:
            self.count(name)
            return True
        return False

    def count(self, name: str) -> None:
        """It has happened."""
        self.agenda.coverage.faults[name] += 1

    def delay(self) -> int:
        """How long a message is under way."""
        if self.weather.late and self.strikes("bus.late", self.weather.late):
            return self.agenda.chance.randrange(LATE_NS_MAX)
        return self.agenda.some(PROMPT_NS_MAX)

    # --- the core's end ---------------------------------------------------------------------------

    def take_time(self) -> None:
        """Between what the core hears and its record lies time, in which a deadline may pass."""
        dice = self.agenda.stream("slow core")
        if self.slow and dice.random() < self.slow:
            self.count("core.slow")
            self.agenda.pass_time(dice.randrange(SLOW_NS_MAX))

    def listen(self, doors: Doors) -> None:
        """A new core has bound its sockets."""
        self.doors = doors
        self.life += 1
        for line in tuple(self._lines.values()):
            line.connected()
        for ear in self._ears:
            ear.connect()

    def fall_silent(self) -> None:
        """The core is gone, and so is every connection."""
        self.doors = None
        for ear in self._ears:
            ear.known.clear()

    def answer(self, route: bytes, frames: Sequence[bytes], meaning: Meaning) -> None:
        """To one client, if it is still there."""
        line = self._lines.get(route)
        if line is None:
            self.count("ctl.nobody_there")
        else:
            line.answer(frames, meaning)

    def publish(self, frames: Sequence[bytes]) -> None:
        """To everybody whose subscription has arrived."""
        topic = frames[0]
        for ear in self._ears:
            if topic.startswith(tuple(ear.known)):
                ear.send(frames)

    # --- the other ends ---------------------------------------------------------------------------

    def dial(self, uid: int, hear: Callable[[Sequence[bytes], Meaning], None]) -> Line:
        """A client's connection to ctl."""
        self._routes += 1
        line = Line(self, self._routes.to_bytes(5, "big"), uid, hear)
        self._lines[line.route] = line
        return line

    def hang_up(self, line: Line) -> None:
        """Nobody will hear what is said to it."""
        self._lines.pop(line.route, None)

    def is_open(self, line: Line) -> bool:
        """Whether somebody still reads there."""
        return line.route in self._lines

    def tune_in(
        self,
        hear: Callable[[Sequence[bytes]], None],
        *,
        dropped: Callable[[Sequence[bytes]], None] = _ignore,
        turn: Callable[[], object] = bool,
    ) -> Ear:
        """A subscriber's connection to the event stream; `dropped` is for those who check."""
        ear = Ear(self, hear, dropped, turn)
        self._ears.append(ear)
        return ear


class Line:
    """One DEALER, and its peer's memory of it."""

    def __init__(
        self, network: Network, route: bytes, uid: int,
        hear: Callable[[Sequence[bytes], Meaning], None],
    ) -> None:  # fmt: skip
        self.route = route
        self.uid = uid
        self._network = network
        self._hear = hear
        self._held: list[Sequence[bytes]] = []  # until somebody listens
        self._last_out = 0
        self._last_in = 0

    def send(self, frames: Sequence[bytes]) -> None:
        """To the core; behind everything that went before."""
        network = self._network
        if network.doors is None:
            self._held.append(frames)
            return
        agenda = network.agenda
        self._last_out = max(self._last_out, agenda.awake + network.delay())
        arrive = partial(self._arrive, frames, network.life)
        agenda.later(self._last_out - agenda.awake, arrive)

    def connected(self) -> None:
        """Somebody listens: what was held goes out."""
        held, self._held = self._held, []
        for frames in held:
            self.send(frames)

    def answer(self, frames: Sequence[bytes], meaning: Meaning) -> None:
        """From the core."""
        network = self._network
        agenda = network.agenda
        self._last_in = max(self._last_in, agenda.awake + network.delay())
        agenda.later(self._last_in - agenda.awake, partial(self._told, frames, meaning))

    def close(self) -> None:
        """What is under way to the core arrives all the same; its answer finds nobody."""
        self._network.hang_up(self)

    def _arrive(self, frames: Sequence[bytes], life: int) -> None:
        network = self._network
        if life != network.life or network.doors is None:
            if not network.strikes("ctl.stale", network.weather.stale):
                network.count("ctl.lost_with_core")
            elif network.doors is None:
                self._held.append(frames)
                return
            else:
                life = network.life
        if life == network.life and network.doors is not None:
            network.doors.asked(self, frames)
            network.wake()

    def _told(self, frames: Sequence[bytes], meaning: Meaning) -> None:
        # A closed socket reads nothing any more.
        if self._network.is_open(self):
            self._hear(frames, meaning)


class Ear:
    """One SUB: it connects again by itself, and subscribes again to all it wants."""

    def __init__(
        self,
        network: Network,
        hear: Callable[[Sequence[bytes]], None],
        dropped: Callable[[Sequence[bytes]], None],
        turn: Callable[[], object],
    ) -> None:
        self._turn = turn  # after everything that has come at once
        self.known: set[bytes] = set()  # what the publisher knows of
        self._network = network
        self._hear = hear
        self._dropped = dropped
        self._wanted: list[bytes] = []
        self._connection = 0
        self._dropping = 0
        self._last_out = 0
        self._coming: list[tuple[Sequence[bytes], int]] = []

    def subscribe(self, topic: bytes) -> None:
        """Also to the next publisher."""
        self._wanted.append(topic)
        self._say(b"\x01" + topic)

    def unsubscribe(self, topic: bytes) -> None:
        """No more of it."""
        self._wanted.remove(topic)
        self._say(b"\x00" + topic)

    def connect(self) -> None:
        """A new connection: everything is asked for again."""
        self._connection += 1
        for topic in self._wanted:
            self._say(b"\x01" + topic)

    def send(self, frames: Sequence[bytes]) -> None:
        """One message of the stream, or its loss."""
        network, agenda = self._network, self._network.agenda
        rate, rejoin = network.weather.lost, network.weather.rejoin
        if rate and (self._dropping or network.strikes("events.lost", rate)):
            self._dropping = (self._dropping or agenda.chance.randrange(BURST_MAX) + 1) - 1
            self._dropped(frames)
            return
        if rejoin and network.strikes("events.reconnect", rejoin):
            self._dropped(frames)
            self._break()
            return
        if not self._coming:
            agenda.later(network.delay(), self._land)
        self._coming.append((frames, self._connection))

    def _break(self) -> None:
        """The connection is gone, with all that was under way on it."""
        network = self._network
        self._connection += 1
        for topic in sorted(self.known):
            self._take(b"\x00" + topic)
        # The publisher is in the middle of something: what it has to read now it reads next.
        network.agenda.later(0, network.wake)
        away = network.agenda.chance.randrange(AWAY_NS_MAX)
        connection = self._connection
        network.agenda.later(away, lambda: self._return(connection))

    def _return(self, connection: int) -> None:
        if connection == self._connection and self._network.doors is not None:
            self.connect()

    def _say(self, message: bytes) -> None:
        network = self._network
        if network.doors is None:
            return
        agenda = network.agenda
        self._last_out = max(self._last_out, agenda.awake + network.delay())
        arrive = partial(self._arrive, message, network.life, self._connection)
        agenda.later(self._last_out - agenda.awake, arrive)

    def _arrive(self, message: bytes, life: int, connection: int) -> None:
        network = self._network
        if network.doors is None or (life, connection) != (network.life, self._connection):
            return
        self._take(message)
        network.wake()

    def _take(self, message: bytes) -> None:
        """The publisher's socket has it."""
        if message[:1] == b"\x01":
            self.known.add(message[1:])
        else:
            self.known.discard(message[1:])
        if self._network.doors is not None:
            self._network.doors.subscribed(self, message)

    def _land(self) -> None:
        """All that was under way arrives, in order; what was on an older connection is lost."""
        coming, self._coming = self._coming, []
        for frames, connection in coming:
            if connection == self._connection:
                self._hear(frames)
            else:
                self._dropped(frames)
        self._turn()
