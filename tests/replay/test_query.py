"""Room: tests -- `circus-replay index` and `query`: an index that says what the ledger says.

Knows:     circus.replay.ask.index.
Known by:  pytest.
Never:     sleeps, patches.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from written import ask, records_in, segments, written

from circus.bus.words.lines import record_data
from circus.bus.words.plain import jsonable
from circus.replay.ask.index import CannotQuery, index, query
from circus.replay.opening import open_ledger


def test_the_index_has_every_record_and_goes_on_where_it_ends(tmp_path: Path) -> None:
    """
    What is new is added; what is there is not read again.
    """
    place, file = written(tmp_path / "state"), tmp_path / "i.sqlite"
    last = segments(place)[-1]
    rest = last.read_bytes()
    last.unlink()
    before = index(open_ledger(place), file)
    last.write_bytes(rest)
    assert len(records_in(place)) - before == index(open_ledger(place), file)
    assert 0 == index(open_ledger(place), file)
    rows = list(query(file, "SELECT seq, name, watcher, data FROM events ORDER BY seq").rows)
    expected = [
        (r.seq, r.name, r.watcher, jsonable(record_data(r)["data"])) for r in records_in(place)
    ]
    assert expected == [(seq, name, who, json.loads(data)) for seq, name, who, data in rows]
    assert 0o600 == file.stat().st_mode & 0o777


def test_another_ledger_begins_the_index_anew(tmp_path: Path) -> None:
    """
    Another history of the same ledger, too: the chain is compared.
    """
    file = tmp_path / "i.sqlite"
    one, other = written(tmp_path / "one"), written(tmp_path / "other", seed=5)
    index(open_ledger(one), file)
    assert len(records_in(other)) == index(open_ledger(other), file)
    count = query(file, "SELECT count(*) FROM events").rows
    assert [(len(records_in(other)),)] == list(count)


def test_a_query_is_answered_in_lines_or_objects_and_writes_nothing(tmp_path: Path) -> None:
    """
    SQLite's reason is told; a file that is no index is refused.
    """
    place, file = written(tmp_path / "state"), tmp_path / "i.sqlite"
    select = "SELECT name, count(*) AS n FROM events WHERE name = 'watcher.added' GROUP BY 1"
    told = ask("query", place, select, "-o", file)
    assert (0, "name\tn\nwatcher.added\t2\n") == (told.exit_code, told.output)
    told = ask("query", place, select, "-o", file, "--json")
    assert {"name": "watcher.added", "n": 2} == json.loads(told.output)
    for text in ("DELETE FROM events", "SELECT no FROM events", "not sql", "SELECT 1; SELECT 2"):
        told = ask("query", place, text, "-o", file)
        assert (2, True) == (told.exit_code, "cannot answer: " in told.stderr), text
    (tmp_path / "no.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(CannotQuery, match="delete it"):
        index(open_ledger(place), tmp_path / "no.sqlite")
    assert 2 == ask("query", place, select, "-o", tmp_path / "no.sqlite").exit_code
