"""What answers inside the pods of a simulated cluster, for whoever brings a model of them.

The simulated API server knows no mesh. A request that a client sends into a pod (a port-forward, the proxy of a pod or
of a service) is handed to what is registered here, and goes back as it is said. A model registers itself once:

    cluster.ports.register(fleet)          # fleet.responder(pod, 15000) answers as the pod's Envoy does
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

Pod = Mapping[str, Any]
"""A pod as the API server has it at this moment, status included. Not to be changed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An HTTP request that has arrived at a port of a pod."""

    method: str
    path: str
    """Without the query."""
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By their names in lower case."""
    body: bytes = b""

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters; of one that is given twice the last counts."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Said:
    """The answer to it."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"


Responder = Callable[[Asked], Awaitable[Said]]
"""Answers what arrives at one port of one pod; it may take its time by the simulator's clock.

ConnectionResetError breaks the connection without an answer, as a process that dies does.
"""


class Listeners(Protocol):
    """A model of what runs inside pods."""

    def responder(self, pod: Pod, port: int) -> Responder | None:
        """Return who listens on a TCP port of a pod; None when this model knows of nobody.

        Asked anew for every connection, so it may change its mind.
        """
        ...


class Ports:
    """The ports of all pods: each is answered by the first model that knows it."""

    def __init__(self) -> None:
        self._models: list[Listeners] = []

    def register(self, model: Listeners) -> None:
        """Add a model, after those that are here."""
        self._models.append(model)

    def responder(self, pod: Pod, port: int) -> Responder | None:
        """Return who listens; None means that the connection is refused."""
        found = (model.responder(pod, port) for model in self._models)
        return next((responder for responder in found if responder is not None), None)
