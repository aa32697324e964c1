"""The file of a run: entries are appended, on the disk before their effect, by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from meshguard.journal.entries import Entry, Head, chained, compose, read, split
from meshguard.journal.errors import JournalError, JournalInUse
from meshguard.journal.events import Event
from meshguard.journal.space import reserve
from meshguard.ports import Clock


class Journal:
    """An open journal, locked for this process until `close`.

    Two locks: the file's keeps a second writer out; the folder's tells watchers (`in_use`) that somebody is at work.
    Watchers hold the folder's for a moment only, so the writer can wait for it, and they never disturb the file's.
    A failed write closes it for good: what the disk holds is not known any more, and the next `open` will find out.
    """

    def __init__(self, path: Path, fd: int, clock: Clock) -> None:
        """Use `create` or `open`; raises JournalError when the file's chain is broken."""
        self._path, self._fd, self._clock = path, fd, clock
        self._fds = ExitStack()
        self._entries, self._length, self.torn = _verified(path, _read_all(fd))
        self._failed = ""

    @classmethod
    def create(cls, path: Path, clock: Clock) -> Self:
        """Create the file, its folder's entry included. Raises JournalError when it exists or cannot be written."""
        journal = cls._locked(path, os.O_CREAT | os.O_EXCL, clock)
        try:
            sync_folder(path.parent)
        except OSError as error:
            journal.close()
            raise JournalError(f"cannot create the journal {path}: {error.strerror}") from error
        return journal

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Self:
        """Open for appending and verify the chain.

        Raises JournalInUse when another process appends, JournalError when the file cannot be opened or trusted.
        """
        return cls._locked(path, 0, clock)

    @classmethod
    def _locked(cls, path: Path, flags: int, clock: Clock) -> Self:
        with ExitStack() as fds:
            try:
                fd = _opened(path, os.O_RDWR | os.O_APPEND | flags, fds)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(_opened(path.parent, os.O_RDONLY, fds), fcntl.LOCK_EX)
            except BlockingIOError as error:
                raise JournalInUse(f"another process is executing this run now: {path} is locked") from error
            except OSError as error:
                raise JournalError(f"cannot open the journal {path}: {error.strerror}") from error
            journal = cls(path, fd, clock)
            journal._fds = fds.pop_all()
            return journal

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that was written, oldest first."""
        return tuple(self._entries)

    def after(self, seq: int) -> tuple[Entry, ...]:
        """The entries after the one with this number."""
        return tuple(self._entries[seq:])

    @property
    def head(self) -> Head:
        """Where the chain stands."""
        return self._entries[-1].head if self._entries else Head()

    def reserve(self, size: int) -> None:
        """Reserve room for `size` more bytes. Raises JournalError when the disk has no such room."""
        try:
            self._cut_torn_tail()
            reserve(self._fd, self._length + size)
        except OSError as error:
            raise JournalError(
                f"no room for the journal {self._path} ({size / 1024:.0f} KiB needed): {error.strerror}"
            ) from error

    def append(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        """Write events and return when they are on the disk. Raises JournalError when they may not be."""
        if self._failed:
            raise JournalError(self._failed)
        head, added = self.head, []
        for event in events:
            added.append(compose(event, self._clock.wall(), head))
            head = added[-1].head
        data = b"".join(entry.line for entry in added)
        try:
            self._cut_torn_tail()
            _write_all(self._fd, data)
            os.fsync(self._fd)
        except OSError as error:
            self._failed = f"cannot write the journal {self._path}: {error.strerror}"
            raise JournalError(self._failed) from error
        self._entries += added
        self._length += len(data)
        return tuple(added)

    def _cut_torn_tail(self) -> None:
        if self.torn:
            os.ftruncate(self._fd, self._length)
            self.torn = b""

    def close(self) -> None:
        """Release the file and the locks."""
        self._fds.close()
        self._failed = self._failed or f"the journal {self._path} is closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Read and verify a journal without locking it; a line that is being written is left out.

    Raises JournalError when the file cannot be read or trusted.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read the journal {path}: {error.strerror}") from error
    return tuple(_verified(path, data)[0])


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Make the file hold exactly these entries, durably and at once. Raises JournalError when it cannot be written."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        with ExitStack() as fds:
            fd = _opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, fds)
            _write_all(fd, b"".join(entry.line for entry in entries))
            os.fsync(fd)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"cannot write the journal {path}: {error.strerror}") from error


def in_use(path: Path) -> bool:
    """Tell whether a process is executing the run at this moment. Raises JournalError when it cannot be read."""
    with ExitStack() as fds:
        try:
            fcntl.flock(_opened(path.parent, os.O_RDONLY, fds), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            raise JournalError(f"cannot read the run's folder {path.parent}: {error.strerror}") from error
    return False


class Follower:
    """Reads what is added to a journal, for those who watch a run."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._head = path, 0, Head()

    def more(self) -> tuple[Entry, ...]:
        """Return the entries that were completed since the last call. Raises JournalError as `read_entries` does."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError as error:
            raise JournalError(f"cannot read the journal {self._path}: {error.strerror}") from error
        complete = data[: data.rfind(b"\n") + 1]
        try:
            entries = chained(split(complete)[0], self._head)
        except JournalError as error:
            raise JournalError(f"{self._path}: {error}") from error
        self._offset += len(complete)
        if entries:
            self._head = entries[-1].head
        return entries


def sync_folder(folder: Path) -> None:
    """Make a new file's name durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _verified(path: Path, data: bytes) -> tuple[list[Entry], int, bytes]:
    """Return entries, the length of their lines in bytes, and the torn tail."""
    try:
        entries, tail = read(data)
    except JournalError as error:
        raise JournalError(f"{path}: {error}") from error
    return list(entries), len(data) - len(tail), tail


def _opened(path: Path, flags: int, fds: ExitStack) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    fds.callback(os.close, fd)
    return fd


def _read_all(fd: int) -> bytes:
    parts, offset = [], 0
    while part := os.pread(fd, 1 << 20, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
