"""Room: front -- `circusctl`: one command line, one request, one answer in words.

Knows:     circus.ctl_table (which commands there are), circus.ctl_target; circus.ctl_commands
           where a line is not plain.
Known by:  the console script.
Never:     imports the vocabulary or draws for a plain command: its start is most of its time.

A *plain* line has flags in their long forms, one command that asks one thing, and words. It is read
here, without click, whose import takes longer than the request (ADR-0093). Everything else is
click's, above all every line that is wrong and every help: it knows how to say so.

Exit status: 0 done; 1 no answer, or an error of our own; 2 the command line is wrong; 3 the daemon
refused, with `error: <reason>` on standard error (as Circus's, CIRCUS.md 4.2).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from circus.client import CallError
from circus.ctl_table import FLAGS, TABLE, Line, Switch, Value, Word, properties_of, property_of
from circus.ctl_target import EXIT_FAILED, CannotTell, Target, ask, complain
from circus.ctl_values import BadValue

EXIT_PIPE: Final = 141  # 128 + SIGPIPE, as a program that the signal ended
COMPLETING: Final = "_CIRCUSCTL_COMPLETE"  # a shell asks what could follow: a question to click


class NotPlain(Exception):
    """The line is click's to read, or to refuse."""


class Plain(NamedTuple):
    """A line that was understood without click."""

    command: str
    properties: dict[str, Any]
    flags: Mapping[str, Any]


# --- a plain line ---------------------------------------------------------------------------------


def read_plain(arguments: list[str]) -> Plain:
    """The line, if it is plain; raises NotPlain where there is any doubt."""
    flags: dict[str, Any] = {}
    words = iter(arguments)
    command = next(_words(words, FLAGS, flags), "").lower()
    line = TABLE.get(command)
    if line is None or not line.interspersed:
        raise NotPlain
    given: dict[str, Any] = {}
    named = (*FLAGS, *(one for one in line.parameters if not isinstance(one, Word)))
    found = list(_words(words, named, given))
    flags |= {name: given.pop(name) for name in map(property_of, _names(FLAGS)) if name in given}
    try:
        properties = properties_of(line, given | _placed(line, found))
    except BadValue as error:
        raise NotPlain from error
    return Plain(command, properties, flags)


def _names(flags: tuple[Value | Switch, ...]) -> Iterator[str]:
    return (one.name for one in flags)


def _words(
    left: Iterator[str], flags: tuple[Value | Switch, ...], given: dict[str, Any]
) -> Iterator[str]:
    """What is no flag; flags go to `given`. Only whole names and simple values are plain."""
    known = {one.name: one for one in flags}
    for word in left:
        if word[:1] != "-":
            yield word
            continue
        name, equals, value = word.partition("=")
        flag = known.get(name)
        if isinstance(flag, Switch) and not equals:
            given[property_of(name)] = True
        elif isinstance(flag, Value) and flag.of is str and not (flag.choices or flag.pair):
            given[property_of(name)] = _plain_value(value if equals else next(left, "-"))
        else:
            raise NotPlain


def _plain_value(value: str) -> str:
    if value[:1] == "-":
        raise NotPlain
    return value


def _placed(line: Line, found: list[str]) -> dict[str, Any]:
    """Words by the names of their places. One place for many is the last one."""
    placed: dict[str, Any] = {}
    places = [one for one in line.parameters if isinstance(one, Word)]
    for place in places:
        taken = found[: len(found) if place.many else 1]
        del found[: len(taken)]
        if place.required and not taken:
            raise NotPlain
        if taken:
            placed[place.name] = tuple(taken) if place.many else _typed(place, taken[0])
    if found:
        raise NotPlain
    return placed


def _typed(place: Word, word: str) -> str | int:
    try:
        return place.of(word)
    except ValueError as error:
        raise NotPlain from error


# --- the whole program ----------------------------------------------------------------------------


def run(arguments: list[str]) -> int:
    """Carry out one command line and say what the exit status is."""
    target = Target()
    try:
        return _carry_out(arguments, target)
    except CannotTell as error:
        complain(f"error: {error}")
        return error.exit_code
    except (CallError, ValueError) as error:
        complain(f"error: {error}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        complain("")  # the shell's next prompt does not stand behind ^C
        return EXIT_FAILED
    finally:
        target.close()


def _carry_out(arguments: list[str], target: Target) -> int:
    try:
        if COMPLETING in os.environ:
            raise NotPlain
        plain = read_plain(arguments)
    except NotPlain:
        from circus.ctl_commands import run_with_click

        return run_with_click(arguments, target)
    for name, value in plain.flags.items():
        setattr(target, name, value)
    return ask(target, plain.command, plain.properties, TABLE[plain.command].show)


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
