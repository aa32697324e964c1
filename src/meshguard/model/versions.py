"""Versions as images and control planes carry them."""

from __future__ import annotations

import re

_RELEASE = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+.].*)?")


def release(text: str) -> tuple[int, int, int] | None:
    """Return major, minor and patch of a tag like `1.28.3-distroless`; None for one that is no version."""
    match = _RELEASE.fullmatch(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
