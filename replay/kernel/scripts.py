"""Room: replay -- what simulated programs do with their lives; a command's first word names one.

Knows:     nothing.
Known by:  replay.kernel.kernel (plays them), tests (name them in specs).
Never:     acts: a script is data, its times are ns from the start.
"""

from __future__ import annotations

import errno
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attr

SECOND: Final = 1_000_000_000
MS: Final = 1_000_000
TERM: Final = frozenset({int(signal.SIGTERM)})


@attr.s(auto_attribs=True, frozen=True, slots=True)
class Script:
    """One life. `lifetime` None: until it is told; `code` and `signum` say how it ends by itself.

    `shy_of` signals are ignored; any other that asks for an end is obeyed `slowness` ns later.
    """

    lifetime: int | None = None
    code: int = 0
    signum: int | None = None
    shy_of: frozenset[int] = frozenset()
    slowness: int = 0
    stops_after: int | None = None  # it stops itself, like a process under a debugger
    stuck_after: int | None = None  # it waits for a disk, for `stuck_for` ns: KILL has to wait too
    stuck_for: int = 0
    children: int = 0
    child: Script | None = None  # what its children do; None: they run until they are told
    detached: bool = False  # its children begin sessions of their own
    waits: bool = True  # it reaps its children
    forks_every: int | None = None  # without end, up to `forks_max` children at a time
    forks_max: int = 0
    ready_after: int | None = 0  # None: it never says that it is ready
    closes_stdout_after: int | None = None


class NotExecutable(Exception):
    """The program cannot be started at all."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(step)
        self.step = step
        self.errno = number


def steady(_words: Sequence[str], _chance: random.Random) -> Script:
    """Runs until it is told to end."""
    return Script()


def slow(words: Sequence[str], chance: random.Random) -> Script:
    """Obeys, but takes its time: `slow [SECONDS]`."""
    most = _seconds(words, 1, 2.0)
    return Script(slowness=chance.randrange(1, most))


def stubborn(_words: Sequence[str], _chance: random.Random) -> Script:
    """Ignores TERM: only KILL helps."""
    return Script(shy_of=TERM)


def exits(words: Sequence[str], _chance: random.Random) -> Script:
    """`exits CODE SECONDS`."""
    return Script(lifetime=_seconds(words, 2, 0.2), code=int(words[1]) if len(words) > 1 else 1)


def instant(words: Sequence[str], _chance: random.Random) -> Script:
    """`instant CODE`: over before anybody hears that it was started."""
    return Script(lifetime=0, code=int(words[1]) if len(words) > 1 else 0)


def crashes(words: Sequence[str], _chance: random.Random) -> Script:
    """`crashes SIGNUM SECONDS`: killed by a signal of its own making."""
    number = int(words[1]) if len(words) > 1 else int(signal.SIGSEGV)
    return Script(lifetime=_seconds(words, 2, 0.1), signum=number)


def parent(words: Sequence[str], _chance: random.Random) -> Script:
    """`parent N [SECONDS]`: forks children in its group, which outlive it."""
    return Script(_optional(words, 2), children=int(words[1]) if len(words) > 1 else 2)


def careless(words: Sequence[str], _chance: random.Random) -> Script:
    """`careless N [SECONDS]`: forks children and never waits for them."""
    count = int(words[1]) if len(words) > 1 else 2
    return Script(_optional(words, 2), children=count, waits=False)


def daemon(_words: Sequence[str], _chance: random.Random) -> Script:
    """Forks a child that goes away into a session of its own, and ends."""
    return Script(lifetime=20 * MS, children=1, detached=True)


def deserter(words: Sequence[str], _chance: random.Random) -> Script:
    """`deserter [SECONDS]`: its grandchild's parent ends at once, and the grandchild later."""
    grandchild = Script(lifetime=_seconds(words, 1, 3.0), code=5)
    return Script(children=1, child=Script(lifetime=15 * MS, children=1, child=grandchild))


def bomb(words: Sequence[str], _chance: random.Random) -> Script:
    """`bomb [LIMIT]`: forks as fast as it can, up to its limit of processes."""
    limit = int(words[1]) if len(words) > 1 else 10
    spark = Script(lifetime=300 * MS, code=1)
    return Script(forks_every=40 * MS, forks_max=limit, child=spark)


def stuck(words: Sequence[str], chance: random.Random) -> Script:
    """`stuck [SECONDS]`: now and then a disk does not answer, and nothing can end it meanwhile."""
    return Script(stuck_after=chance.randrange(SECOND), stuck_for=_seconds(words, 1, 1.5))


def late(words: Sequence[str], _chance: random.Random) -> Script:
    """`late [SECONDS]`: says that it is ready after so long."""
    return Script(ready_after=_seconds(words, 1, 2.0))


def silent(_words: Sequence[str], _chance: random.Random) -> Script:
    """Never says that it is ready, and closes its output."""
    return Script(ready_after=None, closes_stdout_after=50 * MS)


def sleeper(words: Sequence[str], _chance: random.Random) -> Script:
    """`sleeper [SECONDS]`: stops itself; TERM has to wait for CONT, KILL does not."""
    return Script(stops_after=_seconds(words, 1, 0.1))


def missing(_words: Sequence[str], _chance: random.Random) -> Script:
    """Command not found."""
    raise NotExecutable("exec", errno.ENOENT)


def forbidden(_words: Sequence[str], _chance: random.Random) -> Script:
    """No permission to execute."""
    raise NotExecutable("exec", errno.EACCES)


def moody(_words: Sequence[str], chance: random.Random) -> Script:
    """Some other life each time."""
    make, words = chance.choice(MOODS)
    return make(words, chance)


Make = Callable[[Sequence[str], random.Random], Script]
MOODS: Final[tuple[tuple[Make, tuple[str, ...]], ...]] = (
    (steady, ()), (steady, ()), (slow, ()), (stubborn, ()), (exits, ("exits", "3", "0.4")),
    (exits, ("exits", "0", "2.5")), (instant, ("instant", "7")), (crashes, ()), (sleeper, ()),
    (parent, ("parent", "2", "1.0")), (careless, ("careless", "2")), (daemon, ()),
    (deserter, ()), (bomb, ("bomb", "5")), (stuck, ()), (stuck, ("stuck", "0.2")), (silent, ()),
)  # fmt: skip

SCRIPTS: Final[Mapping[str, Make]] = {
    made.__name__: made
    for made in (
        steady, slow, stubborn, exits, instant, crashes, parent, careless, daemon, sleeper,
        deserter, bomb, stuck, late, silent, missing, forbidden, moody,
    )
}  # fmt: skip


def script_of(argv: Sequence[str], chance: random.Random) -> Script:
    """The life of the program that `argv` names; an unknown name is a program not found."""
    return SCRIPTS.get(argv[0], missing)(argv, chance)


def _seconds(words: Sequence[str], index: int, default: float) -> int:
    return round(float(words[index] if len(words) > index else default) * SECOND)


def _optional(words: Sequence[str], index: int) -> int | None:
    return _seconds(words, index, 0.0) if len(words) > index else None
