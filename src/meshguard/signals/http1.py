"""As much HTTP/1.1 as an admin port needs: GET, one after the other, over a stream that is open already."""

from __future__ import annotations

from typing import Protocol


class ByteStream(Protocol):
    """A connection."""

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        ...


class HttpError(Exception):
    """The answer is not a 200, or not HTTP."""


class HttpConnection:
    """A keep-alive connection; the requests on it follow each other, so that a proxy is dialled only once."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.received = 0
        """Bytes read so far, headers included."""

    async def get(self, path: str) -> bytes:
        """GET a path and return the body. Raises HttpError for anything but a 200."""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: meshguard\r\n\r\n"
        await self._stream.write(request.encode("ascii"))
        status_line, *lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        protocol, _, rest = status_line.partition(" ")
        if not protocol.startswith("HTTP/1."):
            raise HttpError(f"not an HTTP answer: {status_line[:80]!r}")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await self._body(headers)
        if not rest.startswith("200"):
            raise HttpError(f"{rest}: {body[:200].decode(errors='replace').strip()}")
        return body

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks()
        if "content-length" in headers:
            return await self._exactly(int(headers["content-length"]))
        while await self._more():
            pass
        body, self._buffer = bytes(self._buffer), bytearray()
        return body

    async def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size_line = await self._until(b"\r\n")
            try:
                size = int(size_line.partition(b";")[0], 16)
            except ValueError:
                raise HttpError(f"not the size of a chunk: {size_line[:40]!r}") from None
            if size == 0:
                while await self._until(b"\r\n"):
                    pass
                return b"".join(parts)
            parts.append(await self._exactly(size))
            await self._exactly(2)

    async def _until(self, mark: bytes) -> bytes:
        searched = 0
        while (found := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            await self._more_or_fail()
        head = bytes(self._buffer[:found])
        del self._buffer[: found + len(mark)]
        return head

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more_or_fail()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _more(self) -> bool:
        data = await self._stream.read()
        self.received += len(data)
        self._buffer += data
        return bool(data)

    async def _more_or_fail(self) -> None:
        if not await self._more():
            raise HttpError("the connection ended in the middle of an answer")
