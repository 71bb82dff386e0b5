"""Subscribers in processes of their own, as the rows start, judge and end them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from campaign.ear import DEADLINE_SECONDS
from campaign.listener import is_mark
from campaign.stage import Stage
from circus.bus.record import Record

ROOT = Path(__file__).parent.parent


class Listener:
    """One of them; its lines go to a file, so that nobody has to read while it runs."""

    def __init__(self, role: str, state: Path, *words: str) -> None:
        self._lines = state.with_suffix(f".heard-{id(self)}")
        command = [sys.executable, "-m", "campaign.listener", role, str(state), *words]
        with self._lines.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(command, stdout=file, cwd=ROOT)

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """It has ended with the mark, or is ended."""
        if kind is not None:
            self._process.kill()
        self.wait()

    def wait(self) -> None:
        """Until it has ended; for ever is too long."""
        try:
            self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def said(self) -> list[Any]:
        """All its lines so far."""
        return [json.loads(line) for line in self._lines.read_text(encoding="utf-8").splitlines()]

    def judge(self, stage: Stage, records: list[Record]) -> None:
        """It has heard every record up to the mark, once and in order; all who are in it have."""
        want = mark_of(records)
        ends = [line for line in self.said() if isinstance(line, dict)]
        good = {"count": want, "last": want, "holes": 0}
        stage.expect(ends, "a subscriber did not come to the end")
        for end in ends:
            stage.expect(end == good, f"a subscriber heard {end}, not {good}")


def mark_of(records: list[Record]) -> int:
    """The seq up to which they listen."""
    return next((record.seq for record in records if is_mark(record)), 0)
