"""Room: tests -- checkers that need a whole world to look at: each is shown its own crime.

Knows:     circus.replay, the vocabulary.
Known by:  nobody.
Never:     patches: what is wrong is told to the truth, or stands on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pytest

from circus.bus import commands, events
from circus.bus.codec import Stamp, stamped
from circus.bus.machine import Delivered
from circus.bus.record import Body, Draft, Record
from circus.bus.values import Moment
from circus.bus.vault import Vault
from circus.process.children import Children
from circus.replay.checks.checkers import Checker, Truth, Violation
from circus.replay.checks.invariants import every_checker
from circus.replay.checks.ledger import Degraded
from circus.replay.checks.second_reader import SecondReader
from circus.replay.checks.subscribers import TAINTS
from circus.replay.checks.truth import Fact, Handed, Obeyed, Replied, Told
from circus.replay.sim.bus import SimExchange
from circus.replay.sim.disk_weather import CALM, DiskWeather
from circus.replay.sim.front import SimOptions
from circus.replay.wishes import SEALED, SECRETS
from circus.replay.world import Cast, World

SECOND: Final = 1_000_000_000


class Forgetful(SimExchange):
    """A transport that loses the news of web's exits."""

    def send(self, host: str, items: Sequence[Any]) -> None:
        super().send(host, [one for one in items if not _is_exit(one)])


def _is_exit(item: Any) -> bool:
    exit_ = isinstance(item, Delivered) and isinstance(item.record.body, events.ProcessExited)
    return exit_ and item.record.watcher == "web"


class Leaky(Vault):
    """Gives out what it was to keep."""

    def seal(self, value: str) -> str:
        return value


class Ears(Checker):
    """Not a checker: it hears which environments the keeper is told."""

    id = "ears"
    hears = (Obeyed,)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.heard: set[str] = set()

    def happened(self, fact: Fact) -> None:
        assert isinstance(fact, Obeyed), fact
        if fact.operation[0] == "spec":
            self.heard |= set(fact.operation[2]["env"].values())


class Deaf(Degraded):
    """Is told of no gap: to it, production keeps silent about what the disk has not taken."""

    def recorded(self, record: Record) -> None:
        if not isinstance(record.body, events.LogGap):
            super().recorded(record)


def begun(crime: str, cmd: str = "steady", make_exchange: Any = SimExchange) -> World:
    """A world with one checker, and a watcher beside `web` whose processes die all the time."""

    def only(truth: Truth) -> tuple[Checker, ...]:
        return tuple(one for one in every_checker(truth) if one.id == crime)

    return started(World(5, Cast(make_exchange=make_exchange, checkers=only)), cmd)


def started(world: World, cmd: str = "steady") -> World:
    """With both watchers, their processes at work."""
    hot = {"name": "hot", "cmd": "exits 1 0.05", "max_retry": -1}
    world.configure([{"name": "web", "cmd": cmd, "numprocesses": 2}, hot])
    world.run(100)
    return world


def resting(crime: str) -> World:
    """The same, with nothing to do."""
    world = begun(crime)
    world.settle()
    return world


def tell(world: World, body: Body, cause: int = 0, actor: str = "") -> None:
    """A record that nobody has said."""
    last = world.truth.records[-1]
    watcher = next(iter(world.truth.watchers.of))
    moment = Moment(last.at, last.boot)
    stamp = Stamp(last.seq + 1, cause, actor or watcher, moment, last.incarnation)
    world.truth.observe(stamped(stamp, Draft(body)))


def test_a_process_too_few_at_rest_is_seen() -> None:
    """What runs is not what was asked for."""
    world = resting("I-CONV")
    tell(world, events.WatcherResized(5))
    with pytest.raises(Violation, match=r"^I-CONV: .* 2 processes of 5"):
        world.panel.rest(world)


