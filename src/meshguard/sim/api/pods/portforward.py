"""Port-forwards by WebSocket, as the kubelet's server speaks them.

Each port has two channels, data and errors; every frame begins with the number of its channel, and the first frame of
each carries the port. Source: `k8s.io/cri-streaming/pkg/streaming/portforward/websocket.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import parse_qsl

from meshguard.sim.api.pods.http1 import converse
from meshguard.sim.api.status import ApiError, bad_request
from meshguard.sim.pods import Asked, Responder, Said

SUBPROTOCOL = "v4.channel.k8s.io"
_LONGEST_FRAME = 32 * 1024
"""The kubelet copies in pieces of this size."""


class Socket(Protocol):
    """An accepted WebSocket, reduced to binary frames."""

    async def send(self, frame: bytes) -> None:
        """Send a frame. Raises ConnectionError when the client has gone."""
        ...

    def frames(self) -> AsyncIterator[bytes]:
        """The client's frames, until it closes."""
        ...


Tunnel = Callable[[Socket], Awaitable[None]]
"""Speaks over a WebSocket until one side ends."""


def ports_of(query_string: str) -> list[int]:
    """The ports that a request names. Raises ApiError (400)."""
    named = [value for name, value in parse_qsl(query_string, keep_blank_values=True) if name == "ports"]
    if not named:
        raise bad_request('query parameter "ports" is required')
    ports = []
    for text in ",".join(named).split(","):
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise bad_request(f'unable to parse "{text}" as a port')
        ports.append(int(text))
    return ports


def check_protocol(headers: dict[str, str]) -> None:
    """Whether the client asks for what is spoken here. Raises ApiError (400)."""
    if headers.get("upgrade", "").lower() != "websocket":
        raise ApiError(400, "BadRequest", "Upgrade request required")
    wanted = [word.strip() for word in headers.get("sec-websocket-protocol", "").split(",")]
    if SUBPROTOCOL not in wanted:
        words = f"the flight simulator forwards ports by {SUBPROTOCOL} only, not by {', '.join(filter(None, wanted))}"
        raise bad_request(words)


Connect = Callable[[int], Responder | None]
"""Whoever listens on a port of the pod."""


def tunnel(pod: str, ports: Sequence[int], connect: Connect) -> Tunnel:
    """Return what forwards these ports of a pod; `pod` is its name for error messages."""

    async def speak(socket: Socket) -> None:
        pipes: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in ports]
        incoming = asyncio.create_task(_distribute(socket, pipes))
        forwards = [
            _forward(socket, number * 2, port, pod, connect, pipe)
            for number, (port, pipe) in enumerate(zip(ports, pipes, strict=True))
        ]
        outgoing = asyncio.gather(*forwards)
        either: list[asyncio.Future[Any]] = [incoming, outgoing]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            incoming.cancel()
            outgoing.cancel()
            await asyncio.gather(*either, return_exceptions=True)

    return speak


async def _distribute(socket: Socket, pipes: Sequence[asyncio.Queue[bytes]]) -> None:
    async for frame in socket.frames():
        channel, port = (frame[0] % 2, frame[0] // 2) if frame else (1, 0)
        if channel == 0 and port < len(pipes) and len(frame) > 1:
            pipes[port].put_nowait(frame[1:])


async def _forward(
    socket: Socket, channel: int, port: int, pod: str, connect: Connect, pipe: asyncio.Queue[bytes]
) -> None:
    async def write(data: bytes) -> None:
        for at in range(0, len(data), _LONGEST_FRAME):
            await socket.send(bytes([channel]) + data[at : at + _LONGEST_FRAME])

    with suppress(ConnectionError):  # the client has gone, or the pod
        for greeted in (channel, channel + 1):
            await socket.send(bytes([greeted]) + port.to_bytes(2, "little"))
        respond = connect(port)
        if respond is None:
            words = (
                f"error forwarding port {port} to pod {pod}: dial tcp4 127.0.0.1:{port}: connect: connection refused"
            )
            await socket.send(bytes([channel + 1]) + words.encode())
            return
        await converse(pipe.get, write, respond)


def as_long_as(alive: Callable[[], bool], respond: Responder) -> Responder:
    """A responder that breaks off once its pod is not there any more."""

    async def answer(asked: Asked) -> Said:
        if not alive():
            raise ConnectionResetError("the pod has gone")
        said = await respond(asked)
        if not alive():
            raise ConnectionResetError("the pod has gone")
        return said

    return answer
