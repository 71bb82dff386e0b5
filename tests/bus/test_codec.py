"""Room: tests -- records as bytes and back; what strangers send is understood or refused.

Knows:     bus.codec, bus.names, bus.record, bus.spec, bus.digest, bus.chance, bus.clock.
Known by:  pytest.
Never:     sends anything anywhere.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.bus import commands, daemon_events, events, names
from circus.bus.chance import Chance
from circus.bus.clock import SystemClock, boot_id
from circus.bus.codec import (
    OUTSIDE_ARRAY_MAX,
    OUTSIDE_BYTES_MAX,
    OUTSIDE_DEPTH_MAX,
    OUTSIDE_MAP_MAX,
    Stamp,
    Unintelligible,
    body_of,
    encode_records,
    from_ledger,
    from_outside,
    pack,
    records_of,
    stamped,
)
from circus.bus.digest import spec_digest
from circus.bus.names import CLASS_OF, TAGS, Unknown
from circus.bus.record import ENVELOPE_KEYS, Body, Command, Draft, fields_of
from circus.bus.shapes import declared
from circus.bus.spec import OPTIONS, WatcherSpec, from_data, to_data
from circus.bus.values import Moment, ns_to_seconds, seconds_to_ns, watcher_address, watcher_of

NUMBERS: Final = st.integers(-(2**63), 2**64 - 1)
TEXTS: Final = st.text(max_size=12)
FLOATS: Final = st.floats(allow_nan=False)
VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | TEXTS
    | st.binary(max_size=8)
    | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
MAPS: Final = st.dictionaries(TEXTS, VALUES, max_size=3)
BY_TYPE: Final[Mapping[Any, st.SearchStrategy[Any]]] = {
    int: NUMBERS,
    str: TEXTS,
    bool: st.booleans(),
    type(None): st.none(),
    Any: VALUES,
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated field."""
    if hint in BY_TYPE:
        return BY_TYPE[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return st.lists(values_of(inner[0]), max_size=3).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, values_of(inner[1]), max_size=3)
    return st.one_of([values_of(one) for one in inner])


def bodies_of(cls: type[Body]) -> st.SearchStrategy[Body]:
    own = {"__annotations__": cls.__annotations__, "__module__": cls.__module__}
    hints = typing.get_type_hints(type("Own", (), own))
    return st.builds(cls, **{one.name: values_of(hints[one.name]) for one in declared(cls)})


BODIES: Final = st.sampled_from(sorted(TAGS)).flatmap(lambda tag: bodies_of(TAGS[tag]))
MAYBE: Final = st.none() | st.integers(0, 2**64 - 1)
DRAFTS: Final = st.builds(
    Draft,
    BODIES,
    to=st.none() | TEXTS,
    watcher=st.none() | TEXTS,
    slot=MAYBE,
    spawn_id=MAYBE,
    cause=MAYBE,
    id=st.none() | st.binary(max_size=16) | TEXTS,
    peer=st.none() | MAPS,
    deadline=MAYBE,
)
U64: Final = st.integers(0, 2**64 - 1)
STAMPS: Final = st.builds(Stamp, U64, U64, TEXTS, st.builds(Moment, U64, U64), U64)


@given(STAMPS, DRAFTS)
def test_a_record_is_read_back_as_it_was_stamped(stamp: Stamp, draft: Draft) -> None:
    """
    Three makers of one record agree: stamped live, written, read from the ledger.
    """
    (record,) = records_of(encode_records([stamped(stamp, draft)]))

    assert stamped(stamp, draft) == record
    assert draft.body.kind == record.kind


@given(STAMPS, DRAFTS)
def test_keys_stand_in_the_order_of_the_page_and_are_absent_where_none(
    stamp: Stamp, draft: Draft
) -> None:
    """
    docs/wire.md promises the order; None is never written into an envelope.
    """
    (whole,) = from_ledger(encode_records([stamped(stamp, draft)]))

    assert [key for key in ENVELOPE_KEYS if key in whole] == list(whole)
    assert None not in [value for key, value in whole.items() if key != "data"]


@given(st.lists(DRAFTS, max_size=4))
def test_a_frame_holds_its_records_in_order(drafts: list[Draft]) -> None:
    """
    A frame is the array of records that were encoded one by one.
    """
    stamps = [Stamp(seq, 0, "core", Moment(1, 2), 1) for seq in range(1, len(drafts) + 1)]

    expected = tuple(stamped(stamp, draft) for stamp, draft in zip(stamps, drafts, strict=True))
    assert expected == records_of(encode_records(expected))


@given(BODIES)
def test_bodies_are_compared_and_shown_by_their_fields(body: Body) -> None:
    """
    Equal fields, equal bodies, equal hashes; another class is never equal.
    """
    again = type(body)(**fields_of(body))

    assert body == again
    assert hash(body) == hash(again)
    assert repr(body).startswith(f"{type(body).__name__}(")
    assert body != "something else"


@given(st.binary(max_size=300))
def test_any_bytes_from_outside_are_understood_or_refused(data: bytes) -> None:
    """
    Nothing but Unintelligible may be raised at the edge.
    """
    try:
        value = from_outside(data)
    except Unintelligible:
        return
    # repr: not a number is not equal to itself.
    assert repr(value) == repr(from_ledger(data))


@given(VALUES)
def test_values_of_the_protocol_pass_from_outside(value: Any) -> None:
    """
    What our own clients send is understood as it was meant.
    """
    assert value == from_outside(pack(value))


def nested(depth: int, *, arrays: bool) -> bytes:
    value: Any = 1
    for _ in range(depth):
        value = (value,) if arrays else {"a": value}
    return bytes(msgpack.packb(value))


