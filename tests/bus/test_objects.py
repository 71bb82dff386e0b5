"""Room: tests -- objects as bytes and back: the same, or an error.

Knows:     bus.objects.
Known by:  pytest.
Never:     opens a file.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Any

import pytest

from circus.bus import commands, events
from circus.bus.names import Unknown
from circus.bus.objects import Objects
from circus.bus.record import Record
from circus.bus.shapes import field, keyed, mutable


class Colour(Enum):
    """Of a pot."""

    RED = "red"
    BLUE = "blue"


@mutable
class Pot:
    """Something that changes."""

    colour: Colour
    content: deque[int] = field(factory=deque)
    lids: dict[int, Any] = field(factory=dict)


@keyed
class Label:
    """Something whose fields are given by name."""

    text: str
    number: int = 7


OBJECTS = Objects({"pot": Pot, "colour": Colour, "label": Label, "record": Record})


def again(value: Any) -> Any:
    """Through bytes."""
    return OBJECTS.decode(OBJECTS.encode(value))


@pytest.mark.parametrize(
    "value",
    [
        None, True, -1, 2**63, "ä", b"\xff", [], (), [1, (2, [3, ()])], {1: {"a": (b"",)}},
        {(1, b"x"): "tuple keys"}, deque([1, (2,)]), {3, 1, 2}, Colour.BLUE, Label(text="x"),
        Pot(Colour.RED, deque([1]), {3: Label(text="y", number=1), 1: None}),
        events.ProcessSpawned(17, 1), commands.WatcherSet({"env": {"A": "b"}, "args": ("x",)}),
        commands.WatcherStop, Unknown("new.thing", 3, {"a": (1,)}),
    ],
)  # fmt: skip
def test_what_comes_back_is_what_was_given(value: Any) -> None:
    """
    Types too: a list is no tuple, and the order of a map is part of it.
    """
    assert value == again(value)
    assert type(value) is type(again(value))
    assert repr(value) == repr(again(value))


def test_a_record_comes_back_with_its_body() -> None:
    """Envelopes are named tuples, and not taken for plain ones."""
    body = events.ProcessExited(1, 0, None, False, {"utime": 1}, 2, 3)
    record = Record(
        9, 3, "process.exited", 1, "reaper", "watcher:w#1", "w", 0, 3, 5, 6, 1,
        None, {"uid": 0}, None, body,
    )  # fmt: skip
    assert record == again(record)
    assert isinstance(again(record), Record)


def test_a_class_that_is_not_listed_has_no_bytes() -> None:
    """Nothing is guessed."""
    with pytest.raises(TypeError, match="not in the table"):
        OBJECTS.encode(object())


def test_equal_objects_have_equal_bytes() -> None:
    """A set has no order, its bytes have."""
    assert OBJECTS.encode({1, 2, 3}) == OBJECTS.encode({3, 2, 1})


def test_other_shapes_are_read_by_the_names_of_their_fields() -> None:
    """A field that is gone is left out, one that is new has its default."""
    shapes = {**OBJECTS.shapes, "label": ("size", "text")}
    older = Objects({"label": Label})
    data = older.encode(Label(text="unused", number=3)).replace(b"unused", b"kept!!")
    found = OBJECTS.decode(data, {**shapes, "label": ("text", "size")})
    assert Label(text="kept!!") == found
