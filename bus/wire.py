"""Room: bus -- what crosses the sockets: header, request, reply, live message; bytes and values.

Knows:     bus.values.
Known by:  the gateway, the switchboard's publisher, bus.follow, circus.client, docs/wire.md.
Never:     opens a socket, reads a clock, builds a record.

`docs/wire.md` is this module for people; `tests/vectors/wire/` has its bytes. It imports no
vocabulary, so that a plain `circusctl` command starts in the time of its libraries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from circus.bus.values import Cursor

PROTOCOL: Final = 1
EVENT: Final = b"E"
HEARTBEAT: Final = b"H"
BARRIER: Final = b"B"

ID_BYTES: Final = 16
NONCE_BYTES: Final = 16
LOG_ID_BYTES: Final = 16
CHAIN8_BYTES: Final = 8
HEADER_FIELDS_MIN: Final = 8  # up to `boot`; what follows was appended later
COMMAND_CHARACTERS_MAX: Final = 64
# A longer request closes the connection. Of these bus.codec decodes a quarter (OUTSIDE_BYTES_MAX),
# and refuses the rest with a sentence.
CTL_BYTES_MAX: Final = 1024 * 1024
READ_BYTES_MAX: Final = 1024 * 1024
READ_WAIT_MS_MAX: Final = 30_000
FRAMES_PER_REPLY_MAX: Final = 3
# A body answers one question about a few thousand watchers; raw frames travel beside it.
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
HEARTBEAT_NS: Final = 1_000_000_000

OK: Final = "ok"
ERROR: Final = "error"

# Circus's numbers (CIRCUS.md, 3.3): scripts compare them.
NOT_SPECIFIED: Final = 0
INVALID_MESSAGE: Final = 1
UNKNOWN_COMMAND: Final = 2
MESSAGE_ERROR: Final = 3
OS_ERROR: Final = 4
COMMAND_ERROR: Final = 5
BAD_DATA: Final = 6

_packer = msgpack.Packer(use_bin_type=True, autoreset=True)
_pack: Final = _packer.pack
_REQUEST_KEYS: Final = frozenset({"id", "command", "properties", "deadline_ns"})
_U64_END: Final = 2**64


class Malformed(Exception):
    """A message that breaks docs/wire.md; the text names the field and the rule."""


class Header(NamedTuple):
    """Where the ledger stood when a message left; the first thing in every message from us."""

    log_id: bytes  # 16 bytes, made with the ledger
    incarnation: int  # +1 at each start of the core
    first_seq: int  # the oldest record still retained
    head_seq: int  # the newest record; 0 in an empty ledger
    head_chain8: bytes  # first 8 bytes of the chain digest at head_seq
    wall: int  # ns
    boot: int  # ns
    frame_seq: int | None = None  # E only: seq of the first record in the payload
    seed: int = 0  # of this start of the core, as `core.started` has it
    volatile: bool = False  # the disk takes nothing: the newest records are in memory only

    @property
    def core(self) -> tuple[int, int]:
        """Which start of the core said it: its number alone may be given again (ADR-0104)."""
        return self.incarnation, self.seed


class Request(NamedTuple):
    """One question or wish of a client; the same id again is the same wish."""

    id: bytes
    command: str
    properties: Mapping[str, Any]
    deadline_ns: int | None = None  # relative: no effect later than this after arrival


class Reply(NamedTuple):
    """What a client gets back; `raw` holds ledger frames and is only there for `read`."""

    header: Header
    body: Mapping[str, Any]
    raw: bytes | None = None


class Live(NamedTuple):
    """One message of the event stream. `nonce` is b"" but in a barrier's answer."""

    topic: bytes
    header: Header
    payload: bytes = b""
    nonce: bytes = b""


# --- header ---------------------------------------------------------------------------------------


def encode_header(header: Header) -> bytes:
    """A msgpack array; the protocol's number comes first, `volatile` is there only if it holds."""
    fields = (PROTOCOL, *header)
    return _pack(fields if header.volatile else fields[:-1])


