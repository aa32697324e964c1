"""Port-forwards whose other end is a table: what a pod answers on a path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from meshguard.ports import Unreachable
from meshguard.signals.portforward import Frames

_GREETINGS = (b"\x00\x98\x3a", b"\x01\x98\x3a")
Answer = str | Callable[[], str]


class _Pipe:
    def __init__(self, pages: Mapping[str, Answer]) -> None:
        self._pages, self._waiting = pages, list(_GREETINGS)

    async def send(self, frame: bytes) -> None:
        path = frame[1:].split(b" ", 2)[1].decode()
        page = next((page for prefix, page in self._pages.items() if path.startswith(prefix)), None)
        status = "404 Not Found" if page is None else "200 OK"
        body = (page() if callable(page) else page or "").encode()
        self._waiting.append(b"\x00" + f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)

    async def receive(self) -> bytes | None:
        return self._waiting.pop(0) if self._waiting else None


class FakeTunnels:
    """Implements `signals.portforward.Tunnels`; a pod without pages cannot be reached."""

    def __init__(self, pages: Mapping[str, Mapping[str, Answer]]) -> None:
        """`pages` are by pod name, then by the beginning of the path."""
        self.pages = dict(pages)
        self.opened = 0

    def tunnel(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AbstractAsyncContextManager[Frames]:
        return self._tunnel(path.split("/")[-2])

    @asynccontextmanager
    async def _tunnel(self, pod: str) -> AsyncIterator[Frames]:
        if pod not in self.pages:
            raise Unreachable(f"no tunnel to {pod}")
        self.opened += 1
        yield _Pipe(self.pages[pod])
