"""Room: bus -- why a reader of the ledger cannot go on as if nothing had happened.

Knows:     nothing.
Known by:  ledger, reader, subscriber, gateway, replay.
Never:     is swallowed: a subscriber is told, it is never given another history in silence.
"""

from __future__ import annotations


class CursorError(Exception):
    """The stream cannot be continued from this cursor without a gap; see the subclass."""


class Trimmed(CursorError):
    """The wanted records are older than what is kept; `first_seq` is the oldest that is left."""

    def __init__(self, first_seq: int) -> None:
        super().__init__(
            f"cannot read that far back: the ledger begins at {first_seq}; "
            f"continue after {first_seq - 1} or from a snapshot"
        )
        self.first_seq = first_seq


class Reset(CursorError):
    """The ledger is another one than the cursor's: new, or restored."""

    def __init__(self, log_id: bytes) -> None:
        super().__init__(
            f"cannot continue: this is ledger {log_id.hex()}, not the cursor's; start from 0"
        )
        self.log_id = log_id


class Diverged(CursorError):
    """The reader saw records that this ledger does not have (a power cut took an unsynced tail)."""

    def __init__(self, seq: int, head: int) -> None:
        super().__init__(
            f"cannot continue after {seq}: the ledger (head {head}) has another history there; "
            "forget what was derived from it and start again"
        )
        self.seq = seq
        self.head = head


class Damaged(CursorError):
    """Bytes of a segment are not what was written; continue after `lost_to` to go on.

    Where `lost_to` is `lost_from` - 1 no record is missing, but the chain is broken there.
    """

    def __init__(self, segment: str, offset: int, lost_from: int, lost_to: int) -> None:
        super().__init__(
            f"cannot read {segment} at byte {offset}: damaged, records {lost_from} to {lost_to} "
            f"are lost; continue after {lost_to}"
        )
        self.segment = segment
        self.offset = offset
        self.lost_from = lost_from
        self.lost_to = lost_to
