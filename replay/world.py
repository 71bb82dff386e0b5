"""Room: replay -- one thread, one heap, one seed: production cores between simulated seams.

Knows:     replay.machine, arbiter.verbs (what an operator may ask for).
Known by:  tests, `python -m circus.replay`, circus.testing, whoever looks for a bug.
Never:     helps the core: what it may do is what the real world does, at bad moments.

    world = World(seed=7)
    world.configure([{"name": "web", "cmd": "moody", "numprocesses": 3}])
    world.command("incr", name="web", nb=2)
    world.crash_at(40)              # the 40th touch of a seam from here on does not return
    world.run(400)
    world.settle()

Faults of the world are its methods; what must hold whatever they do are the checkers, asked after
every happening. A failure is a `Violation`: its text has the seed, the story of the process and the
way to repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from circus.arbiter.verbs import Answered, Refusal, wish
from circus.bus import commands
from circus.bus.codec import records_of
from circus.bus.reader import LedgerReader
from circus.bus.record import Draft, Record
from circus.bus.segments import Frame
from circus.bus.spec import WatcherSpec, to_data
from circus.replay.checks.checkers import Violation
from circus.replay.machine import SIGKILL, Cast, Machine
from circus.replay.sim.agenda import Agenda
from circus.replay.sim.disk_weather import CALM
from circus.replay.sim.incarnation import DIRECTORY, SimCore

HISTORY_STEPS: Final = 10_000  # between two looks at the whole history
SETTLE_HAPPENINGS_MAX: Final = 40_000
SETTLE_NS: Final = 40_000_000_000
REST_NS: Final = 300_000_000  # more than any delay on the way to a record
ASK_DELAY_MAX: Final = 2_000_000


class World(Machine):
    """One machine with one daemon on it, an operator, and bad luck."""

    def __init__(self, seed: int, cast: Cast | None = None, agenda: Agenda | None = None) -> None:
        super().__init__(Agenda(seed) if agenda is None else agenda, cast or Cast())
        self._examined = 0

    # --- what an operator does --------------------------------------------------------------------

    def configure(self, specs: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        """The configuration file; read at every start of the core."""
        first = self._configured is None
        whole = tuple(to_data(WatcherSpec(**one)) for one in specs)
        self._configured = commands.ArbiterConfigure(whole, {"warmup_delay": 0, **settings})
        if first and self.ended is None:
            self.switch_on()

    def command(self, verb: str, /, **properties: Any) -> bool:
        """A client's command, by Circus's name; False if nobody was there or it was refused.

        It is lost if the core dies before it is in the ledger, as in the real world.
        """
        core = self.core
        if core is None or self.ended is not None:
            return False
        try:
            wished = wish(verb, properties, core.projection, self.options)
        except Refusal:
            return False
        if isinstance(wished, Answered):
            return True
        identity = self.agenda.chance.randbytes(16)
        draft = Draft(wished.body, to=wished.to, id=identity)
        self.agenda.later(self.agenda.some(ASK_DELAY_MAX), lambda: self._ask(core, draft))
        return True

    def signal(self, signum: int) -> None:
        """To the daemon itself."""
        self.keeper.receive_signal(signum)

    def kill(self, pid: int, signum: int = SIGKILL) -> bool:
        """To some process, by somebody else."""
        return self.keeper.kernel.kill(pid, signum)

    def crash_at(self, calls: int) -> None:
        """The core dies instead of making the `calls`-th touch of a seam from here on."""
        self.agenda.crash_at = self.agenda.touched + calls

    # --- time -------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many decisions of production code have been appended and delivered."""
        return self.tally.decisions

    def step(self) -> bool:
        """One happening, and every question that may be asked after it."""
        happening = self.agenda.advance()
        if happening is None:
            return False
        self.guarded(happening)
        decisions = self.tally.decisions
        if decisions >= self.snapshots.due:
            with self.unseen():
                self.snapshots.make(decisions, self.agenda.wall)
        if decisions >= self.restarts.due:
            self.restarts.pass_on(decisions)
            self.command(self.restarts.verb())
        self.panel.step(self)
        if decisions - self._examined >= HISTORY_STEPS:
            self.examine()
        return True

    def run(self, happenings: int) -> int:
        """At most so many happenings; how many there were."""
        for done in range(happenings):
            if not self.step():
                return done
        return happenings

    def run_for(self, duration: int, happenings: int = SETTLE_HAPPENINGS_MAX) -> None:
        """Until so much time has passed."""
        until = self.agenda.boot + duration
        for _ in range(happenings):
            due = self.agenda.next_due()
            if due is None or due > until:
                self.agenda.pause(max(0, until - self.agenda.boot))
                return
            self.step()
        self._restless(happenings)

    def settle(self) -> None:
        """Faults are over: the world comes to rest, and what must be true at rest is."""
        self.agenda.crash_at = None
        self.bus.late = self.relapse = 0.0
        self.restarts.end()
        self.disk.change_weather(CALM)
        self.strangers.become_calm()
        self.keeper.kernel.become_calm()
        self.run_for(SETTLE_NS)
        self._come_to_rest()
        self.panel.rest(self)

    def examine(self) -> None:
        """Look at the whole history now."""
        self._examined = self.tally.decisions
        with self.unseen():
            self.panel.examine(self)

    def _come_to_rest(self) -> None:
        """Workers may still grow too old; between two such events nothing is under way."""
        for _ in range(SETTLE_HAPPENINGS_MAX):
            due = self.agenda.next_due()
            if due is None or due > self.agenda.boot + REST_NS:
                return
            self.step()
        self._restless(SETTLE_HAPPENINGS_MAX)

    def _restless(self, happenings: int) -> None:
        text = f"I-CONV: no rest after {happenings} happenings without a fault"
        raise Violation(f"{text}\nseed {self.truth.seed}\n{self.truth.repeat}")

    # --- what there is to see ---------------------------------------------------------------------

    def frames(self, after: int = 0) -> list[Frame]:
        """The ledger behind `after` as it can be read now, untouched; Damaged at a hole."""
        with self.unseen():
            if self.core is not None:
                return list(self.core.ledger.frames(after))
            if not self.disk.contents():
                return []  # No core has come as far as that.
            return list(LedgerReader(DIRECTORY, disk=self.disk).frames(after))

    def records(self) -> list[Record]:
        """The whole ledger as it can be read now."""
        return [record for frame in self.frames() for record in records_of(frame.payload)]

    def digest(self) -> str:
        """Of every byte on the disk: two runs with one seed have one digest."""
        digest = blake2b(digest_size=16)
        for path, content in self.disk.contents().items():
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()

    def _ask(self, core: SimCore, draft: Draft) -> None:
        if self.core is core:
            core.ask(draft)
            self._turn()


__all__ = ["Cast", "Violation", "World"]
