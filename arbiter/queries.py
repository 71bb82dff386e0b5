"""Room: arbiter -- questions: answered from the projection, never recorded.

Knows:     the projection, bus.spec, process.probe at first use.
Known by:  the gateway, the library.
Never:     asks an actor, waits, changes anything.

Reply fields are Circus's (CIRCUS.md, 3.4), so that its scripts read ours. A slow question reads
/proc, in a thread of its own; what it needs of the projection is taken out before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from circus.arbiter.projection import Projection, WatcherView
from circus.arbiter.verbs import Refusal, check_names
from circus.bus.shapes import frozen
from circus.bus.spec import OPTIONS
from circus.bus.values import ns_to_seconds
from circus.bus.wire import OS_ERROR

Properties = Mapping[str, Any]
Fields = Mapping[str, Any]


@frozen
class Sources:
    """Where answers come from. `settings` are those of `[circus]`; `probe` reads processes."""

    projection: Projection
    settings: Mapping[str, Any]
    probe: Callable[[int], Mapping[str, Any] | None]
    show: Callable[[str, Any], Any]
    core_pid: int


class Query(NamedTuple):
    """One line of a table: the function, the properties it must have, those it may have."""

    ask: Callable[[Properties, Sources], Any]
    needed: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


def answer(command: str, properties: Properties, sources: Sources) -> Fields | None:
    """The reply's fields; None if this is no question that is answered at once."""
    query = QUERIES.get(command)
    if query is None:
        return None
    check_names(command, properties, query.needed, query.allowed)
    fields: Fields = query.ask(properties, sources)
    return fields


def slow_answer(
    command: str, properties: Properties, sources: Sources
) -> Callable[[], Fields] | None:
    """What finds the reply's fields in any thread (it may raise Refusal); None if this is no
    slow question."""
    query = SLOW_QUERIES.get(command)
    if query is None:
        return None
    check_names(command, properties, query.needed, query.allowed)
    work: Callable[[], Fields] = query.ask(properties, sources)
    return work


def _view(properties: Properties, sources: Sources) -> WatcherView:
    name = properties["name"]
    view = sources.projection.watchers.get(name.lower()) if isinstance(name, str) else None
    if view is None:
        raise Refusal(f"program {name} not found")
    return view


def _list(properties: Properties, sources: Sources) -> Fields:
    if properties.get("name") is None:
        return {"watchers": sources.projection.names()}
    return {"pids": _view(properties, sources).pids}


def _status(properties: Properties, sources: Sources) -> Fields:
    projection = sources.projection
    if properties.get("name") is not None:
        view = _view(properties, sources)
        return {"status": view.status, **({"reason": view.reason} if view.reason else {})}
    views = [projection.watchers[name] for name in projection.names()]
    core = projection.core
    return {
        "statuses": {view.name: view.status for view in views},
        "reasons": {view.name: view.reason for view in views if view.reason},
        "keeper": {"pid": core.keeper_pid if core else 0},
        "core": {"pid": sources.core_pid, "incarnation": projection.incarnation},
        "scribe": {"pid": projection.scribe},
    }


def _numprocesses(properties: Properties, sources: Sources) -> Fields:
    if properties.get("name") is None:
        return {"numprocesses": sources.projection.numprocesses()}
    view = _view(properties, sources)
    return {"numprocesses": len(view.pids), "watcher_name": properties["name"]}


def _numwatchers(_properties: Properties, sources: Sources) -> Fields:
    return {"numwatchers": len(sources.projection.watchers)}


def _options(properties: Properties, sources: Sources) -> Fields:
    view = _view(properties, sources)
    return {"options": {name: _shown(view, name, sources) for name in OPTIONS if name != "name"}}


def _get(properties: Properties, sources: Sources) -> Fields:
    view = _view(properties, sources)
    keys = properties["keys"]
    if not isinstance(keys, list | tuple):
        raise Refusal("message invalid 'keys' is not a list")
    for key in keys:
        if not isinstance(key, str) or key not in OPTIONS or key == "name":
            raise Refusal(f"{key!r} option not found")
    return {"options": {key: _shown(view, key, sources) for key in keys}}


def _shown(view: WatcherView, name: str, sources: Sources) -> Any:
    value = getattr(view.spec, name)
    # Only the names of environment variables are anybody's business (RELIABILITY.md, 7.6).
    return sorted(value) if name == "env" else sources.show(name, value)


def _globaloptions(properties: Properties, sources: Sources) -> Fields:
    option = properties.get("option")
    if option is None:
        return {"options": dict(sources.settings)}
    if not isinstance(option, str) or option not in sources.settings:
        raise Refusal(f"{option!r} option not found")
    return {"options": {option: sources.settings[option]}}


# --- slow questions -------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """A process to look at."""

    pid: int
    slot: int
    started: float


def _stats(properties: Properties, sources: Sources) -> Callable[[], Fields]:
    probe = sources.probe
    if properties.get("name") is None:
        projection = sources.projection
        whole = {name: _seen(projection.watchers[name]) for name in projection.names()}
        return lambda: {"infos": {name: _infos(seen, probe) for name, seen in whole.items()}}
    view = _view(properties, sources)
    seen, name, pid = _seen(view), properties["name"], properties.get("process")
    if pid is None:
        return lambda: {"name": name, "info": _infos(seen, probe)}

    def one() -> Fields:
        info = _infos([process for process in seen if process.pid == pid], probe).get(str(pid))
        if info is None:
            raise Refusal(f"process {pid} not found in {view.name!r}")
        return {"process": pid, "info": info}

    return one


def _seen(view: WatcherView) -> list[_Seen]:
    return [
        _Seen(process.pid, process.slot, ns_to_seconds(process.started_wall))
        for process in view.processes.values()
        if process.pid
    ]


def _infos(
    seen: list[_Seen], probe: Callable[[int], Mapping[str, Any] | None]
) -> dict[str, Mapping[str, Any]]:
    infos: dict[str, Mapping[str, Any]] = {}
    for pid, slot, started in seen:
        info = _look(pid, probe)
        if info is not None:
            infos[str(pid)] = {**info, "started": started, "wid": slot}
    return infos


def _look(pid: int, probe: Callable[[int], Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    """What /proc says, or a refusal: no descriptor left is the client's trouble, not the core's."""
    try:
        return probe(pid)
    except OSError as error:
        text = f"cannot look at process {pid}: {error.strerror or error}; try again"
        raise Refusal(text, OS_ERROR) from error


def _dstats(_properties: Properties, sources: Sources) -> Callable[[], Fields]:
    probe, pid = sources.probe, sources.core_pid
    return lambda: {"info": {**(_look(pid, probe) or {}), "children": []}}


QUERIES: Final[Mapping[str, Query]] = {
    "list": Query(_list, (), ("name",)),
    "status": Query(_status, (), ("name",)),
    "numprocesses": Query(_numprocesses, (), ("name",)),
    "numwatchers": Query(_numwatchers),
    "options": Query(_options, ("name",)),
    "get": Query(_get, ("name", "keys")),
    "globaloptions": Query(_globaloptions, (), ("option",)),
}
SLOW_QUERIES: Final[Mapping[str, Query]] = {
    "stats": Query(_stats, (), ("name", "process", "extended")),
    "dstats": Query(_dstats),
}
