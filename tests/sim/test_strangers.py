"""Room: tests -- clients and subscribers of a simulated daemon; the network loses and delays.

Knows:     circus.replay.
Known by:  nobody.
Never:     opens a socket: gateway, event stream and SDK are production's, the rest is not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Final

import pytest

from circus.bus.codec import Unintelligible, from_outside
from circus.bus.events import CommandFinished
from circus.bus.wire import Malformed, Request, encode_request, parse_request
from circus.replay import wishes
from circus.replay.checks.truth import Dropped, Fact, Noticed, Replied
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.clients import SimClient, garbled
from circus.replay.sim.network import FAULTS, BusWeather
from circus.replay.world import World

SECOND: Final = 1_000_000_000
STORM: Final = BusWeather(
    late=0.02, twice=0.3, garbled=0.3, vanish=0.3, stale=0.5, lost=0.02, rejoin=0.01
)
WEB: Final = {"name": "web", "cmd": "steady", "numprocesses": 2}


class Listening(World):
    """A world that keeps what strangers were told."""

    def __init__(self, seed: int) -> None:
        self.heard: list[Fact] = []
        super().__init__(seed)

    def happened(self, fact: Fact) -> None:
        self.heard.append(fact)
        super().happened(fact)

    def replies(self, client: SimClient) -> list[Replied]:
        return [one for one in self.heard if isinstance(one, Replied) and one.client == client.name]


def calm_world(*, clients: int = 0, subscribers: int = 0, listeners: int = 0) -> Listening:
    world = Listening(7)
    world.configure([WEB])
    world.strangers.invite(clients=clients, subscribers=subscribers, listeners=listeners)
    world.run_for(10 * SECOND)
    return world


def test_a_client_gets_what_the_real_gateway_says() -> None:
    """Bytes in, bytes out: a command, a query and a refusal."""
    world = calm_world(clients=1)
    (client,) = world.strangers.clients
    command = client.ask("incr", {"name": "web", "nb": 2, "waiting": True})
    query = client.ask("list", {})
    refused = client.ask("stop", {"name": "nobody"})
    world.run_for(10 * SECOND)

    assert command.reply is not None
    assert 4 == command.reply["numprocesses"]
    assert query.reply is not None
    assert ("web",) == query.reply["watchers"]
    assert refused.reply is not None
    assert "error" == refused.reply["status"]


def test_the_same_id_again_has_no_effect_and_the_same_answer() -> None:
    """I-IDEM, I-CMD1: also when the core has died in between."""
    world = calm_world(clients=1)
    (client,) = world.strangers.clients
    ask = client.ask("incr", {"name": "web", "waiting": True})
    world.run_for(10 * SECOND)
    client.ask_again(ask)
    world.run_for(10 * SECOND)
    world.crash()
    world.run_for(10 * SECOND)
    client.ask_again(ask)
    world.run_for(20 * SECOND)

    told = [(one.phase, one.seq, one.content) for one in world.replies(client)]
    assert 3 == len(told)
    assert 1 == len(set(told))
    commands = [record for record in world.records() if record.id == ask.id]
    assert ["watcher.incr"] == [one.name for one in commands if one.actor == "client"]


def test_a_client_that_hears_nothing_asks_again_until_the_core_is_back() -> None:
    """Lazy Pirate: what went to a core that died is asked for under the same id."""
    world = calm_world(clients=1)
    (client,) = world.strangers.clients
    ask = client.ask("incr", {"name": "web", "waiting": True})
    world.crash()
    world.run_for(30 * SECOND)

    assert ask.tries > 1
    assert ask.reply is not None
    finished = [
        r for r in world.records() if isinstance(r.body, CommandFinished) and r.to == "client"
    ]
    assert 1 == len(finished)


def test_two_users_with_one_id_are_two_wishes() -> None:
    """An id means something only together with who used it."""
    world = calm_world(clients=2)
    first, second = world.strangers.clients
    ask = first.ask("incr", {"name": "web"})
    second.asks[ask.id] = type(ask)(ask.id, ask.data)
    second.ask_again(second.asks[ask.id])
    world.run_for(10 * SECOND)

    asked = [r for r in world.records() if r.actor == "client"]
    assert {0, 1000} == {(record.peer or {})["uid"] for record in asked}


def sequence(world: World) -> list[int]:
    return [record.seq for record in world.records()]


def test_a_subscriber_misses_nothing_on_a_network_that_loses_a_third() -> None:
    """I-SUB: in order, without a hole, up to the head, though PUB lost much of it."""
    world = calm_world(subscribers=2, listeners=1)
    world.strangers.change_weather(BusWeather(lost=0.1, rejoin=0.05, late=0.05))
    for number in range(30):
        world.command("incr" if number % 2 else "decr", name="web")
        world.run_for(SECOND)
    world.strangers.become_calm()
    world.run_for(90 * SECOND)

    head = sequence(world)
    for subscriber in world.strangers.subscribers:
        assert head == subscriber.applied
        assert not subscriber.resets
    assert world.agenda.coverage.faults["events.lost"]


def after_a_power_cut(seed: int, durability: str) -> World:
    """A subscriber has heard of what was just decided, then the power fails."""
    world = World(seed)
    world.strangers.network.durability = durability
    world.configure([WEB])
    world.strangers.invite(subscribers=1)
    world.run_for(10 * SECOND)
    for _ in range(5):
        world.command("incr", name="web")
        world.run_for(SECOND // 100)
    world.cut_power()
    world.run_for(30 * SECOND)
    return world


@pytest.mark.parametrize(("durability", "told"), [("group", {"diverged"}), ("always", set[str]())])
def test_a_subscriber_is_told_that_power_took_what_it_had_seen(
    durability: str, told: set[str]
) -> None:
    """`diverged`, never another history in silence; with `always` it has seen nothing unsafe."""
    resets: set[str] = set()
    for seed in range(15):
        world = after_a_power_cut(seed, durability)
        (subscriber,) = world.strangers.subscribers
        assert sequence(world) == subscriber.applied
        resets |= set(subscriber.resets)

    assert told == resets


def test_a_raw_listener_can_see_that_it_has_missed_something() -> None:
    """I-DETECT: within a heartbeat and a bit of the first message that it did not get."""
    world = calm_world(listeners=1)
    (listener,) = world.strangers.listeners
    world.strangers.change_weather(BusWeather(lost=0.2))
    for number in range(200):
        world.command("incr" if number % 2 else "decr", name="web")
        world.run_for(SECOND // 50)
    world.strangers.become_calm()
    world.run_for(5 * SECOND)

    dropped = [one for one in world.heard if isinstance(one, Dropped)]
    noticed = [one for one in world.heard if isinstance(one, Noticed)]
    assert listener.missed >= len(noticed) > 0
    for lost, seen in zip(dropped, noticed, strict=True):
        assert lost.seq <= seen.seq
        assert seen.boot - lost.boot <= 5 * SECOND // 4


@pytest.mark.parametrize("seed", range(50))
def test_garbage_is_never_understood(seed: int) -> None:
    """What is garbled on purpose must not be some other command by accident."""
    agenda = Agenda(seed)
    data = encode_request(Request(bytes(16), "incr", {"name": "web", "nb": 3}))
    frames = garbled(data, agenda.chance)
    if len(frames) == 1:
        with pytest.raises((Malformed, Unintelligible)):
            parse_request(from_outside(frames[0]))


def stormy(seed: int, wishes_made: int = 60) -> World:
    """Clients and subscribers in a storm, with crashes; calm at the end."""
    world = World(seed)
    chance = world.agenda.chance
    world.configure(wishes.specs(chance, ageless=True))
    world.strangers.invite(clients=3, subscribers=2, listeners=1)
    world.strangers.change_weather(STORM)
    for _ in range(wishes_made):
        name, properties = chance.choice(wishes.WISHES)
        world.strangers.ask(name, {key: draw(chance) for key, draw in properties.items()})
        world.run(30)
        if chance.random() < 0.1:
            world.crash()
    world.strangers.become_calm()
    world.run_for(120 * SECOND)
    return world


@pytest.mark.parametrize("seed", range(6))
def test_in_a_storm_everybody_gets_an_answer_and_the_whole_history(seed: int) -> None:
    """I-CMD-OUT from outside, I-SUB: retries, races, crashes and losses change nothing of it."""
    world = stormy(seed)

    for subscriber in world.strangers.subscribers:
        assert sequence(world) == subscriber.applied
    for client in world.strangers.clients:
        assert not client.waiting


def test_every_fault_of_the_network_happens() -> None:
    """Otherwise the test above would prove little."""
    total: Counter[str] = Counter()
    for seed in range(4):
        total += stormy(seed).agenda.coverage.faults
    assert set() == set(FAULTS) - set(total)


def digest(seed: int) -> str:
    return stormy(seed, 20).digest()


def test_one_seed_has_one_trace_whatever_strings_hash_to() -> None:
    """Same seed, same bytes; another seed, other bytes."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import test_strangers as t; "
    command = [sys.executable, "-c", script + "print(t.digest(5))", os.path.dirname(__file__)]
    told = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hashed}, check=True, timeout=120,
            capture_output=True, text=True,
        ).stdout.strip()
        for hashed in ("1", "4711")
    }  # fmt: skip
    assert {digest(5)} == told
    assert digest(6) not in told
