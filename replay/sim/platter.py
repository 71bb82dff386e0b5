"""Room: replay -- page cache and platter of a file, and the names of files, apart from each other.

Knows:     replay.sim.agenda (chance).
Known by:  replay.sim.disk.
Never:     loses what was synced, changes a byte that was on the platter before.

A power cut keeps what was synced. Of every write since then it keeps all, nothing, the beginning,
any of its sectors, zeros in its place, or all with one sector of garbage; and the size of the file
may be of another moment than its bytes. What stood in the same sector before is left alone (disks
promise that: "powersafe overwrite"). Of names made, moved or removed since their directories were
synced it keeps either side; a move happens whole or not at all, as in every journal.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from circus.replay.sim.agenda import Dice

SECTOR: Final = 512


class Write(NamedTuple):
    """Bytes that the page cache has taken and the platter may not have yet."""

    number: int
    offset: int
    data: bytes


class Cut(NamedTuple):
    """A truncation on its way to the platter."""

    number: int
    size: int


class File:
    """One inode."""

    __slots__ = ("cache", "hollow", "pending", "platter", "touched", "writers")

    def __init__(self) -> None:
        self.cache = bytearray()
        self.platter = bytearray()
        self.pending: deque[Write | Cut] = deque()
        self.touched = 0  # numbers what is pending
        self.writers = 0
        self.hollow = False  # a sync failed: what the page cache shows is not all on the platter

    def write(self, data: bytes) -> None:
        """Behind everything that is there."""
        self.touched += 1
        self.pending.append(Write(self.touched, len(self.cache), data))
        self.cache += data

    def truncate(self, size: int) -> None:
        """Drop what stands from `size` on."""
        self.touched += 1
        self.pending.append(Cut(self.touched, size))
        del self.cache[size:]

    def sync(self, upto: int) -> None:
        """What was pending, up to this number, is on the platter."""
        pending = self.pending
        while pending and pending[0].number <= upto:
            _put(self.platter, pending.popleft())

    def forget(self, upto: int) -> None:
        """A sync failed: its pages count as clean, but nobody wrote them anywhere."""
        self.hollow = True
        while self.pending and self.pending[0].number <= upto:
            lost = self.pending.popleft()
            if isinstance(lost, Cut):
                _put(self.platter, lost)  # Sizes are the journal's, which works.
            else:
                end = lost.offset + len(lost.data)
                self.platter.extend(bytes(max(0, end - len(self.platter))))

    def flip(self, chance: Dice) -> None:
        """A bit rots, on the platter and so in whatever is read from it."""
        at, mask = chance.randrange(len(self.cache)), 1 << chance.randrange(8)
        self.cache[at] ^= mask
        if at < len(self.platter):
            self.platter[at] ^= mask

    def lose_power(self, chance: Dice, torn: float, faults: Counter[str]) -> None:
        """What the platter has now is all there is."""
        if self.pending:
            if torn and chance.random() < torn:
                self._tear(chance, faults)
            else:
                self._stop(chance)
        self.cache = bytearray(self.platter)
        self.pending.clear()

    def _stop(self, chance: Dice) -> None:
        """The writes had arrived up to somewhere."""
        arrived = chance.randrange(len(self.pending) + 1)
        for _ in range(arrived):
            _put(self.platter, self.pending.popleft())
        if self.pending and isinstance(last := self.pending[0], Write) and chance.random() < 0.5:
            _put(self.platter, _beginning(last, chance))

    def _tear(self, chance: Dice, faults: Counter[str]) -> None:
        """Every write had its own fate, and the size another."""
        sizes = [len(self.platter)]
        for one in self.pending:
            if isinstance(one, Cut):
                if chance.random() < 0.5:
                    _put(self.platter, one)
                continue
            name = chance.choice(TEARS)
            faults[f"disk.torn_{name}"] += 1
            for piece in _FATES[name](one, chance):
                _put(self.platter, piece)
            sizes.append(one.offset + len(one.data))
        if chance.random() < 0.8:
            faults["disk.torn_size"] += 1
            size = max(chance.choice(sizes), min(sizes[0], len(self.platter)))
            del self.platter[size:]
            self.platter.extend(bytes(size - len(self.platter)))


def _put(platter: bytearray, one: Write | Cut) -> None:
    if isinstance(one, Cut):
        del platter[one.size :]
        return
    if len(platter) < one.offset:
        platter.extend(bytes(one.offset - len(platter)))
    platter[one.offset : one.offset + len(one.data)] = one.data


# --- what becomes of a write that power was cut under --------------------------------------------


def _beginning(one: Write, chance: Dice) -> Write:
    return one._replace(data=one.data[: chance.randrange(len(one.data) + 1)])


def _sectors(one: Write) -> list[Write]:
    """The write in pieces that lie in one sector each."""
    pieces, at, end = [], one.offset, one.offset + len(one.data)
    while at < end:
        edge = min(end, at - at % SECTOR + SECTOR)
        pieces.append(Write(one.number, at, one.data[at - one.offset : edge - one.offset]))
        at = edge
    return pieces


def _some_sectors(one: Write, chance: Dice) -> list[Write]:
    return [piece for piece in _sectors(one) if chance.random() < 0.5]


def _garbage(one: Write, chance: Dice) -> list[Write]:
    pieces = _sectors(one)
    bad = chance.randrange(len(pieces))
    pieces[bad] = pieces[bad]._replace(data=chance.randbytes(len(pieces[bad].data)))
    return pieces


_FATES: Final[Mapping[str, Callable[[Write, Dice], list[Write]]]] = {
    "all": lambda one, _: [one],
    "nothing": lambda _one, _: [],
    "prefix": lambda one, chance: [_beginning(one, chance)],
    "sectors": _some_sectors,
    "zeros": lambda one, _: [one._replace(data=bytes(len(one.data)))],
    "garbage": _garbage,
}
TEARS: Final = tuple(_FATES)


# --- names ----------------------------------------------------------------------------------------


class Move(NamedTuple):
    """A name made (`old` None), moved, or removed (`new` None)."""

    file: File
    old: str | None
    new: str | None

    def concerns(self, directory: str) -> bool:
        """Whether one of the two names is in this directory."""
        return any(directory_of(path) == directory for path in (self.old, self.new) if path)


class Names:
    """Which file stands where: as processes see it, and as it is safe."""

    def __init__(self) -> None:
        self.seen: dict[str, File] = {}
        self._safe: dict[str, File] = {}
        self._moves: list[Move] = []
        self._inside: dict[str, list[str]] = {}  # as long as no name is made, moved or removed

    def inside(self, directory: str) -> list[str]:
        """The names in this directory, sorted."""
        inside = self._inside.get(directory)
        if inside is None:
            mine = sorted(path for path in self.seen if directory_of(path) == directory)
            inside = self._inside[directory] = [path[len(directory) + 1 :] for path in mine]
        return inside

    def newest(self, directory: str, suffix: str) -> str | None:
        """The last of the names in this directory that end so; asked at every read."""
        found = next(
            (one for one in reversed(self.inside(directory)) if one.endswith(suffix)), None
        )
        return None if found is None else f"{directory}/{found}"

    def move(self, file: File, old: str | None, new: str | None) -> None:
        """Make, move or remove a name; seen at once, safe when one of its directories is synced."""
        self._inside.clear()
        self._moves.append(Move(file, old, new))
        _carry_out(self.seen, self._moves[-1])

    def sync(self, directory: str) -> None:
        """What happened to names in this directory is safe, and all that happened before it."""
        moves = self._moves
        safe = max((n for n, move in enumerate(moves, 1) if move.concerns(directory)), default=0)
        for move in moves[:safe]:
            _carry_out(self._safe, move)
        del moves[:safe]

    def lose_power(self, chance: Dice, faults: Counter[str]) -> None:
        """What was not safe has arrived, or has not."""
        for move in self._moves:
            if chance.random() < 0.5:
                _carry_out(self._safe, move)
            else:
                faults["disk.name_lost"] += 1
        self._moves.clear()
        self._inside.clear()
        self.seen = dict(self._safe)

    def files(self) -> list[File]:
        """Every file that has a name, once."""
        return list({id(file): file for file in self.seen.values()}.values())


def directory_of(path: str) -> str:
    """The directory in which this name stands."""
    return path.rpartition("/")[0]


def _carry_out(names: dict[str, File], move: Move) -> None:
    if move.old is not None and names.get(move.old) is move.file:
        del names[move.old]
    if move.new is not None:
        names[move.new] = move.file
