"""Asks a simulated cluster as a client does, but without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.identity import SYSTEM, User
from meshguard.sim.api.requests import Request
from meshguard.sim.api.responses import Response
from meshguard.sim.clock import SimClock

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_BEGINNING = datetime(2026, 3, 1, 3, 0, 10, tzinfo=UTC)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
APPS, CORE = "/apis/apps/v1/namespaces/shop", "/api/v1/namespaces/shop"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    doc: Any
    response: Response

    @property
    def message(self) -> str:
        """The sentence of a refusal."""
        return str(self.doc["message"])


class Client:
    """A client of a new cluster with the namespace `shop`, whose clock stands still."""

    def __init__(self, *definitions: str) -> None:
        self.clock = SimClock(began=_BEGINNING)
        self.clock.set(paused=True)
        self.cluster = SimulatedCluster(self.clock)
        self.cluster.seed(*definitions)
        self.user: User = SYSTEM
        self.post("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        self.cluster.work.settle()

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "",
        **query: str,
    ) -> Answer:
        """Ask; query parameters by their names, a trailing underscore is left out."""
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers: Mapping[str, str] = {"content-type": kind, "accept": accept, "user-agent": "test/1"}
        string = urlencode({name.rstrip("_"): value for name, value in query.items()})
        response = self.cluster.api.answer(Request(method, path, string, headers, text, self.user))
        is_json = response.stream is None and response.content_type.startswith("application/json")
        return Answer(response.status, json.loads(response.body) if is_json else None, response)

    def pass_time(self, seconds: float, step_s: float = 0.5) -> None:
        """Let the simulated time pass, in small steps."""
        self.cluster.work.settle()
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.clock.advance(step_s)
            self.cluster.work.settle()

    def get(self, path: str, **options: str) -> Answer:
        """GET."""
        return self("GET", path, **options)

    def post(self, path: str, body: Any, **options: str) -> Answer:
        """POST."""
        return self("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: str) -> Answer:
        """PUT."""
        return self("PUT", path, body, **options)

    def patch(self, path: str, body: Any, kind: str = MERGE_PATCH, **options: str) -> Answer:
        """PATCH."""
        return self("PATCH", path, body, kind=kind, **options)

    def delete(self, path: str, body: Any = None, **options: str) -> Answer:
        """DELETE."""
        return self("DELETE", path, body, **options)

    def watch(self, path: str, **options: str) -> AsyncIterator[tuple[str, Any]]:
        """The events of a watch."""
        stream = self("GET", path, watch="true", **options).response.stream
        assert stream is not None
        return _events(stream)


async def _events(stream: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, Any]]:
    async for chunk in stream:
        for line in chunk.splitlines():
            event = json.loads(line)
            yield event["type"], event["object"]


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    """A Deployment with one container."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "shop/app:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def config_map(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
