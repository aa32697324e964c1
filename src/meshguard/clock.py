"""The real clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class WallClock:
    """Time as it passes on this machine; implements the Clock port."""

    def now(self) -> float:
        """Seconds on a monotonic scale."""
        return time.monotonic()

    def wall(self) -> str:
        """The time of day, RFC 3339 in UTC with milliseconds."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
