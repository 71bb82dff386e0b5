"""Room: replay -- who talks to the daemon from outside: clients, subscribers, raw listeners.

Knows:     replay.sim.clients, replay.sim.subscriber, replay.sim.network, replay.sim.readings.
Known by:  replay.machine (holds them), replay.wishes (makes them ask).
Never:     asks the same of two of them on purpose: that they race is chance.

Strangers survive cores. With the machine they go down; clients come back without a memory,
subscribers with the cursor that they have stored, unless they are on a machine of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from circus.replay.checks.truth import Fact
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.clients import SimClient
from circus.replay.sim.network import FAIR, BusWeather, Network
from circus.replay.sim.readings import Read
from circus.replay.sim.subscriber import RawListener, SimSubscriber

UIDS: Final = (0, 1000)
AGAIN_RATE: Final = 0.1
DEADLINES: Final = (None, None, None, 0, 10_000_000, 5_000_000_000)


class Strangers:
    """All of them, and the network between them and the core."""

    def __init__(
        self, agenda: Agenda, wake: Callable[[], None], tell: Callable[[Fact], None], *, read: Read
    ) -> None:
        self.network = Network(agenda, wake)
        self.afar = False  # whether subscribers are on another machine, whose power stays on
        self.clients: list[SimClient] = []
        self.subscribers: list[SimSubscriber] = []
        self.listeners: list[RawListener] = []
        self._agenda = agenda
        self._wake = wake
        self._tell = tell
        self._read = read

    def invite(self, *, clients: int = 0, subscribers: int = 0, listeners: int = 0) -> None:
        """Let so many more come."""
        for _ in range(clients):
            number = len(self.clients)
            client = SimClient(self.network, self._tell, uid=UIDS[number % len(UIDS)])
            self.clients.append(client)
        for _ in range(subscribers):
            name = f"subscriber {len(self.subscribers)}"
            subscriber = SimSubscriber(self.network, self._tell, uid=0, name=name, read=self._read)
            self.subscribers.append(subscriber)
        for _ in range(listeners):
            name = f"listener {len(self.listeners)}"
            self.listeners.append(RawListener(self.network, self._tell, name=name))

    def change_weather(self, weather: BusWeather) -> None:
        """From now on the network fails as often as this says."""
        self.network.weather = weather

    def become_calm(self) -> None:
        """No more faults of the network."""
        self.change_weather(FAIR)
        self.network.slow = 0.0

    def ask(self, command: str, properties: Mapping[str, Any]) -> None:
        """One of the clients asks; now and then it asks again for what has been answered."""
        chance = self._agenda.chance
        client = chance.choice(self.clients)
        if client.asks and chance.random() < AGAIN_RATE:
            client.ask_again(chance.choice(tuple(client.asks.values())))
            return
        if client.is_weary:
            return
        waiting = {"waiting": True} if chance.random() < 0.5 else {}
        deadline = chance.choice(DEADLINES)
        client.ask(command, {**properties, **waiting}, deadline_ns=deadline)

    def lose_power(self) -> None:
        """Their machine is switched off and on again."""
        before = self.network
        self.network = Network(self._agenda, self._wake, before.weather)
        self.network.durability, self.network.slow = before.durability, before.slow
        clients, listeners = len(self.clients), len(self.listeners)
        self.clients.clear()
        self.listeners.clear()
        self.invite(clients=clients, listeners=listeners)
        for subscriber in self.subscribers:
            if self.afar:
                self.network.count("subscriber outlives the machine")
                subscriber.reach(self.network)
            else:
                subscriber.move(self.network)
