"""Keeps every container's log to its end: the kubelet deletes the logs of dead pods and of old restarts.

A hard link is made to each log file as soon as it appears. It shares the file itself, so it has every line that is
written later, and it stays when the kubelet removes its own name for it. Kept as
``NAMESPACE_POD_UID/CONTAINER/RESTART.log``, the kubelet's own layout.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
from pathlib import Path

_IN_CREATE = 0x100
_IN_MOVED_TO = 0x80
_IN_ONLYDIR = 0x1000000
_FULL_SWEEP_MILLISECONDS = 1000


class LogKeeper:
    """Links new files below one folder into another on the same file system."""

    def __init__(self, source: Path, kept: Path) -> None:
        self._source = source
        self._kept = kept
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        # a kept link holds its inode, so a number can mean no other file later
        self._known = {file.stat().st_ino for file in kept.rglob("*") if file.is_file()}
        self._watched: set[str] = set()

    def run(self) -> None:
        """Keep logs until killed."""
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        while True:
            self.sweep()
            if poll.poll(_FULL_SWEEP_MILLISECONDS):
                os.read(self._inotify, 65536)  # what happened matters not: the sweep looks at everything

    def sweep(self) -> None:
        """Watch every folder, and link every file that has no link yet."""
        present = {str(self._source)}
        self._watch(self._source)
        for pod in _folders(self._source):
            for container in _folders(pod):
                present |= {pod.path, container.path}
                self._watch(Path(pod.path))
                self._watch(Path(container.path))
                self._link_files(container)
        self._watched &= present

    def _watch(self, folder: Path) -> None:
        if str(folder) in self._watched:
            return
        mask = _IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR
        if self._libc.inotify_add_watch(self._inotify, os.fsencode(folder), mask) >= 0:
            self._watched.add(str(folder))

    def _link_files(self, container: os.DirEntry[str]) -> None:
        for file in _entries(container):
            if not file.name.endswith((".gz", ".tmp")):  # the kubelet's compressed copies of what is kept already
                try:
                    self._link(file, self._kept / Path(file.path).relative_to(self._source))
                except FileNotFoundError:
                    continue  # removed between the listing and now; a sweep has seen it unless it lived a moment

    def _link(self, file: os.DirEntry[str], target: Path) -> None:
        inode = file.inode()
        if inode in self._known:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        name, number = target, 1
        while name.exists():  # rotated: the same name, another file
            number += 1
            name = target.with_name(f"{target.name}.{number}")
        os.link(file.path, name, follow_symlinks=False)
        self._known.add(inode)


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _folders(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


if __name__ == "__main__":
    LogKeeper(Path(sys.argv[1]), Path(sys.argv[2])).run()
