"""Room: front -- circusctl's command line as click has it: usage, help, every kind of argument.

Knows:     circus.ctl_table (the commands), circus.ctl_target.
Known by:  circus.circusctl.
Never:     makes a command before somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click

from circus.ctl_table import FLAGS, TABLE, Parameter, Switch, Word, properties_of
from circus.ctl_target import EXIT_FAILED, EXIT_USAGE, Target, ask, say
from circus.ctl_values import BadValue

EXIT_OK: Final = 0


class Commands(click.Group):
    """Makes a command when it is asked for: two dozen of them take longer than the request."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which the help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Names as Circus takes them: in any case."""
        make = COMMANDS.get(cmd_name.lower())
        return None if make is None else make(cmd_name.lower())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Grouped by what one wants to do."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, COMMANDS[name](name).get_short_help_str(70)) for name in names]
                )


def command_line() -> click.Group:
    """The whole command line."""
    return Commands(
        "circusctl",
        params=[*flags(), click.Option(["--version"], is_flag=True, help="Show the version.")],
        callback=_begin,
        invoke_without_command=True,
        no_args_is_help=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=(
            "Ask a running circusd. The flags may stand before or after the command. Without "
            "--state-dir and --endpoint the only running daemon is meant."
        ),
        epilog="Exit status: 0 done, 1 no answer, 2 wrong usage, 3 refused.",
    )


@click.pass_context
def _begin(ctx: click.Context, *, version: bool) -> None:
    if version:
        from importlib.metadata import version as version_of

        say(f"circusctl {version_of('circus-ledger')}")
        ctx.exit(EXIT_OK)
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        ctx.exit(EXIT_USAGE)


def run_with_click(arguments: list[str], target: Target) -> int:
    """Carry out any command line, with click's own words for what is wrong with it."""
    try:
        status = command_line().main(arguments, "circusctl", standalone_mode=False, obj=target)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return EXIT_FAILED
    return status if isinstance(status, int) else EXIT_OK


# --- from the table -------------------------------------------------------------------------------


def _make(name: str) -> click.Command:
    line = TABLE[name]

    @click.pass_obj
    def carry_out(target: Target, /, **given: Any) -> int:
        with usage_errors():
            properties = properties_of(line, given)
        return ask(target, name, properties, line.show)

    return click.Command(
        name,
        params=[*map(_parameter, line.parameters), *flags()],
        callback=carry_out,
        help=line.help,
        context_settings={"allow_interspersed_args": line.interspersed},
    )


@contextmanager
def usage_errors() -> Generator[None]:
    """A value that cannot be meant, said with the usage of its command."""
    try:
        yield
    except BadValue as error:
        raise click.UsageError(str(error)) from error


def _parameter(one: Parameter, **more: Any) -> click.Parameter:
    if isinstance(one, Word):
        return click.Argument(
            [one.name],
            type=click.UNPROCESSED if one.untouched else one.of,
            required=one.required,
            nargs=-1 if one.many else 1,
            metavar=one.metavar,
        )
    if isinstance(one, Switch):
        return click.Option([one.name], is_flag=True, help=one.help, **more)
    return click.Option(
        [one.name] if one.also is None else [one.name, one.also],
        type=click.Choice(one.choices) if one.choices else one.of,
        nargs=2 if one.pair else 1,
        multiple=one.pair,
        metavar=one.metavar,
        help=one.help,
        **more,
    )


def flags() -> list[click.Parameter]:
    """The flags that stand before or after the command: the later one counts."""
    switched: Mapping[str, Any] = {"default": None}  # not given is not the same as off
    return [
        _parameter(
            one, expose_value=False, callback=_note, **(switched if isinstance(one, Switch) else {})
        )
        for one in FLAGS
    ]


def _note(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    if value is None or not option.name:
        return
    if option.name == "timeout" and not 0 < value < 1e9:
        raise click.BadParameter("cannot wait that long: give a positive number of seconds")
    target: Target = ctx.ensure_object(Target)
    setattr(target, option.name, value)


# --- commands with a module of their own ----------------------------------------------------------


def _make_events(name: str) -> click.Command:
    @click.pass_obj
    def carry_out(target: Target, /, **given: Any) -> int:
        from circus.ctl_events import show_events

        with usage_errors():
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
        params=[click.Argument(["subject"], metavar="PID|WATCHER|#SEQ"), *flags()],
        callback=carry_out,
        help="Why a process or watcher is in the state that it is in, or why a record is there.",
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
    "Watchers": ("add", "rm", "retry", "reloadconfig"),
    "Daemon": ("restart-core", "upgrade", "quit"),
}  # fmt: skip
