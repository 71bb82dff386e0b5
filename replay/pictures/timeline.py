"""Room: replay -- the record as one page to look at: columns of numbers, and the files that draw.

Knows:     replay.pictures.axis, lives, tale; page.html, page.css and the scripts beside it.
Known by:  replay.pictures.verbs (circus-replay timeline).
Never:     asks the network for anything, or lets the page do so; puts a text of the record where
           a browser would take it for markup.

The page has all records, so that any chain of causes can be walked in it, as columns of fixed
width: differences to the record before, deflated, in base64. 100,000 records are about 1 MB.
"""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Collection, Iterable
from hashlib import sha256
from importlib.resources import files
from itertools import chain, pairwise
from typing import Any, Final
from zlib import compress

from circus.bus.record import Record
from circus.replay.pictures.axis import Axis
from circus.replay.pictures.lives import MEANINGS, Life, Lives, Outcome
from circus.replay.pictures.tale import Kind, kind_of, only, pid_of, subject_of, text_of

SCRIPTS: Final = ("page_data.js", "page_draw.js", "page.js")
RECORDS_MAX: Final = 1_000_000
NS_PER_US: Final = 1000
_OUTCOME_NUMBERS: Final = {outcome: number for number, outcome in enumerate(Outcome)}
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(Kind)}
_U32_MAX: Final = 2**32 - 1
# The order of the columns is that of page_data.js.
_RECORD_COLUMNS: Final = ("seq", "at", "cause", "life", "name", "subject", "text", "pid", "kind")
# Lane, outcome, five moments, and when it begins: what they are sorted by within a lane.
_LIFE_COLUMNS: Final = 8


class TooMany(Exception):
    """More records than a page can hold; the text says what to do."""


