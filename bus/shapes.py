"""Room: bus -- classes of declared fields, whose methods are made when they are first used.

Knows:     attrs, once somebody asks it about one of these classes.
Known by:  bus.record (every command and event), bus.spec, the states, whatever has many fields.
Never:     imports attrs or compiles a line before that: a hundred of these classes lie on the way
           to the first worker, and a start uses a third of them (ADR-0088).

A class says its fields as annotations, with defaults, and gets slots, an `__init__`, a `__repr__`
and a comparison. `attr.fields`, `attr.evolve` and `attr.asdict` take it for the attrs class
that the same declaration would have made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar, dataclass_transform

T = TypeVar("T")


class _Nothing:
    """The default of a field that has none."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
_NO_METADATA: Final[Mapping[str, Any]] = {}


class Field(NamedTuple):
    """One declared field; `type` is the annotation's text."""

    name: str
    type: str
    default: Any = NOTHING
    factory: Callable[[], Any] | None = None
    metadata: Mapping[str, Any] = _NO_METADATA


def field(
    *,
    default: Any = NOTHING,
    factory: Callable[[], Any] | None = None,
    metadata: Mapping[str, Any] = _NO_METADATA,
) -> Any:
    """A field with more to say than a plain default; `factory` makes a new one every time."""
    return Field("", "", default, factory, metadata)


# --- four kinds of classes ---------------------------------------------------------------------


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A value: nothing can be assigned to it; compared by its fields."""
    return _shaped(cls, {**_BY_FIELDS, "__hash__": _hash, **_UNCHANGING})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def keyed(cls: type[T]) -> type[T]:
    """A value whose fields are always given by name."""
    return _shaped(cls, {**_BY_FIELDS, "__hash__": _hash, **_UNCHANGING}, by_name=True)


@dataclass_transform(field_specifiers=(field,))
def mutable(cls: type[T]) -> type[T]:
    """A state that changes in place; compared by its fields, so it cannot be hashed."""
    return _shaped(cls, {**_BY_FIELDS, "__hash__": None})


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def entity(cls: type[T]) -> type[T]:
    """Something that changes in place and equals nothing but itself."""
    return _shaped(cls, {"__repr__": _repr})


# --- what is known about them ------------------------------------------------------------------


def declared(cls: type) -> tuple[Field, ...]:
    """The fields in the order of declaration."""
    fields: tuple[Field, ...] = vars(_home(cls))["__shape__"]
    return fields


def fields_of(value: object) -> dict[str, Any]:
    """Names and values, in the order of declaration: a body's `data` map on the wire."""
    return (_MAPPERS.get(type(value)) or _mapper(type(value)))(value)


def values_of(value: object) -> tuple[Any, ...]:
    """The same without the names: `type(value)(*values_of(value)) == value`."""
    return (_LISTERS.get(type(value)) or _lister(type(value)))(value)


def altered(value: T, **changes: Any) -> T:
    """Another one, with some fields changed."""
    return type(value)(**{**fields_of(value), **changes})


def complete(cls: type) -> None:
    """Make now what would be made at the first use, while nobody waits for it."""
    home = _home(cls)
    if vars(home)["__init__"] is _first_init:
        type.__setattr__(home, "__init__", _made_init(home))
    if cls not in _MAPPERS:
        _mapper(cls)
    if cls not in _LISTERS:
        _lister(cls)


# --- how they are made -------------------------------------------------------------------------


def _shaped(cls: type[T], methods: Mapping[str, Any], *, by_name: bool = False) -> type[T]:
    """The class again, with slots: a class cannot get them later."""
    own = dict(vars(cls))
    fields = tuple(
        _declaration(name, kind, own.pop(name, NOTHING))
        for name, kind in cls.__annotations__.items()
        if not kind.startswith("ClassVar")
    )
    names = tuple(one.name for one in fields)
    for absent in ("__dict__", "__weakref__", *names):
        own.pop(absent, None)
    mine = {
        name: method
        for name, method in methods.items()
        if getattr(cls, name) is getattr(object, name)  # what it says itself, stays
    }
    more = {
        "__slots__": names, "__shape__": fields, "__by_name__": by_name, "__init__": _first_init,
        "__attrs_attrs__": _ForAttrs(), "__match_args__": () if by_name else names,
    }  # fmt: skip
    kind: Any = type(cls)
    made: type[T] = kind(cls.__name__, cls.__bases__, {**own, **mine, **more})
    return made


def _home(cls: type) -> type:
    """The class itself, or the one of its bases, that declares its fields."""
    return next(base for base in cls.__mro__ if "__shape__" in vars(base))


