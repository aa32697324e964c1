"""Runs our coroutines inside Chaos Toolkit, whose own signal handlers must be there again afterwards."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_OURS = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end."""
    with _handlers_kept():
        return asyncio.run(work)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """An event loop puts the default handlers back where it has installed some, not those that were there."""
    if not is_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _OURS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_main_thread() -> bool:
    """Only the main thread hears of signals; activities in the background run in others."""
    return threading.current_thread() is threading.main_thread()
