"""containerd's folder with all images loaded, kept in the cache: loading them anew takes longer than the whole rest.

The copies share their files with the original by hard links. That is safe, because containerd never writes to a file
of an image again: layers are the lower, read-only side of an overlay, and blobs are named by their content. Only its
databases are copied for real.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from testbed import versions
from testbed.paths import cache_root


def folder(archives: Sequence[Path]) -> Path:
    """Return where the store with just these images is, once kept."""
    parts = [versions.of_component("containerd"), *sorted(archive.name for archive in archives)]
    return cache_root() / "image-stores" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def keep(source: Path, store: Path) -> None:
    """Keep containerd's folder, and drop the stores of other images. containerd must not be running."""
    store.parent.mkdir(parents=True, exist_ok=True)
    partial = store.with_name(f".{store.name}-{os.getpid()}")
    copy(source, partial)
    for other in store.parent.iterdir():
        if other != partial:
            shutil.rmtree(other)
    partial.rename(store)


def copy(source: Path, target: Path) -> None:
    """Copy containerd's folder, by links wherever nobody will write."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link_unless_database)


def _link_unless_database(source: str, target: str) -> None:
    if source.endswith(".db"):
        shutil.copy2(source, target)
    else:
        os.link(source, target, follow_symlinks=False)
