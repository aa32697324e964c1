"""The clock of a flight simulator, read over HTTP: time as it passes there, not on this machine.

A kubeconfig names it in an extension of its context (`meshguard.dev/clock: {url}`); the composition root chooses.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

EXTENSION = "meshguard.dev/clock"
_ANSWER_S = 2.0
_LOOK_S = 0.2
"""How long to wait before asking again, when the clock does not answer a wait."""


@dataclass(frozen=True, slots=True)
class _Reading:
    now: float
    wall: datetime
    rate: float
    """Simulated seconds per second; 0 while it is paused."""
    mark: float
    """When it was read, by this machine's monotonic clock."""

    def passed(self) -> float:
        """Simulated seconds since then, if nobody has touched the clock."""
        return (time.monotonic() - self.mark) * self.rate


class SimulatedClock:
    """Implements the Clock port.

    `skips`: whoever waits moves the clock on to what is due next, instead of waiting; that is for waits that nothing
    else depends on. A clock that stops answering is taken to run on as it did: a run must still be able to write down
    that its cluster has gone.
    """

    def __init__(self, url: str, *, skips: bool = False) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{url!r} is no URL of a simulator's clock")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path
        self._skips = skips
        self._last = _Reading(0.0, datetime.fromisoformat("1970-01-01T00:00:00+00:00"), 1.0, time.monotonic())

    def now(self) -> float:
        """Seconds on a monotonic scale."""
        self._look()
        return self._last.now + self._last.passed()

    def wall(self) -> str:
        """The time of day there, RFC 3339 in UTC with milliseconds."""
        self._look()
        moment = self._last.wall + timedelta(seconds=self._last.passed())
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed there."""
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            verb = "skip" if self._skips else "sleep"
            try:
                self._keep(await self._wait(f"{verb}?seconds={left}"))
            except (OSError, ValueError, asyncio.IncompleteReadError):
                await asyncio.sleep(_LOOK_S)

    def _look(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER_S)
        try:
            connection.request("GET", self._path)
            self._keep(json.loads(connection.getresponse().read()))
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            pass  # it runs on as it did
        finally:
            connection.close()

    def _keep(self, told: Mapping[str, Any]) -> None:
        rate = 0.0 if told["paused"] else float(told["speed"])
        self._last = _Reading(float(told["now"]), datetime.fromisoformat(told["wall"]), rate, time.monotonic())

    async def _wait(self, verb: str) -> Mapping[str, Any]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            head = f"POST {self._path}/{verb} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode("ascii"))
            answer = await reader.read()
        finally:
            writer.close()
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
        if not isinstance(told, dict) or "now" not in told:
            raise ValueError("not the answer of a clock")
        return told
