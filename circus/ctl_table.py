"""Room: front -- the commands of circusctl as data: words, flags, what is sent, how it is shown.

Knows:     circus.ctl_output, circus.ctl_values.
Known by:  circus.circusctl (reads plain lines by it), circus.ctl_commands (makes click's from it).
Never:     imports click: a plain command line is read without it, in two thirds of the time.

One line of `TABLE` is one command: its properties have the names of its arguments, so that most
commands need no code of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from circus import ctl_output as output
from circus.ctl_values import BadValue, number_or_name, option_value

Properties = dict[str, Any]


class Word(NamedTuple):
    """An argument without a name of its own on the command line."""

    name: str
    required: bool = True
    many: bool = False  # all that follow
    of: type[str | int] = str
    metavar: str | None = None
    untouched: bool = False  # also what looks like a flag


class Switch(NamedTuple):
    """A flag that is there or not."""

    name: str
    help: str


class Value(NamedTuple):
    """A flag with a value, or with two (`pair`) and as often as one likes."""

    name: str
    help: str | None = None
    of: type[str | int | float] = str
    choices: tuple[str, ...] = ()
    also: str | None = None
    metavar: str | None = None
    pair: bool = False


Parameter = Word | Switch | Value


class Line(NamedTuple):
    """One command that asks one thing."""

    help: str
    parameters: tuple[Parameter, ...] = ()
    show: output.Show = output.ok
    prepare: Callable[[Properties], Properties] | None = None
    # Whether flags may stand behind the words; else what follows the first word is its own.
    interspersed: bool = True


# --- flags that every command has -----------------------------------------------------------------

FLAGS: Final[tuple[Value | Switch, ...]] = (
    Value("--state-dir", "The daemon's state directory.", metavar="DIR"),
    Value(
        "--endpoint",
        "The daemon's control endpoint, such as ipc:///run/circus/web/ctl.sock.",
        metavar="E",
    ),
    Value("--timeout", "Seconds to wait for an answer (5).", float, metavar="S"),
    Switch("--json", "Print JSON: one object, or one line per event."),
)


def property_of(flag: str) -> str:
    """`--state-dir` is `state_dir`, as click has it."""
    return flag.removeprefix("--").replace("-", "_")


# --- arguments ------------------------------------------------------------------------------------

NAME: Final = Word("name")
MAYBE_NAME: Final = Word("name", required=False)
WAITING: Final = Switch("--waiting", "Answer when it is done, not when begun.")
SEVERAL: Final = (
    MAYBE_NAME,
    Value("--match", "How NAME is compared (glob).", choices=("simple", "glob", "regex")),
    WAITING,
)
RELOAD: Final = (
    MAYBE_NAME,
    Switch("--terminate", "Stop, then start, instead of replacing."),
    Switch("--sequential", "One process after the other."),
    WAITING,
)
RESIZE: Final = (NAME, Word("nb", required=False, of=int), WAITING)
ADD: Final = (
    Switch("--start", "Start it at once."),
    Value("--option", "An option of it.", metavar="KEY VALUE", pair=True),
    WAITING,
    NAME,
    Word("cmd", many=True, untouched=True),
)
RM: Final = (NAME, Switch("--nostop", "Let its processes run on."), WAITING)
SIGNAL: Final = (
    NAME,
    # The pid is the one that may be left out, though it comes first.
    Word("what", many=True, metavar="[PID] SIGNUM"),
    Value("--childpid", "One child of PID.", int),
    Switch("--children", "Its direct children only."),
    Switch("--recursive", "All its descendants too."),
)
KILL: Final = (
    NAME,
    Word("pid", required=False, of=int),
    Value("--signum", "Instead of the watcher's stop signal."),
    Value("--graceful_timeout", "Seconds until SIGKILL.", float, also="--graceful-timeout"),
    WAITING,
)
STATS: Final = (
    MAYBE_NAME,
    Word("process", required=False, of=int),
    Switch("--extended", "Children too."),
)


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
    "status": Line("The state of every watcher, or of one.", (MAYBE_NAME,), output.status),
    "list": Line("The watchers, or the pids of one.", (MAYBE_NAME,), output.listing),
    "stats": Line("What the processes use.", STATS, output.stats),
    "dstats": Line("What the daemon itself uses.", (), output.daemon_stats),
    "numprocesses": Line("How many processes there are.", (MAYBE_NAME,), output.count),
    "numwatchers": Line("How many watchers there are.", (), output.count),
    "options": Line("Every option of a watcher.", (NAME,), output.options),
    "get": Line(
        "Some options of a watcher.", (NAME, Word("keys", many=True)), output.options, _prepare_get
    ),
    "globaloptions": Line(
        "The options of the daemon.", (Word("option", required=False),), output.options
    ),
    "start": Line("Start all watchers, or some.", SEVERAL),
    "stop": Line("Stop all watchers, or some.", SEVERAL),
    "restart": Line("Stop and start again.", SEVERAL),
    "reload": Line("Replace the processes gracefully.", RELOAD, prepare=_prepare_reload),
    "incr": Line("More processes.", RESIZE, output.resized),
    "decr": Line("Fewer processes.", RESIZE, output.resized),
    "set": Line(
        "Change options of a watcher.",
        (NAME, Word("pairs", many=True), WAITING),
        prepare=_prepare_set,
    ),
    "signal": Line("Send a signal to processes.", SIGNAL, prepare=_prepare_signal),
    "kill": Line("Stop processes; the watcher replaces them.", KILL, prepare=_prepare_kill),
    # What follows the name is the new watcher's: `add web python -m http.server --bind …`.
    "add": Line(
        "A new watcher: NAME, then its command line.", ADD, prepare=_prepare_add, interspersed=False
    ),
    "rm": Line("Stop a watcher and forget it.", RM),
    "retry": Line("A second chance for a watcher that failed.", (NAME, WAITING)),
    "reloadconfig": Line("Read the configuration again.", (WAITING,)),
    "restart-core": Line("A new core under running workers.", (WAITING,)),
    "upgrade": Line("The installed code, in core and keeper, under running workers.", (WAITING,)),
    "quit": Line("Stop everything and end the daemon.", (WAITING,)),
}


def properties_of(line: Line, given: Mapping[str, Any]) -> Properties:
    """What is sent, from what was given; raises BadValue."""
    properties = {
        key: value
        for key, value in given.items()
        if value is not None and value is not False and value != ()
    }
    return properties if line.prepare is None else line.prepare(properties)
