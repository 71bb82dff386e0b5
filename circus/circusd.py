"""Room: front -- `circusd`: arguments, directories, then this process becomes the keeper.

Knows:     circus.places, circus.pidfile, process.keeper; the configuration for --check only.
Known by:  the command line.
Never:     loads the configuration into the keeper, which may hold nothing but the standard library,
           msgpack and its own modules; the core loads it, and exits 78 if it is bad.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from circus.pidfile import Pidfile
from circus.places import PlaceError, Places, prepare

if TYPE_CHECKING:
    from circus.arbiter.config_values import Config
    from circus.start import EarlyCore

EX_OK: Final = 0
EX_USAGE: Final = 64
EX_NOINPUT: Final = 66
EX_UNAVAILABLE: Final = 69
EX_CANTCREAT: Final = 73
EX_CONFIG: Final = 78
KERNEL_MIN: Final = (5, 4)
HELP_WIDTH: Final = 80
LOG_LEVELS: Final = ("critical", "error", "warning", "info", "debug")


class CannotStart(Exception):
    """The sentence for the operator and the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Arguments(argparse.Namespace):
    """What the command line says."""

    config: str
    state_dir: str | None
    check: bool
    pidfile: str | None
    insecure_tcp: bool
    log_level: str | None
    resume: str


def main(argv: Sequence[str] | None = None, *, early: EarlyCore | None = None) -> int:
    """Run circusd; answers its exit code (sysexits). `early` waits for its orders, or is left."""
    arguments = parsed(argv)
    try:
        check_platform(sys.platform, os.uname().release)
        check_other_circus(sys.path)
        check_input(arguments.config)
        if arguments.check:
            return check(arguments)
        return start(arguments, early)
    except CannotStart as error:
        print(f"circusd: {error}", file=sys.stderr)
        return error.code


class _Parser(argparse.ArgumentParser):
    """argparse with the exit code of sysexits for wrong usage."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"circusd: cannot understand the arguments: {message}\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """With a width: to ask the terminal, argparse loads shutil and every compressor with it, which
    would stay in the keeper for ever."""
    return argparse.HelpFormatter(prog, width=HELP_WIDTH)


class _Version(argparse.Action):
    """--version, read from the package only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"circusd {version('circus-ledger')}")
        parser.exit()


def parsed(argv: Sequence[str] | None) -> Arguments:
    """The arguments; exits with 64 and the usage when they are wrong."""
    parser = _Parser(
        prog="circusd", description="Supervise processes; every step is on record.",
        allow_abbrev=False, formatter_class=_formatter,
    )  # fmt: skip
    add = parser.add_argument
    add("config", metavar="CONFIG", help="the configuration, *.toml or Circus's *.ini")
    add("--state-dir", metavar="DIR", help="where the ledger and the sockets live")
    add("--check", action="store_true", help="read the configuration, say what is wrong, exit")
    add("--pidfile", metavar="F", help="write the daemon's pid there")
    add("--insecure-tcp", action="store_true", help="allow plain tcp:// endpoints")
    add("--log-level", type=str.lower, choices=LOG_LEVELS, help="least important line to log")
    add("--resume", default="", help=argparse.SUPPRESS)  # the keeper's own, over an exec
    add("--version", action=_Version, nargs=0, help="show the version and exit")
    return parser.parse_args(argv, namespace=Arguments())


# --- what must hold before anything is started -------------------------------------------------


def check_platform(platform: str, release: str) -> None:
    """Linux 5.4 or newer, because of pidfd."""
    if platform != "linux":
        raise CannotStart(f"cannot run on {platform}: it needs Linux", EX_UNAVAILABLE)
    numbers = release.replace("-", ".").split(".")[:2]
    if not all(number.isdecimal() for number in numbers):
        return  # a name that says no number is no reason to refuse
    if tuple(int(number) for number in numbers) < KERNEL_MIN:
        needed = ".".join(map(str, KERNEL_MIN))
        text = f"cannot run on Linux {release}: it needs {needed} or newer (pidfd)"
        raise CannotStart(text, EX_UNAVAILABLE)


def check_other_circus(path: Iterable[str]) -> None:
    """PyPI's `circus` owns the same import package: the two would overwrite each other."""
    for found in _other_circus(path):
        text = (
            f"cannot run while PyPI's circus is installed too ({found}): both are the package "
            "`circus`; run `pip uninstall circus` and install circus-ledger again"
        )
        raise CannotStart(text, EX_UNAVAILABLE)


