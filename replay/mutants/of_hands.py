"""Room: replay -- mutants of the process room: keeper's logic, stop plans, reaper, lives.

Knows:     replay.mutants.mutant.
Known by:  replay.mutants (the register).
Never:     imports what it changes.
"""

from __future__ import annotations

from typing import Final

from circus.replay.mutants.mutant import Mutant

CHILDREN: Final = "circus.process.children"
HELD: Final = "circus.process.held"
REAPER: Final = "circus.process.reaper"
LIVES: Final = "circus.process.lives"
STOP_PLANS: Final = "circus.process.stop_plans"

HANDS: Final = (
    Mutant(
        "reap_before_record", CHILDREN,
        "the keeper lets a zombie go as soon as it has looked at it",
        "            self._untold[held.spawn_id] = held\n",
        "            self._untold[held.spawn_id] = held\n"
        "            self._kernel.reap(held.child)\n",
        ("I-NOPEEK",),
    ),
    Mutant(
        "signal_after_reap", CHILDREN,
        "a pid is signalled once more after it was let go",
        "        self._kernel.reap(child)\n",
        "        self._kernel.reap(child)\n"
        "        self._kernel.signal(child, 15, 'process', None)\n",
        ("I-SIG",),
    ),
    Mutant(
        "group_kill_after_reap", CHILDREN,
        "leftovers are killed when the leader's pid is free again",
        "                if strangers:\n"
        "                    leftovers = self._kernel.kill_leftovers(held.child)\n"
        "            reports.append(self._reap(held, held.child, leftovers))\n",
        "            reports.append(self._reap(held, held.child, leftovers))\n"
        "            if strangers:\n"
        "                self._kernel.kill_leftovers(held.child)\n",
        ("I-GROUP", "I-REAP1"),
    ),
    Mutant(
        "leftovers_spared", CHILDREN,
        "`leftovers = kill` is not obeyed",
        "            if held.plan.leftovers and not held.alone:\n",
        "            if False:\n",
        ("I-GROUP",),
    ),
    Mutant(
        "wrong_status", HELD,
        "exit code and signal change places in the report",
        "self.child.pid, code, signum, core, rusage,",
        "self.child.pid, signum, code, core, rusage,",
        ("I-STATUS",),
    ),
    Mutant(
        "exit_swallowed_when_coalesced", CHILDREN,
        "of several exits in one wake-up only the first is looked at",
        "        for pidfd in pidfds:\n", "        for pidfd in list(pidfds)[:1]:\n",
        ("I-REAP1", "I-ZOMBIE"),
    ),
    Mutant(
        "exits_not_told_again", CHILDREN,
        "a new core is not told of the exits that no core has heard",
        "{h.spawn_id: h for h in self._held.values() if h.ending or h.failed}", "{}",
        ("I-REAP1", "I-ZOMBIE", "I-RES"),
    ),
    Mutant(
        "orphan_not_recorded", CHILDREN,
        "orphans are reaped and nobody is told",
        "            if ended:\n", "            if not ended:\n",
        ("I-ORPHAN",),
    ),
    Mutant(
        "orphan_counted_as_worker", CHILDREN,
        "orphans are taken for workers, and are never reaped",
        "        strangers = self._kernel.strangers(self._by_pid) if self._listed else None\n",
        "        strangers = None\n",
        ("I-ZOMBIE", "I-ORPHAN"),
    ),
    Mutant(
        "worker_taken_for_orphan", CHILDREN,
        "a worker's pid is not known, so its zombie is reaped as an orphan",
        "        self._by_pid[held.child.pid] = held\n", "",
        ("I-ORPHAN",),
    ),
    Mutant(
        "pid_kept_after_reap", CHILDREN,
        "a pid that was let go counts as ours when somebody else has it",
        "        self._by_pid.pop(child.pid, None)\n"
        "        del",
        "        self._by_pid.setdefault(child.pid, None)\n"
        "        del",
        ("I-ZOMBIE", "I-ORPHAN", "I-GROUP"),
    ),
    Mutant(
        "spawn_carried_out_twice", CHILDREN,
        "a spawn is carried out by two forks",
        "            held.child = self._kernel.spawn(",
        "            self._kernel.spawn(launch, self.numbers.mark(seq), (seq, owner))\n"
        "            held.child = self._kernel.spawn(",
        ("I-SPAWN1",),
    ),
    Mutant(
        "signal_carried_out_twice", CHILDREN,
        "a signal that comes again after a crash is sent again",
        "        if seq <= held.signal_seq:\n", "        if seq < 0:\n",
        ("I-LOG-SIG",),
    ),
    Mutant(
        "stopped_in_any_order", STOP_PLANS,
        "the keeper alone stops the highest priority first",
        "key=lambda held: held.plan.priority)", "key=lambda held: -held.plan.priority)",
        ("I-DEP",),
    ),
    Mutant(
        "plan_without_grace", STOP_PLANS,
        "the keeper alone kills at once what it should ask",
        "boot + held.plan.grace", "boot",
        ("I-STOPSEQ",),
    ),
    Mutant(
        "plan_without_kill", STOP_PLANS,
        "the keeper alone waits for ever for a process that ignores TERM",
        "            if self._due.get(held.spawn_id, boot) <= boot:\n",
        "            if False:\n",
        ("I-SHUT", "I-CONV"),
    ),
    Mutant(
        "ack_before_write", REAPER,
        "an exit is acknowledged before its record is in the ledger",
        "        if hearing.drafts:\n",
        "        told = hearing.drafts\n"
        "        self._acks += [d.spawn_id for d in told if type(d.body) is ProcessExited]\n"
        "        self.flush()\n"
        "        if hearing.drafts:\n",
        ("I-NOPEEK", "I-WAL"),
    ),
    Mutant(
        "ack_forgotten_after_crash", REAPER,
        "an exit on record that no core has acknowledged stays a zombie",
        "    if known is None or known.life.phase is Phase.EXITED:\n"
        "        # It was on record before an earlier core could acknowledge it.\n"
        "        hearing.acks.append(spawn_id)\n",
        "    if known is None or known.life.phase is Phase.EXITED:\n",
        ("I-ZOMBIE", "I-REAP1"),
    ),
    Mutant(
        "eagain_ignored", REAPER,
        "a spawn that failed with EAGAIN has no outcome",
        "    reason = spawn_failure(known.launch, step, number)\n",
        "    if number == errno.EAGAIN:\n"
        "        return\n"
        "    reason = spawn_failure(known.launch, step, number)\n",
        ("I-RES",),
    ),
    Mutant(
        "adopted_by_pid_only", LIVES,
        "a process is adopted without the number that no other ever has",
        "            spawned = ProcessSpawned(pid, started, inode, adopted=True)\n",
        "            spawned = ProcessSpawned(pid, started, adopted=True)\n",
        ("I-REUSE",),
    ),
    Mutant(
        "zombie_taken_for_lost", LIVES,
        "an exit on record is forgotten when the core comes back",
        "    if spawn_id in spawns.exited:\n        return Phase.EXITED\n", "",
        ("I-REAP1", "I-STATUS", "I-ORDER"),
    ),
    Mutant(
        "double_spawn_on_recovery", LIVES,
        "what the keeper holds is taken for never run, and spawned again",
        "        gone = {s: k.life for s, k in self.known.items() if s not in settling.rows}\n",
        "        gone = {s: k.life for s, k in self.known.items()}\n",
        ("I-STATUS", "I-MAX", "I-SINGLE"),
    ),
    Mutant(
        "never_run_untold", LIVES,
        "a spawn that met the end of a core has no outcome",
        "        for spawn_id in never_run:\n", "        for spawn_id in ():\n",
        ("I-RES",),
    ),
)  # fmt: skip
