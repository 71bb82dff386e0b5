"""Room: front -- the commands of circusctl: names, arguments, what is sent, how it is shown.

Knows:     circus.ctl_target, circus.ctl_output, circus.ctl_values.
Known by:  circus.circusctl.
Never:     makes a command before somebody asks for it.

One line of `TABLE` is one command: its properties have the names of its arguments, so that most
commands need no code of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import click

from circus import ctl_output as output
from circus.ctl_target import Target, flags
from circus.ctl_values import BadValue, number_or_name, option_value

EXIT_REFUSED: Final = 3

Properties = dict[str, Any]
Parameters = Callable[[], list[click.Parameter]]


class Line(NamedTuple):
    """One command that asks one thing."""

    help: str
    parameters: Parameters
    show: output.Show = output.ok
    prepare: Callable[[Properties], Properties] | None = None
    settings: Mapping[str, Any] = {}


def ask(target: Target, command: str, properties: Properties, show: output.Show) -> int:
    """Send, show the answer, and say what the exit status is."""
    reply = target.client().ask(command, properties)
    body = reply.body
    if target.json:
        click.echo(output.as_json(body))
    if body["status"] == "error" and "reason" in body:
        click.echo(f"error: {output.plain(body['reason'])}", err=True)
        return EXIT_REFUSED
    if not target.json:
        click.echo("\n".join(_shown(show, body)))
    return 0


def _shown(show: output.Show, body: output.Body) -> list[str]:
    try:
        return list(show(body))
    except (KeyError, AttributeError, TypeError) as error:
        raise click.ClickException(
            f"cannot understand the answer ({error!r} in {output.plain(body)}); "
            "is this a circusd of the same version?"
        ) from error


def _make(name: str) -> click.Command:
    line = TABLE[name]

    @click.pass_obj
    def carry_out(target: Target, /, **given: Any) -> int:
        properties = {
            key: value
            for key, value in given.items()
            if value is not None and value is not False and value != ()
        }
        try:
            if line.prepare is not None:
                properties = line.prepare(properties)
        except BadValue as error:
            raise click.UsageError(str(error)) from error
        return ask(target, name, properties, line.show)

    return click.Command(
        name, params=[*line.parameters(), *flags()], callback=carry_out, help=line.help,
        **line.settings,
    )  # fmt: skip


# --- arguments ------------------------------------------------------------------------------------


def _nothing() -> list[click.Parameter]:
    return []


def _name() -> list[click.Parameter]:
    return [click.Argument(["name"])]


def _maybe_name() -> list[click.Parameter]:
    return [click.Argument(["name"], required=False)]


def _waiting() -> click.Option:
    return click.Option(["--waiting"], is_flag=True, help="Answer when it is done, not when begun.")


def _several() -> list[click.Parameter]:
    return [
        *_maybe_name(),
        click.Option(
            ["--match"],
            type=click.Choice(["simple", "glob", "regex"]),
            help="How NAME is compared (glob).",
        ),
        _waiting(),
    ]


def _reload() -> list[click.Parameter]:
    return [
        *_maybe_name(),
        click.Option(["--terminate"], is_flag=True, help="Stop, then start, instead of replacing."),
        click.Option(["--sequential"], is_flag=True, help="One process after the other."),
        _waiting(),
    ]


def _retry() -> list[click.Parameter]:
    return [*_name(), _waiting()]


def _resize() -> list[click.Parameter]:
    return [*_name(), click.Argument(["nb"], type=int, required=False), _waiting()]


def _add() -> list[click.Parameter]:
    return [
        click.Option(["--start"], is_flag=True, help="Start it at once."),
        click.Option(
            ["--option"], nargs=2, multiple=True, metavar="KEY VALUE", help="An option of it."
        ),
        _waiting(),
        *_name(),
        click.Argument(["cmd"], nargs=-1, required=True, type=click.UNPROCESSED),
    ]


def _rm() -> list[click.Parameter]:
    return [
        *_name(),
        click.Option(["--nostop"], is_flag=True, help="Let its processes run on."),
        _waiting(),
    ]


def _set() -> list[click.Parameter]:
    return [*_name(), click.Argument(["pairs"], nargs=-1, required=True), _waiting()]


def _get() -> list[click.Parameter]:
    return [*_name(), click.Argument(["keys"], nargs=-1, required=True)]


def _globals() -> list[click.Parameter]:
    return [click.Argument(["option"], required=False)]


def _signal() -> list[click.Parameter]:
    return [
        *_name(),
        # The pid is the one that may be left out, though it comes first.
        click.Argument(["what"], metavar="[PID] SIGNUM", nargs=-1, required=True),
        click.Option(["--childpid"], type=int, help="One child of PID."),
        click.Option(["--children"], is_flag=True, help="Its direct children only."),
        click.Option(["--recursive"], is_flag=True, help="All its descendants too."),
    ]


def _kill() -> list[click.Parameter]:
    return [
        *_name(),
        click.Argument(["pid"], type=int, required=False),
        click.Option(["--signum"], help="Instead of the watcher's stop signal."),
        click.Option(
            ["--graceful_timeout", "--graceful-timeout"], type=float, help="Seconds until SIGKILL."
        ),
        _waiting(),
    ]


def _stats() -> list[click.Parameter]:
    return [
        *_maybe_name(),
        click.Argument(["process"], type=int, required=False),
        click.Option(["--extended"], is_flag=True, help="Children too."),
    ]


# --- from arguments to properties -----------------------------------------------------------------


def _prepare_add(given: Properties) -> Properties:
    words = given["cmd"]
    if len(words) > 1:
        import shlex

        given["cmd"] = shlex.join(words)
    else:
        given["cmd"] = words[0]
    if "option" in given:
        pairs = given.pop("option")
        given["options"] = {key: option_value(key, text) for key, text in pairs}
    return given


def _prepare_set(given: Properties) -> Properties:
    pairs = given.pop("pairs")
    if len(pairs) % 2:
        raise BadValue(f"cannot set {pairs[-1]!r}: it has no value; give KEY VALUE pairs")
    keys, texts = pairs[::2], pairs[1::2]
    given["options"] = {key: option_value(key, text) for key, text in zip(keys, texts, strict=True)}
    return given


def _prepare_get(given: Properties) -> Properties:
    given["keys"] = list(given["keys"])
    return given


def _prepare_reload(given: Properties) -> Properties:
    if given.pop("terminate", False):
        given["graceful"] = False
    return given


def _prepare_signal(given: Properties) -> Properties:
    *pids, given["signum"] = given.pop("what")
    if pids:
        if len(pids) > 1 or not pids[0].isdecimal():
            raise BadValue(f"cannot send a signal to {' '.join(pids)!r}: give one pid, or none")
        given["pid"] = int(pids[0])
    return _prepare_kill(given)


def _prepare_kill(given: Properties) -> Properties:
    if "signum" in given:
        given["signum"] = number_or_name(given["signum"])
    return given


TABLE: Final[Mapping[str, Line]] = {
    "status": Line("The state of every watcher, or of one.", _maybe_name, output.status),
    "list": Line("The watchers, or the pids of one.", _maybe_name, output.listing),
    "stats": Line("What the processes use.", _stats, output.stats),
    "dstats": Line("What the daemon itself uses.", _nothing, output.daemon_stats),
    "numprocesses": Line("How many processes there are.", _maybe_name, output.count),
    "numwatchers": Line("How many watchers there are.", _nothing, output.count),
    "options": Line("Every option of a watcher.", _name, output.options),
    "get": Line("Some options of a watcher.", _get, output.options, _prepare_get),
    "globaloptions": Line("The options of the daemon.", _globals, output.options),
    "start": Line("Start all watchers, or some.", _several),
    "stop": Line("Stop all watchers, or some.", _several),
    "restart": Line("Stop and start again.", _several),
    "reload": Line("Replace the processes gracefully.", _reload, prepare=_prepare_reload),
    "incr": Line("More processes.", _resize, output.resized),
    "decr": Line("Fewer processes.", _resize, output.resized),
    "set": Line("Change options of a watcher.", _set, prepare=_prepare_set),
    "signal": Line("Send a signal to processes.", _signal, prepare=_prepare_signal),
    "kill": Line("Stop processes; the watcher replaces them.", _kill, prepare=_prepare_kill),
    "add": Line(
        "A new watcher: NAME, then its command line.",
        _add,
        prepare=_prepare_add,
        # What follows the name is the new watcher's: `add web python -m http.server --bind …`.
        settings={"context_settings": {"allow_interspersed_args": False}},
    ),
    "rm": Line("Stop a watcher and forget it.", _rm),
    "retry": Line("A second chance for a watcher that failed.", _retry),
    "reloadconfig": Line("Read the configuration again.", lambda: [_waiting()]),
    "quit": Line("Stop everything and end the daemon.", lambda: [_waiting()]),
}


# --- commands with a module of their own ----------------------------------------------------------


def _make_events(name: str) -> click.Command:
    @click.pass_obj
    def carry_out(target: Target, /, **given: Any) -> int:
        from circus.ctl_events import show_events

        return show_events(target, **given)

    return click.Command(
        name,
        params=[
            click.Option(
                ["--after"], default=None, metavar="SEQ|0|now",
                help="Where to begin: after a record, 0 for everything, now for what comes.",
            ),
            click.Option(["--watcher"], metavar="NAME", help="Only what concerns this watcher."),
            click.Option(["--follow", "-f"], is_flag=True, help="Go on with what happens."),
            *flags(),
        ],
        callback=carry_out,
        help="The record: every event in order, one line each.",
    )  # fmt: skip


def _make_why(name: str) -> click.Command:
    @click.pass_obj
    def carry_out(target: Target, subject: str) -> int:
        from circus.ctl_why import show_why

        return show_why(target, subject)

    return click.Command(
        name,
        params=[click.Argument(["subject"], metavar="PID|WATCHER"), *flags()],
        callback=carry_out,
        help="Why a process or watcher is in the state that it is in.",
    )


COMMANDS: Final[Mapping[str, Callable[[str], click.Command]]] = {
    **dict.fromkeys(TABLE, _make),
    "events": _make_events,
    "why": _make_why,
}

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Look": (
        "status", "list", "stats", "dstats", "numprocesses", "numwatchers", "options", "get",
        "globaloptions", "events", "why",
    ),
    "Do": ("start", "stop", "restart", "reload", "incr", "decr", "set", "signal", "kill"),
    "Watchers": ("add", "rm", "retry", "reloadconfig", "quit"),
}  # fmt: skip
