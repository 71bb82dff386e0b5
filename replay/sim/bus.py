"""Room: replay -- bus and link with delays: in order between two, in any order between pairs.

Knows:     bus.machine (messages), process.link (the strict decoder), replay.sim.agenda.
Known by:  replay.sim.incarnation and replay.sim.keeper.
Never:     loses, changes or repeats a message of the living incarnation.

Messages that were under way when a core died are still there when the next one listens; they are
refused at the door by their incarnation, as the real transport does (I-FENCE).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from circus.bus.codec import pack
from circus.bus.machine import Delivered, Stamped
from circus.bus.record import Decision, new_tuple
from circus.process.link import OPERATIONS, OPERATIONS_PER_MESSAGE, REPORTS, LinkClosed, decode
from circus.replay.sim.agenda import Agenda

BUS_DELAY_MAX: Final = 3_000_000
BUS_LATE_MAX: Final = 10_000_000_000
PROMPT_RATE: Final = 0.5
FAULTS: Final = ("mail.reordered", "mail.stale")
LINK_DELAY_MAX: Final = 5_000_000
SWITCHBOARD: Final = "switchboard"

Item = Stamped | Delivered


class Letter(NamedTuple):
    """One message under way."""

    due: int
    incarnation: int
    sender: str
    content: Sequence[Any]


class SimBus:
    """What is under way between the hosts and the switchboard; it outlives the core."""

    def __init__(self, agenda: Agenda) -> None:
        self.agenda = agenda
        # Half of all worlds have a bus without delays, whose hosts may hold leases (ADR-0087).
        self.prompt = agenda.chance.random() < PROMPT_RATE
        self.late = 0.0  # how often mail takes seconds (hosts on another machine)
        # Until when late mail is under way: nobody can react to what has not come.
        self.late_until = 0
        self._dice = agenda.stream("late mail")
        self._boxes: dict[str, dict[str, deque[Letter]]] = {}  # by receiver, by sender

    def lose(self) -> None:
        """The machine was switched off, or nothing under way may be believed any more."""
        self.prompt = self.agenda.chance.random() < PROMPT_RATE
        self.late_until = 0
        self._boxes.clear()

    def box(self, receiver: str) -> dict[str, deque[Letter]]:
        """What is under way to one receiver, by sender; empty where nothing is."""
        return self._boxes.setdefault(receiver, {})

    def crowd(self) -> int:
        """How many letters are under way."""
        return sum(len(pair) for box in self._boxes.values() for pair in box.values())

    def post(self, sender: str, receiver: str, incarnation: int, content: Sequence[Any]) -> None:
        """Send; it arrives behind everything that this pair has sent before."""
        box = self.box(receiver)
        pair = box.get(sender)
        due = self.agenda.boot
        if not self.prompt:
            due += self._delay()
        if pair is None:
            pair = box[sender] = deque()
        elif due < pair[-1].due:
            due = pair[-1].due
        pair.append(new_tuple(Letter, (due, incarnation, sender, content)))

    def fetch(self, box: dict[str, deque[Letter]], incarnation: int) -> list[Letter]:
        """All that has arrived; in order for each sender, in any order between them."""
        if len(box) == 1:
            ((sender, pair),) = box.items()
            found = self._arrived(pair, incarnation)
            if not pair:
                del box[sender]
            return found
        arrived = [self._arrived(pair, incarnation) for pair in box.values()]
        for sender in [sender for sender, pair in box.items() if not pair]:
            del box[sender]
        self._shuffle(arrived)
        return [letter for letters in arrived for letter in letters]

    def next_due(self, incarnation: int, after: int) -> int | None:
        """When the next message of this incarnation arrives. Those that have arrived and are not
        taken wait for something else: actors hear nothing before the keeper's list is settled."""
        due: int | None = None
        for box in self._boxes.values():
            if not box:
                continue
            for pair in box.values():
                head = pair[0]
                if head.due > after and head.incarnation == incarnation:
                    due = head.due if due is None else min(due, head.due)
        return due

    def _delay(self) -> int:
        delay = self.agenda.some(BUS_DELAY_MAX)
        if self.late and self._dice.random() < self.late:
            self.agenda.coverage.faults["mail.late"] += 1
            delay = self._dice.randrange(BUS_LATE_MAX)
            self.late_until = max(self.late_until, self.agenda.boot + delay)
        return delay

    def _shuffle(self, arrived: list[list[Letter]]) -> None:
        first = arrived[0]
        self.agenda.chance.shuffle(arrived)
        if arrived[0] is not first:
            self.agenda.coverage.faults["mail.reordered"] += 1

    def _arrived(self, pair: deque[Letter], incarnation: int) -> list[Letter]:
        found: list[Letter] = []
        boot = self.agenda.boot
        while pair:
            letter = pair[0]
            mine = letter.incarnation == incarnation
            if mine and letter.due > boot:
                break
            pair.popleft()
            if mine:
                found.append(letter)
            else:
                self.agenda.coverage.faults["mail.stale"] += 1
        return found


