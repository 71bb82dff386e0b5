"""The wire: vectors both ways, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from circus.bus import wire
from circus.bus.codec import (
    encode_records,
    from_ledger,
    from_outside,
    pack,
    record_map,
    records_of,
)
from circus.bus.names import TAGS, Unknown
from circus.bus.wire import Malformed

VECTORS: Final = Path(__file__).parent.parent / "vectors" / "wire"
ID: Final = b"i" * 16
HEADER: Final = wire.Header(b"l" * 16, 1, 1, 5, b"c" * 8, 1, 2)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wire_vectors", VECTORS / "rewrite.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE: Final = load()


def vectors(name: str) -> list[Any]:
    found = json.loads((VECTORS / name).read_text(encoding="ascii"))
    return [pytest.param(one, id=one["name"]) for one in found]


def frames_of(vector: Any) -> list[bytes]:
    return [bytes.fromhex(frame) for frame in vector["frames"]]


@pytest.mark.parametrize("name", sorted(MAKE.FILES))
def test_the_vectors_are_current(name: str) -> None:
    """Run tests/vectors/wire/rewrite.py, and only commit a difference that is meant."""
    assert MAKE.text(name) == (VECTORS / name).read_text(encoding="ascii")


@pytest.mark.parametrize("vector", vectors("requests.json"))
def test_a_request_is_read_as_it_was_meant(vector: Any) -> None:
    """Bytes to value."""
    expected = wire.Request(**MAKE.meant(vector["value"]))
    assert expected == wire.parse_request(from_outside(frames_of(vector)[0]))


@pytest.mark.parametrize("vector", vectors("replies.json"))
def test_a_reply_is_read_as_it_was_meant(vector: Any) -> None:
    """Bytes to value."""
    value = MAKE.meant(vector["value"])
    expected = wire.Reply(wire.Header(**value["header"]), value["body"], value.get("raw"))
    assert expected == wire.decode_reply(frames_of(vector))


@pytest.mark.parametrize("vector", vectors("live.json"))
def test_a_live_message_is_read_as_it_was_meant(vector: Any) -> None:
    """Bytes to value."""
    value = MAKE.meant(vector["value"])
    value["header"] = wire.Header(**value["header"])
    expected = wire.Live(**value)
    assert expected == wire.decode_live(frames_of(vector))


@pytest.mark.parametrize("vector", vectors("records.json"))
def test_a_record_is_read_as_it_was_meant_and_written_again(vector: Any) -> None:
    """Bytes to record, and back to the same bytes."""
    payload = bytes.fromhex(vector["payload"])
    (record,) = records_of(payload)
    assert not isinstance(record.body, Unknown)
    assert MAKE.meant(vector["value"]) == from_ledger(payload)[0] == record_map(record)
    assert payload == encode_records([record])


def test_every_name_has_a_record_among_the_vectors() -> None:
    """A new name comes with its bytes: run tests/vectors/wire/rewrite.py."""
    names = {vector["name"].partition(",")[0] for vector in MAKE.records()}
    written = json.loads((VECTORS / "records.json").read_text(encoding="ascii"))
    assert set(TAGS) == names == {vector["name"].partition(",")[0] for vector in written}


def test_the_document_shows_every_vector() -> None:
    """docs/wire.md has the bytes of the examples, so that nobody needs this repository."""
    document = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    shown = "".join(document.split())
    for vector in json.loads((VECTORS / "requests.json").read_text(encoding="ascii")):
        assert vector["frames"][0] in shown, vector["name"]


def test_a_longer_header_of_a_newer_version_is_understood() -> None:
    """Fields may be added at the end."""
    fields = (1, *HEADER[:7], 4, 5, False, "new")
    assert HEADER._replace(frame_seq=4, seed=5) == wire.decode_header(pack(fields))


def test_a_shorter_header_of_an_older_version_is_understood() -> None:
    """A core may be younger than its subscriber."""
    assert HEADER == wire.decode_header(pack((1, *HEADER[:7])))
    assert (1, 0) == HEADER.core


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        pack(None),
        pack([1]),
        pack([2, *HEADER]),
        pack([1, b"short", *HEADER[1:]]),
        pack([1, *HEADER[:1], -1, *HEADER[2:]]),
        pack([1, *HEADER[:1], True, *HEADER[2:]]),
        pack([1, *HEADER[:1], 2.5, *HEADER[2:]]),
        pack([1, *HEADER[:7], "4"]),
        pack([1, *HEADER[:7], 4, -5]),
        pack([1, *HEADER]) + b"\x00",
    ],
)
def test_a_malformed_header_is_refused(data: bytes) -> None:
    """No guess about where a ledger stands."""
    with pytest.raises(Malformed, match=r"^cannot "):
        wire.decode_header(data)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"id": "text", "command": "list"},
        {"id": b"short", "command": "list"},
        {"id": ID},
        {"id": ID, "command": 5},
        {"id": ID, "command": ""},
        {"id": ID, "command": "x" * 65},
        {"id": ID, "command": "list", "properties": []},
        {"id": ID, "command": "list", "deadline_ns": -1},
        {"id": ID, "command": "list", "deadline_ns": True},
        {"id": ID, "command": "list", "more": 1},
    ],
)
def test_a_malformed_request_is_refused(value: Any) -> None:
    """The fault is named, and nothing happens."""
    with pytest.raises(Malformed, match=r"^cannot read the request: "):
        wire.parse_request(value)


def test_limits_of_a_read_are_lowered_and_its_types_are_not() -> None:
    """A greedy client gets what there is; a wrong one is told."""
    read = wire.parse_read({"after": 1, "max_bytes": 2**40, "wait_ms": 2**40})
    assert wire.Read(None, 1, None, wire.READ_BYTES_MAX, wire.READ_WAIT_MS_MAX) == read
    for wrong in ({"after": "1"}, {"log_id": b"x"}, {"chain8": "x"}, {"filter": "web"}):
        with pytest.raises(Malformed):
            wire.parse_read(wrong)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [wire.encode_header(HEADER)],
        [wire.encode_header(HEADER), pack([])],
        [wire.encode_header(HEADER), pack({"status": 1})],
        [wire.encode_header(HEADER), pack({"status": "ok"}), b"", b""],
    ],
)
def test_a_malformed_reply_is_refused(frames: list[bytes]) -> None:
    """A reply has two or three frames and a status."""
    with pytest.raises(Malformed):
        wire.decode_reply(frames)


@pytest.mark.parametrize(
    "frames",
    [
        [b"E"],
        [b"E", wire.encode_header(HEADER)],
        [b"E", wire.encode_header(HEADER), b"\x90"],
        [b"E", wire.encode_header(HEADER._replace(frame_seq=6)), b"\x90"],
        [b"X", wire.encode_header(HEADER)],
        [b"Bshort", wire.encode_header(HEADER)],
    ],
)
def test_a_malformed_event_is_refused(frames: list[bytes]) -> None:
    """A subscriber takes it for lost, and reads."""
    with pytest.raises(Malformed):
        wire.decode_live(frames)


def test_the_document_has_every_name_with_its_fields() -> None:
    """The table at the end is what tests/vectors/wire/names.py prints."""
    spec = importlib.util.spec_from_file_location("wire_names", VECTORS / "names.py")
    assert spec is not None
    assert spec.loader is not None
    names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(names)
    document = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    assert document.endswith(names.table())
