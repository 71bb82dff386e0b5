"""Room: watcher -- `signal` and `kill`: they stand beside the queue and wait for nobody.

Knows:     bus.commands, watcher.operations, watcher.plan, watcher.policy, watcher.state.
Known by:  watcher.core.
Never:     changes a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from circus.bus import commands as c
from circus.bus.commands import ProcessSignal
from circus.bus.record import Command
from circus.watcher.operations import stop_batch
from circus.watcher.plan import Plan
from circus.watcher.policy import scope_of
from circus.watcher.state import Operation, targets_of, untouched_of


def begin_aside(plan: Plan, op: Operation, body: Command) -> None:
    """`signal` and `kill` wait for nobody."""
    plan.note(body)
    targets = targets_of(plan.state, body)
    if isinstance(body, c.WatcherKill):
        if targets:
            kill(plan, op, body, untouched_of(plan.state, targets))
        else:
            plan.finish(op)
    else:
        send(plan, op, body, targets)


def carry_on_asides(plan: Plan) -> None:
    """What did not fit into the decision that began it."""
    for op in plan.state.asides.values():
        if isinstance(op.body, c.WatcherKill):
            kill(plan, op, op.body, op.pending)
        else:
            send(plan, op, op.body, op.pending)


def kill(plan: Plan, op: Operation, body: c.WatcherKill, pending: Mapping[int, None]) -> None:
    """Stop signal, grace, SIGKILL; it is done when the last of them is gone."""
    if pending:
        name = f"grace:{op.command}"
        left = list(pending)
        stop_batch(plan, name, left, reason="kill", wish=body)


def send(plan: Plan, op: Operation, body: Command | None, pending: Mapping[int, None]) -> None:
    """One signal to each."""
    assert isinstance(body, c.WatcherSignal), op
    signal = ProcessSignal(body.signum, scope_of(body), body.child_pid)
    fitting = plan.room
    for spawn_id in islice(pending, fitting):
        plan.signal(spawn_id, signal)
    if len(pending) > fitting:
        plan.go_on()
    else:
        plan.finish(op)
