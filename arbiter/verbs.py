"""Room: arbiter -- what a client may wish for: Circus's command names into the record's commands.

Knows:     the projection (who exists), bus.commands.
Known by:  the gateway, the library.
Never:     records, sends, decides: a wish that cannot be is refused with Circus's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from circus.arbiter.projection import Projection, WatcherView
from circus.bus import commands
from circus.bus.record import Command
from circus.bus.shapes import frozen
from circus.bus.spec import WatcherSpec, to_data
from circus.bus.values import ARBITER, Address, seconds_to_ns
from circus.bus.wire import COMMAND_ERROR, MESSAGE_ERROR, UNKNOWN_COMMAND

Properties = Mapping[str, Any]
Fields = Callable[[Mapping[str, Any] | None], Mapping[str, Any]]

COUNT_MAX: Final = 2**31
SIGNAL_CHARACTERS_MAX: Final = 32


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
    def check_core(self) -> None: ...


def _nothing(_reply: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {}


class Wish(NamedTuple):
    """A command for the ledger. `fields` makes the client's reply out of the addressee's."""

    to: Address
    body: Command
    fields: Fields = _nothing


class Answered(NamedTuple):
    """Nothing to record: the reply's fields."""

    fields: Mapping[str, Any]


class Verb(NamedTuple):
    """One line of the table. `needed` and `allowed` are the properties of the request.

    `fields` makes the client's reply out of the addressee's; `durable` says that the answer waits
    for the platter. Both hold for a retry too, which is not understood anew.
    """

    make: Callable[[_Asked], Wish | Answered]
    needed: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    fields: Fields = _nothing
    durable: bool = True


def verb_of(command: str) -> Verb:
    """The table's line, or Circus's refusal."""
    verb = VERBS.get(command)
    if verb is None:
        raise Refusal(f"unknown command: {command!r}", UNKNOWN_COMMAND)
    return verb


def wish(
    command: str, properties: Properties, projection: Projection, options: Options
) -> Wish | Answered:
    """Circus's command and properties into one addressed command."""
    verb = verb_of(command)
    check_names(command, properties, verb.needed, (*verb.allowed, "waiting"))
    asked = _Asked(command, properties, projection, options)
    asked.typed("waiting", bool)
    wanted = verb.make(asked)
    return wanted._replace(fields=verb.fields) if isinstance(wanted, Wish) else wanted