def test_a_word_without_an_occasion_is_seen() -> None:
    """At rest nobody has anything to say."""
    world = resting("I-QUIET")
    with pytest.raises(Violation, match=r"^I-QUIET: slot.filled"):
        tell(world, events.SlotFilled(7))


def test_an_exit_that_is_not_answered_is_seen() -> None:
    """The watcher never hears of it."""
    with pytest.raises(Violation, match=r"^I-FAIR: the exit of"):
        begun("I-FAIR", "exits 1 0.2", Forgetful).run_for(60 * SECOND)


class Sparing(Children):
    """Lets nobody's leftovers be killed."""

    def let_go(self, spawn_ids: Iterable[int]) -> list[Sequence[Any]]:
        whose = list(spawn_ids)
        for held in self.ended:
            if held.spawn_id in whose:
                held.plan = held.plan._replace(leftovers=False)
        return super().let_go(whose)


@pytest.mark.parametrize("make_children", [Children, Sparing])
def test_somebody_in_a_session_that_outlives_the_daemon_is_seen(make_children: Any) -> None:
    """The leader has ended, his children ignore nothing and run on."""

    def only(truth: Truth) -> tuple[Checker, ...]:
        return tuple(one for one in every_checker(truth) if one.id == "I-SHUT")

    world = World(5, Cast(make_children=make_children, checkers=only))
    world.configure([{"name": "web", "cmd": "parent 2", "leftovers": "kill"}])
    world.run(100)
    world.signal(15)
    if make_children is Children:
        world.run_for(60 * SECOND)
        assert world.ended == 0
        return
    with pytest.raises(Violation, match=r"^I-SHUT: the daemon has ended, and of"):
        world.run_for(60 * SECOND)


def test_an_end_that_does_not_come_is_seen() -> None:
    """The keeper says that it has asked; the core has never heard of it."""
    world = begun("I-SHUT")
    world.truth.happened(Told(("os_signal", 15)))
    with pytest.raises(Violation, match=r"^I-SHUT: the daemon was asked to end"):
        world.run_for(600 * SECOND)


def test_a_refusal_with_a_consequence_is_seen() -> None:
    """A refused command has changed something."""
    world = resting("I-ATOMRELOAD")
    tell(world, events.WatcherResized(1), cause=3)
    tell(world, events.CommandRefused(3, "cannot"), cause=3)
    with pytest.raises(Violation, match=r"^I-ATOMRELOAD: refused, and yet"):
        world.panel.step(world)


def test_a_secret_on_the_disk_is_seen() -> None:
    """As an argument it stands in a record."""
    world = resting("I-SECRET")
    world.examine()
    world.command("stop", name="web")
    world.run_for(SECOND)
    world.command("set", name="web", options={"args": ("taint-of-a-secret",)})
    world.run_for(SECOND)
    with pytest.raises(Violation, match=r"^I-SECRET: "):
        world.examine()


def test_a_vault_that_keeps_nothing_is_seen() -> None:
    """The value of an environment variable stands in the record of `set`."""
    world = resting("I-SECRET")
    world.options = SimOptions(lambda: world.configuration, Leaky.in_memory())
    assert world.command("set", name="web", options={"env": {"TOKEN": SECRETS[1]}})
    world.run_for(SECOND)
    with pytest.raises(Violation, match=r"^I-SECRET: a secret stands in ledger/"):
        world.examine()


def test_a_secret_in_an_answer_is_seen() -> None:
    """It is the client's own, and yet it goes through logs and terminals."""
    world = resting("I-SECRET")
    with pytest.raises(Violation, match=r"^I-SECRET: a secret stands in an answer"):
        world.truth.happened(Replied("uid 0", b"id", "finished", 3, TAINTS[1]))


