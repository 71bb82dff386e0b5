"""Room: replay -- a condition over a record and the state after it, as a person types it.

Knows:     the syntax of Python's expressions; nothing of Python's that could do anything.
Known by:  replay.ask.step; circus.replay gives `Expression` to programs.
Never:     calls, imports or assigns anything; fails on what is not there: that is None.

    name == "process.exited" and data.code != 0
    watcher == "web" and state.watchers.web.deaths > 3
    "SIGKILL" in name or cause == 17 or pid == 4711
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from circus.bus.codec import record_map
from circus.bus.record import Record

CHARACTERS_MAX: Final = 1_000
STATE: Final = "state"
KEYS: Final = frozenset(
    {
        "seq", "cause", "kind", "name", "v", "actor", "to", "watcher", "slot", "spawn_id", "at",
        "boot", "incarnation", "id", "peer", "deadline", "data", "pid", STATE,
    }
)  # fmt: skip

State = Callable[[], Mapping[str, Any]]


class BadExpression(ValueError):
    """It cannot be understood; the text says what."""


class Expression:
    """Compiled once, asked for each record."""

    def __init__(self, text: str) -> None:
        if len(text) > CHARACTERS_MAX:
            raise BadExpression(f"cannot read more than {CHARACTERS_MAX} characters as a condition")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BadExpression(f"cannot read {text!r}: {_EXAMPLE}") from error
        for node in ast.walk(tree):
            _check(node)
        self._tree = tree
        self.asks_state = any(isinstance(n, ast.Name) and n.id == STATE for n in ast.walk(tree))

    def of(self, record: Record, state: State) -> Any:
        """Its value; `state` is called only if it comes to that."""
        return _value(self._tree, _Scope(record, state))


class _Scope:
    """What names mean."""

    def __init__(self, record: Record, state: State) -> None:
        self._record = record
        self._state = state
        self._map: Mapping[str, Any] | None = None

    def value(self, name: str) -> Any:
        """Of one of KEYS."""
        if name == STATE:
            return self._state()
        if name in _PLAIN:
            return getattr(self._record, name)
        if self._map is None:
            self._map = record_map(self._record)
        return self._map["data"].get("pid") if name == "pid" else self._map.get(name)


_EXAMPLE: Final = 'give a condition like name == "process.exited" and data.code != 0'
_PLAIN: Final = frozenset({"seq", "cause", "name", "actor", "watcher", "slot", "spawn_id"})
_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_COUNT: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_SHAPES: Final[tuple[type[ast.AST], ...]] = (
    ast.expr_context, ast.cmpop, ast.boolop, ast.And, ast.Or, ast.Not, ast.USub,
    *_COUNT,
)  # fmt: skip


def _check(node: ast.AST) -> None:
    if isinstance(node, ast.Name) and node.id not in KEYS:
        known = ", ".join(sorted(KEYS))
        raise BadExpression(f"cannot tell what {node.id!r} is: there are {known}")
    if not isinstance(node, _SHAPES) and type(node) not in _VALUES:
        what = type(node).__name__
        raise BadExpression(f"cannot use {what} in a condition: {_EXAMPLE}")


def _value(node: ast.expr, scope: _Scope) -> Any:
    return _VALUES[type(node)](node, scope)


def _bool(node: Any, scope: _Scope) -> Any:
    """As Python does: the value that decided."""
    value: Any = None
    for part in node.values:
        value = _value(part, scope)
        if bool(value) is isinstance(node.op, ast.Or):
            return value
    return value


def _unary(node: Any, scope: _Scope) -> Any:
    value = _value(node.operand, scope)
    if isinstance(node.op, ast.Not):
        return not value
    return -value if isinstance(value, int | float) else None


def _compare(node: Any, scope: _Scope) -> bool:
    left = _value(node.left, scope)
    for sign, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, scope)
        try:
            holds = bool(_COMPARE[type(sign)](left, right))
        except TypeError:
            return False  # What cannot be compared is not greater, less or in anything.
        if not holds:
            return False
        left = right
    return True


def _count(node: Any, scope: _Scope) -> Any:
    left, right = _value(node.left, scope), _value(node.right, scope)
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return None
    try:
        return _COUNT[type(node.op)](left, right)
    except (ZeroDivisionError, OverflowError):
        return None


def _item(node: Any, scope: _Scope) -> Any:
    return _inside(_value(node.value, scope), _value(node.slice, scope))


def _inside(whole: Any, key: Any) -> Any:
    try:
        return whole[key]
    except (LookupError, TypeError):
        pass
    # Slots are numbers, and keys of a state as JSON has it are texts.
    return whole.get(str(key)) if isinstance(whole, Mapping) else None


_VALUES: Final[dict[type[ast.AST], Callable[[Any, _Scope], Any]]] = {
    ast.Constant: lambda node, _: node.value,
    ast.Name: lambda node, scope: scope.value(node.id),
    ast.Attribute: lambda node, scope: _inside(_value(node.value, scope), node.attr),
    ast.Subscript: _item,
    ast.BoolOp: _bool,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BinOp: _count,
    ast.Tuple: lambda node, scope: tuple(_value(part, scope) for part in node.elts),
    ast.List: lambda node, scope: [_value(part, scope) for part in node.elts],
}

__all__ = ["BadExpression", "Expression"]
