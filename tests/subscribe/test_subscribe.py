"""`circus.subscribe` against real sockets: every record once, in order, whatever is lost."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from circus.bus import subscribe_async
from circus.bus.codec import from_ledger
from circus.bus.cursor_errors import Diverged, Reset, Trimmed
from circus.bus.disk import RealDisk
from circus.bus.follow import ReadRefused
from circus.bus.ledger import Ledger
from circus.bus.record import Record
from circus.bus.subscribe import subscribe
from circus.bus.values import Cursor, Moment
from circus.bus.wire import Malformed

Serve = Callable[..., Any]


def seqs(records: Iterable[Record], count: int) -> list[int]:
    return [record.seq for record in itertools.islice(records, count)]


def test_the_whole_past_is_read_and_ends_at_the_head(serve: Serve) -> None:
    """Without `follow` the iteration ends at the head that there was."""
    served = serve().start()
    for count in (1, 3, 2):
        served.append(count)
    with subscribe(served.state_dir, 0, follow=False) as records:
        assert [1, 2, 3, 4, 5, 6] == [record.seq for record in records]


def test_an_empty_ledger_ends_at_once(serve: Serve) -> None:
    """Nothing is an answer."""
    served = serve().start()
    with subscribe(served.state_dir, 0, follow=False) as records:
        assert [] == list(records)


def test_the_past_is_followed_by_what_happens(serve: Serve) -> None:
    """Catch up, then live, with no seam."""
    served = serve().start()
    served.append(2)
    with subscribe(served.state_dir, 0) as records:
        assert [1, 2] == seqs(records, 2)
        served.append(3)
        assert [3, 4, 5] == seqs(records, 3)


def test_now_begins_with_the_next_record(serve: Serve) -> None:
    """`after=None`: nothing of the past."""
    served = serve().start()
    served.append(2)
    got: list[int] = []
    with subscribe(served.state_dir) as records:
        worker = threading.Thread(target=lambda: got.extend(seqs(records, 1)))
        worker.start()
        served.wait_listeners(2)
        while worker.is_alive():
            served.append()
            worker.join(0.01)
    assert got
    assert got[0] > 2


def test_joins_during_heavy_publishing_have_no_gap(serve: Serve) -> None:
    """The barrier: from its head on every event is queued to the newcomer (RELIABILITY 1.3)."""
    served = serve().start()
    over = threading.Event()

    def publish() -> None:
        while not over.is_set():
            served.append(2)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(20):
            with subscribe(served.state_dir, 0) as records:
                wanted = served.ledger.head + 40
                assert list(range(1, wanted + 1)) == seqs(records, wanted)
    finally:
        over.set()
        publisher.join()


def test_a_lost_message_is_read_again(serve: Serve) -> None:
    """A hole in the middle shows at the next message."""
    served = serve().start()
    with subscribe(served.state_dir, 0) as records:
        served.append()
        assert [1] == seqs(records, 1)
        served.append(2, heard=False)
        served.append()
        assert [2, 3, 4] == seqs(records, 3)


def test_a_lost_tail_is_noticed_by_the_heartbeat(serve: Serve) -> None:
    """Nothing follows the lost message, but the head is told every second."""
    served = serve().start()
    with subscribe(served.state_dir, 0) as records:
        served.append()
        assert [1] == seqs(records, 1)
        served.append(heard=False)
        served.beat()
        assert [2] == seqs(records, 1)


def test_a_stream_that_keeps_losing_is_left_for_read(serve: Serve) -> None:
    """Three holes in ten seconds: READ alone, with nothing lost."""
    served = serve().start()
    with subscribe(served.state_dir, 0) as records:
        expected = 1
        for _ in range(6):
            served.append(heard=False)
            served.append()
            assert [expected, expected + 1] == seqs(records, 2)
            expected += 2
        served.append(heard=False)
        assert [expected] == seqs(records, 1)


def test_a_restart_of_the_core_is_survived(serve: Serve) -> None:
    """Same ledger, next incarnation: the subscriber does not notice."""
    served = serve().start()
    served.append(2)
    with subscribe(served.state_dir, 0) as records:
        assert [1, 2] == seqs(records, 2)
        served.stop()
        served.append(2)
        served.start()
        served.append()
        assert [3, 4, 5] == seqs(records, 3)


def test_a_cursor_resumes_after_the_record_even_inside_a_frame(serve: Serve) -> None:
    """Sequence numbers are what counts, frames are not."""
    served = serve().start()
    served.append(3)
    served.append(2)
    with subscribe(served.state_dir, 0) as records:
        assert [1, 2] == seqs(records, 2)
        cursor = records.cursor
    assert 2 == cursor.seq
    with subscribe(served.state_dir, cursor) as records:
        assert [3, 4, 5] == seqs(records, 3)
    with subscribe(served.state_dir, 4) as records:
        assert [5] == seqs(records, 1)


def test_only_one_watcher_is_kept_and_the_cursor_goes_on(serve: Serve) -> None:
    """A filter never hides a gap: it works in the subscriber, on everything."""
    served = serve().start()
    for name in ("web", "db", "WEB", "db"):
        served.append(2, watcher=name)
    with subscribe(served.state_dir, 0, "web", follow=False) as records:
        assert [1, 2, 5, 6] == [record.seq for record in records]
        assert 8 == records.cursor.seq


def test_trimmed_history_is_told(serve: Serve) -> None:
    """What is not kept any more cannot be skipped in silence."""
    served = serve().start()
    served.append(5)
    served.append(5)
    served.ledger.first_retained = 6
    with subscribe(served.state_dir, 2) as records, pytest.raises(Trimmed) as told:
        next(records)
    assert 6 == told.value.first_seq


def test_another_ledger_is_told(serve: Serve) -> None:
    """The cursor names the ledger it belongs to."""
    served = serve().start()
    served.append(2)
    cursor = Cursor(b"another ledger 1", 1, bytes(8))
    with subscribe(served.state_dir, cursor) as records, pytest.raises(Reset):
        next(records)


def test_another_history_is_told(serve: Serve) -> None:
    """Same ledger, but a power cut took what the subscriber had seen."""
    served = serve().start()
    served.append(2)
    cursor = Cursor(served.ledger.log_id, 2, b"notthis!")
    with subscribe(served.state_dir, cursor) as records, pytest.raises(Diverged):
        next(records)
    with subscribe(served.state_dir, cursor._replace(seq=9)) as records, pytest.raises(Diverged):
        next(records)


def test_a_history_that_diverges_while_following_is_told(serve: Serve) -> None:
    """After a restart the history is compared before anything is believed."""
    served = serve().start()
    served.append(2)
    served.append(2)
    with subscribe(served.state_dir, 0) as records:
        assert [1, 2, 3, 4] == seqs(records, 4)
        served.stop()
        served.ledger.forget_newest()
        served.append(2, watcher="other")
        served.append(2, watcher="other")
        served.start()
        with pytest.raises(Diverged):
            next(records)


def test_a_start_that_has_the_number_of_another_is_told_apart(serve: Serve) -> None:
    """ADR-0104: no file has the first record of a core whose disk refused, so that its number is
    given again after a power cut."""
    served = serve().start()
    served.append(2)
    with subscribe(served.state_dir, 0) as records:
        assert [1, 2] == seqs(records, 2)
        served.append(2)
        assert [3, 4] == seqs(records, 2)
        served.stop()
        served.ledger.forget_newest()
        served.append(2, watcher="other")
        served.incarnation, served.seed = 0, 1
        served.start()
        served.append()
        with pytest.raises(Diverged):
            next(records)


def test_a_malformed_answer_is_raised(serve: Serve) -> None:
    """Never silence, never a guess."""
    served = serve().start()
    served.append()
    served.mangle = lambda frames: [frames[0], b"\xc1"]
    with subscribe(served.state_dir, 0) as records, pytest.raises(Malformed):
        next(records)


def test_a_refused_read_is_raised_with_its_reason(serve: Serve) -> None:
    """An error reply names the fault."""
    served = serve().start()
    served.append()
    with subscribe(served.state_dir, 2**64 - 1) as records, pytest.raises(Diverged):
        next(records)
    assert issubclass(ReadRefused, Exception)


def test_an_answer_that_does_not_come_is_asked_for_again(serve: Serve) -> None:
    """Lost in a restart, say: another socket, another question."""
    served = serve().start()
    served.append()
    lost: list[Any] = []

    def lose_first(frames: list[Any]) -> list[Any] | None:
        lost.append(frames)
        return None if len(lost) == 1 else frames

    served.mangle = lose_first
    with subscribe(served.state_dir, 0) as records:
        assert [1] == seqs(records, 1)
    assert 2 == len(lost)


def test_the_asyncio_twin_does_the_same(serve: Serve) -> None:
    """One protocol, two drivers."""
    served = serve().start()
    served.append(2)

    async def follow() -> list[int]:
        got: list[int] = []
        async with subscribe_async.subscribe(served.state_dir, 0) as records:
            async for record in records:
                got.append(record.seq)
                if len(got) == 2:
                    await asyncio.to_thread(served.append, 2, heard=False)
                    await asyncio.to_thread(served.append, 1)
                if len(got) == 5:
                    assert 5 == records.cursor.seq
                    return got
        return got

    assert [1, 2, 3, 4, 5] == asyncio.run(follow())


def write_ledger(state_dir: Any, log_id: bytes, payloads: list[bytes]) -> None:
    """The files of a daemon that has ended."""
    now = Moment(1, 1)
    disk = RealDisk()
    disk.make_dir(str(state_dir))
    ledger = Ledger.open(str(state_dir / "ledger"), disk, log_id=log_id, now=now)
    ledger.append([(len(from_ledger(payload)), payload) for payload in payloads], now)
    assert ledger.sync(now)
    ledger.close()


def test_the_files_are_read_where_no_daemon_runs(serve: Serve) -> None:
    """A state directory alone is enough for the past."""
    served = serve()
    for count in (1, 3, 2):
        served.append(count)
    write_ledger(served.state_dir, served.ledger.log_id, [f.payload for f in served.ledger.frames])
    with subscribe(served.state_dir, 2, follow=False) as records:
        assert [3, 4, 5, 6] == [record.seq for record in records]
        assert 6 == records.cursor.seq


def test_what_the_files_began_the_daemon_continues(serve: Serve) -> None:
    """First the files, then the daemon as soon as it is there; one cursor, no seam."""
    served = serve()
    served.append(2)
    write_ledger(served.state_dir, served.ledger.log_id, [f.payload for f in served.ledger.frames])
    with subscribe(served.state_dir, 0) as records:
        assert [1, 2] == seqs(records, 2)
        served.start()
        served.append(2)
        assert [3, 4] == seqs(records, 2)


def test_a_place_without_a_ledger_has_no_past(state_dir: Path) -> None:
    """Nothing was recorded there."""
    with subscribe(state_dir, 0, follow=False) as records, pytest.raises(FileNotFoundError):
        next(records)
