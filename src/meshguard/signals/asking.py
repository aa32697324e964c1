"""One question to one port of a pod, within a deadline; silence is an answer that says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from meshguard.model.objects import Ref
from meshguard.ports import ClusterError
from meshguard.signals.http1 import HttpConnection, HttpError
from meshguard.signals.portforward import PortForwardError, Tunnels, port_stream

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Silence:
    """A pod that gave no usable answer."""

    reason: str


async def ask(
    tunnels: Tunnels, pod: Ref, port: int, path: str, read: Callable[[bytes], T], *, deadline_s: float
) -> T | Silence:
    """GET `path` from a port of the pod through a port-forward and read the body. Raises nothing: silence is told.

    `read` may raise ValueError for a body that is not what was expected.
    """
    try:
        async with asyncio.timeout(deadline_s), port_stream(tunnels, pod, port) as stream:
            return read(await HttpConnection(stream).get(path))
    except TimeoutError:
        return Silence(f"no answer within {deadline_s:.0f} s")
    except (ClusterError, PortForwardError, HttpError, ValueError) as error:
        return Silence(str(error))
