"""Room: front -- a simulated machine with a user's configuration on it, and an operator.

Knows:     replay.world, arbiter.config (the real loader), circus.testing.programs.
Known by:  circus.testing.world, which adds time and expectations.
Never:     reads anything but the configuration that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from circus.arbiter.config import Config, config_of_mappings, load
from circus.arbiter.config_wire import spec_to_add, validate_options
from circus.arbiter.verbs import Refusal
from circus.bus.commands import ArbiterConfigure
from circus.bus.shapes import fields_of
from circus.bus.spec import WatcherSpec
from circus.bus.values import watcher_of
from circus.bus.vault import Vault
from circus.replay.kernel.kin import ZOMBIE
from circus.replay.machine import Cast
from circus.replay.sim.front import SimOptions
from circus.replay.sim.incarnation import Tally
from circus.replay.world import World as Simulated
from circus.testing.chronicle import Chronicle, seconds_of
from circus.testing.faults import Faults
from circus.testing.programs import Marking, Playbook, Program, Stage

T = TypeVar("T")


class Worker(NamedTuple):
    """A living process of a watcher. `since`: seconds from the beginning of the world."""

    pid: int
    slot: int
    spawn_id: int
    since: float


class Setting:
    """One machine, one daemon, one operator."""

    def __init__(self, seed: int, directory: str | PathLike[str] | None = None) -> None:
        self.seed = seed
        self._directory = Path(directory or ".")
        self._vault = Vault.in_memory()
        playbook = Playbook(lambda watcher, text: self.chronicle.remark(text, watcher))
        self._playbook = playbook
        cast = Cast(make_reaper=Marking(), make_lives=lambda host: Stage(host, playbook))
        self.simulated = Simulated(seed, cast)
        self.simulated.vault = self._vault
        self.chronicle = Chronicle(self.simulated.agenda)
        self.simulated.tally = Tally(self.chronicle)
        self.simulated.options = UserOptions(self._vault, lambda: self.simulated.configuration)
        self.faults = Faults(self)

    @property
    def now(self) -> float:
        """Seconds since the world began. Only `run_for` and expectations let them pass."""
        return seconds_of(self.simulated.agenda.boot)

    def given_config(
        self, path: str | PathLike[str], programs: Mapping[str, Program] | None = None, *,
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Start the daemon with this configuration file, TOML or ini, as `circusd` reads it.

        `programs` says what the processes of a watcher do (see Program); by default they run until
        they are told to end. `environ` is what `$(circus.env.X)` finds; empty by default, so that a
        test does not depend on who runs it. Relative paths begin at the test file's directory.
        Called again, it changes the file: `command("reloadconfig")` has it read. Endpoints play no
        part in a world, so that plain TCP is no problem here.
        Raises ConfigProblems with all that is wrong, OSError, ValueError for a program of a watcher
        that the file does not have.
        """
        where = str(self._directory / path)
        self._given(load(where, environ or {}, vault=self._vault, insecure_tcp=True), programs)

    def given_watchers(
        self, watchers: Iterable[Mapping[str, Any]],
        programs: Mapping[str, Program] | None = None,
    ) -> None:  # fmt: skip
        """The same from mappings, as `get_arbiter` takes them: Circus's defaults, seconds."""
        self._given(config_of_mappings(watchers, vault=self._vault), programs)

    def command(self, verb: str, /, **properties: Any) -> bool:
        """What `circusctl VERB` sends; properties as on the wire (`name`, `nb`, `options` …).

        False if it was refused or no core was there to hear it. It takes effect when time passes.
        """
        words = " ".join(f"{key}={value!r}" for key, value in properties.items())
        heard = self.simulated.command(verb, **properties)
        name = properties.get("name")
        text = f"command: {verb} {words}{'' if heard else ', refused'}"
        self.chronicle.remark(text, name if isinstance(name, str) else "")
        return heard

    def signal(self, signum: int) -> None:
        """To the daemon: TERM, INT and QUIT end it, HUP reloads."""
        self.chronicle.remark(f"the daemon gets signal {int(signum)}")
        self.simulated.signal(int(signum))

    def workers(self, watcher: str) -> tuple[Worker, ...]:
        """Its living processes as the kernel knows them, the oldest first."""
        keeper = self.simulated.keeper
        found: list[Worker] = []
        for held in keeper.children.living:
            assert held.child is not None
            process = keeper.kernel.processes.get(held.child.inode)
            if process is None or process.state == ZOMBIE:
                continue
            if watcher_of(held.owner).lower() == watcher.lower():
                since = seconds_of(held.child.started)
                found.append(
                    Worker(process.pid, self._slot_of(held.spawn_id), held.spawn_id, since)
                )
        return tuple(sorted(found, key=lambda worker: worker.spawn_id))

    def status(self, watcher: str) -> str:
        """`active`, `starting`, `stopping`, `stopped`, `failed`; "" while no core answers.

        KeyError: there is no such watcher.
        """
        core = self.simulated.core
        return "" if core is None else core.projection.watchers[watcher.lower()].status

    def _given(self, config: Config, programs: Mapping[str, Program] | None) -> None:
        names = {spec.name.lower() for spec in config.watchers}
        for name in programs or {}:
            if name.lower() not in names:
                raise ValueError(f"cannot play {name!r}: the configuration has {sorted(names)}")
        self._playbook.learn(programs or {})
        specs = [dict(fields_of(spec)) for spec in config.watchers]
        self.simulated.configure(specs, warmup_delay=config.settings.warmup_delay)

    def _slot_of(self, spawn_id: int) -> int:
        record = self.simulated.truth.record_at(spawn_id)
        return (record.slot if record is not None else None) or 0


class UserOptions(SimOptions):
    """Options of `set` and `add` as a client writes them: seconds, names of signals."""

    def __init__(self, vault: Vault, configuration: Callable[[], ArbiterConfigure]) -> None:
        super().__init__(configuration)
        self._vault = vault

    def changes(self, options: Mapping[str, Any], current: WatcherSpec) -> dict[str, Any]:
        """For `set`."""
        return _or_refusal(partial(validate_options, options, current, self._vault))

    def addition(self, options: Mapping[str, Any]) -> WatcherSpec:
        """For `add`."""
        given = dict(options)
        name, cmd, args = given.pop("name"), given.pop("cmd"), given.pop("args", None)
        return _or_refusal(partial(spec_to_add, name, cmd, given, args=args, vault=self._vault))


def _or_refusal(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise Refusal(str(error)) from error
