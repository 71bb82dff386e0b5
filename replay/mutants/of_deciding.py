"""Room: replay -- mutants of the deciding rooms: the watcher's and the arbiter's cores.

Knows:     replay.mutants.mutant.
Known by:  replay.mutants (the register).
Never:     imports what it changes.
"""

from __future__ import annotations

from typing import Final

from circus.replay.mutants.mutant import Mutant

OPERATIONS: Final = "circus.watcher.operations"
LIVES: Final = "circus.watcher.lives"
PLAN: Final = "circus.watcher.plan"
POLICY: Final = "circus.watcher.policy"
FOLD: Final = "circus.watcher.fold"
CORE: Final = "circus.watcher.core"
STATE: Final = "circus.watcher.state"
ARBITER: Final = "circus.arbiter.core"
DIFFERENCES: Final = "circus.arbiter.differences"
ARBITER_FOLD: Final = "circus.arbiter.fold"
ARBITER_STATE: Final = "circus.arbiter.state"

DECIDING: Final = (
    Mutant(
        "kill_too_early", OPERATIONS,
        "SIGKILL comes after half of the grace",
        "spec.graceful_timeout if grace is None else grace, bound",
        "(spec.graceful_timeout if grace is None else grace) // 2, bound",
        ("I-STOPSEQ",),
    ),
    Mutant(
        "kill_never", OPERATIONS,
        "the grace ends and nothing happens",
        "        if name == woken or batch.due <= plan.record.boot:\n", "        if False:\n",
        ("I-STOPSEQ",),
    ),
    Mutant(
        "one_too_many", PLAN,
        "a watcher that lacks processes asks for one more than it lacks",
        "        return max(0, need)\n", "        return max(0, need) + (need > 0)\n",
        ("I-MAX", "I-SINGLE"),
    ),
    Mutant(
        "reload_exceeds_numprocesses", PLAN,
        "a reload counts no process as old, so it never ends spawning",
        "        need = self.spec.numprocesses - (self.occupied - self.overlap())\n",
        "        need = self.spec.numprocesses - (self.occupied - 2 * self.overlap())\n",
        ("I-MAX",),
    ),
    Mutant(
        "singleton_has_two", STATE,
        "a singleton is reloaded like any other: the new one first",
        "if body.sequential or spec.singleton else Mode.ROLLING",
        "if body.sequential else Mode.ROLLING",
        ("I-SINGLE", "I-MAX"),
    ),
    Mutant(
        "surplus_kept", OPERATIONS,
        "decr changes the number and ends nobody",
        "    if surplus > 0:\n", "    if False:\n",
        ("I-CONV", "I-MAX"),
    ),
    Mutant(
        "respawn_forgotten", LIVES,
        "a death between two operations is not replaced",
        "    return Draft(ProcessSpawn(state.digest, 1, slot.spawn_id), REAPER, spec.name, wid)\n",
        "    return Draft(e.SlotVacated(), None, spec.name, wid, slot.spawn_id)\n",
        ("I-CONV",),
    ),
    Mutant(
        "max_retry_off_by_one", POLICY,
        "a spawn is tried once more than max_retry allows",
        "    return 0 <= spec.max_retry < attempt\n",
        "    return 0 <= spec.max_retry < attempt - 1\n",
        ("I-BACKOFF",),
    ),
    Mutant(
        "backoff_ignored", POLICY,
        "the second short life in a row is replaced at once",
        "    if spec.backoff == 0 or failures < 2:\n",
        "    if spec.backoff == 0 or failures < 99:\n",
        ("I-BACKOFF",),
    ),
    Mutant(
        "backoff_not_doubled", POLICY,
        "every pause is as long as the first",
        "    delay = min(first << min(times, DOUBLINGS_MAX), most)\n",
        "    delay = min(first, most)\n",
        ("I-BACKOFF",),
    ),
    Mutant(
        "backoff_not_reset", FOLD,
        "a long life does not forgive the short ones before it",
        "        if old.phase is SlotPhase.RUNNING or old.phase is SlotPhase.STOPPING:\n",
        "        if False:\n",
        ("I-BACKOFF",),
    ),
    Mutant(
        "wall_clock_in_backoff", LIVES,
        "how long a life was is asked of the wall clock",
        "and 0 <= body.observed - slot.since < plan.spec.min_uptime\n    )",
        "and plan.record.at % 2 == 0\n    )",
        ("I-BACKOFF",),
    ),
    Mutant(
        "never_run_counts_as_failure", LIVES,
        "a spawn that met the end of a core uses up a retry",
        "    plan.spawn(wid, slot.attempt, slot.spawn_id)\n",
        "    plan.spawn(wid, slot.attempt + 1, slot.spawn_id)\n",
        ("I-BACKOFF",),
    ),
    Mutant(
        "outcome_never_given", PLAN,
        "an operation ends and nobody is told",
        "        self.drafts.append(Draft(body, op.asker, name, id=op.id))\n", "",
        ("I-CMD-OUT",),
    ),
    Mutant(
        "outcome_given_twice", PLAN,
        "an operation's end is told twice",
        "        self.drafts.append(Draft(body, op.asker, name, id=op.id))\n",
        "        self.drafts += [Draft(body, op.asker, name, id=op.id)] * 2\n",
        ("I-CMD-OUT",),
    ),
    Mutant(
        "refusal_with_an_effect", CORE,
        "what cannot be set is refused, and tried all the same",
        "        return (Draft(refusal, record.actor, state.name, id=record.id),)\n",
        "        return (\n"
        "            Draft(refusal, record.actor, state.name, id=record.id),\n"
        "            Draft(e.WatcherResized(9), None, state.name),\n"
        "        )\n",
        ("I-ATOMRELOAD", "I-MAX", "I-SINGLE"),
    ),
    Mutant(
        "deadline_ignored", CORE,
        "a command whose deadline has passed is carried out",
        "record.deadline is not None and record.deadline < record.boot",
        "record.deadline is not None and record.deadline < 0",
        ("I-EXPIRE",),
    ),
    Mutant(
        "fold_differs_from_live", LIVES,
        "deciding about a short life changes the state behind the fold",
        "    failures = plan.state.failures.get(wid, 0) + 1\n",
        "    failures = plan.state.failures[wid] = plan.state.failures.get(wid, 0) + 1\n",
        ("I-FOLD", "I-DET"),
    ),
    Mutant(
        "hidden_memory_in_a_core", POLICY,
        "a decision depends on how many were made before",
        "    return spec.max_age + chance.draw(key) * (spec.max_age_variance + 1) // DRAW_RANGE\n",
        "    DRAWN.append(key)\n"
        "    return spec.max_age + len(DRAWN)\n"
        "\n"
        "\n"
        "DRAWN: list[str] = []\n",
        ("I-DET",),
    ),
    Mutant(
        "stop_order_reversed", ARBITER,
        "the arbiter stops the highest priority first",
        "key=lambda key: state.entries[key].rank, reverse=True)",
        "key=lambda key: state.entries[key].rank)",
        ("I-DEP",),
    ),
    Mutant(
        "start_ignores_priority", ARBITER_STATE,
        "the arbiter starts watchers in the order in which it has come to know them",
        "        return (-int(self.spec[\"priority\"]), self.order)\n",
        "        return (0, self.order)\n",
        ("I-DEP",),
    ),
    Mutant(
        "reload_touches_the_unchanged", DIFFERENCES,
        "every option counts as changed when a file is read again",
        "if k in OPTIONS and _listed(_of(old, k)) != _listed(v)}", "if k in OPTIONS}",
        ("I-RELOAD", "I-CONV"),
    ),
    Mutant(
        "stopped_watcher_revived", ARBITER,
        "a watcher that an operator has stopped is started when the file replaces it",
        "bool(spec[\"autostart\"]) and not state.entries[key].halted", "bool(spec[\"autostart\"])",
        ("I-CONV",),
    ),
    Mutant(
        "warmup_forgotten", ARBITER_FOLD,
        "any command to any watcher counts as the next start of a warm-up",
        "    if isinstance(body, WARMED):\n", "    if True:\n",
        ("I-CMD-OUT", "I-CONV"),
    ),
    Mutant(
        "child_outcome_lost", ARBITER,
        "the arbiter forgets to go on when a watcher has answered",
        "    if not last or starts:\n"
        "        return [going_on, *born]\n",
        "    if not last or starts:\n"
        "        return []\n",
        ("I-CMD-OUT",),
    ),
)  # fmt: skip
