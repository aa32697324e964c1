"""HTTP/1.1 as a pod speaks it on a forwarded port: requests one after the other, each answered in full."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from meshguard.sim.pods import Asked, Responder, Said

Read = Callable[[], Awaitable[bytes]]
"""The next bytes, b"" at the end."""
Write = Callable[[bytes], Awaitable[None]]

_LONGEST_HEAD = 64 * 1024


class NotHttp(Exception):
    """What arrived is no HTTP request."""


async def converse(read: Read, write: Write, respond: Responder) -> None:
    """Answer requests until the client ends, or asks for the end. Raises ConnectionError when the pod breaks off."""
    requests = _Requests(read)
    while True:
        try:
            asked = await requests.next()
        except NotHttp:
            await write(_text(Said(b"", 400, "text/plain"), close=True))
            return
        if asked is None:
            return
        close = asked.headers.get("connection", "").lower() == "close"
        await write(_text(await respond(asked), close=close))
        if close:
            return


class _Requests:
    def __init__(self, read: Read) -> None:
        self._read, self._buffer = read, bytearray()

    async def next(self) -> Asked | None:
        """Raises NotHttp."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                raise NotHttp
            if not await self._more():
                return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        match first.split(" "):
            case [method, address, protocol] if protocol.startswith("HTTP/1."):
                url = urlsplit(address)
            case _:
                raise NotHttp
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise NotHttp
        while len(self._buffer) < int(length):
            if not await self._more():
                return None
        body = bytes(self._buffer[: int(length)])
        del self._buffer[: int(length)]
        return Asked(method, url.path, url.query, headers, body)

    async def _more(self) -> bool:
        data = await self._read()
        self._buffer += data
        return bool(data)


def _text(said: Said, *, close: bool) -> bytes:
    reason = HTTPStatus(said.status).phrase if said.status in HTTPStatus._value2member_map_ else ""
    lines = [f"HTTP/1.1 {said.status} {reason}", f"content-type: {said.content_type}"]
    lines.append(f"content-length: {len(said.body)}")
    if close:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + said.body
