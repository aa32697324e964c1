"""How many proxies are asked at a time: all that are allowed, and fewer while nobody has the time to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

#: However starved everything is, so many are asked together: a few that hang must not stop the others.
FEWEST = 2


class Turns:
    """Turns for questions with a deadline.

    Where nodes are short of CPU, many questions at a time slow each other down until none is answered within its
    deadline, and asking again changes nothing. So when a whole deadline has passed without a single answer, half as
    many are asked at a time; every answer lets one more in. Proxies that hang while others answer change nothing.
    """

    def __init__(self, most: int, deadline_s: float, now: Callable[[], float]) -> None:
        self._most, self._deadline_s, self._now = most, deadline_s, now
        self._limit, self._busy = most, 0
        self._moved = now()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and take it."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._busy < self._limit)
            self._busy += 1
        try:
            yield
        finally:
            async with self._freed:
                self._busy -= 1
                self._freed.notify(max(1, self._limit - self._busy))  # to wake all for each turn would be in vain

    def answered(self) -> None:
        """Somebody answered in time."""
        self._moved, self._limit = self._now(), min(self._most, self._limit + 1)

    def late(self) -> None:
        """Somebody did not."""
        if self._now() - self._moved >= self._deadline_s:
            self._moved, self._limit = self._now(), max(FEWEST, self._limit // 2)
