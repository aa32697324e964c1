"""A way to the API server that a proof can put itself in: the requests of whoever uses its kubeconfig pass here."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from testbed.api import Testbed

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive"}
_HOST, _START_S = "127.0.0.1", 10

Told = tuple[int, Mapping[str, str], bytes]
"""What the API server answered: status, headers, body."""


class ApiProxy(ABC):
    """The proxy, in a thread of its own; use it as a context manager. Who inherits says what becomes of a request."""

    def __init__(self, testbed: Testbed, kubeconfig: Path) -> None:
        """`kubeconfig` is written: the testbed's own, by way of this proxy."""
        self._config = json.loads(testbed.kubeconfig.read_text())
        self._kubeconfig = kubeconfig
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self.loop).result(_START_S)
        (cluster,) = self._config["clusters"]
        through = {**cluster, "cluster": {"server": f"http://{_HOST}:{self._port}"}}
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(json.dumps({**self._config, "clusters": [through]}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(_START_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_START_S)

    @abstractmethod
    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, by `forward` or otherwise."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self.handle(request)
        except (ConnectionResetError, aiohttp.ClientConnectionError):
            return web.Response(status=502)  # who asked is gone, or the API server is

    async def listen(self) -> None:
        """Take connections, at the same port as before if there was one."""
        self._site = web.TCPSite(self._runner, _HOST, self._port)
        await self._site.start()
        self._port = int(self._runner.addresses[0][1])

    async def refuse_connections(self) -> None:
        """Take no new connections until `listen`."""
        await self._site.stop()

    async def forward(self, request: web.Request, path_qs: str = "") -> Told:
        """Ask the API server and return what it answers."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = await request.read()
        async with self._client.request(
            request.method, self._server + (path_qs or request.path_qs), headers=headers, data=body or None
        ) as answer:
            kept: dict[str, Any] = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            return answer.status, kept, await answer.read()

    async def _serve(self) -> None:
        (cluster,) = self._config["clusters"]
        self._server = cluster["cluster"]["server"]
        authority = base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority), limit=0)
        self._client = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        await self.listen()

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._client.close()


def writes(request: web.Request) -> bool:
    """Whether the request would change something; dry runs and reviews do not."""
    harmless = "dryRun" in request.query or "/apis/authorization.k8s.io/" in request.path
    return request.method in _WRITES and not harmless
