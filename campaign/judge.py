"""The laws of every ledger, and the files as they are: read by two readers, re-decided, counted.

The laws are those of the tests of real daemons (tests/real/laws.py), loaded from there: a campaign
that judged by rules of its own would prove less.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from campaign.stage import Stage
from campaign.truth import compare, lives, told
from circus.bus import events
from circus.bus.record import Record

CHURNING: Final = ("churn",)  # the watchers whose workers write the truth
LAWS: Final = Path(__file__).parent.parent / "tests" / "real" / "laws.py"


@cache
def laws() -> Any:
    """The module."""
    return _loaded(LAWS)


@cache
def second_reader() -> Any:
    """The reader that shares no line with the first."""
    return _loaded(LAWS.parent.parent / "bus" / "second_reader.py")


def _loaded(path: Path) -> Any:
    """tests/ is no package: a module of it is loaded by its place."""
    spec = importlib.util.spec_from_file_location(f"campaign_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(stage: Stage, state_dir: Path) -> list[Record]:
    """All records of a daemon that has ended; what breaks a law is a wrong of the stage."""
    try:
        records: list[Record] = laws().judge(state_dir)
    except AssertionError as error:
        stage.expect(False, f"the ledger breaks a law: {str(error)[:600]}")
        records = laws().read(state_dir)
    return records


def judge_cores(stage: Stage, records: list[Record], struck: Sequence[int]) -> None:
    """Each core that was killed is on record as lost, and none is twice."""
    lost = Counter(one.body.pid for one in records if isinstance(one.body, events.CoreLost))
    stage.expect(set(struck) <= set(lost), f"cores killed: {struck}, lost: {sorted(lost)}")
    twice = [pid for pid, count in lost.items() if count > 1]
    stage.expect(not twice, f"these cores are on record as lost more than once: {twice}")


def judge_lives(
    stage: Stage, records: list[Record], truth: Path, *, killed: set[int] | None = None
) -> None:  # fmt: skip
    """What the workers wrote against what the ledger says; the counts are figures."""
    written, on_record = lives(truth), told(records, CHURNING)
    stage.expect_none(compare(written, on_record, killed or ()))
    stage.counts["lives"] += len(on_record)
    stage.counts["records"] += len(records)
