"""A service that writes who asked for what, and what died: nothing twice, nothing left out.

    python examples/audit_service.py STATE_DIR AUDIT_FILE

Stop it, start it again, restart circusd meanwhile: it goes on after the last line that it wrote.
The cursor is stored *in* the line, so that both are written together or not at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import circus
from circus.bus.cursor_errors import Diverged, Reset, Trimmed
from circus.bus.record import Record
from circus.bus.values import Cursor

WORTH_A_LINE = {"process.exited", "process.spawn_failed", "watcher.failed"}


def main(state_dir: str, audit_file: Path) -> None:
    """Follow the record from the stored cursor, for ever."""
    start = stored_cursor(audit_file)
    try:
        with (
            circus.subscribe(state_dir, start) as records,
            audit_file.open("a", encoding="utf-8") as file,
        ):
            for record in records:
                write_line(file, record, records.cursor)
    except (Trimmed, Reset, Diverged) as error:
        # A gap in an audit is a finding, not a detail: it is for a person to decide about.
        sys.exit(f"audit stopped: {error}")


def write_line(file: TextIO, record: Record, cursor: Cursor) -> None:
    """The line and its cursor, if the record is worth one."""
    line = audited(record)
    if line is not None:
        file.write(json.dumps({**line, "cursor": as_text(cursor)}) + "\n")
        file.flush()


def audited(record: Record) -> Mapping[str, Any] | None:
    """What is worth a line: everything that somebody asked for, and every death."""
    if record.peer is None and record.name not in WORTH_A_LINE:
        return None
    return {
        "seq": record.seq,
        "what": record.name,
        "watcher": record.watcher,
        "who": dict(record.peer) if record.peer is not None else None,
        "details": repr(record.body),
    }


def as_text(cursor: Cursor) -> list[str | int]:
    """A cursor as JSON."""
    return [cursor.log_id.hex(), cursor.seq, cursor.chain8.hex()]


def stored_cursor(audit_file: Path) -> Cursor | int:
    """From the last whole line; a line that a crash cut off is cut off here, too."""
    if not audit_file.exists():
        return 0
    whole = audit_file.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        with audit_file.open("r+b") as file:
            file.truncate(end)
    lines = whole[:end].splitlines()
    if not lines:
        return 0
    log_id, seq, chain8 = json.loads(lines[-1])["cursor"]
    return Cursor(bytes.fromhex(log_id), seq, bytes.fromhex(chain8))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(0)
