"""Room: arbiter -- what a client may wish for: Circus's command names into the record's commands.

Knows:     the projection (who exists), bus.commands.
Known by:  the gateway, the library.
Never:     records, sends, decides: a wish that cannot be is refused with Circus's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import attr

from circus.arbiter.projection import Projection, WatcherView
from circus.bus import commands
from circus.bus.record import Command
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import ARBITER, Address, seconds_to_ns
from circus.bus.wire import COMMAND_ERROR, MESSAGE_ERROR, UNKNOWN_COMMAND

Properties = Mapping[str, Any]


class Refusal(Exception):
    """The client hears why; nothing happened. `errno` is Circus's number (CIRCUS.md, 3.3)."""

    def __init__(self, reason: str, errno: int = MESSAGE_ERROR) -> None:
        super().__init__(reason)
        self.reason = reason
        self.errno = errno


class Options(Protocol):
    """Validation of option values, given by the composition root."""

    def changes(self, options: Properties, current: WatcherSpec, /) -> dict[str, Any]: ...
    def addition(self, options: Properties, /) -> WatcherSpec: ...
    def configuration(self) -> commands.ArbiterConfigure: ...


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Wish:
    """A command for the ledger. `fields` turns the addressee's reply into the client's."""

    to: Address
    body: Command
    fields: Callable[[Mapping[str, Any] | None], Mapping[str, Any]]
    durable: bool = True


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Answered:
    """Nothing to record: the reply's fields."""

    fields: Mapping[str, Any]


def wish(
    command: str, properties: Properties, projection: Projection, options: Options
) -> Wish | Answered:
    """Circus's command and properties into one addressed command."""
    verb = VERBS.get(command)
    if verb is None:
        raise Refusal(f"unknown command: {command!r}", UNKNOWN_COMMAND)
    make, needed, allowed = verb
    for name in needed:
        if name not in properties:
            raise Refusal(f"message invalid {name!r} is missing")
    for name in properties:
        if name not in needed and name not in allowed and name != "waiting":
            raise Refusal(f"cannot {command}: unknown property {name!r}")
    return make(_Asked(command, properties, projection, options))


