"""Kubernetes' way of writing amounts: `500m`, `1Gi`, and `25%` of something."""

from __future__ import annotations

import re

_SUFFIXES = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[a-zA-Z]{0,2})")


def amount(quantity: str | int | float) -> float:
    """Read a resource quantity, in cores, bytes or pieces. Raises ValueError for what is none."""
    match = _QUANTITY.fullmatch(str(quantity).strip())
    if match is None or match["suffix"] not in _SUFFIXES:
        raise ValueError(f"not a quantity: {quantity!r}")
    return float(match["number"]) * _SUFFIXES[match["suffix"]]


def rounded(value: str | int, of: int, *, up: bool) -> int:
    """Read a count, or a percentage of `of`, which Kubernetes rounds up for surge and down for what may be missing."""
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    share = int(text[:-1]) * of
    return -(-share // 100) if up else share // 100


def in_words(bytes_: float) -> str:
    """`1.5 GiB`, `320 MiB`: an amount of memory for a person."""
    return f"{bytes_ / 2**30:.1f} GiB" if abs(bytes_) >= 2**30 else f"{bytes_ / 2**20:.0f} MiB"
