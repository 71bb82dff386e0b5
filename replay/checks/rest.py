"""Room: replay -- invariants 21, 22, 27 and 28 (RELIABILITY.md 4.3): rest, the end, fairness.

Knows:     replay.checks.checkers, replay.checks.truth, replay.checks.witness, the vocabulary.
Known by:  replay.checks.invariants (the list of all).
Never:     asks a watcher what it wants: wishes are the commands, reality is the kernel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from signal import SIGINT, SIGQUIT, SIGTERM
from typing import TYPE_CHECKING, Any, Final

from circus.bus import commands, events
from circus.bus.record import Body, Record
from circus.bus.spec import OPTIONS, Change
from circus.bus.values import ARBITER, CLIENT, CORE, NS_PER_SECOND, watcher_address, watcher_of
from circus.replay.checks.checkers import Checker, Truth
from circus.replay.checks.truth import Asked, CoreLost, Ended, Fact, KeeperLost, Obeyed, Told
from circus.replay.checks.witness import Watched

if TYPE_CHECKING:
    from circus.replay.world import World

ENDING: Final = frozenset({int(SIGTERM), int(SIGINT), int(SIGQUIT)})
SHUT_SLACK_NS: Final = 10 * NS_PER_SECOND
LATE_NS_MAX: Final = NS_PER_SECOND // 20
REACTION_NS_MAX: Final = 2 * NS_PER_SECOND
REACTION_RECORDS_MAX: Final = 10_000
PRESET_TIMERS: Final = ("age", "retry")  # what a watcher at rest may be waiting for
UP: Final[Mapping[type[Body], bool]] = {
    commands.WatcherStart: True, commands.WatcherRestart: True, commands.WatcherRetry: True,
    commands.WatcherStop: False,
}  # fmt: skip


class Converged(Checker):
    """When faults and commands stop, what runs is what was asked for."""

    id = "I-CONV"
    hears = (
        *UP,
        events.CommandFinished,
        events.SlotWaiting,
        events.SlotVacated,
        commands.ProcessSpawn,
        events.ArbiterStopping,
        events.ArbiterConfigured,
        events.WatcherStopped,
        events.WatcherAdded,
    )

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._asked: dict[int, tuple[str, bool]] = {}
        self._wish: dict[str, bool] = {}
        self._waiting: dict[str, set[int]] = {}  # slots, by watcher
        self._stopping = False
        self._halted: dict[str, bool] = {}  # by name: whether an operator has stopped it last
        self._replaced: dict[str, str] = {}  # stopped ones that a file makes others of: by its job
        self._kept_down: dict[str, str] = {}  # those others, by address

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.WatcherAdded):
            self._born(record, str(body.spec["name"]))
        elif isinstance(body, commands.ProcessSpawn | events.SlotVacated):
            self._waiting.get(record.actor, set()).discard(record.slot or 0)
        elif isinstance(body, events.SlotWaiting):
            self._waiting.setdefault(record.actor, set()).add(record.slot or 0)
        elif isinstance(body, events.ArbiterStopping | events.ArbiterConfigured):
            self._stopping = isinstance(body, events.ArbiterStopping)
            if isinstance(body, events.ArbiterConfigured):
                self._changed(body, str(record.cause))
        else:
            self._wished(record, body)

    def _changed(self, body: events.ArbiterConfigured, job: str) -> None:
        for name, options in body.changed.items():
            fixed = any(OPTIONS[one].metadata["change"] is Change.FIXED for one in options)
            if fixed and self._halted.get(name):
                self._replaced[name] = job

    def _born(self, record: Record, name: str) -> None:
        """What an operator has stopped stays stopped when a file replaces it."""
        address = watcher_address(name, record.seq)
        if name.lower() in self._replaced:
            self._kept_down[address] = self._replaced.pop(name.lower())
            self._wish[address] = False
        else:
            self._halted.pop(name.lower(), None)

    def _wished(self, record: Record, body: Any) -> None:
        if isinstance(body, events.WatcherStopped):
            watched = self.truth.watchers.of.get(record.actor)
            if watched is not None and not watched.spec.respawn:
                self._wish.pop(record.actor, None)  # It ended by itself, as it was meant to.
        elif isinstance(body, events.CommandFinished):
            asked = self._asked.pop(body.command, None)
            if asked is not None and body.outcome in ("done", "failed"):
                self._wish[asked[0]] = asked[1]
        elif record.actor != record.to and record.to:
            self._asked[record.seq] = (record.to, UP[type(body)])
            if record.actor == ARBITER and not self._stopping:
                self._told_by_arbiter(record, up=UP[type(body)])

    def _told_by_arbiter(self, record: Record, *, up: bool) -> None:
        job = self._kept_down.get(record.to or "")
        if up and job is not None and str(record.id).partition(":")[0] == job:
            text = f"an operator has stopped {record.watcher}, and the new file starts it"
            self.fail(text, record.to or "")
        self._halted[(record.watcher or "").lower()] = not up

    def rested(self, world: World) -> None:
        if world.ended is not None:
            return
        self.claim(world.core is not None and world.core.runtime.awake, "at rest without a core")
        for watched in self.truth.watchers.of.values():
            if not watched.removed:
                self._judge(watched)

    def _judge(self, watched: Watched) -> None:
        address, phase = watched.address, watched.phase
        runs = len(self.truth.workers.living.get(address, ()))
        waits = len(self._waiting.get(address, ()))
        number = watched.spec.numprocesses
        story = f"{address} is {phase} with {runs} processes of {number}, {waits} waiting"
        if phase == "stopped":
            self.claim(runs == 0, story, address)
        elif phase == "active" and watched.spec.respawn:
            self.claim(runs + waits == number, story, address)
        elif phase == "failed" or not watched.spec.respawn:
            self.claim(runs <= number, story, address)
        else:
            self.claim(phase == "starting" and waits > 0, story, address)
        wish = False if self._stopping else self._wish.get(address)
        if wish is not None and watched.spec.respawn:
            kept = phase in ("active", "starting", "failed") if wish else phase == "stopped"
            self.claim(kept, f"{story}; the last wish was to {'run' if wish else 'stop'}", address)


class Quiet(Checker):
    """At rest, without input, nothing is said, done or changed: no flapping, no busy loop."""

    id = "I-QUIET"
    hears = (Body, Ended, Asked, CoreLost, Told)

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._quiet = False

    def recorded(self, record: Record) -> None:
        if not self._quiet:
            return
        if _is_input(record):
            self._quiet = False
        else:
            self.fail(f"{record.name} of {record.actor}, and nothing had happened", record.seq)

    def happened(self, fact: Fact) -> None:
        self._quiet = False

    def rested(self, world: World) -> None:
        core = world.core
        if world.ended is not None or core is None:
            return
        due = core.next_due()
        self.claim(due is None or due > world.agenda.boot, f"the core spins: due at {due}")
        self._quiet = True


def _is_input(record: Record) -> bool:
    """Whether the world has spoken, or a timer that was set before."""
    body = record.body
    if isinstance(body, events.TimerWoke):
        return body.timer.partition(":")[0] in PRESET_TIMERS
    return record.actor in (CLIENT, CORE)


class Shutdown(Checker):
    """Once asked to, the daemon ends within the longest grace, and no worker outlives it, nor
    anybody in the sessions of those whose leftovers are to be killed."""

    id = "I-SHUT"
    hears = (
        events.ArbiterStopping, events.ArbiterConfigured, (Told, "os_signal"), CoreLost,
        KeeperLost, (Obeyed, "spawn"),
    )  # fmt: skip

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._asked = False
        self._restart = True  # the time that is left counts from now
        self._latest = 0
        self._boot = 0
        self._late = 0  # how long it has been too late, suspends and stalls not counted
        self._clean: set[int] = set()  # spawn_ids that leave nobody behind

    def recorded(self, record: Record) -> None:
        self._asked = isinstance(record.body, events.ArbiterStopping)
        self._restart = True

    def happened(self, fact: Fact) -> None:
        if isinstance(fact, CoreLost):
            self._restart = True
        elif isinstance(fact, KeeperLost):
            self._asked = False  # Nobody has asked the next one.
        elif isinstance(fact, Obeyed):
            if fact.operation[4][4]:
                self._clean.add(fact.operation[1])
        elif isinstance(fact, Told) and fact.report[1] in ENDING:
            self._asked = self._restart = True

    def stepped(self, world: World) -> None:
        if world.ended is not None:
            self._look_for_survivors(world)
        elif self._asked:
            now = world.agenda.boot
            passed, self._boot = min(now - self._boot, LATE_NS_MAX), now
            if self._restart or self._is_excused(world):
                self._restart = False
                self._latest = now + self._grace()
            self._late = self._late + passed if now > self._latest else 0
            self.claim(self._late <= SHUT_SLACK_NS, "the daemon was asked to end and has not")

    def _look_for_survivors(self, world: World) -> None:
        left = [one for many in self.truth.workers.living.values() for one in many]
        text = f"the daemon has ended, and left running: {left}"
        self.claim(not left, text, max(left, default=0))
        for one in world.keeper.kernel.living():
            founder = self.truth.workers.by_serial.get(one.founder)
            if founder is not None and founder.spawn_id in self._clean and not one.doomed:
                text = f"the daemon has ended, and of {founder.spawn_id}'s session {one.pid} runs"
                self.fail(text, founder.spawn_id)

    def _is_excused(self, world: World) -> bool:
        """What is killed ends when the kernel can; nobody acts on mail that has not come."""
        if world.core is None or world.bus.late_until > world.agenda.boot:
            return True
        return any(one.killed for one in self._living())

    def _living(self) -> list[Any]:
        return [one for many in self.truth.workers.living.values() for one in many.values()]

    def _grace(self) -> int:
        graces = (one.spec.graceful_timeout for one in self.truth.watchers.of.values())
        return max(graces, default=0)


class Fair(Checker):
    """However busy others are, an exit on record is answered by its watcher in bounded time."""

    id = "I-FAIR"
    hears = (
        events.ProcessExited,
        events.SlotVacated,
        commands.ProcessSpawn,
        events.WatcherRemoved,
        events.InputSetAside,
    )

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self._open: dict[int, Record] = {}  # exits by seq, oldest first
        self._order: deque[Record] = deque()
        self._first: Record | None = None
        self._since = (0, 0)  # the first of them is that since this time and record

    def recorded(self, record: Record) -> None:
        body = record.body
        if isinstance(body, events.ProcessExited):
            if record.to and watcher_of(record.to):
                self._open[record.seq] = record
                self._order.append(record)
        elif isinstance(body, events.WatcherRemoved):
            self._open = {s: r for s, r in self._open.items() if r.to != body.address}
        else:
            self._open.pop(record.cause, None)

    def stepped(self, world: World) -> None:
        order = self._order
        if not order:
            return
        while order and order[0].seq not in self._open:
            order.popleft()
        if not order:
            return
        now, head = self.truth.attention.at(world), self.truth.records[-1].seq
        first = order[0]
        watched = self.truth.watchers.of.get(first.to or "")
        if watched is None or watched.removed:
            self._open.pop(first.seq)
            return
        if self._first is not first or world.core is None or not world.core.runtime.awake:
            self._first, self._since = first, (now, head)
        waited, passed = now - self._since[0], head - self._since[1]
        if waited > REACTION_NS_MAX or passed > REACTION_RECORDS_MAX:
            text = (
                f"the exit of {first.spawn_id} waits for {first.to}: {waited} ns, {passed} records"
            )
            self.fail(text, first.spawn_id or 0)


REST_CHECKERS = (Converged, Quiet, Shutdown, Fair)
