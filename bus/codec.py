"""Room: bus -- bytes in, values out: the only module that knows msgpack, with hardened limits.

Knows:     bus.names, bus.record.
Known by:  ledger, switchboard, transport, link, client.
Never:     builds a class that the name table does not list.

Two decoders. `from_outside` is for whatever a stranger sends, with the limits measured in
RELIABILITY.md, 7.2 (a frame of 16 MiB of empty maps became 1.1 GiB without them). `from_ledger` is
for our own bytes, whose digests have been checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgpack

from circus.bus.names import CLASS_OF, NAME_OF, Unknown
from circus.bus.record import ENVELOPE_KEYS, Body, Command, Draft, Record, fields_of, new_tuple
from circus.bus.shapes import declared
from circus.bus.values import Moment

OUTSIDE_BYTES_MAX: Final = 256 * 1024
OUTSIDE_ARRAY_MAX: Final = 4096
OUTSIDE_MAP_MAX: Final = 256
OUTSIDE_DEPTH_MAX: Final = 8
LEDGER_BYTES_MAX: Final = 32 * 1024 * 1024  # twice the longest payload
INTEGER_MAX: Final = 2**64 - 1
INTEGER_MIN: Final = -(2**63)

_packer = msgpack.Packer(use_bin_type=True, autoreset=True)
pack: Final = _packer.pack


def packing(lower: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    """Like `pack`, for values that hold objects: `lower` says each in plain values."""
    encode: Callable[[Any], bytes] = msgpack.Packer(
        use_bin_type=True, autoreset=True, default=lower
    ).pack
    return encode


class Unintelligible(Exception):
    """Bytes that nobody here could have meant; the text says which rule they break."""


def from_outside(data: bytes) -> Any:
    """Decode a stranger's message: tuples for arrays, str keys only, no ext, depth at most 8."""
    if len(data) > OUTSIDE_BYTES_MAX:
        raise Unintelligible(f"cannot decode: {len(data)} bytes, at most {OUTSIDE_BYTES_MAX}")
    try:
        value = msgpack.unpackb(
            data, raw=False, strict_map_key=True, use_list=False,
            max_array_len=OUTSIDE_ARRAY_MAX, max_map_len=OUTSIDE_MAP_MAX, max_ext_len=0,
            ext_hook=_refuse_ext, object_pairs_hook=_strict_map,
        )  # fmt: skip
    except Unintelligible:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise Unintelligible(f"cannot decode: {str(error) or type(error).__name__}") from error
    _check_depth(value, OUTSIDE_DEPTH_MAX)
    return value


def from_ledger(data: bytes | memoryview) -> Any:
    """Decode bytes of our own making, whose length and digest have been checked."""
    return msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=False)


def encode_records(records: Iterable[Record]) -> bytes:
    """The payload of a frame: records with keys in the order of ENVELOPE_KEYS, absent where None.

    All of them in one call: ten packed one by one and joined cost half as much again.
    """
    return pack([record_map(record) for record in records])


def decoder() -> Callable[[bytes], Any]:
    """Like `from_ledger`, for many payloads one after another: each in half the time."""
    unpacker = msgpack.Unpacker(
        raw=False, strict_map_key=False, use_list=False, max_buffer_size=LEDGER_BYTES_MAX
    )
    feed, unpack = unpacker.feed, unpacker.unpack

    def decode(payload: bytes) -> Any:
        feed(payload)
        return unpack()

    return decode


class Stamp:
    """What the switchboard adds to every draft of a decision; seq counts up from `seq`."""

    __slots__ = ("actor", "at", "boot", "cause", "incarnation", "seq")

    def __init__(self, seq: int, cause: int, actor: str, now: Moment, incarnation: int) -> None:
        self.seq = seq
        self.cause = cause
        self.actor = actor
        self.at = now.wall
        self.boot = now.boot
        self.incarnation = incarnation


