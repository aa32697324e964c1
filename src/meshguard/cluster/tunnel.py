"""WebSockets through the API server, for port-forwards. Frames of bytes and nothing else leave this module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from meshguard.cluster.answers import refusal
from meshguard.cluster.requests import Query, Requests
from meshguard.ports import ClusterError, Forbidden, NobodyThere, Unreachable

_LONGEST_FRAME = 4 * 1024 * 1024
_FAREWELL_S = 0.2
"""How long to wait for the other side's close frame; the port-forward is over either way."""


class Tunnel:
    """One open WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        """Send one binary frame. Raises Unreachable when the connection is gone."""
        try:
            await self._socket.send_bytes(frame)
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the tunnel broke: {error}") from error

    async def receive(self) -> bytes | None:
        """Return the next frame, None when the other side has closed. Raises Unreachable on a broken connection."""
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data).encode()
        if message.type is aiohttp.WSMsgType.ERROR:
            raise Unreachable(f"the tunnel broke: {message.data}")
        return None


@asynccontextmanager
async def open_tunnel(requests: Requests, path: str, query: Query, protocols: Sequence[str]) -> AsyncIterator[Tunnel]:
    """Open a WebSocket at `path`. The caller sets the deadline.

    Raises Unreachable (NobodyThere where a kubelet could not be dialled), Forbidden, Gone or Rejected.
    """
    seen = requests.renewals
    try:
        socket = await _connect(requests, path, query, protocols)
    except aiohttp.WSServerHandshakeError as error:
        if error.status != 401:
            raise _refused(error, path) from error
        await requests.renew(seen)
        try:
            socket = await _connect(requests, path, query, protocols)
        except aiohttp.WSServerHandshakeError as again:
            raise _refused(again, path) from again
    try:
        yield Tunnel(socket)
    finally:
        await socket.close()


async def _connect(
    requests: Requests, path: str, query: Query, protocols: Sequence[str]
) -> aiohttp.ClientWebSocketResponse[bool]:
    rest = requests.client.rest_client
    if rest.pool_manager is None:
        rest.pool_manager = rest._create_pool_manager()
    requests.sent += 1
    try:
        socket: aiohttp.ClientWebSocketResponse[bool] = await rest.pool_manager.ws_connect(
            requests.server.replace("http", "ws", 1) + path,
            params=list(query),
            headers=await requests.headers(),
            protocols=tuple(protocols),
            proxy=rest.proxy,
            server_hostname=requests.client.configuration.tls_server_name,
            max_msg_size=_LONGEST_FRAME,
            timeout=aiohttp.ClientWSTimeout(ws_close=_FAREWELL_S),
        )
    except aiohttp.WSServerHandshakeError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"no tunnel to {path}: {error}") from error
    return socket


def _refused(error: aiohttp.WSServerHandshakeError, path: str) -> ClusterError:
    sentence = f"no tunnel to {path}: HTTP {error.status}"
    if error.status == 403:
        return Forbidden(f"{sentence}; port-forwards need the rights to get and to create pods/portforward")
    if error.status == 500:  # "error dialing backend", "no preferred addresses found": a silent kubelet gives no answer
        return NobodyThere(sentence)
    if error.status >= 500 or error.status == 429:
        return Unreachable(sentence)
    return refusal(error.status, sentence)
