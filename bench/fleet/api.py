"""The plainest client of an API server: what anything cleverer is measured against."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

CLIENTS = 32
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Write:
    """One request that changes an object."""

    method: str
    path: str
    body: Any
    content_type: str = "application/json"


class Api(AbstractAsyncContextManager["Api"]):
    """Connections as the administrator; answers other than success are errors."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server = cluster["server"]
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}", "User-Agent": "bench"}
        self._tls = ssl.create_default_context(cadata=authority)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CLIENTS, ssl=self._tls)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, path: str, *, metadata: bool = False) -> Any:
        """Read a document; of a list with `metadata` nothing but that."""
        headers = {"Accept": METADATA_ONLY} if metadata else {}
        return json.loads(await self._send("GET", path, None, headers))

    async def write(self, write: Write) -> None:
        """Send one write."""
        body = json.dumps(write.body).encode()
        await self._send(write.method, write.path, body, {"Content-Type": write.content_type})

    async def write_all(self, writes: Iterable[Write]) -> None:
        """Send all, as many at a time as there are clients."""
        slots = asyncio.Semaphore(CLIENTS)

        async def one(write: Write) -> None:
            async with slots:
                await self.write(write)

        await asyncio.gather(*(one(write) for write in writes))

    async def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        assert self._session is not None
        async with self._session.request(method, self._server + path, data=body, headers=headers) as response:
            answer = await response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: HTTP {response.status}: {answer[:300]!r}")
        return answer
