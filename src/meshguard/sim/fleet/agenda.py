"""What is to happen, in order of its time; what is due at the same time happens in the order in which it was put."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class InThePast(Exception):
    """Somebody wanted something to happen before now: a defect of the model."""


class Agenda:
    """Simulated time and its events. Seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done = 0
        self._due: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def at(self, when: float, action: Action) -> None:
        """Let something happen at a time. Raises InThePast."""
        if when < self.now:
            raise InThePast(f"an event at {when:.3f} s was put at {self.now:.3f} s")
        heapq.heappush(self._due, (when, next(self._numbers), action))

    def later(self, seconds: float, action: Action) -> None:
        """Let something happen after a time. Raises InThePast."""
        self.at(self.now + seconds, action)

    def run_until(self, end: float) -> None:
        """Let everything happen that is due by then; it is that time afterwards. Raises InThePast."""
        if end < self.now:
            raise InThePast(f"time cannot go back from {self.now:.3f} s to {end:.3f} s")
        while self._due and self._due[0][0] <= end:
            self.now, _, action = heapq.heappop(self._due)
            self.done += 1
            action()
        self.now = end