def decode_header(data: bytes) -> Header:
    """Back from bytes; longer arrays of a newer minor version are cut to what is known here."""
    fields = _unpacked(data, "header")
    if not isinstance(fields, tuple) or len(fields) < HEADER_FIELDS_MIN:
        raise Malformed(f"cannot decode the header: no array of {HEADER_FIELDS_MIN} or more")
    if fields[0] != PROTOCOL:
        raise Malformed(f"cannot speak protocol {fields[0]!r}: this side speaks {PROTOCOL}")
    header = Header(*fields[1 : 1 + len(Header._fields)])
    _check_header(header)
    return header


def _check_header(header: Header) -> None:
    _check_bytes("log_id", header.log_id, LOG_ID_BYTES)
    _check_bytes("head_chain8", header.head_chain8, CHAIN8_BYTES)
    for name in ("incarnation", "first_seq", "head_seq", "wall", "boot", "seed"):
        if not _is_count(getattr(header, name)):
            raise Malformed(f"cannot decode the header: {name} is not an unsigned integer")
    if not isinstance(header.volatile, bool):
        raise Malformed("cannot decode the header: volatile is not true or false")
    if header.frame_seq is not None and not _is_count(header.frame_seq):
        raise Malformed("cannot decode the header: frame_seq is not an unsigned integer")


def cursor_at_head(header: Header) -> Cursor:
    """The place right after everything that this header knows of."""
    return Cursor(header.log_id, header.head_seq, header.head_chain8)


# --- ctl: requests --------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    """The one frame that a DEALER sends."""
    whole: dict[str, Any] = {
        "id": request.id,
        "command": request.command,
        "properties": request.properties,
    }
    if request.deadline_ns is not None:
        whole["deadline_ns"] = request.deadline_ns
    return _pack(whole)


def parse_request(value: Any) -> Request:
    """From what `codec.from_outside` decoded; refuses unknown keys, as for every command."""
    if not isinstance(value, dict):
        raise Malformed("cannot read the request: not a map")
    unknown = sorted(set(value) - _REQUEST_KEYS)
    if unknown:
        raise Malformed(f"cannot read the request: unknown key {unknown[0]!r}")
    identity = value.get("id")
    if not isinstance(identity, bytes) or len(identity) != ID_BYTES:
        raise Malformed(f"cannot read the request: id must be {ID_BYTES} bytes")
    command = value.get("command")
    if not isinstance(command, str) or not 0 < len(command) <= COMMAND_CHARACTERS_MAX:
        raise Malformed("cannot read the request: command must be a word")
    properties = value.get("properties", {})
    if not isinstance(properties, dict):
        raise Malformed("cannot read the request: properties must be a map")
    deadline = value.get("deadline_ns")
    if deadline is not None and not _is_count(deadline):
        raise Malformed("cannot read the request: deadline_ns must be an unsigned integer")
    return Request(identity, command.lower(), properties, deadline)


class Read(NamedTuple):
    """The properties of `read`: go on after this place, this much at most, wait this long."""

    log_id: bytes | None
    after: int
    chain8: bytes | None
    max_bytes: int = READ_BYTES_MAX
    wait_ms: int = 0


def parse_read(properties: Mapping[str, Any]) -> Read:
    """Checked properties of a `read`; a limit above the protocol's is lowered, not refused."""
    unknown = sorted(set(properties) - set(Read._fields))
    if unknown:
        raise Malformed(f"cannot read: unknown property {unknown[0]!r}")
    log_id, chain8 = properties.get("log_id"), properties.get("chain8")
    if log_id is not None:
        _check_bytes("log_id", log_id, LOG_ID_BYTES)
    if chain8 is not None:
        _check_bytes("chain8", chain8, CHAIN8_BYTES)
    after = properties.get("after", 0)
    max_bytes = properties.get("max_bytes", READ_BYTES_MAX)
    wait_ms = properties.get("wait_ms", 0)
    for name, number in (("after", after), ("max_bytes", max_bytes), ("wait_ms", wait_ms)):
        if not _is_count(number):
            raise Malformed(f"cannot read: {name} must be an unsigned integer")
    return Read(
        log_id, after, chain8, min(max_bytes, READ_BYTES_MAX), min(wait_ms, READ_WAIT_MS_MAX)
    )