class Table:
    """Texts that are said by their number."""

    def __init__(self, *known: str) -> None:
        self.texts = list(known)
        self._numbers = {text: number for number, text in enumerate(known)}

    def number(self, text: str) -> int:
        """The same for the same text."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return number


class Drawing:
    """A ledger as columns. Give it the records in their order, then ask for `page`."""

    def __init__(self) -> None:
        self.names, self.texts = Table(), Table("")
        self._lives = array("q")  # as the rows are
        self._draws = False  # what is told now
        self._subjects: dict[tuple[str, int], int] = {}
        self._axis, self._fold = Axis(), Lives(self._keep)
        self._earlier: dict[int, list[tuple[Record, int]]] = {}  # of the lives that run on
        self.view_from = 0  # the row from which on the page shows at first
        self._rows = array("q")  # one after the other, each with all its columns

    def recall(self, record: Record) -> None:
        """The next one, from before what is to be drawn: only the lives that reach into it are."""
        at = self._axis.at(record)
        self._fold.take(record, at)
        if record.spawn_id in self._fold.open:
            self._earlier.setdefault(record.spawn_id or 0, []).append((record, at))

    def take(self, record: Record) -> None:
        """The next one."""
        if len(self._rows) >= RECORDS_MAX * len(_RECORD_COLUMNS):
            raise TooMany(
                f"cannot draw more than {RECORDS_MAX:,} records on one page; "
                "choose a part: --since, --until, --watcher"
            )
        self._draws = True
        if self._earlier:
            self._draw_earlier()
        at = self._axis.at(record)
        self._fold.take(record, at)
        self._add(record, at)

    def _draw_earlier(self) -> None:
        told = [self._earlier[one] for one in self._fold.open if one in self._earlier]
        for record, at in sorted(chain.from_iterable(told), key=lambda one: one[0].seq):
            self._add(record, at)
        self.view_from = len(self._rows) // len(_RECORD_COLUMNS)
        self._earlier.clear()

    def _add(self, record: Record, at: int) -> None:
        seq, subjects = record.seq, self._subjects
        self._rows.extend(
            (
                seq,
                at // NS_PER_US,
                max(0, seq - record.cause) if record.cause else 0,
                seq - record.spawn_id + 1 if record.spawn_id else 0,
                self.names.number(record.name),
                subjects.setdefault(subject_of(record), len(subjects)),
                self.texts.number(text_of(record)),
                pid_of(record),
                _KIND_NUMBERS[kind_of(record)],
            )
        )

    def column(self, name: str) -> array[int]:
        """One column of all rows."""
        return self._rows[_RECORD_COLUMNS.index(name) :: len(_RECORD_COLUMNS)]

    def page(self, title: str) -> str:
        """The whole page as one text."""
        self._fold.finish()
        tables, data = self._tables(title), self._data()
        script = "\n".join(_asset(name) for name in SCRIPTS)
        style = _asset("page.css")
        return _filled(
            _asset("page.html"),
            {
                "style-hash": _hash(style), "script-hash": _hash(script), "style": style,
                "script": script, "tables": _embedded(tables), "columns": data,
            },
        )  # fmt: skip

    def _tables(self, title: str) -> dict[str, Any]:
        rows = self._rows
        return {
            "title": title,
            "records": len(rows) // len(_RECORD_COLUMNS),
            "lives": len(self._lives) // _LIFE_COLUMNS,
            "firstSeq": rows[0] if rows else 0,
            "begin": rows[1] if rows else 0,
            "viewFrom": self.view_from,
            "names": self.names.texts,
            "texts": self.texts.texts,
            "subjects": list(self._subjects),
            "kinds": [kind.value for kind in Kind],
            "outcomes": [[outcome.value, MEANINGS[outcome]] for outcome in Outcome],
        }

    def _data(self) -> str:
        """All columns, each as 32 bits a row, in the order that the page's script knows."""
        columns = [self.column(name) for name in _RECORD_COLUMNS]
        columns[:2] = [_differences(column) for column in columns[:2]]
        far = array("q", (value >> 32 for value in columns[1]))
        whole = b"".join(_as_u32(column) for column in (*columns, far, *self._life_columns()))
        return b64encode(compress(whole, 6)).decode("ascii")

    def _keep(self, life: Life) -> None:
        if not self._draws:
            return
        marks = (life.wanted, life.spawned, life.filled, life.stopping, life.ended)
        lane = self._subjects.setdefault((life.watcher, life.slot), len(self._subjects))
        moments = (0 if mark is None else mark.seq for mark in marks)
        self._lives.extend((lane, _OUTCOME_NUMBERS[life.outcome], *moments, life.begins))

    def _life_columns(self) -> list[array[int]]:
        """Lane, outcome and moments, lane by lane; a moment is a record's row + 1, 0 for none."""
        lives, seqs = self._lives, self.column("seq")
        order = sorted(
            range(0, len(lives), _LIFE_COLUMNS),
            key=lambda life: (lives[life], lives[life + _LIFE_COLUMNS - 1]),
        )
        told = [array("q", (lives[life + n] for life in order)) for n in range(_LIFE_COLUMNS - 1)]
        moments = [array("q", (_row_of(seq, seqs) for seq in column)) for column in told[2:]]
        return [*told[:2], *moments]


def draw(
    records: Iterable[Record], *, since: int | None = None, watchers: Collection[str] = ()
) -> Drawing:
    """The drawing of some records, oldest first: from `since` (wall ns) on, of some watchers."""
    drawing = Drawing()
    for record in only(records, watchers):
        if since is not None and record.at < since:
            drawing.recall(record)
        else:
            since = None
            drawing.take(record)
    return drawing


def _row_of(seq: int, seqs: array[int]) -> int:
    """The row of a record, counted from 1; 0 if it is not on the page."""
    row = bisect_left(seqs, seq)
    return row + 1 if row < len(seqs) and seqs[row] == seq else 0


def _differences(column: array[int]) -> array[int]:
    """To the row before; the first row is 0, its value is told apart."""
    differences = (later - earlier for earlier, later in pairwise(column))
    return array("q", chain(column[:1] and (0,), differences))


def _as_u32(column: array[int]) -> bytes:
    """Little-endian, as every browser's machine has it."""
    low = array("I", (value & _U32_MAX for value in column))
    if sys.byteorder == "big":
        low.byteswap()
    return low.tobytes()


def _asset(name: str) -> str:
    return (files("circus.replay.pictures") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What the page's policy says of the one script and the one style that may run."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


def _embedded(value: Any) -> str:
    """JSON in which nothing can end the element that holds it."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _filled(template: str, parts: dict[str, str]) -> str:
    """The template with its parts; a part is never looked into for more of them."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


__all__ = ["Drawing", "TooMany", "draw"]
