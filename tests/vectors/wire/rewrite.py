"""Writes the vectors of docs/wire.md anew: run it, read the difference, commit what is meant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from circus.bus import wire
from circus.bus.codec import Stamp, encode_records, record_map, stamped
from circus.bus.events import ProcessExited
from circus.bus.names import TAGS
from circus.bus.record import Body, Draft
from circus.bus.segments import encode_frame
from circus.bus.shapes import NOTHING, Field, declared
from circus.bus.values import Moment

HERE: Final = Path(__file__).parent
LOG_ID: Final = bytes(range(16))
CHAIN8: Final = bytes(range(0xA0, 0xA8))
ID: Final = bytes(range(0x10, 0x20))
NONCE: Final = bytes(range(0x20, 0x30))
SEED: Final = 0x1122334455667788
HEADER: Final = wire.Header(
    LOG_ID, 3, 1, 42, CHAIN8, 1_795_442_934_660_000_000, 86_400_000_000_000, None, SEED
)


def shown(value: Any) -> Any:
    """JSON has no bytes: they are {"hex": …}."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"hex": bytes(value).hex()}
    if isinstance(value, Mapping):
        return {key: shown(inner) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return shown({key: inner for key, inner in value._asdict().items() if inner is not None})
    return [shown(one) for one in value] if isinstance(value, list | tuple) else value


def meant(value: Any) -> Any:
    """Back from `shown`."""
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {key: meant(inner) for key, inner in value.items()}
    return tuple(meant(one) for one in value) if isinstance(value, list) else value


def payload() -> bytes:
    """One decision of one record: a worker was ended by SIGKILL."""
    rusage = {"utime": 1_000_000, "stime": 2_000_000, "maxrss": 9216}
    body = ProcessExited(6812, None, 9, core=False, rusage=rusage, wall=5, observed=6)
    stamp = Stamp(43, 40, "reaper", Moment(7, 8), 3)
    draft = Draft(body, to="watcher:web#7", watcher="web", slot=1, spawn_id=40)
    return encode_records([stamped(stamp, draft)])


def requests() -> list[dict[str, Any]]:
    """What clients send: one frame each."""
    read = {"log_id": LOG_ID, "after": 42, "chain8": CHAIN8, "max_bytes": 1048576, "wait_ms": 0}
    wanted = {
        "list all watchers": wire.Request(ID, "list", {}),
        "stop one watcher, answer at its end, within five seconds": wire.Request(
            ID, "stop", {"name": "web", "waiting": True}, 5_000_000_000
        ),
        "read on after a cursor": wire.Request(ID, "read", read),
    }
    return [
        {"name": name, "frames": [wire.encode_request(one).hex()], "value": shown(one)}
        for name, one in wanted.items()
    ]


def replies() -> list[dict[str, Any]]:
    """What the daemon answers: two or three frames each."""
    raw, _ = encode_frame(1, payload(), seq=43, chain=bytes(16))
    events = {"result": "events", "first_seq": 43, "last_seq": 43}
    wanted: dict[str, tuple[dict[str, Any], bytes | None]] = {
        "two watchers": (wire.ok_body(ID, 1.5, {"watchers": ["db", "web"]}), None),
        "accepted": (wire.ok_body(ID, 1.5, {"seq": 44}), None),
        "refused": (wire.error_body(ID, 1.5, "program x not found", 3), None),
        "nothing to read": (wire.ok_body(ID, 1.5, {"result": "nothing"}), None),
        "trimmed": (wire.ok_body(ID, 1.5, {"result": "trimmed", "first_seq": 9}), None),
        "reset": (wire.ok_body(ID, 1.5, {"result": "reset", "log_id": LOG_ID}), None),
        "diverged": (wire.ok_body(ID, 1.5, {"result": "diverged"}), None),
        "one raw frame": (wire.ok_body(ID, 1.5, events), raw),
    }
    return [
        {
            "name": name,
            "frames": [bytes(one).hex() for one in wire.encode_reply(HEADER, body, extra)],
            "value": shown(wire.Reply(HEADER, body, extra)),
        }
        for name, (body, extra) in wanted.items()
    ]


def live() -> list[dict[str, Any]]:
    """The event stream."""
    own = HEADER._replace(head_seq=43, frame_seq=43)
    topic = wire.barrier_topic(NONCE)
    wanted: dict[str, tuple[Sequence[bytes | memoryview], wire.Live]] = {
        "one decision": (
            wire.event_message(own, payload()),
            wire.Live(wire.EVENT, own, payload=payload()),
        ),
        "one decision that no disk has taken": (
            wire.event_message(own._replace(volatile=True), payload()),
            wire.Live(wire.EVENT, own._replace(volatile=True), payload=payload()),
        ),
        "heartbeat": (wire.heartbeat_message(HEADER), wire.Live(wire.HEARTBEAT, HEADER)),
        "barrier": (
            wire.barrier_message(topic, HEADER),
            wire.Live(wire.BARRIER, HEADER, nonce=NONCE),
        ),
    }
    return [
        {"name": name, "frames": [bytes(one).hex() for one in frames], "value": shown(value)}
        for name, (frames, value) in wanted.items()
    ]


MAP: Final = {"name": "web", "numprocesses": 2}
SAMPLES: Final[dict[str, Any]] = {
    "bool": True,
    "str": "text",
    "tuple[int, ...]": (6812, 6813),
    "tuple[str, ...]": ("web", "db"),
    "Mapping[str, Any]": MAP,
    "Mapping[str, int]": {"utime": 1_000_000, "maxrss": 9216},
    "Mapping[str, tuple[str, ...]]": {"web": ("cmd", "env")},
    "tuple[Mapping[str, Any], ...]": (MAP,),
}


def sample(field: Field, place: int) -> Any:
    """A value for one field: no two numbers of a body are the same."""
    kind = field.type.removesuffix(" | None")
    return 70 + place if kind == "int" else SAMPLES[kind]


def bodies(cls: type[Body]) -> list[tuple[str, Body]]:
    """Every field said; and, where some need not be, only the others."""
    fields = declared(cls)
    values = {one.name: sample(one, place) for place, one in enumerate(fields)}
    needed = {
        one.name: values[one.name]
        for one in fields
        if one.default is NOTHING and one.factory is None
    }
    said = [("", cls(**values))]
    return said if needed == values else [*said, (", what must be said", cls(**needed))]


def records() -> list[dict[str, Any]]:
    """One record of every name: a frame's payload, and the map in it."""
    found = []
    for tag, cls in TAGS.items():
        stamp = Stamp(43, 40, "client", Moment(7, 8), 3)
        for how, body in bodies(cls):
            draft = Draft(body, "watcher:web#7", "web", 1, 41)
            if body.kind == "command":
                draft = draft._replace(id=ID, peer={"uid": 0, "pid": 6812}, deadline=9)
            record = stamped(stamp, draft)
            found.append(
                {
                    "name": tag + how,
                    "payload": encode_records([record]).hex(),
                    "value": shown(record_map(record)),
                }
            )
    return found


FILES: Final = {
    "records.json": records,
    "requests.json": requests,
    "replies.json": replies,
    "live.json": live,
}


def text(name: str) -> str:
    """A file as it should be."""
    if name == "records.json":  # A line each: there are many.
        lines = ",\n".join(json.dumps(one, ensure_ascii=True) for one in FILES[name]())
        return f"[\n{lines}\n]\n"
    return json.dumps(FILES[name](), indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (HERE / file).write_text(text(file), encoding="ascii")
