"""Room: process -- what the keeper saw and did while no core was there to record it.

Knows:     msgpack, process.link (its reports).
Known by:  process.keeper_loop (writes), the daemon (imports them before it reconciles).
Never:     is the only reason for a failure: supervision goes on without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgpack

from circus.process.link import REPORTS, Item, LinkGarbled, decode

NAME: Final = "last-words"


def add(state_dir: str, reports: Iterable[Sequence[Any]]) -> None:
    """Append one message of reports and sync it."""
    fd = os.open(
        os.path.join(state_dir, NAME),
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
    )
    try:
        os.write(fd, msgpack.packb(msgpack.packb(list(reports), use_bin_type=True)))
        os.fsync(fd)
    finally:
        os.close(fd)


def read(state_dir: str) -> list[Item]:
    """All reports, in order; a torn last message is left out. Empty where there is no file."""
    path = os.path.join(state_dir, NAME)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return []
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(content)
    items: list[Item] = []
    for body in unpacker:
        if type(body) is not bytes:
            raise LinkGarbled(f"cannot read {path}: not a sequence of messages")
        items.extend(decode(body, REPORTS))
    return items


def forget(state_dir: str) -> None:
    """They are in the ledger now."""
    os.unlink(os.path.join(state_dir, NAME))
