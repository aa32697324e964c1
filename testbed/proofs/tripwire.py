"""A way to the API server on which a trap can be laid: the write of one object, just before or just after its effect.

When the write comes, whoever waits for the trap is told; what was to follow never comes: before the effect the request
is not sent on, after it the answer is not sent back. Everything else passes, and writes that had an effect are counted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web

from testbed.api import Testbed

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_OWN = "/namespaces/meshguard-system/"
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive"}
_START_S = 10


class Tripwire:
    """The proxy, in a thread of its own; use it as a context manager."""

    def __init__(self, testbed: Testbed, kubeconfig: Path) -> None:
        """`kubeconfig` is written: the testbed's own, by way of this proxy."""
        self._config = json.loads(testbed.kubeconfig.read_text())
        self._kubeconfig = kubeconfig
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._trap: tuple[str, bool] | None = None
        self._dead = asyncio.Event()
        self.sprung = threading.Event()
        self.effects: Counter[str] = Counter()
        """Writes that had an effect, by path; our own records do not count."""

    def __enter__(self) -> Tripwire:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(_START_S)
        (cluster,) = self._config["clusters"]
        through = {**cluster, "cluster": {"server": f"http://127.0.0.1:{port}"}}
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(json.dumps({**self._config, "clusters": [through]}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_S)

    def lay(self, path: str, *, before: bool) -> None:
        """Lay the trap at the next write to this path, and forget the counts."""
        self.sprung.clear()
        self.effects.clear()
        self._dead = asyncio.Event()
        self._trap = (path, before)

    def clear(self) -> None:
        """Let everything pass; requests that were held are dropped. Call it when whoever sent them is dead."""
        self._trap = None
        self._loop.call_soon_threadsafe(self._dead.set)

    async def _serve(self) -> int:
        (cluster,) = self._config["clusters"]
        self._server = cluster["cluster"]["server"]
        authority = _decoded(cluster["cluster"]["certificate-authority-data"])
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority), limit=0)
        self._client = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        writes = request.method in _WRITES and "dryRun" not in request.query and _OWN not in request.path
        caught = self._trap if writes and self._trap and self._trap[0] == request.path else None
        dead = self._dead
        if caught and caught[1]:
            await self._hold(dead)
        status, headers, body = await self._forward(request)
        if writes and status < 300 and "/apis/authorization.k8s.io/" not in request.path:
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

    async def _forward(self, request: web.Request) -> tuple[int, Mapping[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = await request.read()
        async with self._client.request(
            request.method, self._server + request.path_qs, headers=headers, data=body or None
        ) as answer:
            kept: dict[str, Any] = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            return answer.status, kept, await answer.read()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
