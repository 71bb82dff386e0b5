"""Room: process -- the keeper's logic: what it holds, what it was told, what it has to tell.

Knows:     process.kernel (the seam), process.held, process.launch.
Known by:  process.keeper_loop (against the real kernel), replay (against the simulated one).
Never:     reads a clock or a descriptor by itself, has a policy, reaps what is not acknowledged.

The order of duties for every exit is peek, report, acknowledge, reap. Zombies are the store of
unacknowledged exits; nothing about them is kept that could not be asked of the kernel again. A
report about a child is level-triggered: it is in `_untold` until it has been handed to the link of
a core that has asked for the list, and goes back there when another core asks.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from circus.process.held import ADOPTED, ALIVE, Held, Numbers
from circus.process.kernel import Child, Kernel, SpawnFailed
from circus.process.launch import Launch, Plan, from_map

HELD_ROWS_PER_PAGE: Final = 256
SCOPES: Final = frozenset({"process", "children", "family", "tree", "descendants", "group"})


class Children:
    """All that the keeper holds. `tell` hands reports to the link of the present core."""

    __slots__ = (
        "_by_pid", "_by_pidfd", "_ended", "_held", "_kernel", "_launches", "_listed", "_tell",
        "_untold", "numbers",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, tell: Callable[[list[Sequence[Any]]], None]) -> None:
        self._kernel = kernel
        self._tell = tell
        self._held: dict[int, Held] = {}
        self._by_pid: dict[int, Held | None] = {}
        self._by_pidfd: dict[int, Held] = {}
        self._launches: dict[str, Launch] = {}
        self._untold: dict[int, Held] = {}
        self._ended: list[Held] = []  # since the last look round
        self._listed = False
        self.numbers = Numbers()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def living(self) -> list[Held]:
        """Those that run, as far as we have looked."""
        return [held for held in self._held.values() if held.child and held.ending is None]

    @property
    def ended(self) -> list[Held]:
        """Those whose end is seen and not acknowledged."""
        return [held for held in self._held.values() if held.ending is not None]

    def know(self, pid: int, *, forget: bool = False) -> None:
        """A child of ours that is no worker (the core) is no orphan either."""
        if forget:
            self._by_pid.pop(pid, None)
        else:
            self._by_pid[pid] = None

    @property
    def outcomes(self) -> list[Sequence[Any]]:
        """What became of every spawn that is not over."""
        return [held.outcome() for held in self._held.values()]

    @property
    def pidfds(self) -> list[int]:
        """Those that could not be opened again: of processes that are not our children."""
        return [fd for fd, held in self._by_pidfd.items() if held.child and held.child.adopted]

    def carry(self) -> dict[str, Any]:
        """All of it as plain data, for the next keeper in this process."""
        return {
            "held": [held.known() for held in self._held.values()],
            "specs": {digest: launch.to_map() for digest, launch in self._launches.items()},
            "listed": self._listed,
            "numbers": [self.numbers.barrier, self.numbers.given, self.numbers.log],
            "untold": list(self._untold),
        }

    def restore(self, carried: Mapping[str, Any], reopen: Callable[[Child], Child]) -> None:
        """Hold what the keeper before us in this process held: his children are ours."""
        self.numbers.barrier, self.numbers.given, *log = carried["numbers"]
        self.numbers.log = log[0] if log else ""
        self._listed = carried["listed"]
        self._launches = {digest: from_map(spec) for digest, spec in carried["specs"].items()}
        for known in carried["held"]:
            held = Held.recalled(known)
            if held.child is not None:
                held.child = child = reopen(held.child)
                self._by_pidfd[child.pidfd] = held
                if not child.adopted:
                    self._by_pid[child.pid] = held
                if held.ending is None:
                    self._kernel.watch(child)
            self._held[held.spawn_id] = held
        self._untold = {spawn_id: self._held[spawn_id] for spawn_id in carried["untold"]}

    def disconnect(self) -> None:
        """The core is gone: nobody listens until the next one asks for the list."""
        self._listed = False
        self._launches.clear()

    def obey(self, operations: Iterable[Sequence[Any]]) -> None:
        """Carry out a batch of the core's operations, in order; answers leave in one go.

        Only the reaping of those who left nothing behind comes last: nobody waits for it, and
        somebody waits for what is to be spawned.
        """
        answers: list[Sequence[Any]] = []
        alone: list[int] = []
        for operation in operations:
            if operation[0] == "ack":
                answers += self._let_go_unless_alone(operation[1], alone)
            else:
                self._obey(operation, answers)
        answers += self.let_go(alone)
        if answers:
            self._tell(answers)

    def notice(self, pidfds: Collection[int]) -> None:
        """These pidfds are readable: peek, keep what was seen, tell."""
        if not pidfds:
            return
        now = self._kernel.now()
        for pidfd in pidfds:
            held = self._by_pidfd.get(pidfd)
            if held is None or held.ending is not None or held.child is None:
                continue
            ending = self._kernel.peek(held.child)
            if ending is None:
                self._kernel.watch_on(held.child)
                continue
            held.ending, held.seen = ending, now
            self._untold[held.spawn_id] = held
            if held.plan.leftovers:
                self._ended.append(held)
        self.tell_exits()

    def look_round(self) -> None:
        """While the core decides about the newly ended: have they left anything behind?

        What a worker leaves behind is re-parented to us before its end is shown, so without
        strangers among our children there is nothing, and one look serves the batch.
        """
        if not self._ended:
            return
        if not self._kernel.strangers(self._by_pid):
            for held in self._ended:
                held.alone = True
        self._ended.clear()

    def tell_exits(self) -> None:
        """Report every end that the present core has not been told."""
        if self._untold and self._listed:
            reports = [
                held.exit_report() if held.failed is None else held.outcome()
                for held in self._untold.values()
            ]
            self._untold.clear()
            self._tell(reports)

    def notice_orphans(self) -> None:
        """Reap descendants of workers that came to us and have ended.

        Not while nobody listens: as zombies they keep until a core can put them on record.
        """
        strangers = self._kernel.strangers(self._by_pid) if self._listed else None
        if strangers:
            ended = self._kernel.reap_orphans(strangers)
            if ended:
                self._tell([("orphan", *orphan) for orphan in ended])

    def signal(self, held: Held, signum: int, scope: str) -> tuple[tuple[int, ...], int]:
        """For the stop plans, which need no sequence number."""
        assert held.child is not None
        return self._kernel.signal(held.child, signum, scope, None)

    def _let_go_unless_alone(
        self, spawn_ids: Iterable[int], alone: list[int]
    ) -> list[Sequence[Any]]:
        now: list[int] = []
        for spawn_id in spawn_ids:
            held = self._held.get(spawn_id)
            (alone if held is not None and held.alone else now).append(spawn_id)
        return self.let_go(now) if now else []

    def let_go(self, spawn_ids: Iterable[int]) -> list[Sequence[Any]]:
        """Their ends are on record: kill leftovers if planned, reap, forget; the reports."""
        reports: list[Sequence[Any]] = []
        strangers: frozenset[int] | None = None
        for spawn_id in spawn_ids:
            held = self._held.get(spawn_id)
            if held is None or held.state in (ALIVE, ADOPTED):
                continue
            del self._held[spawn_id]
            self._untold.pop(spawn_id, None)
            if held.child is None:
                continue
            leftovers: tuple[int, ...] = ()
            if held.plan.leftovers and not held.alone:
                if strangers is None:
                    strangers = self._kernel.strangers(self._by_pid)
                if strangers:
                    leftovers = self._kernel.kill_leftovers(held.child)
            reports.append(self._reap(held, held.child, leftovers))
        return reports

    def _reap(self, held: Held, child: Child, leftovers: tuple[int, ...]) -> Sequence[Any]:
        self._kernel.reap(child)
        if not child.adopted:  # The pid of one that is may be another's by now.
            self._by_pid.pop(child.pid, None)
        del self._by_pidfd[child.pidfd]
        return ("reaped", held.spawn_id, child.pid, leftovers)

    def _obey(self, operation: Sequence[Any], answers: list[Sequence[Any]]) -> None:
        name = operation[0]
        if name == "spawn":
            answers.append(self._spawn(*operation[1:]))
        elif name == "signal":
            answers.append(self._signal(*operation[1:]))
        elif name == "spec":
            self._launches[operation[1]] = from_map(operation[2])
        elif name == "adopt":
            self._adopt(operation[1])
        elif name == "list":
            self._list(operation[1], answers)
        elif name == "ping":
            answers.append(("pong", operation[1]))

    def _spawn(self, seq: int, digest: str, owner: str, plan: Sequence[Any]) -> Sequence[Any]:
        known = self._held.get(seq)
        if known is not None:
            return known.outcome()
        self.numbers.note(seq)
        held = Held(seq, owner, Plan(*plan))
        if seq <= self.numbers.barrier:
            # Older than the list that this core asked for: it has settled it as never run.
            return ("failed", seq, owner, "barrier", errno.ECANCELED)
        self._held[seq] = held
        launch = self._launches.get(digest)
        try:
            if launch is None:
                raise SpawnFailed("spec", errno.EINVAL)
            held.child = self._kernel.spawn(launch, self.numbers.mark(seq), (seq, owner))
        except SpawnFailed as error:
            held.failed = (error.step, error.errno)
            return held.outcome()
        self._by_pid[held.child.pid] = held
        self._by_pidfd[held.child.pidfd] = held
        self._kernel.watch(held.child)
        return held.outcome()

    def _adopt(self, rows: Iterable[Sequence[Any]]) -> None:
        """Hold what a keeper that was killed has left; whom we hold then is in the list.

        It is no child of ours, nor is what it leaves behind: that is never looked for.
        """
        for spawn_id, owner, plan, *identity in rows:
            if spawn_id in self._held:
                continue  # The core that asked first did not live to record it.
            child = self._kernel.adopt(*identity)
            if child is not None:
                held = Held(spawn_id, owner, Plan(*plan))
                held.child, held.alone = child, True
                self._held[spawn_id] = self._by_pidfd[child.pidfd] = held
                self.numbers.note(spawn_id)
                self._kernel.watch(child)

    def _signal(
        self, seq: int, spawn_id: int, signum: int, scope: str, child_pid: int | None
    ) -> Sequence[Any]:
        self.numbers.note(seq)
        held = self._held.get(spawn_id)
        if held is None or held.child is None:
            return ("signalled", seq, spawn_id, signum, (), errno.ESRCH)
        if seq <= held.signal_seq:
            if seq == held.signal_outcome[0]:
                return ("signalled", seq, spawn_id, signum, *held.signal_outcome[1:])
            return ("signalled", seq, spawn_id, signum, (), 0)
        if scope not in SCOPES:
            return ("signalled", seq, spawn_id, signum, (), errno.EINVAL)
        pids, number = self._kernel.signal(held.child, signum, scope, child_pid)
        held.signal_seq, held.signal_outcome = seq, (seq, pids, number)
        return ("signalled", seq, spawn_id, signum, pids, number)

    def _list(self, barrier: int, answers: list[Sequence[Any]]) -> None:
        self.numbers.close(barrier)
        rows = [held.row() for held in self._held.values()]
        for start in range(0, len(rows) or 1, HELD_ROWS_PER_PAGE):
            page = rows[start : start + HELD_ROWS_PER_PAGE]
            answers.append(("held", start + HELD_ROWS_PER_PAGE >= len(rows), page))
        self._listed = True
        self._untold = {h.spawn_id: h for h in self._held.values() if h.ending or h.failed}
        # Behind the pages and before the answers to what this batch still asks for.
        self._tell(answers.copy())
        answers.clear()
        self.tell_exits()
        self.notice_orphans()
