"""Room: replay -- a disk in memory: what is written, what is safe, and what a power cut leaves.

Knows:     bus.disk (the Protocol), bus.syncer (the Protocol), replay.agenda.
Known by:  replay.world; the ledger writes to it in place of a file system.
Never:     loses what was synced, keeps a handle or a lock of a process that is gone.

A process crash keeps everything that was written. A power cut keeps what was synced; of bytes
appended since then it keeps a part of any length; of names made, moved or removed since their
directory was synced it keeps either side. Directories themselves are safe at once.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Final

import attr

from circus.bus.disk import Locked
from circus.replay.agenda import Agenda, Crash

SYNC_DELAY_NS: Final = 100_000_000
HANDLE_FIRST: Final = 3


@attr.s(auto_attribs=True, slots=True, eq=False)
class File:
    """One inode: the page cache, and how much of it the platter has."""

    cache: bytearray = attr.Factory(bytearray)
    platter: bytes = b""

    def lose_power(self, chance: random.Random) -> None:
        """What the platter has now is all there is."""
        safe, cache = self.platter, bytes(self.cache)
        if cache.startswith(safe):
            torn = chance.randrange(len(safe), len(cache) + 1)
            safe = cache[: chance.choice((len(safe), torn, torn, len(cache)))]
        elif chance.random() < 0.5:
            safe = cache  # A truncation that was on its way.
        self.cache, self.platter = bytearray(safe), safe


class SimDisk:
    """Implements bus.disk.Disk. Each call of the core may be its last."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._names: dict[str, File] = {}
        self._safe_names: dict[str, File] = {}
        self._directories: set[str] = set()
        self._handles: dict[int, tuple[str, File]] = {}
        self._locks: dict[str, int] = {}
        self._last_handle = HANDLE_FIRST

    # --- faults -----------------------------------------------------------------------------------

    def lose_process(self) -> None:
        """The core died: handles and locks are gone, bytes are not."""
        self._handles.clear()
        self._locks.clear()

    def lose_power(self, chance: random.Random) -> None:
        """Everything that was not synced is at risk."""
        self.lose_process()
        names: dict[str, File] = {}
        for path in sorted({*self._names, *self._safe_names}):
            cached, safe = self._names.get(path), self._safe_names.get(path)
            found = cached if cached is safe or chance.random() < 0.5 else safe
            if found is not None:
                names[path] = found
        for file in {id(file): file for file in names.values()}.values():
            file.lose_power(chance)
        self._names, self._safe_names = names, dict(names)

    def contents(self) -> dict[str, bytes]:
        """Every file, as a reader sees it now."""
        return {path: bytes(file.cache) for path, file in sorted(self._names.items())}

    def sync_quietly(self, handle: int) -> bool:
        """The syncer's thread: it is no call of the core's loop. False: the file is closed."""
        if handle not in self._handles:
            return False
        file = self._handles[handle][1]
        file.platter = bytes(file.cache)
        return True

    # --- the Protocol -----------------------------------------------------------------------------

    def make_dir(self, path: str) -> None:
        self._agenda.touch("disk.make_dir")
        self._directories.add(path)

    def list_dir(self, path: str) -> list[str]:
        self._agenda.touch("disk.list_dir")
        if path not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        return sorted(
            name.rpartition("/")[2] for name in self._names if name.rpartition("/")[0] == path
        )

    def lock(self, path: str) -> int:
        self._agenda.touch("disk.lock")
        if path in self._locks:
            raise Locked(f"cannot open the ledger: another process holds {path}; stop it first")
        handle = self._handle(path, self._names.setdefault(path, File()))
        self._locks[path] = handle
        return handle

    def create(self, path: str) -> int:
        self._agenda.touch("disk.create")
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "file exists", path)
        self._names[path] = File()
        return self._handle(path, self._names[path])

    def open_to_append(self, path: str) -> int:
        self._agenda.touch("disk.open")
        return self._handle(path, self._file(path))

    def open_to_read(self, path: str) -> int:
        self._agenda.touch("disk.open")
        return self._handle(path, self._file(path))

    def size(self, handle: int) -> int:
        self._agenda.touch("disk.size")
        return len(self._handles[handle][1].cache)

    def read(self, handle: int, offset: int, length: int) -> bytes:
        self._agenda.touch("disk.read")
        return bytes(self._handles[handle][1].cache[offset : offset + length])

    def append(self, handle: int, data: bytes | memoryview) -> int:
        file = self._handles[handle][1]
        try:
            self._agenda.touch("disk.append")
        except Crash:
            # The kernel may have taken a part of the write before the process was gone.
            file.cache += data[: self._agenda.chance.randrange(len(data) + 1)]
            raise
        file.cache += data
        return len(data)

    def truncate(self, handle: int, size: int) -> None:
        self._agenda.touch("disk.truncate")
        del self._handles[handle][1].cache[size:]

    def sync(self, handle: int) -> None:
        self._agenda.touch("disk.sync")
        self.sync_quietly(handle)

    def sync_dir(self, path: str) -> None:
        self._agenda.touch("disk.sync_dir")
        for name in {*self._names, *self._safe_names}:
            if name.rpartition("/")[0] == path:
                self._keep_name(name)

    def rename(self, old: str, new: str) -> None:
        self._agenda.touch("disk.rename")
        self._names[new] = self._file(old)
        del self._names[old]

    def unlink(self, path: str) -> None:
        self._agenda.touch("disk.unlink")
        self._file(path)
        del self._names[path]

    def close(self, handle: int) -> None:
        self._agenda.touch("disk.close")
        path, _ = self._handles.pop(handle)
        if self._locks.get(path) == handle:
            del self._locks[path]

    # --- inside -----------------------------------------------------------------------------------

    def _file(self, path: str) -> File:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return self._names[path]

    def _handle(self, path: str, file: File) -> int:
        self._last_handle += 1
        self._handles[self._last_handle] = (path, file)
        return self._last_handle

    def _keep_name(self, name: str) -> None:
        file = self._names.get(name)
        if file is None:
            self._safe_names.pop(name, None)
        else:
            self._safe_names[name] = file


class SimSyncer:
    """Implements bus.syncer.Syncing without a thread: what is noted is safe a while later."""

    def __init__(self, disk: SimDisk, later: Callable[[int, Callable[[], None]], None]) -> None:
        self.synced = 0
        self._disk = disk
        self._later = later
        self._handle = -1
        self._noted = 0
        self._due = False

    def follow(self, handle: int, synced: int) -> None:
        self._handle, self.synced = handle, synced
        self._noted = max(self._noted, synced)

    def note(self, seq: int, size: int) -> None:
        self._noted = seq
        if not self._due:
            self._due = True
            self._later(SYNC_DELAY_NS, self._sync)

    def nudge(self) -> None:
        """It is on its way since it was noted."""

    def want(self, seq: int) -> None:
        if seq > self.synced:
            self._sync()

    def flush(self) -> OSError | None:
        self._sync()
        return None

    def fileno(self) -> int:
        return -1

    def take(self) -> OSError | None:
        return None

    def close(self) -> None:
        self._sync()

    def _sync(self) -> None:
        self._due = False
        if self._disk.sync_quietly(self._handle):
            self.synced = self._noted
