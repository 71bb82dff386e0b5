"""What may go wrong around a daemon: users, files, its past, a stopped core, a killed keeper."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from circus.bus import events
from circus.bus.clock import SystemClock
from circus.bus.codec import Stamp, encode_records, stamped
from circus.bus.disk import RealDisk
from circus.bus.ledger import Ledger
from circus.bus.record import Draft, fields_of
from circus.bus.values import ARBITER

Launch = Callable[..., Any]

NOBODY: Final = 65534
ROOT: Final = Path(__file__).parents[2]
ONE: Final = '[watcher.one]\ncmd = "sleep 1000"\n'
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


def harness() -> Any:
    """The module beside this one, as the fixtures have loaded it."""
    return sys.modules["tests_real_daemon"]


def up(daemon: Any, *watchers: str) -> Any:
    """A subscriber that has heard these watchers start."""
    tale = daemon.tale()
    tale.next("core.ready")
    for name in watchers:
        if not tale.of("watcher.started", name):
            tale.next("watcher.started", name)
    return tale


# --- users ----------------------------------------------------------------------------------------


def test_an_unknown_user_is_a_failed_spawn_that_names_it(launch: Launch) -> None:
    """On record with its step, in `status` and in `why`; the next watcher runs."""
    text = f'[watcher.lost]\ncmd = "true"\nuid = "no-such-user"\nmax_retry = 2\n{ONE}'
    daemon = launch(text).start()
    tale = daemon.tale()
    tale.next("watcher.failed", "lost")
    failures = [fields_of(r.body) for r in tale.of("process.spawn_failed", "lost")]
    assert ["user"] * 3 == [failure["step"] for failure in failures]
    assert {"unknown user no-such-user"} == {failure["reason"] for failure in failures}
    assert "unknown user no-such-user" in daemon.ctl("status", "lost").stdout
    assert "unknown user no-such-user" in daemon.ctl("why", "lost").stdout
    assert 1 == len(daemon.pids("one"))
    assert 0 == daemon.stop()
    daemon.judge()


@pytest.fixture
def setuid_sleep() -> Iterator[Path]:
    """A copy of `sleep` that runs as root, whoever starts it, in a directory open to all."""
    folder = Path(tempfile.mkdtemp(prefix="circus-setuid-", dir="/tmp"))
    folder.chmod(0o755)
    program = Path(shutil.copy(os.path.realpath(str(shutil.which("sleep"))), folder / "sleep"))
    program.chmod(0o4755)
    yield program
    shutil.rmtree(folder)


@as_root
@pytest.mark.parametrize("kept_down", [True, False])
def test_a_setuid_program_gains_nothing_under_no_new_privs(
    launch: Launch, setuid_sleep: Path, *, kept_down: bool
) -> None:
    """As another user: its effective user is that one; without the option it is root again."""
    if os.statvfs(setuid_sleep).f_flag & os.ST_NOSUID:
        pytest.skip("setuid does nothing on this file system")
    text = (
        f"[circus]\nno_new_privs = {str(kept_down).lower()}\n"
        f'[watcher.one]\ncmd = "{setuid_sleep} 1000"\nuid = {NOBODY}\ngid = {NOBODY}\n'
    )
    daemon = launch(text).start()
    up(daemon, "one")
    (pid,) = daemon.pids("one")
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    )
    effective = status["Uid"].split()[1]
    assert (str(int(kept_down)), str(NOBODY if kept_down else 0)) == (
        status["NoNewPrivs"], effective,
    )  # fmt: skip
    assert 0 == daemon.stop()
    daemon.judge()


# --- files ----------------------------------------------------------------------------------------


def test_a_configuration_that_cannot_be_read_starts_nothing(launch: Launch) -> None:
    """A directory of that name: 66 and one sentence, with and without --check; no ledger."""
    daemon = launch(ONE)
    daemon.config.unlink()
    daemon.config.mkdir()
    for extra in ((), ("--check",)):
        daemon.log.write_bytes(b"")
        daemon.start(*extra)
        assert 66 == daemon.wait()
        assert f"circusd: cannot read {daemon.config}: is a directory\n" == daemon.text()
    assert not list(daemon.state_dir.glob("ledger/*"))


def test_a_line_of_the_log_is_written_once(launch: Launch) -> None:
    """The log sees the first records as an observer, the others by their kinds, none twice."""
    daemon = launch(ONE).start()
    up(daemon, "one")
    daemon.do("stop", name="one")
    assert 0 == daemon.stop()
    lines = [line.split("Z ", 1)[1] for line in daemon.text().splitlines()]
    for words in ("core started", "Arbiter now waiting", "watcher stopped", "core stopped"):
        assert 1 == sum(words in line for line in lines), (words, lines)
    assert len(lines) == len(set(lines))


def test_a_record_that_cannot_be_believed_ends_the_start_with_one_sentence(launch: Launch) -> None:
    """70, the seq and who said it; not a loop of cores that all end at the same place."""
    daemon = launch(ONE)
    (daemon.state_dir / "ledger").mkdir(mode=0o700)
    clock = SystemClock()
    directory = str(daemon.state_dir / "ledger")
    ledger = Ledger.open(directory, RealDisk(), log_id=bytes(16), now=clock.now())
    nameless = Draft(events.WatcherAdded({"cmd": 7}, "d"), watcher="x")
    record = stamped(Stamp(1, 0, ARBITER, clock.now(), 1), nameless)
    ledger.append([(1, encode_records([record]))], clock.now())
    ledger.close()
    daemon.start()
    assert 70 == daemon.wait()
    (sentence,) = daemon.text().splitlines()
    assert sentence.startswith(f"circusd: cannot believe record 1 (watcher.added) of {ARBITER}: ")
    assert 1 == daemon.head()


# --- a stopped core, a killed keeper --------------------------------------------------------------


def test_a_core_that_was_stopped_for_a_while_has_lost_nothing(
    launch: Launch, until: Callable[[int], None]
) -> None:
    """What ended and what was asked for meanwhile is on record once, and carried out."""
    daemon = launch('[watcher.one]\ncmd = "sleep 1000"\nnumprocesses = 3\n').start()
    tale = up(daemon, "one")
    before = daemon.pids("one")
    core = daemon.core_pid()
    os.kill(core, signal.SIGSTOP)
    for pid in before[:2]:
        os.kill(pid, signal.SIGKILL)
        until(pid)  # a zombie: the keeper has it, nobody has told it
    daemon.client().send("incr", name="one", nb=2)
    os.kill(core, signal.SIGCONT)
    tale.next("watcher.resized", "one")
    while len(tale.of("slot.filled", "one")) < 3 + 2 + 2:
        tale.next("slot.filled", "one")
    ended = [fields_of(r.body)["pid"] for r in tale.of("process.exited", "one")]
    assert sorted(before[:2]) == sorted(ended)
    assert before[2] in daemon.pids("one")
    assert 5 == len(daemon.pids("one"))
    assert (core, 1) == tuple(daemon.ask("status")["core"].values())
    assert 0 == daemon.stop()
    daemon.judge()


def test_a_killed_keeper_ends_the_core_and_the_next_daemon_says_what_was_lost(
    launch: Launch, until: Callable[[int], None]
) -> None:
    """With `orphans = "leave"` workers run on without a parent, the core ends with 70, and the next
    circusd records them as lost and starts new ones beside them."""
    daemon = launch(
        f'[circus]\norphans = "leave"\n{ONE}[watcher.two]\ncmd = "sleep 1000"\nnumprocesses = 2\n'
    ).start()
    up(daemon, "one", "two")
    orphans = [*daemon.pids("one"), *daemon.pids("two")]
    core = daemon.core_pid()
    daemon.hang_up()
    os.kill(daemon.pid, signal.SIGKILL)
    assert -signal.SIGKILL == daemon.wait()
    until(core)
    assert sorted(orphans) == sorted(daemon.left())
    after = daemon.head()
    daemon.start()
    tale = daemon.tale(after)
    lost = tale.some(3, "process.lost")
    tale.some(3, "slot.filled")
    spawned = {fields_of(r.body)["pid"] for r in tale.of("process.spawned")}
    assert 3 == len({record.spawn_id for record in lost}) == len(spawned)
    assert not spawned & set(orphans)
    for pid in orphans:
        assert harness().is_running(pid)
        harness().end(pid)
    assert 0 == daemon.stop()
    daemon.judge()


# --- what a newcomer types ------------------------------------------------------------------------


def is_installed() -> bool:
    """Whether `make install` has nothing to do: no test fetches packages."""
    stamp = ROOT / ".venv" / ".installed"
    wanted = f"{sha256((ROOT / 'pyproject.toml').read_bytes()).hexdigest()} {ROOT}"
    return stamp.exists() and wanted == stamp.read_text(encoding="utf-8").strip()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.skipif(not is_installed(), reason="make would have to install first")
def test_make_run_shows_events_and_ctrl_c_ends_all(launch: Launch) -> None:
    """`make run`: the event stream of the example; Ctrl-C stops everything in order."""
    daemon = launch("")
    place = str(daemon.state_dir)
    daemon.popen = subprocess.Popen(
        ["make", "run"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, harness().MARK: place, "CIRCUS_STATE_DIR": place},
    )  # fmt: skip
    output = daemon.popen.stdout
    assert output is not None
    seen: list[str] = []
    with harness().deadline("three workers and the first crash", 60), output:
        while sum("process.spawned" in line for line in seen) < 4:
            seen.append(output.readline().decode())
            assert seen[-1], seen
        os.killpg(daemon.popen.pid, signal.SIGINT)
        rest = output.read().decode()
    assert "circusd ended with 0" in rest
    daemon.wait()
    assert [] == daemon.left()
    daemon.judge()
