"""The HTTP side: from aiohttp's request to ours and back. Nothing is decided here."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from meshguard.sim.api.api import Api
from meshguard.sim.api.faults import Break, Fate, Trouble
from meshguard.sim.api.identity import User
from meshguard.sim.api.pods.portforward import SUBPROTOCOL, Tunnel
from meshguard.sim.api.requests import LARGEST_BODY, Request
from meshguard.sim.api.responses import Response, error
from meshguard.sim.api.status import unauthorized

_FAREWELL_S = 0.2
"""How long to wait for the client's own close."""
Authenticate = Callable[[web.Request], User | None]


class HttpFront:
    """Serves an Api over HTTP."""

    def __init__(self, api: Api, authenticate: Authenticate, trouble: Trouble | None = None) -> None:
        self._api, self._authenticate, self._trouble = api, authenticate, trouble or Trouble()

    def application(self) -> web.Application:
        """The application for aiohttp."""
        application = web.Application(client_max_size=LARGEST_BODY + 1024)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        fate = self._trouble.fate(incoming.method, incoming.path_qs)
        if fate.wait_s:
            await asyncio.sleep(fate.wait_s)
        if fate.breaks is Break.BEFORE:
            return _broken(incoming)
        if fate.refusal and not fate.carried_out:
            return _whole(error(fate.refusal))
        answer = await self._answer(incoming, fate)
        if fate.breaks is Break.AFTER:
            return _broken(incoming)
        return _whole(error(fate.refusal)) if fate.refusal else answer

    async def _answer(self, incoming: web.Request, fate: Fate) -> web.StreamResponse:
        user = self._authenticate(incoming)
        if user is None:
            return _whole(error(unauthorized()))
        try:
            body = await incoming.read()
        except web.HTTPRequestEntityTooLarge:
            body = b" " * (LARGEST_BODY + 1)
        headers = {name.lower(): value for name, value in incoming.headers.items()}
        speaks_for = [(k, v) for k, v in incoming.headers.items() if k.lower().startswith("impersonate-")]
        request = Request(incoming.method, incoming.path, incoming.query_string, headers, body, user, speaks_for)
        response = self._api.answer(request)
        if response.later is not None:
            response = await response.later()
        if response.upgrade is not None:
            return await _upgraded(incoming, response.upgrade)
        if response.stream is None:
            return _whole(response)
        stream = response.stream
        return await _stream(incoming, response, self._trouble.thinned(stream, fate.loses) if fate.loses else stream)


def _broken(incoming: web.Request) -> web.Response:
    """Close the connection; what is returned reaches nobody."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=500)


def _whole(response: Response) -> web.Response:
    answer = web.Response(status=response.status, body=response.body)
    answer.headers["Content-Type"] = response.content_type
    _head(answer, response)
    return answer


def _head(answer: web.StreamResponse, response: Response) -> None:
    answer.headers["Cache-Control"] = "no-cache, private"
    answer.headers.update(response.headers)
    for warning in response.warnings:
        answer.headers.add("Warning", warning_header(warning))


def warning_header(warning: str) -> str:
    """A warning as a header carries it."""
    text = warning.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{text}"'


async def _stream(incoming: web.Request, response: Response, stream: AsyncIterator[bytes]) -> web.StreamResponse:
    answer = web.StreamResponse(status=response.status)
    answer.headers["Content-Type"] = response.content_type
    _head(answer, response)
    await answer.prepare(incoming)
    try:
        async for chunk in stream:
            await answer.write(chunk)
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    return answer


class _Socket:
    """An accepted WebSocket; implements `portforward.Socket`."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        await self._socket.send_bytes(frame)

    async def frames(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                yield message.data


async def _upgraded(incoming: web.Request, tunnel: Tunnel) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), timeout=_FAREWELL_S)
    await socket.prepare(incoming)
    try:
        await tunnel(_Socket(socket))
    finally:
        await socket.close()
    return socket


@asynccontextmanager
async def serving(front: HttpFront, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen on a port of the loopback, a free one for 0, and yield it. Raises OSError when it is in use."""
    runner = web.AppRunner(front.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, backlog=1024)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
