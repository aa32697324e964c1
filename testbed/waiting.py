"""Waiting for a condition, with a deadline and a sentence that says what was missing."""

from __future__ import annotations

import time
from collections.abc import Callable

from testbed.errors import TestbedError


def wait_until(
    condition: Callable[[], bool],
    deadline_seconds: float,
    what: str,
    interval_seconds: float = 0.1,
    detail: Callable[[], str] | None = None,
) -> None:
    """Poll a condition until it holds.

    Parameters:
        what: completes the sentence "waited ... s for".
        detail: asked when the deadline has passed; says what was seen last.

    Raises:
        TestbedError: the deadline passed.
    """
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() >= deadline:
            seen = f": {detail()}" if detail else ""
            raise TestbedError(f"waited {deadline_seconds:.0f} s in vain for {what}{seen}")
        time.sleep(interval_seconds)
