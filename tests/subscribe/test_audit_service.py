"""examples/audit_service.py: killed at any moment, it goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from circus.bus.codec import Stamp, encode_records, stamped
from circus.bus.events import WatcherFailed
from circus.bus.record import Draft
from circus.bus.values import Moment

EXAMPLE = Path(__file__).parents[2] / "examples" / "audit_service.py"


def failure(seq: int) -> bytes:
    stamp = Stamp(seq, 0, "watcher:web#1", Moment(1, 1), 1)
    return encode_records([stamped(stamp, Draft(WatcherFailed("x"), watcher="web"))])


def test_it_writes_every_line_once_across_its_own_death(
    serve: Callable[..., Any], reaped: Any, tmp_path: Path
) -> None:
    """The cursor is in the line, so that both are there or none."""
    served = serve()
    for seq in (1, 2, 3):
        served.ledger.append(failure(seq), 1)
    served.start()
    audit = tmp_path / "audit"
    audit.touch()
    for wanted in (3, 5):
        process = subprocess.Popen([sys.executable, EXAMPLE, served.state_dir, audit])
        reaped(process)
        while len(lines(audit)) < wanted:
            assert process.poll() is None
            served.beat()
        process.kill()
        process.wait()
        with audit.open("ab") as file:
            file.write(b'{"torn')
        served.stop()
        for seq in (wanted + 1, wanted + 2):
            served.ledger.append(failure(seq), 1)
        served.start()
    assert [1, 2, 3, 4, 5] == [json.loads(line)["seq"] for line in lines(audit)]


def lines(audit: Path) -> list[bytes]:
    whole = audit.read_bytes()
    return whole[: whole.rfind(b"\n") + 1].splitlines()
