"""Room: tests -- the ledger on a simulated disk in bad weather: what is safe stays, loss is told.

Knows:     bus.ledger, circus.replay's disk, syncer and agenda.
Known by:  pytest.
Never:     asks what the disk did: only what was promised and what is found.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import blake2b
from typing import Final

import pytest

from circus.bus.cursor_errors import Damaged
from circus.bus.ledger import RETRY_NS, Ledger, StorageFailed
from circus.bus.segments import Frame, Hole
from circus.bus.values import Moment
from circus.replay.sim.agenda import Agenda, Crash, PowerCut
from circus.replay.sim.disk import SimDisk
from circus.replay.sim.disk_weather import CALM, FAULTS, DiskWeather
from circus.replay.sim.syncer import SimSyncer

LOG_ID: Final = b"sixteen bytes..."
SEGMENT_BYTES: Final = 8192
STEPS: Final = 150
SECOND: Final = 1_000_000_000
OPENINGS_MAX: Final = 200


class Machine:
    """A disk, a ledger on it, and what its clients have been told."""

    def __init__(self, seed: int, weather: DiskWeather) -> None:
        self.agenda = Agenda(seed)
        self.chance = self.agenda.chance
        self.disk = SimDisk(self.agenda, weather)
        self.said: dict[int, tuple[int, bytes]] = {}  # first seq -> count, payload
        self.safe = 0
        self.gone: set[int] = set()  # lost while degraded, and told so by a gap
        self.lives = 0
        self.open()

    # --- the life of a core -----------------------------------------------------------------------

    def open(self) -> None:
        """Until it works: the keeper starts a core again and again."""
        for _ in range(OPENINGS_MAX):
            try:
                self.ledger = Ledger.open(
                    "ledger", self.disk, log_id=LOG_ID, now=self.now(),
                    segment_bytes_max=SEGMENT_BYTES,
                )  # fmt: skip
                self.check()
                self.begin()
            except PowerCut:
                self.disk.lose_power(self.chance)
            except (Crash, OSError, StorageFailed):
                self.lose_process()
            else:
                break
            self.agenda.pause(5 * SECOND)
        else:
            raise AssertionError("the ledger cannot be opened any more")

    def begin(self) -> None:
        """What was never written was never said; the first records of a life are synced."""
        self.lives += 1
        self.retry_due = 0
        for seq in [seq for seq in self.said if seq > self.ledger.head]:
            del self.said[seq]
        self.syncer = SimSyncer(self.agenda, self.disk)
        self.ledger.attach(self.syncer)
        self.append(1)
        if self.ledger.sync(self.now()):
            self.safe = max(self.safe, self.ledger.head)

    def die(self, *, power: bool) -> None:
        """And live again."""
        if power:
            self.agenda.cancel()
            self.disk.lose_power(self.chance)
        else:
            self.lose_process()
        if self.chance.random() < 0.3:
            self.set_trap()
        self.open()

    def lose_process(self) -> None:
        """If a sync has failed and nobody has said so yet, nobody will."""
        self.disk.lose_process()
        if self.disk.is_hollow("ledger"):
            self.gone |= set(range(self.safe + 1, max(self.said, default=0) + 4))

    def set_trap(self) -> None:
        """Some seam call from here on does not return."""
        self.agenda.crash_at = self.agenda.touched + self.chance.randrange(1, 60)
        self.agenda.crash = self.chance.choice((Crash, PowerCut))

    def now(self) -> Moment:
        return Moment(*self.agenda.moment())

    # --- what it does -----------------------------------------------------------------------------

    def append(self, frames: int) -> None:
        """Some decisions, and what an engine does after each wake-up."""
        new = []
        for _ in range(frames):
            size = self.chance.choice((20, 60, 200, 700, 3000))
            new.append((self.chance.randrange(1, 4), self.chance.randbytes(size)))
        seq = self.ledger.head + 1
        for count, payload in new:
            self.said[seq] = (count, payload)
            seq += count
        self.ledger.append(new, self.now())
        self.settle()

    def settle(self) -> None:
        """arbiter.upkeep, without a runtime."""
        ledger, now = self.ledger, self.now()
        self.syncer.nudge()
        synced = ledger.settle(now)
        if not ledger.degraded:
            self.safe = max(self.safe, synced)
            self.retry_due = 0
        elif not self.retry_due:
            self.retry_due = now.boot + RETRY_NS
        elif now.boot >= self.retry_due:
            self.retry_due = now.boot + RETRY_NS
            gap = ledger.retry(now)
            if gap is not None and gap.frames:
                self.gone |= set(range(gap.lost_from, gap.lost_to + 1))

    def step(self) -> None:
        """What one wake-up may bring."""
        self.chance.choices(
            (self.work, self.want, self.cut, self.sync, self.set_trap, self.sleep, self.read,
             self.wake, self.fail),
            (60, 10, 3, 3, 2, 2, 2, 15, 3),
        )[0]()  # fmt: skip

    def work(self) -> None:
        self.append(self.chance.randrange(1, 5))

    def want(self) -> None:
        self.syncer.want(self.chance.randrange(1, self.ledger.head + 1))

    def cut(self) -> None:
        self.ledger.cut(self.now())

    def sync(self) -> None:
        if self.ledger.sync(self.now()):
            self.safe = max(self.safe, self.ledger.head)

    def sleep(self) -> None:
        self.agenda.pause(self.chance.randrange(20 * SECOND))

    def wake(self) -> None:
        happening = self.agenda.advance()
        if happening is not None:
            happening()
        self.settle()

    def fail(self) -> None:
        self.die(power=self.chance.random() < 0.6)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            try:
                self.step()
            except PowerCut:
                self.die(power=True)
            except Crash:
                self.die(power=False)
        self.disk.change_weather(CALM)
        self.agenda.crash_at = None
        self.die(power=True)

    # --- what must hold ---------------------------------------------------------------------------

    def read(self) -> None:
        """Any place can be asked for; the answer is what was said, or a reason."""
        after = self.chance.randrange(self.ledger.head + 1)
        try:
            raw = self.ledger.read_raw(after, 1000)
        except (Damaged, OSError):
            return
        if raw.data:
            assert raw.first_seq <= after + 1 <= raw.last_seq
            payload = self.said[raw.first_seq][1]
            assert payload == raw.data[40 : 40 + len(payload)]

    def check(self) -> None:
        """Nothing is found that was not said; what is safe is found, unless told otherwise."""
        found: set[int] = set()
        lost: set[int] = set(self.gone)
        for item in self.ledger.items():
            if isinstance(item, Hole):
                lost |= set(range(item.lost_from, item.lost_to + 1))
                continue
            assert isinstance(item, Frame)
            assert self.said[item.first_seq] == (item.count, item.payload), item.first_seq
            found |= set(range(item.first_seq, item.last_seq + 1))
        head = self.ledger.head
        assert set(range(1, head + 1)) <= found | lost
        missing = set(range(1, self.safe + 1)) - found - self.gone
        assert not missing, f"{sorted(missing)[:9]} were safe (up to {self.safe})"
        self.gone |= lost


def weathered(**rates: float) -> DiskWeather:
    return DiskWeather(torn=1.0, **rates)


WEATHERS: Final = {
    "torn": weathered(),
    "short": weathered(short=0.3),
    "full": weathered(full=0.02),
    "write": weathered(write_error=0.05),
    "names": weathered(name_error=0.1),
    "slow": weathered(sync_slow=0.1),
    "reads": weathered(read_error=0.005),
    "dead": weathered(dead=0.01),
    "lies": weathered(sync_error=0.1),
    "all": weathered(
        short=0.1, full=0.005, write_error=0.02, name_error=0.05, sync_slow=0.05,
        read_error=0.003, dead=0.003, sync_error=0.05,
    ),
}  # fmt: skip


def run(name: str, seed: int) -> Machine:
    machine = Machine(seed, WEATHERS[name])
    machine.run(STEPS)
    return machine


@pytest.mark.parametrize("name", WEATHERS)
@pytest.mark.parametrize("seed", range(8))
def test_in_any_weather_what_is_safe_is_found_and_what_is_lost_is_told(
    name: str, seed: int
) -> None:
    """
    I-PREFIX, I-ACKDUR: every frame that is found was said, at its place; what was told to be on
    the platter is found after any number of crashes and power cuts, in recovery too; what is not
    found stands in a hole, behind the head or in a gap that the ledger has told.
    """
    run(name, seed)


def test_every_fault_of_a_disk_happens() -> None:
    """Otherwise the test above would prove little."""
    total: Counter[str] = Counter()
    for seed in range(20):
        total += run("all", 1000 + seed).agenda.coverage.faults
    assert set() == set(FAULTS) - set(total) - {"disk.rot", "disk.cut"}


def test_a_rotten_bit_in_a_sealed_segment_is_an_error_not_another_history() -> None:
    """I-CHAIN: whoever reads there is refused; what stands elsewhere is still served."""
    machine = Machine(1, CALM)
    for _ in range(40):
        machine.append(2)
    segments = [name for name in machine.disk.contents() if name.endswith(".evl")]
    machine.disk.change_weather(DiskWeather(rot=1.0))
    assert len(segments) > 3

    with pytest.raises(Damaged):
        list(machine.ledger.frames())

    machine.disk.change_weather(CALM)
    holes = [item for item in machine.ledger.items() if isinstance(item, Hole)]
    assert holes
    newest = int(segments[-1].rpartition("/")[2][:20])
    assert list(machine.ledger.frames(newest - 1))


def digest(seed: int) -> str:
    """Of every byte on the disk at the end of a run in all weathers."""
    whole = blake2b(digest_size=16)
    for path, content in run("all", seed).disk.contents().items():
        whole.update(path.encode() + b"\0" + content)
    return whole.hexdigest()


def test_one_seed_has_one_trace_whatever_strings_hash_to() -> None:
    """Same seed, same bytes; another seed, other bytes."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import test_sim_disk_faults as t; "
    command = [sys.executable, "-c", script + "print(t.digest(5))", os.path.dirname(__file__)]
    told = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hashed}, check=True, timeout=60,
            capture_output=True, text=True,
        ).stdout.strip()
        for hashed in ("0", "1", "4711")
    }  # fmt: skip
    assert {digest(5)} == told
    assert digest(6) not in told
