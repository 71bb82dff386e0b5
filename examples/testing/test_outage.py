"""A crash loop that gives up: a short outage of the database takes the API down for good.

Found: with `give_up = 8` and pauses of at most a second, an outage of twenty seconds ends in
`watcher.failed`, and nobody starts the API again. (Circus's users know it as flapping.)
"""

from __future__ import annotations

import pytest

from circus.testing import Life, Plot, World


class Database:
    """What the API needs, in the world of a test."""

    def __init__(self) -> None:
        self.up = True

    def stop(self) -> None:
        self.up = False

    def start(self) -> None:
        self.up = True


def shop_api(database: Database, life: Life) -> Plot:
    """Connects when it starts; ends with 1 if it cannot, or when the connection is gone."""
    yield 0.2
    while database.up:
        signum = yield 1.0
        if signum is not None:
            return 0
    life.say("no connection to the database")
    return 1


def survives_an_outage(world: World, config: str, seconds: float) -> None:
    """The database is away for so long; ten seconds after it is back, so is the API."""
    database = Database()
    world.given_config(config, {"api": lambda life: shop_api(database, life)})
    world.expect("watcher.started", watcher="api").within(2)
    world.run_for(10)
    database.stop()
    world.run_for(seconds)
    database.start()
    world.run_for(10)
    world.expect("process.exited", watcher="api").within(0)
    assert len(world.workers("api")) == 2, world.story("api")
    world.expect("process.exited", watcher="api", code=1).absent(30)


@pytest.mark.seed(range(5))
def test_the_first_configuration_gives_up(world: World) -> None:
    """What is wrong: twenty seconds without a database, and the watcher has failed."""
    with pytest.raises(AssertionError) as found:
        survives_an_outage(world, "outage_bad.toml", 20)
    assert "gave up" in str(found.value)
    assert world.status("api") == "failed"


@pytest.mark.seed(range(5))
def test_the_mended_configuration_waits_for_the_database(world: World) -> None:
    """It tries for ever, with pauses of five seconds: back within ten, whatever the outage was."""
    survives_an_outage(world, "outage.toml", 20)


def test_even_an_hour_without_a_database_is_survived(world: World) -> None:
    """A simulated hour costs what happens in it: a few seconds here."""
    world.never("watcher.failed", watcher="api")
    survives_an_outage(world, "outage.toml", 3600)
