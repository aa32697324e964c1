"""Kubernetes' quantities of memory. Source: Kubernetes docs, "Resource units"."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"(?P<number>[0-9.]+(?:[eE][0-9]+)?)(?P<suffix>[KMGTPE]i|[kMGTPEm]?)")
_FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, **{letter: 10.0 ** (3 * n) for n, letter in enumerate("MGTPE", 2)}}
_BINARY = {f"{letter}i": 1024.0**n for n, letter in enumerate("KMGTPE", 1)}


def in_bytes(quantity: str) -> float:
    """Read `512Mi`, `1G`, `134217728`. Raises ValueError for what is no quantity."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"not a quantity: {quantity!r}")
    return float(match["number"]) * (_FACTORS | _BINARY)[match["suffix"]]