def record_map(record: Record) -> dict[str, Any]:
    """The record as it is written: the one place that knows the order of the envelope's keys."""
    (
        seq, cause, name, version, actor, to, watcher, slot, spawn_id,
        at, boot, incarnation, identity, peer, deadline, body,
    ) = record  # fmt: skip
    whole: dict[str, Any] = {
        "seq": seq, "cause": cause, "kind": body.kind, "name": name, "v": version, "actor": actor,
    }  # fmt: skip
    if to is not None:
        whole["to"] = to
    if watcher is not None:
        whole["watcher"] = watcher
    if slot is not None:
        whole["slot"] = slot
    if spawn_id is not None:
        whole["spawn_id"] = spawn_id
    whole["at"] = at
    whole["boot"] = boot
    whole["incarnation"] = incarnation
    if identity is not None:
        whole["id"] = identity
    if peer is not None:
        whole["peer"] = peer
    if deadline is not None:
        whole["deadline"] = deadline
    whole["data"] = fields_of(body)
    return whole


def stamped(stamp: Stamp, draft: Draft) -> Record:
    """The record that a draft becomes, at the stamp's place."""
    body, to, watcher, slot, spawn_id, cause, identity, peer, deadline = draft
    name, version = NAME_OF[type(body)]
    return new_tuple(Record, (
        stamp.seq, stamp.cause if cause is None else cause, name, version, stamp.actor,
        to, watcher, slot, stamp.seq if name == "process.spawn" else spawn_id,
        stamp.at, stamp.boot, stamp.incarnation, identity, peer, deadline, body,
    ))  # fmt: skip


def record_of(whole: Mapping[str, Any]) -> Record:
    """A record from its decoded map; unknown keys of the envelope stay out."""
    name, version = whole["name"], whole["v"]
    get = whole.get
    return new_tuple(Record, (
        whole["seq"], whole["cause"], name, version, whole["actor"],
        get("to"), get("watcher"), get("slot"), get("spawn_id"),
        whole["at"], whole["boot"], whole["incarnation"],
        get("id"), get("peer"), get("deadline"), body_of(name, version, whole["data"]),
    ))  # fmt: skip


def records_of(payload: bytes | memoryview) -> tuple[Record, ...]:
    """All records of one frame's payload."""
    return tuple([record_of(whole) for whole in from_ledger(payload)])


def body_of(name: str, version: int, data: Mapping[str, Any]) -> Body:
    """The body from its map: strict for commands, forward compatible for events.

    A message of a newer version is kept as it is, so that an old reader loses nothing.
    """
    cls = CLASS_OF.get((name, version))
    if cls is None:
        return Unknown(name, version, data)
    try:
        return cls(**data)
    except TypeError as error:
        if issubclass(cls, Command):
            raise Unintelligible(f"cannot decode {name}/{version}: {error}") from error
        known = {one.name for one in declared(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


def _refuse_ext(code: int, data: bytes) -> Any:
    raise Unintelligible(f"cannot decode: extension type {code} is not used here")


def _strict_map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise Unintelligible("cannot decode: a key stands twice in one map")
    for key in whole:
        # msgpack's strict_map_key lets bytes pass, and nothing here sorts bytes beside text.
        if not isinstance(key, str):
            raise Unintelligible(f"cannot decode: the key {key!r} is not text")
    return whole


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise Unintelligible(f"cannot decode: deeper than {OUTSIDE_DEPTH_MAX} levels")
    if isinstance(value, dict):
        for inner in value.values():
            _check_depth(inner, left - 1)
    elif isinstance(value, tuple):
        for inner in value:
            _check_depth(inner, left - 1)


__all__ = [
    "ENVELOPE_KEYS", "Stamp", "Unintelligible", "body_of", "decoder", "encode_records",
    "from_ledger", "from_outside", "pack", "packing", "record_map", "record_of", "records_of",
    "stamped",
]  # fmt: skip
