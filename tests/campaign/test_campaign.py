"""Room: tests -- the campaign's own machinery: it finds what is planted, says what it has not done.

Knows:     campaign.truth, campaign.stage, campaign.harness, campaign.report.
Known by:  pytest.
Never:     runs a row: `make campaign` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from campaign import harness, judge, report, rows, tally, yardstick
from campaign.__main__ import main
from campaign.stage import NotHere, Outcome, Row, Stage, Task, Wrong, boot_ns
from campaign.truth import SLACK_NS, Life, Told, compare, lives, worker
from circus.bus.codec import Stamp, stamped
from circus.bus.events import CoreLost
from circus.bus.record import Draft
from circus.bus.values import CORE, Moment

ROOT: Final = Path(__file__).parent.parent.parent
SECOND: Final = 1_000_000_000


def life(pid: int, born: int, code: int | None = 7) -> Life:
    return Life(pid, born * SECOND, "1", code)


def told(pid: int, ended: int, **more: Any) -> Told:
    whole: dict[str, Any] = {
        "spawn_id": pid * 1000 + ended, "watcher": "w", "pid": pid, "started": 0,
        "ended": ended * SECOND, "code": 7, "signal": None, "asked": False, "lost": False,
    }  # fmt: skip
    return Told(**{**whole, **more})


def test_lives_that_are_on_record_are_no_news() -> None:
    """One pid may have several owners, each after the end of the one before."""
    truth = [life(5, 1), life(6, 1, code=0), life(5, 3, code=9)]
    record = [told(5, 2), told(6, 2, code=0), told(5, 4, code=9)]
    assert [] == compare(truth, record)


@pytest.mark.parametrize(
    ("truth", "record", "said"),
    [
        ([life(5, 1)], [], "lived without a record"),
        ([life(5, 3)], [told(5, 2)], "lived without a record"),
        ([life(5, 1), life(5, 1)], [told(5, 2)], "lived without a record"),
        ([life(5, 1)], [told(5, 2), told(5, 3)], "never lived"),
        ([life(5, 1)], [told(5, 2, code=8)], "a wrong status"),
        ([life(5, 1)], [told(5, 2, code=None, signal=9)], "a wrong status"),
        ([life(5, 1, code=None)], [told(5, 2, code=None, signal=9)], "died of what nobody did"),
        ([life(5, 1)], [told(5, 2, lost=True, code=None)], "its end is not on record"),
    ],
)
def test_whatever_is_planted_is_found(truth: list[Life], record: list[Told], said: str) -> None:
    """A loss, a duplicate, a wrong status, a death that nobody has caused."""
    assert said in compare(truth, record)[0]


def test_a_death_that_was_asked_for_is_no_wrong() -> None:
    """By a signal on record, or by the campaign itself."""
    by_signal = {"code": None, "signal": 15}
    assert [] == compare([life(5, 1, code=None)], [told(5, 2, asked=True, **by_signal)])
    assert [] == compare([life(5, 1, code=None)], [told(5, 2, **by_signal)], killed=[5])
    assert [] == compare([], [told(5, 2, asked=True, **by_signal)])


def test_a_worker_says_what_it_will_do_before_it_does_it(tmp_path: Path) -> None:
    """Its exit code is the one that it wrote."""
    truth = tmp_path / "truth"
    codes = {}
    for who in ("1", "2"):
        with subprocess.Popen([worker(tmp_path), truth, who, "0"]) as process:
            codes[process.pid] = process.wait()
    written = lives(truth)
    assert codes == {one.pid: one.code for one in written}
    assert ["1", "2"] == [one.who for one in written]


def row_of(run: Any) -> Row:
    return Row("F0", "none", "times", 3, 9, 3, run)


def played(run: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert 0 == harness.play(row_of(run), Task(3, 10.0, 7))
    last: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return last


def thrice(stage: Stage) -> None:
    while stage.going():
        stage.did()


def wrong_at_two(stage: Stage) -> None:
    while stage.going():
        stage.did()
        stage.expect(stage.done < 2, "two")


def elsewhere(stage: Stage) -> None:
    raise NotHere("needs another machine")


def hopeless(stage: Stage) -> None:
    raise Wrong(f"nothing works in {stage.folder.parent}")


def test_a_row_says_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends at its count, or at its first wrong."""
    assert ("ok", 3, []) == tuple(
        played(thrice, capsys)[key] for key in ("status", "done", "wrongs")
    )
    found = played(wrong_at_two, capsys)
    assert ("failed", 2, "two") == (found["status"], found["done"], found["wrongs"][0])
    assert "failed" == played(hopeless, capsys)["status"]


def test_a_row_that_was_not_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Because it cannot be here, or because it came to nothing."""
    assert "not run" == played(elsewhere, capsys)["status"]
    assert "not run" == played(lambda _: None, capsys)["status"]
    outcome = Outcome("F0", "not run", 0, 3, 1.0)
    assert not outcome.is_good
    assert "| *not run* |" in report.table([row_of(thrice)], [outcome])[-1]


def test_what_a_row_leaves_behind_is_found_and_ended() -> None:
    """An orphan comes to the harness, which knows that it started no such process."""
    script = (
        "import subprocess; from campaign import harness; harness.become_reaper()\n"
        "subprocess.run(['sh', '-c', 'sleep 1000 &'], check=True, stdout=subprocess.DEVNULL)\n"
        "harness.PATIENCE_SECONDS = 0.1\n"
        "print(harness._left(), harness._left())"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "sleep'] []" in done.stdout


def test_every_row_has_a_line_of_its_own_in_the_docs() -> None:
    """What was tested, how, and what must hold."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert [] == [row.id for row in rows.ALL if f"| {row.id} |" not in page]
    assert len(rows.ALL) == len({row.id for row in rows.ALL})