def _other_circus(path: Iterable[str]) -> Iterator[str]:
    """Only names are looked at: importlib.metadata costs more than the whole start."""
    for directory in path:
        if not os.path.isdir(directory):
            continue
        for name in os.listdir(directory):
            version = name.removeprefix("circus-")
            installed = name.endswith((".dist-info", ".egg-info"))
            if installed and version != name and version[:1].isdigit():
                yield f"{directory}/{name}"


def check_input(path: str) -> None:
    """A file that is not there is found before anything is made."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotStart(f"cannot read {path}: {reason}", EX_NOINPUT) from error


# --- --check -----------------------------------------------------------------------------------


def check(arguments: Arguments) -> int:
    """Print a summary, or every problem; nothing is made or started."""
    from circus.arbiter import config
    from circus.arbiter.config_problems import ConfigProblems
    from circus.bus.vault import Vault

    try:
        found = config.load(
            arguments.config, dict(os.environ),
            vault=Vault.in_memory(), insecure_tcp=arguments.insecure_tcp,
        )  # fmt: skip
    except ConfigProblems as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        count = len(error.problems)
        print(f"circusd: {count} problem{'s'[: count != 1]}, nothing started", file=sys.stderr)
        return EX_NOINPUT if error.unreadable else EX_CONFIG
    for line in _summary(arguments.config, found):
        print(line)
    return EX_OK


def _summary(path: str, found: Config) -> Iterator[str]:
    processes = sum(spec.numprocesses for spec in found.watchers)
    watchers = len(found.watchers)
    yield (
        f"{path}: good, {watchers} watcher{'s'[: watchers != 1]}, "
        f"{processes} process{'es'[: 2 * (processes != 1)]}"
    )
    for spec in found.watchers:
        yield f"  {spec.name}: {spec.numprocesses} x {' '.join((spec.cmd, *spec.args))}"


# --- the start ---------------------------------------------------------------------------------


def start(arguments: Arguments, early: EarlyCore | None = None) -> int:
    """Make the directories, then be the keeper until the end."""
    try:
        places = prepare(arguments.state_dir, arguments.config, os.environ)
    except PlaceError as error:
        raise CannotStart(str(error), EX_CANTCREAT) from error
    if arguments.pidfile is None or arguments.resume.endswith("?"):
        return _keep(arguments, places, early)
    pidfile = Pidfile(os.path.abspath(arguments.pidfile))
    try:
        pidfile.create(os.getpid())
    except (RuntimeError, OSError) as error:
        raise CannotStart(f"cannot write the pid file: {error}", EX_CANTCREAT) from error
    try:
        return _keep(arguments, places, early)
    finally:
        pidfile.unlink()


def core_arguments(arguments: Arguments, places: Places) -> Sequence[str]:
    """What the core's main takes by position, behind its end of the link."""
    config = os.path.abspath(arguments.config)
    return places.state, config, "1" if arguments.insecure_tcp else "0", arguments.log_level or ""


def core_argv(arguments: Arguments, places: Places, link_fd: int) -> Sequence[str]:
    """How the keeper starts a core."""
    from circus.process.keeper import python_argv

    return python_argv("circus.daemon", str(link_fd), *core_arguments(arguments, places))


def keeper_argv(arguments: Arguments, places: Places, resume: str, program: str) -> Sequence[str]:
    """How this process goes on as newer code: what it was started with, and where its state is."""
    from circus.process.keeper import successor_argv

    line = ["--resume", resume, "--state-dir", places.state]
    line += ["--pidfile", os.path.abspath(arguments.pidfile)] if arguments.pidfile else []
    line += ["--insecure-tcp"] if arguments.insecure_tcp else []
    line += ["--log-level", arguments.log_level] if arguments.log_level else []
    config = os.path.abspath(arguments.config)
    return successor_argv("circus.circusd", program, *line, "--", config)


def _keep(arguments: Arguments, places: Places, early: EarlyCore | None) -> int:
    from circus.process.core_child import KeeperOptions
    from circus.process.keeper import run_keeper

    first = None if early is None else partial(early.begin, core_arguments(arguments, places))
    cores = partial(core_argv, arguments, places)
    again = partial(keeper_argv, arguments, places)
    return run_keeper(
        KeeperOptions(
            places.state, cores, first_core=first, again=again, resume=arguments.resume
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
