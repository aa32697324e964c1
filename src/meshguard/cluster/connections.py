"""The TCP connections to one API server, so that closing means closed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import weakref
from contextlib import suppress

import aiohttp
from aiohttp import AddrInfoType

_FAREWELL_S = 1.0


class Connections:
    """Makes the sockets of a client and ends them.

    A TLS connection that is closed politely waits for the other side's goodbye, up to 30 s; a program that ends
    meanwhile leaves it open. Every tunnel to a proxy is such a connection.
    """

    def __init__(self, tls: ssl.SSLContext, most: int) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.connector = aiohttp.TCPConnector(limit=most, ssl=tls, socket_factory=self._make)

    def _make(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    def _open(self) -> list[socket.socket]:
        return [made for made in self._sockets if made.fileno() >= 0]

    async def close(self) -> None:
        """End all connections at once and wait until the event loop has let go of them."""
        await self.connector.close()
        for made in self._open():
            with suppress(OSError):  # not connected yet, or not any more
                made.shutdown(socket.SHUT_RDWR)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._all_gone()

    async def _all_gone(self) -> None:
        while self._open():  # noqa: ASYNC110 - the event loop tells nobody when it lets go of a socket
            await asyncio.sleep(0)
