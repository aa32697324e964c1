"""A way to the API server on which a trap can be laid: the write of one object, just before or just after its effect.

When the write comes, whoever waits for the trap is told; what was to follow never comes: before the effect the request
is not sent on, after it the answer is not sent back. Everything else passes, and writes that had an effect are counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

from aiohttp import web

from testbed.api import Testbed
from testbed.proofs.api_proxy import ApiProxy, writes

_OWN = "/namespaces/meshguard-system/"


class Tripwire(ApiProxy):
    """The proxy with the trap; use it as a context manager."""

    def __init__(self, testbed: Testbed, kubeconfig: Path) -> None:
        """`kubeconfig` is written: the testbed's own, by way of this proxy."""
        super().__init__(testbed, kubeconfig)
        self._trap: tuple[str, bool] | None = None
        self._dead = asyncio.Event()
        self.sprung = threading.Event()
        self.effects: Counter[str] = Counter()
        """Writes that had an effect, by path; our own records do not count."""

    def lay(self, path: str, *, before: bool) -> None:
        """Lay the trap at the next write to this path, and forget the counts."""
        self.sprung.clear()
        self.effects.clear()
        self._dead = asyncio.Event()
        self._trap = (path, before)

    def clear(self) -> None:
        """Let everything pass; requests that were held are dropped. Call it when whoever sent them is dead."""
        self._trap = None
        self.loop.call_soon_threadsafe(self._dead.set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass the request on, unless it is the one that the trap is for."""
        written = writes(request) and _OWN not in request.path
        caught = self._trap if written and self._trap and self._trap[0] == request.path else None
        dead = self._dead
        if caught and caught[1]:
            await self._hold(dead)
        status, headers, body = await self.forward(request)
        if written and status < 300:
            self.effects[request.path] += 1
        if caught:
            await self._hold(dead)
        return web.Response(status=status, headers=headers, body=body)

    async def _hold(self, dead: asyncio.Event) -> None:
        """Hold the request until its sender is dead, and drop it."""
        self._trap = None
        self.sprung.set()
        await dead.wait()
        raise web.HTTPServiceUnavailable