HOSTILE: Final = {
    "nothing": b"",
    "a length that lies": b"\xdd\xff\xff\xff\xff",
    "a map whose length lies": b"\xdf\xff\xff\xff\xff",
    "a text whose length lies": b"\xdb\xff\xff\xff\xff",
    "a reserved byte": b"\xc1",
    "bytes behind the value": b"\x01\x02",
    "too many bytes": b"\xc6" + OUTSIDE_BYTES_MAX.to_bytes(4, "big") + bytes(OUTSIDE_BYTES_MAX),
    "a long array": msgpack.packb([0] * (OUTSIDE_ARRAY_MAX + 1)),
    "a wide map": msgpack.packb({str(n): 0 for n in range(OUTSIDE_MAP_MAX + 1)}),
    "maps too deep": nested(OUTSIDE_DEPTH_MAX + 1, arrays=False),
    "arrays too deep": nested(OUTSIDE_DEPTH_MAX + 1, arrays=True),
    "arrays deeper than the decoder": b"\x91" * 2000 + b"\x01",
    "a key twice": b"\x82\xa1a\x01\xa1a\x02",
    "a number as key": b"\x81\x01\x01",
    "bytes as key": b"\x81\xc4\x01a\x01",
    "a map as key": b"\x81\x80\x01",
    "an array as key": b"\x81\x90\x01",
    "an extension": msgpack.packb(msgpack.ExtType(5, b"abc")),
    "an empty extension": b"\xc7\x00\x05",
    "a timestamp": b"\xd6\xff\x00\x00\x00\x01",
    "text that is not UTF-8": b"\xa1\xff",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_refused(data: bytes) -> None:
    """
    RELIABILITY.md, 7.2: every limit, and every way round it that was found.
    """
    with pytest.raises(Unintelligible, match="cannot decode"):
        from_outside(data)


def test_what_is_just_within_the_limits_is_understood() -> None:
    """
    A limit is the last thing that is allowed, not the first that is not.
    """
    assert OUTSIDE_ARRAY_MAX == len(from_outside(msgpack.packb([0] * OUTSIDE_ARRAY_MAX)))
    wide = msgpack.packb({str(n): 0 for n in range(OUTSIDE_MAP_MAX)})
    assert OUTSIDE_MAP_MAX == len(from_outside(wide))
    from_outside(nested(OUTSIDE_DEPTH_MAX, arrays=True))


def test_a_command_with_an_unknown_field_is_refused() -> None:
    """
    Half a wish is not carried out.
    """
    with pytest.raises(Unintelligible, match=r"cannot decode watcher.incr/1: .*sideways"):
        body_of("watcher.incr", 1, {"nb": 1, "sideways": True})


def test_an_event_with_an_unknown_field_is_read_without_it() -> None:
    """
    Facts of a newer version are still facts.
    """
    body = body_of("watcher.resized", 1, {"numprocesses": 3, "why": "new"})

    assert events.WatcherResized(3) == body


def test_a_message_without_a_name_here_is_kept_as_it_is() -> None:
    """
    An old reader loses nothing of a newer ledger.
    """
    assert Unknown("moon.risen", 2, {"full": True}) == body_of("moon.risen", 2, {"full": True})


def test_every_class_has_one_name_and_the_kind_of_its_module() -> None:
    """
    Commands are commands, events are events, and none is left out.
    """
    assert {cls.__module__ for cls in CLASS_OF.values() if issubclass(cls, Command)} == {
        commands.__name__
    }
    assert {cls.__module__ for cls in CLASS_OF.values() if not issubclass(cls, Command)} == {
        events.__name__,
        daemon_events.__name__,
    }
    assert len(TAGS) == len(names.NAME_OF)
    assert all(tag.partition("/")[2].isdecimal() for tag in TAGS)


def test_a_spec_survives_the_record() -> None:
    """
    From a spec to data, bytes and back: equal, with an equal digest, whatever a newer version adds.
    """
    spec = WatcherSpec(name="web", cmd="sleep 1", args=("a", "b"), env={"A": "h:1"}, max_age=5)
    data = from_ledger(pack(to_data(spec)))

    assert list(OPTIONS) == list(data)
    assert spec == from_data({**data, "colour": "red", "args": ["a", "b"]})
    assert spec_digest(spec) == spec_digest(from_data(data))
    assert spec_digest(spec) != spec_digest(WatcherSpec(name="web", cmd="sleep 2"))


def test_chance_depends_on_seed_and_key_alone() -> None:
    """
    One more draw elsewhere shifts nothing.
    """
    one, other = Chance(7), Chance(7)
    other.draw("elsewhere")

    assert one.draw("watcher:web#1/age/5") == other.draw("watcher:web#1/age/5")
    assert one.draw("a") != one.draw("b")
    assert one.draw("a") != Chance(8).draw("a")
    assert 0 <= one.draw("a") < 2**64


def test_the_clock_goes_forward_and_the_boot_has_a_name() -> None:
    """
    The only readings of the real clock; boot time never goes back.
    """
    clock = SystemClock()
    before, after = clock.now(), clock.now()

    assert before.boot <= after.boot
    assert boot_id() == boot_id() != ""


@given(st.text(max_size=20), st.integers(1, 2**63))
def test_a_watchers_address_gives_its_name_back(name: str, added: int) -> None:
    """
    Names may contain every character that addresses use.
    """
    assert name == watcher_of(watcher_address(name, added))
    assert watcher_of("arbiter") == ""


def test_seconds_and_nanoseconds_agree() -> None:
    """
    Durations are whole nanoseconds inside.
    """
    assert seconds_to_ns(0.1) == 100_000_000
    assert ns_to_seconds(100_000_000) == 0.1