def test_a_row_that_there_is_not_is_a_question_of_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It names those that there are."""
    assert 64 == main([], {"ONLY": "F1,F99"})
    assert "F99" in capsys.readouterr().err
    assert 64 == main(["--nosuch"], {})


def test_a_failed_row_says_how_to_do_the_same_again() -> None:
    """The row, its dice, how often, where it began, and for how long."""
    (row,) = [row for row in rows.ALL if row.id == "F5"]
    said = harness.again(row, Task(20, 60.0, 77, 5))
    assert said == "make campaign ONLY=F5 SEED=77 COUNT=20 BEFORE=5 SECONDS=60"


def test_the_same_seed_throws_the_same_dice(tmp_path: Path) -> None:
    """And another one others."""
    first, second, other = (Stage(tmp_path, Task(1, 1.0, seed)).dice.random() for seed in (7, 7, 8))
    assert first == second != other


def test_parts_add_up_and_a_bad_one_stays(tmp_path: Path) -> None:
    """Counts and times add up; the next part begins behind those that there are."""
    where = tally.surroundings("nowhere")
    path = tmp_path / "parts" / "list"
    part = Outcome("F0", "ok", 3, 3, 2.0, 7, counts={"lives": 5}, times={"ready": [1.0, 3.0]})
    for one in (part, part, part._replace(id="F1"), part._replace(status="not run", done=0)):
        tally.keep(one, where, path)
    row = row_of(thrice)
    found = tally.summed(row, [outcome for outcome, _ in tally.kept(path)])
    assert ("ok", 6, 9, 2, 4.0) == (
        found.status, found.done, found.wanted, found.parts, found.seconds,
    )  # fmt: skip
    assert ({"lives": 10}, {"ready": [1.0, 3.0, 1.0, 3.0]}) == (found.counts, found.times)
    line = report.table([row], [found])[-1]
    assert "| 6 of 9 times, in 2 parts | yes | 4 | lives: 10; ready p50/p99: 3/3 ms |" in line
    tally.keep(part._replace(status="failed", wrongs=("lost",)), where, path)
    found = tally.summed(row, [outcome for outcome, _ in tally.kept(path)])
    assert ("failed", ("lost",)) == (found.status, found.wrongs)


def test_a_table_takes_its_place_on_the_page(tmp_path: Path) -> None:
    """Between the marks, and nothing else moves."""
    page = tmp_path / "page"
    begin, end = report.ONCE
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    report.write_page(report.ONCE, ["new"], page)
    assert f"before\n{begin}\n\nnew\n\n{end}\nafter\n" == page.read_text(encoding="utf-8")
    with pytest.raises(LookupError, match="cannot write"):
        report.write_page(report.SUMMED, ["new"], page)


def test_where_there_is_no_compiler_a_script_writes_the_same_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock is coarser."""
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path))
    program, truth = worker(tmp_path), tmp_path / "truth"
    assert program.read_bytes().startswith(b"#!")
    monkeypatch.setenv("PATH", path)
    before = boot_ns()
    with subprocess.Popen([program, truth, "1", "0.01"]) as process:
        code = process.wait()
    (life,) = lives(truth)
    assert (process.pid, code) == (life.pid, life.code)
    assert before - SLACK_NS <= life.born <= boot_ns()


def test_a_limit_of_time_gives_way_to_a_slow_machine_only(tmp_path: Path) -> None:
    """Beyond it and many times a bare start is wrong; a hundredth part of few is not judged."""

    def wrongs(late: float, bare: float, count: int) -> int:
        stage = Stage(tmp_path, Task(1, 1.0, 7))
        stage.times["ready"], stage.times[yardstick.BARE] = [late] * count, [bare]
        yardstick.expect_within(stage, "ready", 0.99, 1000)
        return len(stage.wrongs)

    assert (0, 1, 0, 0) == (
        wrongs(900, 10, 100), wrongs(1100, 10, 100), wrongs(1100, 200, 100), wrongs(1100, 10, 99),
    )  # fmt: skip


def test_a_core_that_is_lost_twice_or_never_is_found(tmp_path: Path) -> None:
    """Each that was killed is told once; others may have been lost, too."""

    def wrongs(struck: list[int], *lost: int) -> list[str]:
        stage = Stage(tmp_path, Task(1, 1.0, 7))
        stamp = Stamp(1, 0, CORE, Moment(1, 1), 1)
        records = [stamped(stamp, Draft(CoreLost(pid, signal=9))) for pid in lost]
        judge.judge_cores(stage, records, struck)
        return stage.wrongs

    assert [] == wrongs([5, 6], 5, 6, 7)
    assert ["cores killed: [5, 6], lost: [5]"] == wrongs([5, 6], 5)
    assert "more than once: [5]" in wrongs([5], 5, 5)[0]
