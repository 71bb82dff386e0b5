"""Room: front -- `circusctl`: one command line, one request, one answer in words.

Knows:     circus.ctl_commands (which commands there are), circus.client, circus.places.
Known by:  the console script.
Never:     imports the vocabulary or draws for a plain command: its start is most of its time.

Exit status: 0 done; 1 no answer, or an error of our own; 2 the command line is wrong; 3 the daemon
refused, with `error: <reason>` on standard error (as Circus's, CIRCUS.md 4.2).
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from circus.client import TIMEOUT_SECONDS, CallError
from circus.ctl_commands import COMMANDS, GROUPS
from circus.ctl_target import Target, flags

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_REFUSED: Final = 3
EXIT_PIPE: Final = 141  # 128 + SIGPIPE, as a program that the signal ended


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

        click.echo(f"circusctl {version_of('circus-ledger')}")
        ctx.exit(EXIT_OK)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(EXIT_USAGE)


def run(arguments: list[str]) -> int:
    """Carry out one command line and say what the exit status is."""
    line = command_line()
    target = Target(timeout=TIMEOUT_SECONDS)
    try:
        status = line.main(arguments, "circusctl", standalone_mode=False, obj=target)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        return error.exit_code
    except (CallError, ValueError) as error:
        click.echo(f"error: {error}", err=True)
        return EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_FAILED
    finally:
        target.close()
    return status if isinstance(status, int) else EXIT_OK


def main() -> None:
    """The console script.

    What was printed is flushed, then the process ends at once: tearing down the interpreter would
    take a tenth of the whole time and has nothing left to do.
    """
    status: int
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        status = EXIT_PIPE
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