def _declaration(name: str, kind: str, said: Any) -> Field:
    if isinstance(said, Field):
        return said._replace(name=name, type=kind)
    return Field(name, kind, said)


def _first_init(self: Any, *args: Any, **values: Any) -> None:
    """Stands for `__init__` until there is one."""
    cls = _home(type(self))
    init = _made_init(cls)
    type.__setattr__(cls, "__init__", init)
    init(self, *args, **values)


def _made_init(cls: type) -> Callable[..., None]:
    fields = declared(cls)
    known: dict[str, Any] = {"NOTHING": NOTHING}
    parameters, lines = ["self", *(["*"] if vars(cls)["__by_name__"] and fields else [])], []
    unchanging = vars(cls).get("__setattr__") is _refuse
    for name, _, default, factory, _ in fields:
        known |= {f"default_{name}": default, f"make_{name}": factory}
        known[f"set_{name}"] = vars(cls)[name].__set__
        value = name if factory is None else f"make_{name}() if {name} is NOTHING else {name}"
        usual = f"default_{name}" if factory is None else "NOTHING"
        parameters.append(name if default is NOTHING and factory is None else f"{name}={usual}")
        lines.append(f"set_{name}(self, {value})" if unchanging else f"self.{name} = {value}")
    known["__name__"] = cls.__module__
    init = _compiled(
        f"def made({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"]), known
    )
    init.__name__, init.__qualname__ = "__init__", f"{cls.__qualname__}.__init__"
    return init


def _compiled(source: str, known: dict[str, Any]) -> Callable[..., Any]:
    """The function `made` of this source."""
    code = compile(source, "<declared fields>", "exec")
    exec(code, known)  # noqa: S102 - it is made of the names of declared fields, of nothing else
    made: Callable[..., Any] = known["made"]
    return made


class _ForAttrs:
    """`__attrs_attrs__`, which is what attrs looks for; asked of the class, not of an instance."""

    def __get__(self, instance: object, owner: type) -> Any:
        import attr

        cls = _home(owner)
        fields = {one.name: _for_attrs(one) for one in declared(cls)}
        twin = attr.make_class(cls.__name__, fields, kw_only=vars(cls)["__by_name__"])
        found = attr.fields(twin)
        type.__setattr__(cls, "__attrs_attrs__", found)
        return found


def _for_attrs(one: Field) -> Any:
    import attr

    usual: Any = attr.NOTHING if one.default is NOTHING else one.default
    if one.factory is not None:
        usual = attr.Factory(one.factory)
    kind: Any = one.type
    return attr.ib(default=usual, type=kind, metadata=one.metadata)


# --- what they share ---------------------------------------------------------------------------


def _eq(self: object, other: object) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    return values_of(self) == values_of(other)


def _hash(self: object) -> int:
    return hash(values_of(self))


def _repr(self: object) -> str:
    inner = ", ".join(f"{name}={value!r}" for name, value in fields_of(self).items())
    return f"{type(self).__name__}({inner})"


def _refuse(self: object, name: str, *_: object) -> None:
    text = f"cannot change {type(self).__name__}.{name}: it is a value; altered() makes another"
    raise AttributeError(text)


def _reduce(self: object) -> tuple[Any, ...]:
    return _again, (type(self), fields_of(self))


def _again(cls: type[T], fields: dict[str, Any]) -> T:
    return cls(**fields)


_BY_FIELDS: Final[Mapping[str, Any]] = {"__eq__": _eq, "__repr__": _repr}
_UNCHANGING: Final[Mapping[str, Any]] = {
    "__setattr__": _refuse, "__delattr__": _refuse, "__reduce__": _reduce,
}  # fmt: skip

# One function per class, made when it is first needed: every record passes here several times, and
# a display of all fields costs a third of a loop over their names.
_MAPPERS: Final[dict[type, Callable[[object], dict[str, Any]]]] = {}
_LISTERS: Final[dict[type, Callable[[object], tuple[Any, ...]]]] = {}


def _mapper(cls: type) -> Callable[[object], dict[str, Any]]:
    items = ", ".join(f"{one.name!r}: value.{one.name}" for one in declared(cls))
    _MAPPERS[cls] = mapper = _compiled(f"def made(value): return {{{items}}}", {})
    return mapper


def _lister(cls: type) -> Callable[[object], tuple[Any, ...]]:
    items = "".join(f"value.{one.name}, " for one in declared(cls))
    _LISTERS[cls] = lister = _compiled(f"def made(value): return ({items})", {})
    return lister
