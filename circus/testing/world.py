"""Room: front -- the world of a test: time that passes when told to, and what is expected of it.

Knows:     circus.testing.setting, circus.testing.passing, circus.testing.expecting.
Known by:  users' tests, the pytest plugin, circus.testing.strategies.
Never:     sleeps: a simulated hour costs what happens in it.

    world = given_config("shop.toml", {"web": "slow 3"}, seed=7)
    world.expect("watcher.started", watcher="web").within(1)
    world.never("process.exited", watcher="web", signal=9)
    world.command("stop", name="web")
    world.expect("watcher.stopped", watcher="web").within(30)
    print(world.story("web"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from typing import Any

from circus.bus.record import Record
from circus.testing.chronicle import shortened
from circus.testing.expecting import Asking, Expectation
from circus.testing.faults import Fault
from circus.testing.passing import Hear, Passing
from circus.testing.pattern import Pattern
from circus.testing.programs import Program
from circus.testing.setting import Setting


class World(Setting):
    """The whole world of one test, from one seed: same seed and same calls, same records.

    `repeat` is how to run it again, as failures tell it; `directory` is where relative paths begin.
    """

    def __init__(
        self, seed: int = 0, *, directory: str | PathLike[str] | None = None, repeat: str = ""
    ) -> None:
        super().__init__(seed, directory)
        self.simulated.truth.repeat = repeat or repr(self)
        self._passing = Passing(self.simulated, self.chronicle)
        self._asking = Asking(self._passing, self.chronicle, self._telling)

    def __repr__(self) -> str:
        return f"World(seed={self.seed})"

    # --- time -------------------------------------------------------------------------------------

    def run_for(self, seconds: float) -> None:
        """Let so much time pass.

        Raises Unwanted where a `never` was broken, what a program, an `at` or an `on` of the test
        raises, and Violation where the daemon itself breaks a promise (a bug of ours: report it).
        """
        self._asking.check()
        self._passing.run(seconds)

    def at(self, seconds: float, act: Callable[[], object]) -> None:
        """Call `act` when the world is so old (as `now` says); soon if it is older."""
        self._passing.at(seconds, act)

    def suffer(self, plan: Iterable[Fault]) -> None:
        """Let these faults happen, each so many seconds from now as it says."""
        for fault in plan:
            self._passing.at(self.now + fault.at, partial(self.faults.strike, fault))

    def on(self, name: str, hear: Hear, **fields: Any) -> None:
        """Call `hear(record)` for each such record from now on, soon after it is on record.

        So does a service that follows `circus.subscribe`, and misses none. It may send commands.
        """
        self._passing.listen(Pattern(name, fields), hear)

    # --- the record -------------------------------------------------------------------------------

    def expect(self, name: str, **fields: Any) -> Expectation:
        """`world.expect("process.exited", watcher="web", code=1).within(5)`.

        Names and fields are those of the record; see Pattern. ValueError: there is no such one.
        """
        return self._asking.expect(Pattern(name, fields))

    def never(self, name: str, **fields: Any) -> None:
        """No such record may be in this world.

        Raises Unwanted, now if there is one, else from whatever lets the time pass until it comes.
        """
        self._asking.check()
        pattern = Pattern(name, fields)
        for _, record in self.chronicle.records(pattern):
            self._asking.refuse(pattern, record)
        self._passing.listen(pattern, partial(self._asking.refuse, pattern))

    def records(self, name: str = "*", **fields: Any) -> list[Record]:
        """All that is on record so far, or what matches, in order."""
        return [record for _, record in self.chronicle.records(Pattern(name, fields))]

    def story(self, watcher: str | None = None, *, everything: bool = False) -> str:
        """What has happened, one line each: time, sequence number, name, sentence, cause.

        Of one watcher, or of all; `everything`: with timers and other bookkeeping.
        """
        return "\n".join(self.chronicle.story(watcher, everything=everything))

    def last_words(self, watcher: str | None = None, *, with_story: bool = True) -> str:
        """What a failure says: the end of the story, the seed, and how to see it again."""
        again = f"seed {self.seed}; again: {self.simulated.truth.repeat}"
        if not with_story:
            return again
        story = "\n".join(shortened(self.chronicle.story(watcher)))
        return f"The story of {watcher or 'the world'}:\n{story}\n\n{again}"

    def close(self) -> None:
        """The end of the test; the fixture calls it after one that passed.

        No expectation was left unasked, and the whole ledger can be read, folded and decided again
        with the same result. Raises TypeError, and Violation (a bug of ours).
        """
        self._asking.check()
        self.simulated.examine()

    def _telling(self, text: str, pattern: Pattern) -> str:
        about = pattern.fields.get("watcher")
        return f"{text}\n\n{self.last_words(about if isinstance(about, str) else None)}"


def given_config(
    path: str | PathLike[str], programs: Mapping[str, Program] | None = None, *, seed: int = 0,
    environ: Mapping[str, str] | None = None,
) -> World:  # fmt: skip
    """A world in which the daemon starts with this configuration file; see World.given_config."""
    world = World(seed)
    world.given_config(path, programs, environ=environ)
    return world


__all__ = ["Expectation", "Fault", "Hear", "Record", "World", "given_config"]