@attr.s(auto_attribs=True, frozen=True, slots=True)
class _Asked:
    """One request with what is needed to understand it."""

    command: str
    properties: Properties
    projection: Projection
    options: Options

    def typed(self, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        value = self.properties.get(name)
        if value is None:
            return default
        is_flag = isinstance(value, bool)
        if not isinstance(value, kind) or (is_flag and kind is not bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(k.__name__ for k in kinds)
            raise Refusal(
                f"cannot {self.command}: {name} must be {wanted}, not {type(value).__name__}"
            )
        return value

    def watcher(self) -> WatcherView:
        name = self.typed("name", str)
        view = self.projection.watchers.get(name.lower())
        if view is None:
            raise Refusal(f"program {name} not found")
        return view

    def matched(self) -> list[WatcherView] | None:
        """The watchers that `name` and `match` mean; None for all."""
        name = self.typed("name", str)
        if name is None or name == "*":
            return None
        how = self.typed("match", str, "glob")
        views = self.projection.watchers
        if how == "simple" or name.lower() in views:
            return [self.watcher()]
        matcher = _matcher(how, name.lower())
        found = [view for key, view in views.items() if matcher(key)]
        if not found:
            raise Refusal(f"program {name} not found")
        return found

    def count(self) -> int:
        number: int = self.typed("nb", int, 1)
        if number < 0:
            raise Refusal(f"cannot {self.command}: nb must not be negative")
        return number

    def seconds(self, name: str) -> int | None:
        value = self.typed(name, (int, float))
        if value is None:
            return None
        if not 0 <= value < 2**31:
            raise Refusal(f"cannot {self.command}: {name} must be seconds, 0 or more")
        return seconds_to_ns(value)

    def signum(self, name: str = "signum") -> int | None:
        value = self.typed(name, (int, str))
        if value is None:
            return None
        from circus.arbiter.config_options import SIGNAL_MAX, signal_number  # noqa: PLC0415 - slow

        number = value if isinstance(value, int) else signal_number(value)
        if number is None or not 0 < number <= SIGNAL_MAX:
            raise Refusal("signal invalid")
        return number


def _matcher(how: str, name: str) -> Callable[[str], object]:
    if how == "glob":
        import fnmatch  # noqa: PLC0415 - off the way to the first worker

        return lambda key: fnmatch.fnmatchcase(key, name)
    if how == "regex":
        import re  # noqa: PLC0415 - off the way to the first worker

        try:
            return re.compile(name).match
        except re.error as error:
            raise Refusal(f"cannot match {name!r}: {error}") from error
    raise Refusal(f"cannot match by {how!r}: use glob, simple or regex")


def _no_fields(_reply: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {}


def _whole(reply: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return reply or {}


def _life(many: Callable[[_Asked, Any], Command]) -> Any:
    """start, stop, restart, reload: through the arbiter, which remembers what an operator wants."""

    def make(asked: _Asked) -> Wish:
        views = asked.matched()
        names = None if views is None else tuple(view.name.lower() for view in views)
        return Wish(ARBITER, many(asked, names), _whole)

    return make


def _reload_many(asked: _Asked, names: Any) -> Command:
    graceful, sequential = asked.typed("graceful", bool, True), asked.typed("sequential", bool, False)
    return commands.ArbiterReload(names, graceful, sequential)


def _resize(command: type[commands.WatcherIncr | commands.WatcherDecr]) -> Any:
    def make(asked: _Asked) -> Wish | Answered:
        view = asked.watcher()
        if view.spec.singleton:
            return Answered({"numprocesses": view.spec.numprocesses, "singleton": True})
        return Wish(view.address, command(asked.count()), _whole)

    return make


def _set(asked: _Asked) -> Wish:
    view = asked.watcher()
    options = asked.typed("options", dict)
    values = asked.options.changes(options, view.spec)
    return Wish(view.address, commands.WatcherSet(values), _no_fields)


def _signal(asked: _Asked) -> Wish:
    view, signum = asked.watcher(), asked.signum()
    assert signum is not None, "signum is mandatory"
    pid = asked.typed("pid", int)
    child = asked.typed("childpid", int, asked.typed("child_pid", int))
    if child is not None and pid is None:
        raise Refusal("cannot signal a child: pid is missing", COMMAND_ERROR)
    body = commands.WatcherSignal(
        signum, pid, child, asked.typed("children", bool, False),
        asked.typed("recursive", bool, False),
    )  # fmt: skip
    return Wish(view.address, body, _no_fields, durable=False)


def _kill(asked: _Asked) -> Wish:
    body = commands.WatcherKill(
        asked.typed("pid", int), asked.signum(), asked.seconds("graceful_timeout")
    )
    return Wish(asked.watcher().address, body, _no_fields, durable=False)


def _add(asked: _Asked) -> Wish:
    given = dict(asked.typed("options", dict, {}))
    name = asked.typed("name", str)
    if name.lower() in asked.projection.watchers:
        raise Refusal(f"cannot add: watcher {name!r} already exist", COMMAND_ERROR)
    args = asked.typed("args", (str, tuple, list))
    if args is not None:
        given["args"] = args
    given |= {"name": name, "cmd": asked.typed("cmd", str)}
    spec = asked.options.addition(given)
    return Wish(ARBITER, commands.ArbiterAdd(to_data(spec), asked.typed("start", bool, False)), _whole)


def _rm(asked: _Asked) -> Wish:
    name, nostop = asked.watcher().name, asked.typed("nostop", bool, False)
    return Wish(ARBITER, commands.ArbiterRemove(name.lower(), nostop), _no_fields)


def _quit(asked: _Asked) -> Wish:
    return Wish(ARBITER, commands.ArbiterQuit(asked.seconds("graceful_timeout")), _no_fields)


def _retry(asked: _Asked) -> Wish:
    return Wish(asked.watcher().address, commands.WatcherRetry(), _no_fields)


def _manage(asked: _Asked) -> Wish:
    return Wish(asked.watcher().address, commands.WatcherManage(), _no_fields, durable=False)


def _reloadconfig(asked: _Asked) -> Wish:
    return Wish(ARBITER, asked.options.configuration(), _no_fields)


_MATCHING: Final = ("name", "match")

# Command → (how to make it, properties it must have, properties it may have).
VERBS: Final[Mapping[str, tuple[Any, tuple[str, ...], tuple[str, ...]]]] = {
    "start": (_life(lambda _, names: commands.ArbiterStart(names)), (), _MATCHING),
    "stop": (_life(lambda _, names: commands.ArbiterStop(names)), (), _MATCHING),
    "restart": (_life(lambda _, names: commands.ArbiterRestart(names)), (), _MATCHING),
    "reload": (_life(_reload_many), (), (*_MATCHING, "graceful", "sequential")),
    "incr": (_resize(commands.WatcherIncr), ("name",), ("nb",)),
    "decr": (_resize(commands.WatcherDecr), ("name",), ("nb",)),
    "set": (_set, ("name", "options"), ()),
    "signal": (
        _signal, ("name", "signum"), ("pid", "childpid", "child_pid", "children", "recursive"),
    ),
    "kill": (_kill, ("name",), ("pid", "signum", "graceful_timeout")),
    "add": (_add, ("name", "cmd"), ("args", "options", "start")),
    "rm": (_rm, ("name",), ("nostop",)),
    "quit": (_quit, (), ("graceful_timeout",)),
    "retry": (_retry, ("name",), ()),
    "manage": (_manage, ("name",), ()),
    "reloadconfig": (_reloadconfig, (), ()),
}  # fmt: skip