class SimExchange:
    """One incarnation's transport: implements arbiter.runtime.Hub."""

    def __init__(self, bus: SimBus, incarnation: int) -> None:
        self.prompt = bus.prompt
        self._bus = bus
        self._box = bus.box(SWITCHBOARD)
        self._incarnation = incarnation

    def wire(self, host: str) -> SimWire:
        """The end for one host."""
        return SimWire(host, self._bus, self._incarnation)

    def send(self, host: str, items: Sequence[Item]) -> None:
        self._bus.agenda.touch("bus.send")
        self._bus.post(SWITCHBOARD, host, self._incarnation, list(items))

    def receive(self) -> Sequence[tuple[str, Decision]]:
        self._bus.agenda.touch("bus.receive")
        if not self._box:
            return ()
        letters = self._bus.fetch(self._box, self._incarnation)
        return [(letter.sender, one) for letter in letters for one in letter.content]

    def close(self) -> None:
        """Nothing to close: what is under way outlives the core."""


class SimWire:
    """A host's end: implements bus.transport.Wire."""

    def __init__(self, host: str, bus: SimBus, incarnation: int) -> None:
        self._host = host
        self._bus = bus
        self._box = bus.box(host)
        self._incarnation = incarnation

    def send(self, decisions: Sequence[Decision]) -> None:
        self._bus.agenda.touch("wire.send")
        self._bus.post(self._host, SWITCHBOARD, self._incarnation, list(decisions))

    def receive(self) -> Sequence[Item]:
        self._bus.agenda.touch("wire.receive")
        if not self._box:
            return ()
        letters = self._bus.fetch(self._box, self._incarnation)
        if len(letters) == 1:
            return letters[0].content
        return [item for letter in letters for item in letter.content]


class SimLink:
    """Both directions between one core and the keeper, encoded and decoded as the real one.

    `to_keeper` and `to_core` are told when something has arrived.
    """

    def __init__(
        self,
        agenda: Agenda,
        to_keeper: Callable[[list[Sequence[Any]]], None],
        to_core: Callable[[], None],
    ) -> None:
        self._agenda = agenda
        self._to_keeper = to_keeper
        self._to_core = to_core
        self._unsent: list[Sequence[Any]] = []
        self._arrived: list[Sequence[Any]] = []
        self._last_due = {"keeper": 0, "core": 0}
        self._cut = False
        self._lost = False

    # --- the core's end: process.reaper.LinkEnd ---------------------------------------------------

    def send(self, items: Iterable[Sequence[Any]]) -> None:
        self._unsent.extend(items)

    def flush(self) -> bool:
        self._agenda.touch("link.flush")
        if self._cut:
            raise LinkClosed
        if not self._unsent:
            return True
        unsent, self._unsent = self._unsent, []
        for start in range(0, len(unsent), OPERATIONS_PER_MESSAGE):
            items = _travelled(unsent[start : start + OPERATIONS_PER_MESSAGE], OPERATIONS)
            self._ship("keeper", partial(self._hand_over, items))
        return True

    def receive(self) -> list[Sequence[Any]]:
        self._agenda.touch("link.receive")
        arrived, self._arrived = self._arrived, []
        return arrived

    # --- the keeper's end -------------------------------------------------------------------------

    def tell(self, reports: list[Sequence[Any]]) -> None:
        """Reports for the core; nobody hears them once it is gone."""
        if not self._cut:
            items = _travelled(reports, REPORTS)
            self._ship("core", lambda: self._arrive(items))

    def cut(self, closed: Callable[[], None]) -> None:
        """The core is gone. What it has sent arrives, then the keeper sees the end."""
        self._cut = True
        self._arrived.clear()
        self._ship("keeper", closed)

    def lose(self) -> None:
        """The keeper is dead: what is under way arrives nowhere."""
        self._cut = self._lost = True

    def _hand_over(self, items: list[Sequence[Any]]) -> None:
        if not self._lost:
            self._to_keeper(items)

    def _arrive(self, items: list[Sequence[Any]]) -> None:
        if not self._cut:
            self._arrived += items
            self._to_core()

    def _ship(self, to: str, arrive: Callable[[], None]) -> None:
        agenda = self._agenda
        awake = agenda.awake
        due = max(awake + agenda.some(LINK_DELAY_MAX), self._last_due[to] + 1)
        self._last_due[to] = due
        agenda.later(due - awake, arrive)


def _travelled(
    items: Sequence[Sequence[Any]], schema: Mapping[str, tuple[Any, ...]]
) -> list[Sequence[Any]]:
    return list(decode(pack(items), schema))
