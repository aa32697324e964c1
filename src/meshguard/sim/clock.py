"""The simulator's clock: it has a speed of its own, stands still when paused, and can be moved on to the next event."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

Action = Callable[[], None]


class SimClock:
    """Implements the Clock port, and calls back at given times.

    `speed` is simulated seconds per second of the machine, `began` the time of day at which it begins, else now.
    """

    def __init__(self, speed: float = 1.0, began: datetime | None = None) -> None:
        self._speed, self._paused = speed, False
        self._began = began or datetime.now(UTC)
        self._base, self._mark = 0.0, time.monotonic()
        self._due: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._changed = asyncio.Event()
        self._runs = asyncio.Event()
        self._runs.set()
        self.busy: list[Callable[[], bool]] = []
        """Whoever still has to do something at this moment before the clock may be moved on."""

    @property
    def speed(self) -> float:
        """Simulated seconds per second of the machine."""
        return self._speed

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._paused

    def now(self) -> float:
        """Seconds on a monotonic scale."""
        if self._paused:
            return self._base
        return self._base + (time.monotonic() - self._mark) * self._speed

    def wall(self) -> str:
        """The time of day, RFC 3339 in UTC with milliseconds."""
        moment = self._began + timedelta(seconds=self.now())
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def sleep(self, seconds: float) -> None:
        """Wait; while the clock is paused it does not pass."""
        over = asyncio.Event()
        self.call_at(self.now() + seconds, over.set)
        await over.wait()

    async def skip(self, seconds: float) -> None:
        """Let time pass by moving on to whatever is due next, and from there on; not while the clock is paused."""
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            await self._runs.wait()
            if not any(busy() for busy in self.busy):
                self.advance_to_next(left)
                self.run_due()
            await asyncio.sleep(0)

    def call_at(self, when: float, action: Action) -> None:
        """Do something at a time; what is due already is done as soon as the clock runs."""
        heapq.heappush(self._due, (when, next(self._numbers), action))
        self._changed.set()

    def call_later(self, seconds: float, action: Action) -> None:
        """Do something after a time."""
        self.call_at(self.now() + seconds, action)

    def set(self, *, speed: float | None = None, paused: bool | None = None) -> None:
        """Change the speed, stop, go on."""
        self._base, self._mark = self.now(), time.monotonic()
        self._speed = self._speed if speed is None else speed
        self._paused = self._paused if paused is None else paused
        self._runs.clear() if self._paused else self._runs.set()
        self._changed.set()

    def advance(self, seconds: float) -> None:
        """Move on at once."""
        self._base, self._mark = self.now() + seconds, time.monotonic()
        self._changed.set()

    def advance_to_next(self, most: float) -> float:
        """Move on to the next thing that is due, but no further than `most` seconds; return how far."""
        upcoming = self._due[0][0] - self.now() if self._due else most
        step = max(0.0, min(upcoming, most))
        self.advance(step)
        return step

    def run_due(self) -> int:
        """Do what is due and return how much that was."""
        done = 0
        while self._due and self._due[0][0] <= self.now():
            heapq.heappop(self._due)[2]()
            done += 1
        return done

    async def run(self) -> None:
        """Do everything when it is due, until cancelled."""
        while True:
            self._changed.clear()
            self.run_due()
            if not self._due or self._paused:
                await self._changed.wait()
                continue
            wait = max(0.0, (self._due[0][0] - self.now()) / self._speed)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