def check_names(
    command: str, properties: Properties, needed: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    """Refuse what is missing, and what this command does not know."""
    for name in needed:
        if properties.get(name) is None:
            raise Refusal(f"message invalid {name!r} is missing")
    for name in properties:
        if name not in needed and name not in allowed:
            raise Refusal(f"cannot {command}: unknown property {name!r}")


@frozen
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
        matcher = _matcher(how, name)
        found = [view for key, view in views.items() if matcher(key)]
        if not found:
            raise Refusal(f"program {name} not found")
        return found

    def count(self) -> int:
        number: int = self.typed("nb", int, 1)
        if not 0 <= number <= COUNT_MAX:
            raise Refusal(f"cannot {self.command}: nb must be a number from 0 to {COUNT_MAX}")
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
        from circus.arbiter.config_options import SIGNAL_MAX, signal_number

        # Python refuses to read numbers of thousands of digits by raising.
        number = value if isinstance(value, int) else signal_number(value[:SIGNAL_CHARACTERS_MAX])
        if number is None or not 0 < number <= SIGNAL_MAX:
            raise Refusal("signal invalid")
        return number


def _matcher(how: str, name: str) -> Callable[[str], object]:
    if how == "glob":
        import fnmatch

        return lambda key: fnmatch.fnmatchcase(key, name.lower())
    if how == "regex":
        import re

        try:
            return re.compile(name, re.IGNORECASE).match
        except (re.error, OverflowError, RecursionError) as error:
            raise Refusal(f"cannot match {name!r}: {error}") from error
    raise Refusal(f"cannot match by {how!r}: use glob, simple or regex")


def _whole(reply: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return reply or {}


def _life(
    many: Callable[[_Asked, tuple[str, ...] | None], Command],
) -> Callable[[_Asked], Wish]:
    """start, stop, restart, reload: through the arbiter, which remembers what an operator wants."""

    def make(asked: _Asked) -> Wish:
        views = asked.matched()
        names = None if views is None else tuple(view.name.lower() for view in views)
        return Wish(ARBITER, many(asked, names))

    return make


def _reload_many(asked: _Asked, names: tuple[str, ...] | None) -> Command:
    graceful = asked.typed("graceful", bool, True)
    return commands.ArbiterReload(names, graceful, asked.typed("sequential", bool, False))


def _resize(
    command: type[commands.WatcherIncr | commands.WatcherDecr],
) -> Callable[[_Asked], Wish | Answered]:
    def make(asked: _Asked) -> Wish | Answered:
        view = asked.watcher()
        if view.spec.singleton:
            return Answered({"numprocesses": view.spec.numprocesses, "singleton": True})
        return Wish(view.address, command(asked.count()))

    return make


def _set(asked: _Asked) -> Wish:
    view = asked.watcher()
    options = asked.typed("options", dict)
    values = asked.options.changes(options, view.spec)
    return Wish(view.address, commands.WatcherSet(values))


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
    return Wish(view.address, body)


def _kill(asked: _Asked) -> Wish:
    body = commands.WatcherKill(
        asked.typed("pid", int), asked.signum(), asked.seconds("graceful_timeout")
    )
    return Wish(asked.watcher().address, body)


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
    return Wish(ARBITER, commands.ArbiterAdd(to_data(spec), asked.typed("start", bool, False)))


def _rm(asked: _Asked) -> Wish:
    name, nostop = asked.watcher().name, asked.typed("nostop", bool, False)
    return Wish(ARBITER, commands.ArbiterRemove(name.lower(), nostop))


def _quit(asked: _Asked) -> Wish:
    return Wish(ARBITER, commands.ArbiterQuit(asked.seconds("graceful_timeout")))


def _retry(asked: _Asked) -> Wish:
    return Wish(asked.watcher().address, commands.WatcherRetry())


def _manage(asked: _Asked) -> Wish:
    return Wish(asked.watcher().address, commands.WatcherManage())


def _reloadconfig(asked: _Asked) -> Wish:
    return Wish(ARBITER, asked.options.configuration())


def _restart_core(keeper: Literal["keeper", ""] = "") -> Callable[[_Asked], Wish]:
    def make(asked: _Asked) -> Wish:
        asked.options.check_core()
        return Wish(ARBITER, commands.CoreRestart(bool(keeper)))

    return make


_MATCHING: Final = ("name", "match")

VERBS: Final[Mapping[str, Verb]] = {
    "start": Verb(_life(lambda _, names: commands.ArbiterStart(names)), (), _MATCHING, _whole),
    "stop": Verb(_life(lambda _, names: commands.ArbiterStop(names)), (), _MATCHING, _whole),
    "restart": Verb(_life(lambda _, names: commands.ArbiterRestart(names)), (), _MATCHING, _whole),
    "reload": Verb(_life(_reload_many), (), (*_MATCHING, "graceful", "sequential"), _whole),
    "incr": Verb(_resize(commands.WatcherIncr), ("name",), ("nb",), _whole),
    "decr": Verb(_resize(commands.WatcherDecr), ("name",), ("nb",), _whole),
    "set": Verb(_set, ("name", "options")),
    "signal": Verb(
        _signal, ("name", "signum"), ("pid", "childpid", "child_pid", "children", "recursive"),
        durable=False,
    ),
    "kill": Verb(_kill, ("name",), ("pid", "signum", "graceful_timeout"), durable=False),
    "add": Verb(_add, ("name", "cmd"), ("args", "options", "start"), _whole),
    "rm": Verb(_rm, ("name",), ("nostop",)),
    "quit": Verb(_quit, (), ("graceful_timeout",)),
    "retry": Verb(_retry, ("name",)),
    "manage": Verb(_manage, ("name",), durable=False),
    "reloadconfig": Verb(_reloadconfig),
    "restart-core": Verb(_restart_core()),
    "upgrade": Verb(_restart_core("keeper")),
}  # fmt: skip