def test_secrets_are_planted_where_processes_get_them() -> None:
    """From the file and from `set`: the processes have them, and no record does."""
    world = World(5, Cast(checkers=lambda truth: (Ears(truth), *every_checker(truth))))
    world.configure([{"name": "web", "cmd": "steady", "env": SEALED}])
    world.settle()
    ears = world.truth.checkers[0]
    assert isinstance(ears, Ears)
    assert {SECRETS[0]} == ears.heard

    assert world.command("set", name="web", options={"env": {"TOKEN": SECRETS[1]}})
    world.settle()
    assert set(SECRETS) == ears.heard
    world.examine()


def test_a_gap_that_nobody_tells_of_is_seen() -> None:
    """The disk was full for a while."""
    world = started(World(5, Cast(checkers=lambda truth: (Deaf(truth),))))
    world.disk.change_weather(DiskWeather(dead=1.0))
    world.run_for(5 * SECOND)
    assert world.core is not None
    assert world.core.ledger.degraded

    world.disk.change_weather(CALM)
    with pytest.raises(Violation, match=r"^I-DEGRADE: the disk is back"):
        world.run_for(60 * SECOND)


def test_a_subscriber_with_another_state_is_seen() -> None:
    """One of the records that it was handed is not the one in the ledger."""
    world = resting("I-SUBSTATE")
    for record in world.records():
        told = record
        if isinstance(record.body, events.WatcherAdded):
            spec = {**record.body.spec, "numprocesses": 1}
            told = record._replace(body=events.WatcherAdded(spec, record.body.digest))
        world.truth.happened(Handed("liar", told))
    with pytest.raises(Violation, match=r"^I-SUBSTATE: liar has another state of"):
        world.examine()


def test_a_subscriber_with_the_same_state_is_no_crime() -> None:
    """The counter-check: handed what the ledger has, it has what the server has."""
    world = resting("I-SUBSTATE")
    for record in world.records():
        world.truth.happened(Handed("honest", record))
    world.examine()


def test_records_that_are_not_in_the_files_are_seen() -> None:
    """The end of the newest segment is gone, and the ledger goes on as if it were there."""
    world = resting("I-CHAIN")
    world.examine()
    path = max(p for p in world.disk.contents() if p.endswith(".evl"))
    file = world.disk.file(world.disk.open_to_read(path))
    assert file is not None
    del file.cache[-8:]
    with pytest.raises(Violation, match=r"^I-CHAIN: the files end at"):
        world.examine()


def test_every_altered_byte_is_seen_by_the_second_reader() -> None:
    """Header, frame or padding aside: the chain ends where a byte is another."""
    world = resting("I-CHAIN")
    world.examine()
    files = {p: c for p, c in world.disk.contents().items() if p.endswith(".evl")}
    head, damage = SecondReader().read(files)
    assert (world.truth.records[-1].seq, "") == (head, damage)

    (path, content), *_ = files.items()
    for at in range(64, len(content), 97):
        flipped = bytearray(content)
        flipped[at] ^= 1
        found, trouble = SecondReader().read({**files, path: bytes(flipped)})
        padding = content[at] == 0 and found == head
        assert padding or trouble or found < head


def test_what_was_verified_once_is_looked_at_again() -> None:
    """A byte that was altered after it had been read."""
    world = resting("I-CHAIN")
    reader = SecondReader()
    files = world.disk.contents()
    head, _ = reader.read(files)
    path = max(p for p in files if p.endswith(".evl"))
    files[path] = files[path][:200] + b"\x00\xff" + files[path][202:]

    assert reader.read(files)[0] < head


def test_honest_worlds_are_no_crime() -> None:
    """The counter-check: the same worlds, with all checkers, left alone."""
    world = World(5)
    world.configure([{"name": "web", "cmd": "exits 0 0.3", "numprocesses": 2}])
    world.settle()
    world.run_for(20 * SECOND)
    world.command("set", name="web", options={"numprocesses": 1})
    world.settle()
    world.examine()

    assert world.truth.records
    assert commands.WatcherSet in {type(record.body) for record in world.truth.records}
