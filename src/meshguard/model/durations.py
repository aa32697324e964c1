"""Durations as people write them: `90s`, `10m`, `1h30m`."""

from __future__ import annotations

import re

_FORM = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds_of(text: str) -> float:
    """Return the seconds of a duration; 0 for "". Raises ValueError for what is none, or takes no time."""
    if not text:
        return 0.0
    match = _FORM.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 10m or 1h30m")
    return float(total)