# --- ctl: replies ---------------------------------------------------------------------------------


def ok_body(identity: bytes | None, time: float, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Circus's successful reply; `status` may be overwritten by a field, as its `status` does."""
    return {"status": OK, "time": time, **fields, "id": identity}


def error_body(identity: bytes | None, time: float, reason: str, errno: int) -> dict[str, Any]:
    """Circus's error reply; a traceback never leaves the daemon."""
    return {
        "status": ERROR, "reason": reason, "tb": None, "time": time, "errno": errno,
        "id": identity,
    }  # fmt: skip


def encode_reply(
    header: Header, body: Mapping[str, Any], raw: bytes | memoryview | None = None
) -> list[bytes | memoryview]:
    """The frames behind the routing id: header, body, and raw ledger frames for a `read`."""
    frames: list[bytes | memoryview] = [encode_header(header), _pack(body)]
    if raw is not None:
        frames.append(raw)
    return frames


def decode_reply(frames: Sequence[bytes]) -> Reply:
    """Two or three frames into a reply, or Malformed."""
    if not 1 < len(frames) <= FRAMES_PER_REPLY_MAX:
        raise Malformed(f"cannot decode the reply: {len(frames)} frames instead of 2 or 3")
    header = decode_header(frames[0])
    body = _unpacked(frames[1], "reply")
    if not isinstance(body, dict) or not isinstance(body.get("status"), str):
        raise Malformed("cannot decode the reply: no map with a status")
    return Reply(header, body, frames[2] if len(frames) == FRAMES_PER_REPLY_MAX else None)


# --- events ---------------------------------------------------------------------------------------


def event_message(header: Header, payload: bytes | memoryview) -> list[bytes | memoryview]:
    """One decision for the subscribers; the header's `frame_seq` says where it begins."""
    assert header.frame_seq is not None, "an event message without its first seq"
    return [EVENT, encode_header(header), payload]


def heartbeat_message(header: Header) -> list[bytes]:
    """The head, so that a lost tail is noticed within a second."""
    return [HEARTBEAT, encode_header(header)]


def barrier_message(topic: bytes, header: Header) -> list[bytes]:
    """The answer to a subscription to `topic`: from here on this peer misses nothing."""
    return [topic, encode_header(header)]


def barrier_topic(nonce: bytes) -> bytes:
    """What a joining subscriber subscribes to, after E and H."""
    _check_bytes("nonce", nonce, NONCE_BYTES)
    return BARRIER + nonce


def is_barrier(topic: bytes) -> bool:
    """Whether a subscription is one to answer; any other length is somebody's own topic."""
    return topic[:1] == BARRIER and len(topic) == 1 + NONCE_BYTES


def decode_live(frames: Sequence[bytes]) -> Live:
    """One message of the event stream, or Malformed."""
    if len(frames) < 2:
        raise Malformed(f"cannot decode the event: {len(frames)} frames")
    topic, header = frames[0], decode_header(frames[1])
    if topic == EVENT:
        return _decode_event(frames, header)
    if topic == HEARTBEAT:
        return Live(HEARTBEAT, header)
    if is_barrier(topic):
        return Live(BARRIER, header, nonce=topic[1:])
    raise Malformed(f"cannot decode the event: topic {topic[:1]!r}")


def _decode_event(frames: Sequence[bytes], header: Header) -> Live:
    if len(frames) != 3 or header.frame_seq is None:
        raise Malformed("cannot decode the event: no payload or no first seq")
    if not 0 < header.frame_seq <= header.head_seq:
        raise Malformed("cannot decode the event: it begins after its own head")
    return Live(EVENT, header, frames[2])


# --- the small print ------------------------------------------------------------------------------


def _unpacked(data: bytes, what: str) -> Any:
    if len(data) > BODY_BYTES_MAX:
        raise Malformed(f"cannot decode the {what}: {len(data)} bytes")
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise Malformed(f"cannot decode the {what}: {reason}") from error


def _check_bytes(name: str, value: Any, length: int) -> None:
    if not isinstance(value, bytes) or len(value) != length:
        raise Malformed(f"cannot decode: {name} must be {length} bytes")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _U64_END
