"""Room: tests -- figures into tables: ratios within a round, floors beside targets.

Knows:     bench.report, bench.stage.
Known by:  pytest.
Never:     measures anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from bench import report
from bench.stage import Figures, Item, Target


def never(stage: object) -> Figures:
    raise AssertionError(f"nothing is run here: {stage}")


LABELS: Final = ("bare", "two", "ours", "ours, full road")
ITEM: Final = Item(
    "reaction", "Reaction", dict.fromkeys(LABELS, never),
    (Target("p50 ms", "ratio", "at most", 1.6), Target("lost", "value", "at most", 0)),
    against={"p99 ms": "p50 ms"}, floors={"ours": "two"},
)  # fmt: skip


def results(*rounds: tuple[float, float, float]) -> dict[str, list[Figures | None]]:
    """Rounds of bare, the floor and ours."""
    return {
        label: [{"p50 ms": one[place], "p99 ms": 3 * one[place], "lost": 0} for one in rounds]
        for place, label in enumerate(("bare", "two", "ours"))
    }


def test_a_target_that_is_missed_has_the_floor_beside_it() -> None:
    """
    Both as ratios to bare, taken in each round, and the median of those.
    """
    rows = list(report.verdicts({"reaction": (ITEM, results((1, 1.5, 2), (2, 4, 6), (1, 1.5, 2)))}))
    assert "| what | figure | target | here | floor | met |" == rows[0]
    missed = "| Reaction | p50 ms | at most 1.6 × bare | 2 × bare | 1.50 × bare | **no** |"
    assert missed == rows[2]
    assert "| Reaction | lost | at most 0 | 0 | 0 | yes |" == rows[3]


def test_a_row_of_ours_has_both_ratios() -> None:
    """
    To bare, by the figure that the item names, and to the floor, by the same figure.
    """
    rows = list(report.table(ITEM, results((1, 1.5, 2))))
    assert "| bare | 1 | 3 | 0 |" == rows[2]
    assert "| two | 1.50 (1.50 ×) | 4.50 (4.50 ×) | 0 |" == rows[3]
    assert "| ours | 2 (2.00 ×; 1.33 × floor) | 6 (6.00 ×; 1.33 × floor) | 0 |" == rows[4]


def test_what_could_not_be_measured_has_no_ratio() -> None:
    """
    A contestant that failed, and a floor that was not run, are dashes.
    """
    found = results((1, 1.5, 2))
    del found["two"]
    found["ours, full road"] = [None]
    rows = list(report.table(ITEM, found))
    assert "| ours | 2 (2.00 ×) | 6 (6.00 ×) | 0 |" == rows[3]
    assert "| ours, full road (1 of 1 runs failed) | – | – | – |" == rows[4]
    (_, _, missed, _) = report.verdicts({"reaction": (ITEM, found)})
    assert "| Reaction | p50 ms | at most 1.6 × bare | 2 × bare | – | **no** |" == missed
