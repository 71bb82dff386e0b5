"""Room: bus -- objects of listed classes as bytes and back, exactly as they were.

Knows:     msgpack, bus.codec, bus.names (bodies by their names on the wire), bus.shapes.
Known by:  arbiter.memory_codec, which lists the classes.
Never:     builds a class that nobody has listed; sees bytes whose digest has not been checked.

Plain values are msgpack's own. What it cannot tell apart, or does not know, is an extension: a
tuple, a deque, a set, an object as its tag and its fields, a member of an enumeration, a body or
the class of one by its name on the wire. Equal objects have equal bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgpack

from circus.bus.codec import body_of
from circus.bus.names import CLASS_OF, NAME_OF, Unknown
from circus.bus.record import Body
from circus.bus.shapes import declared, fields_of, values_of

TUPLE: Final = 1
DEQUE: Final = 2
SET: Final = 3
OBJECT: Final = 4
MEMBER: Final = 5
BODY: Final = 6
KIND: Final = 7

Shapes = Mapping[str, Sequence[str]]


class Objects:
    """One codec for the classes of one table: tag → class (of bus.shapes, named tuple or enum)."""

    def __init__(self, table: Mapping[str, type]) -> None:
        self.shapes: Shapes = {
            tag: names_of(cls) for tag, cls in table.items() if not issubclass(cls, Enum)
        }
        self._classes = table
        self._tags = {cls: tag for tag, cls in table.items()}
        # One for each depth: what a packer does not know contains what it does not know.
        self._packers: list[msgpack.Packer] = []
        self._depth = 0

    def encode(self, value: Any) -> bytes:
        """The bytes of a value; TypeError for an object of a class that is not listed."""
        depth = self._depth
        if depth == len(self._packers):
            self._packers.append(
                msgpack.Packer(use_bin_type=True, strict_types=True, default=self._lowered)
            )
        self._depth = depth + 1
        try:
            packed: bytes = self._packers[depth].pack(value)
        finally:
            self._depth = depth
        return packed

    def decode(self, data: bytes | memoryview, shapes: Shapes | None = None) -> Any:
        """The value again. `shapes`: the fields of the classes as they were when it was written."""
        return _Decoder(self._classes, shapes).decode(data)

    def _lowered(self, value: Any) -> Any:
        cls = type(value)
        if cls is tuple:
            return self._extension(TUPLE, list(value))
        tag = self._tags.get(cls)
        if tag is not None:
            if isinstance(value, Enum):
                return self._extension(MEMBER, [tag, value.value])
            return self._extension(OBJECT, [tag, *_values(value)])
        return self._lowered_rarely(cls, value)

    def _lowered_rarely(self, cls: type, value: Any) -> Any:
        if cls is Unknown:
            return self._extension(BODY, [value.name, value.v, dict(value.data)])
        if isinstance(value, Body):
            return self._extension(BODY, [*NAME_OF[type(value)], fields_of(value)])
        if cls is deque:
            return self._extension(DEQUE, list(value))
        if cls is set:
            return self._extension(SET, sorted(value))
        if isinstance(value, type) and value in NAME_OF:
            return self._extension(KIND, list(NAME_OF[value]))
        if isinstance(value, Mapping):
            return dict(value)
        raise TypeError(f"{cls.__name__} is not in the table: {value!r}")

    def _extension(self, code: int, value: list[Any]) -> Any:
        return msgpack.ExtType(code, self.encode(value))


class _Decoder:
    """Extensions back into objects, for bytes that were written with these shapes."""

    def __init__(self, classes: Mapping[str, type], shapes: Shapes | None) -> None:
        self._classes = classes
        self._shapes = shapes
        self._makers: dict[str, Callable[..., Any]] = {}
        self._raise: Mapping[int, Callable[[Any], Any]] = {
            TUPLE: tuple, DEQUE: deque, SET: set, OBJECT: self._object, MEMBER: self._member,
            BODY: _body, KIND: lambda name: CLASS_OF[name[0], name[1]],
        }  # fmt: skip

    def decode(self, data: bytes | memoryview) -> Any:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=self._raised)

    def _raised(self, code: int, data: bytes) -> Any:
        return self._raise[code](self.decode(data))

    def _object(self, row: list[Any]) -> Any:
        tag = row[0]
        make = self._makers.get(tag)
        if make is None:
            make = self._makers[tag] = self._maker(tag)
        return make(*row[1:])

    def _member(self, row: list[Any]) -> Any:
        return self._classes[row[0]](row[1])

    def _maker(self, tag: str) -> Callable[..., Any]:
        """A function of the values in the order in which they were written."""
        cls = self._classes[tag]
        mine = names_of(cls)
        written = mine if self._shapes is None else self._shapes[tag]
        if tuple(written) == mine and not vars(cls).get("__by_name__"):
            return cls
        known = frozenset(mine)

        def make(*values: Any) -> Any:
            return cls(**{n: v for n, v in zip(written, values, strict=True) if n in known})

        return make


def names_of(cls: type) -> tuple[str, ...]:
    """The names of an object's fields, in order."""
    fields: tuple[str, ...] | None = getattr(cls, "_fields", None)
    return tuple(one.name for one in declared(cls)) if fields is None else fields


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else values_of(value)


def _body(row: list[Any]) -> Body:
    return body_of(*row)
