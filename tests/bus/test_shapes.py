"""Room: tests -- classes of declared fields: what they promise, and what attrs sees in them.

Knows:     bus.shapes, bus.names, attrs.
Known by:  pytest.
Never:     looks at generated source.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import attr
import pytest

from circus.bus.events import ProcessExited
from circus.bus.names import TAGS
from circus.bus.shapes import (
    altered,
    complete,
    declared,
    entity,
    field,
    fields_of,
    frozen,
    keyed,
    mutable,
    values_of,
)

# They are attrs classes when they run, which a type checker cannot know.
attrs: Any = attr


@frozen
class Point:
    x: int
    y: int = 2


@keyed
class Setting:
    unit: str = field(default="s", metadata={"help": "seconds"})
    words: tuple[str, ...] = ()


@mutable
class Basket:
    owner: str
    things: list[str] = field(factory=list)

    @property
    def count(self) -> int:
        """A method stays."""
        return len(self.things)


@entity
class Place:
    name: str
    near: dict[str, int] = field(factory=dict)


def test_a_value_is_made_of_its_fields_and_equals_its_like() -> None:
    """Positions, names and defaults, as in any Python class."""
    assert Point(1, 2) == Point(x=1)
    assert {Point(1)} == {Point(1), Point(1, 2)}
    assert Point(1) != Point(2)
    assert "Point(x=1, y=2)" == repr(Point(1))


def test_what_is_missing_or_unknown_is_named() -> None:
    """The message of a TypeError reaches clients (bus.codec), so it names class and field."""
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing .* 'x'"):
        Point()  # type: ignore[call-arg]  # that is the fault
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) got an unexpected .* 'z'"):
        Point(1, z=3)  # type: ignore[call-arg]  # that is the fault
    with pytest.raises(TypeError, match="positional"):
        Setting("ms")  # type: ignore[call-arg]  # that is the fault


def test_a_value_cannot_be_changed_but_altered() -> None:
    """Nobody assigns to a record."""
    point = Point(1)
    with pytest.raises(AttributeError, match=r"cannot change Point\.x: .* altered"):
        point.x = 5  # type: ignore[misc]  # that is the fault
    with pytest.raises(AttributeError, match="cannot change"):
        delattr(point, "x")
    assert (Point(1, 9), Point(1)) == (altered(point, y=9), point)


def test_a_state_changes_in_place_and_has_its_own_containers() -> None:
    """A factory makes a new one for every instance."""
    mine, yours = Basket("a"), Basket("a")
    mine.things.append("pear")
    assert (1, 0) == (mine.count, yours.count)
    assert mine != yours
    yours.things = ["pear"]
    assert mine == yours
    with pytest.raises(TypeError, match="unhashable"):
        hash(mine)


def test_an_entity_is_itself_alone() -> None:
    """Equal fields do not make it equal."""
    one = Place("here")
    assert one != Place("here")
    assert {one: 1}[one] == 1


def test_a_name_that_was_not_declared_cannot_be_assigned() -> None:
    """Slots: a misspelt field is an error, not a new attribute."""
    with pytest.raises(AttributeError):
        Basket("a").thing = []  # type: ignore[attr-defined]  # that is the fault


def test_attrs_takes_them_for_its_own() -> None:
    """fields, asdict, evolve and has work as with the class that attrs would have made."""
    assert attrs.has(Setting)
    assert ("unit", "words") == tuple(one.name for one in attrs.fields(Setting))
    assert "seconds" == attrs.fields(Setting).unit.metadata["help"]
    assert {"owner": "a", "things": []} == attrs.asdict(Basket("a"))
    assert Point(1, 7) == attrs.evolve(Point(1), y=7)
    assert attrs.fields(Basket).things.default == attrs.Factory(list)


@pytest.mark.parametrize("tag", sorted(TAGS))
def test_the_whole_vocabulary_is_open_to_attrs(tag: str) -> None:
    """Every command and event has attrs fields, in the order of the wire."""
    cls = TAGS[tag]
    assert [one.name for one in declared(cls)] == [one.name for one in attrs.fields(cls)]


def test_a_value_can_be_copied() -> None:
    """And so pickled: a subscriber may hand an event to another process."""
    whole = ProcessExited(1, 0, None, core=False, rusage={"utime": 3}, wall=4, observed=5)
    assert whole == copy.deepcopy(whole)
    assert [*fields_of(whole)] == [one.name for one in declared(ProcessExited)]


def test_the_vocabulary_imports_no_attrs() -> None:
    """It lies on the way to the first worker (ADR-0088)."""
    program = "import sys, circus.bus.names; print('attr' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"False\n" == answer.stdout


def test_a_completed_class_compiles_nothing_at_its_first_use() -> None:
    """
    What `complete` makes is what the first use would have made.
    """

    @frozen
    class Pair:
        left: int
        right: int = 2

    complete(Pair)
    init = vars(Pair)["__init__"]
    assert {"left": 1, "right": 2} == fields_of(Pair(1))
    assert (1, 2) == values_of(Pair(1))
    assert init is vars(Pair)["__init__"]
