"""Reserve room on the disk, so that "disk full" is found before the first change and not in the middle of a run."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE: the blocks belong to the file, its length stays; the journal remains plain lines."""

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)


def reserve(fd: int, size: int) -> None:
    """Give the open file `size` bytes of room, counted from its beginning, without changing its length.

    Where the system cannot promise room, it is only proved that the room is there now. Raises OSError (ENOSPC).
    """
    if not _allocate(fd, size):
        _prove_room(fd, size)


def _allocate(fd: int, size: int) -> bool:
    """Allocate blocks; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    offset = ctypes.c_int64
    if libc.fallocate(fd, _KEEP_SIZE, offset(0), offset(size)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code))


def _prove_room(fd: int, size: int) -> None:
    length = os.fstat(fd).st_size
    try:
        written = length
        while written < size:
            written += os.write(fd, bytes(min(size - written, 1 << 20)))
        os.fsync(fd)
    finally:
        os.ftruncate(fd, length)
