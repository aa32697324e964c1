"""A byte stream to a port of a pod, through the API server.

Envoy's admin port is open to the pod itself only. A port-forward reaches it from the kubelet's side; `exec` of a
client in the sidecar would start a process in a cgroup that, in the incidents this tool is for, is near its memory
limit: looking at the proxy could then kill it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from meshguard.model.objects import Ref
from meshguard.ports import ClusterError

SUBPROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1


class Frames(Protocol):
    """An open WebSocket, reduced to binary frames."""

    async def send(self, frame: bytes) -> None:
        """Send one frame."""
        ...

    async def receive(self) -> bytes | None:
        """Return the next frame, None after the other side has closed."""
        ...


class Tunnels(Protocol):
    """Whoever can open WebSockets through the API server."""

    def tunnel(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AbstractAsyncContextManager[Frames]:
        """Open a WebSocket at an API path. Raises ClusterError."""
        ...


class PortForwardError(Exception):
    """The kubelet could not reach the port, or does not speak the protocol."""


class NobodyListens(PortForwardError):
    """The kubelet was told by the pod's own network that the port is closed."""


class PortStream:
    """The bytes of one TCP connection to the pod.

    Every frame begins with the number of its channel: 0 for data, 1 for errors. The first frame of each channel
    carries the port's number and no data.
    """

    def __init__(self, frames: Frames, port: int) -> None:
        self._frames, self._port = frames, port
        self._greeted: set[int] = set()

    async def write(self, data: bytes) -> None:
        """Send bytes to the port. Raises PortForwardError with the kubelet's reason, or ClusterError."""
        try:
            await self._frames.send(bytes([_DATA]) + data)
        except ClusterError:
            # Nobody listens on the port: the kubelet has said so and hung up before we could speak.
            await self.read()
            raise

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end of the stream. Raises PortForwardError."""
        while (frame := await self._frames.receive()) is not None:
            if not frame:
                continue
            channel, payload = frame[0], frame[1:]
            if channel not in (_DATA, _ERROR):
                raise PortForwardError(f"frame on channel {channel}, which a port-forward does not have")
            if channel not in self._greeted:
                self._greeted.add(channel)
                payload = payload[2:]
            if channel == _ERROR and payload:
                words = payload.decode(errors="replace").strip()
                if "connection refused" in words:
                    raise NobodyListens(f"nothing listens on port {self._port} of the pod")
                raise PortForwardError(words)
            if payload:
                return payload
        return b""


@asynccontextmanager
async def port_stream(tunnels: Tunnels, pod: Ref, port: int) -> AsyncIterator[PortStream]:
    """Connect to a TCP port of a pod, as its own loopback does. Raises ClusterError."""
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/portforward"
    async with tunnels.tunnel(path, [("ports", str(port))], [SUBPROTOCOL]) as frames:
        yield PortStream(frames, port)
