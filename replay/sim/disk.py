"""Room: replay -- a disk in memory that does to the ledger what disks do.

Knows:     bus.disk (the Protocol), its platter (what is safe) and disk_weather (faults).
Known by:  replay.world; the ledger writes to it in place of a file system.
Never:     loses what was synced, keeps a handle or a lock of a process that is gone.

A process crash keeps everything that was written. A power cut keeps what replay.sim.platter says.
Directories are safe once `make_dir` has returned, as the real disk sees to.
"""

from __future__ import annotations

import errno
from typing import Final

from circus.bus.disk import Locked
from circus.bus.segments import SUFFIX
from circus.bus.snapshots import PREFIX
from circus.replay.sim.agenda import Agenda, Crash, Dice, PowerCut
from circus.replay.sim.disk_weather import CALM, FAULTS, DiskWeather, Trouble
from circus.replay.sim.platter import File, Names, directory_of

HANDLE_FIRST: Final = 3
ROT_OF_SNAPSHOTS: Final = 10  # times as often as a segment's


class SimDisk:
    """Implements bus.disk.Disk. Each call of the core may be its last."""

    def __init__(self, agenda: Agenda, weather: DiskWeather = CALM) -> None:
        self.trouble: Trouble | None = None  # a calm disk has none
        self._agenda = agenda
        self._names = Names()
        self._directories: set[str] = set()
        self._handles: dict[int, tuple[str, File, bool]] = {}
        self._locks: dict[str, int] = {}
        self._last_handle = HANDLE_FIRST
        self.change_weather(weather)

    # --- faults -----------------------------------------------------------------------------------

    def change_weather(self, weather: DiskWeather) -> None:
        """From now on it fails as often as this says; what is wrong is over."""
        self.trouble = None if weather == CALM else Trouble(self._agenda, weather)
        if self.trouble is not None:
            self._agenda.coverage.expect(*FAULTS)

    def lose_process(self) -> None:
        """The core died: handles and locks are gone, bytes are not."""
        for handle in tuple(self._handles):
            self._forget(handle)
        self._locks.clear()

    def lose_power(self, chance: Dice) -> None:
        """Everything that was not synced is at risk."""
        self.lose_process()
        faults = self._agenda.coverage.faults
        torn = 0.0 if self.trouble is None else self.trouble.weather.torn
        self._names.lose_power(chance, faults)
        for file in self._names.files():
            file.lose_power(chance, torn, faults)

    def spoil(self, path: str, chance: Dice) -> None:
        """A bit of this file rots."""
        self._names.seen[path].flip(chance)

    def contents(self) -> dict[str, bytes]:
        """Every file, as a reader sees it now."""
        return {path: bytes(file.cache) for path, file in sorted(self._names.seen.items())}

    def is_hollow(self, directory: str) -> bool:
        """A sync of its newest segment has failed: the page cache shows more than is anywhere.

        A core that dies before it has said it again elsewhere leaves a lie that no later core can
        see; what only stood there may be gone after a power cut, whoever synced it since.
        """
        newest = self._names.newest(directory, SUFFIX)
        return newest is not None and self._names.seen[newest].hollow

    def file(self, handle: int) -> File | None:
        """What the syncer's thread holds on to; None if the handle is closed."""
        found = self._handles.get(handle)
        return None if found is None else found[1]

    # --- the Protocol -----------------------------------------------------------------------------

    def make_dir(self, path: str) -> None:
        self._change("disk.make_dir")
        self._directories.add(path)

    def list_dir(self, path: str) -> list[str]:
        self._look("disk.list_dir")
        if path not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        return self._names.inside(path).copy()

    def lock(self, path: str) -> int:
        self._agenda.touch("disk.lock")
        if path in self._locks:
            raise Locked(f"cannot open the ledger: another process holds {path}; stop it first")
        if path not in self._names.seen:
            self._names.move(File(), None, path)
        handle = self._handle(path)
        self._locks[path] = handle
        return handle

    def create(self, path: str, room: int = 0) -> int:
        """Room is promised and not kept: a disk that is full for a while is full for everybody."""
        self._change("disk.create")
        if path in self._names.seen:
            raise FileExistsError(errno.EEXIST, "file exists", path)
        self._names.move(File(), None, path)
        return self._handle(path, writes=True)

    def open_to_append(self, path: str) -> int:
        self._look("disk.open")
        return self._handle(path, writes=True)

    def open_to_read(self, path: str) -> int:
        self._look("disk.open")
        return self._handle(path)

    def size(self, handle: int) -> int:
        self._agenda.touch("disk.size")
        return len(self._handles[handle][1].cache)

    def read(self, handle: int, offset: int, length: int) -> bytes:
        self._look("disk.read")
        path, file, _ = self._handles[handle]
        trouble = self.trouble
        # A rotten bit in the last frame of all is a torn tail to anybody: it is not told apart.
        newest = self._names.newest(directory_of(path), SUFFIX) if trouble is not None else path
        if trouble is not None and file.cache and path != newest:
            # A start looks at one snapshot and at many frames.
            times = ROT_OF_SNAPSHOTS if PREFIX in path else 1
            if trouble.strikes("disk.rot", trouble.weather.rot * times):
                file.flip(self._agenda.chance)
        return bytes(memoryview(file.cache)[offset : offset + length])

    def append(self, handle: int, data: bytes | memoryview) -> int:
        file = self._handles[handle][1]
        try:
            self._agenda.touch("disk.append")
        except Crash:
            # The kernel may have taken a part of the write before the process was gone.
            file.write(bytes(data[: self._agenda.chance.randrange(len(data) + 1)]))
            raise
        taken = len(data) if self.trouble is None else self.trouble.taken(len(data))
        file.write(bytes(data if taken == len(data) else data[:taken]))
        return taken

    def truncate(self, handle: int, size: int) -> None:
        self._change("disk.truncate")
        self._handles[handle][1].truncate(size)

    def sync(self, handle: int) -> None:
        self._agenda.touch("disk.sync")
        file = self._handles[handle][1]
        error = None
        if self.trouble is not None:
            error = self.trouble.sync_error()
            self._agenda.pause(self.trouble.sync_time())
        finish_sync(file, file.touched, error)
        if error is not None:
            raise error

    def sync_dir(self, path: str) -> None:
        self._change("disk.sync_dir")
        self._names.sync(path)

    def rename(self, old: str, new: str) -> None:
        self._change("disk.rename")
        self._names.move(self._found(old), old, new)

    def unlink(self, path: str) -> None:
        self._change("disk.unlink")
        self._names.move(self._found(path), path, None)

    def close(self, handle: int) -> None:
        self._agenda.touch("disk.close")
        path = self._handles[handle][0]
        self._forget(handle)
        if self._locks.get(path) == handle:
            del self._locks[path]

    # --- inside -----------------------------------------------------------------------------------

    def _change(self, call: str) -> None:
        self._agenda.touch(call)
        if self.trouble is not None:
            if self.trouble.strikes("disk.cut", self.trouble.weather.cut):
                raise PowerCut(call)
            self.trouble.name()

    def _look(self, call: str) -> None:
        self._agenda.touch(call)
        if self.trouble is not None:
            self.trouble.read()

    def _found(self, path: str) -> File:
        file = self._names.seen.get(path)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return file

    def _handle(self, path: str, *, writes: bool = False) -> int:
        file = self._found(path)
        file.writers += writes
        self._last_handle += 1
        self._handles[self._last_handle] = (path, file, writes)
        return self._last_handle

    def _forget(self, handle: int) -> None:
        _, file, writes = self._handles.pop(handle)
        file.writers -= writes


def finish_sync(file: File, upto: int, error: OSError | None) -> None:
    """A sync of what was pending up to this number has come to its end."""
    if error is None:
        file.sync(upto)
    else:
        file.forget(upto)
