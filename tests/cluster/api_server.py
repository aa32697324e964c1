"""An API server that says what a test tells it to say, on the loopback."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from meshguard.cluster.connect import open_cluster
from meshguard.cluster.kubernetes_cluster import KubernetesCluster
from meshguard.cluster.requests import Patience
from tests.fakes.clock import FakeClock

Document = dict[str, Any]
CALM = Patience(first_contact_s=60.0, attempt_s=60.0, total_s=120.0)
"""For a busy machine: no test waits for these, they only must not pass."""


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    groups: Sequence[str]
    body: Any


@dataclass
class Say:
    """An answer; `then_break` breaks the connection after the request was taken."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    then_break: bool = False
    hang: bool = False
    text: str = ""
    """Said instead of a document."""


def status(code: int, message: str, reason: str = "") -> Say:
    """An error as Kubernetes words it."""
    return Say(code, {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code})


Answer = Say | Document | Callable[[Seen], "Say | Document"]


class ApiServer:
    """Answers `METHOD PATH` with what was put there: a list is used up one by one, its last element stays."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.url = ""
        self._released = asyncio.Event()

    def on(self, request: str, *answers: Answer) -> ApiServer:
        """Say these, one after the other."""
        self.answers[request] = list(answers)
        return self

    def requests(self, method: str = "") -> list[str]:
        """What was asked, as `METHOD PATH`."""
        return [f"{seen.method} {seen.path}" for seen in self.seen if method in ("", seen.method)]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        seen = Seen(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            request.headers.getall("Impersonate-Group", []),
            json.loads(text) if text else None,
        )
        self.seen.append(seen)
        known = self.answers.get(f"{request.method} {request.path}")
        if not known:
            return web.json_response({"message": f"nothing at {request.path}"}, status=404)
        answer = known.pop(0) if len(known) > 1 else known[0]
        if callable(answer):
            answer = answer(seen)
        if isinstance(answer, dict):
            answer = Say(body=answer)
        if answer.hang:
            await self._released.wait()
        if answer.then_break:
            assert request.transport is not None
            request.transport.close()
        if answer.text:
            return web.Response(text=answer.text)
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ApiServer]:
        """Listen on a free port."""
        application = web.Application()
        application.router.add_route("*", "/{anything:.*}", self._handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (self.url,) = [f"http://127.0.0.1:{address[1]}" for address in runner.addresses]
        try:
            yield self
        finally:
            self._released.set()
            await runner.cleanup()


def kubeconfig(folder: Path, server: str, user: Mapping[str, Any] | None = None, **more_contexts: str) -> Path:
    """Write a kubeconfig with the context `here`."""
    contexts = [{"name": "here", "context": {"cluster": "c", "user": "u"}}]
    contexts += [
        {"name": name, "context": {"cluster": cluster, "user": "u"}} for name, cluster in more_contexts.items()
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": dict(user or {"token": "secret-token"})}],
        "contexts": contexts,
        "current-context": "here",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def connected(
    server: ApiServer,
    folder: Path,
    *,
    clock: FakeClock | None = None,
    user: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[KubernetesCluster]:
    """Run the server and connect to it."""
    options.setdefault("patience", CALM)
    async with server.running():
        config = kubeconfig(folder, server.url, user)
        async with await open_cluster(None, clock or FakeClock(), kubeconfig=str(config), **options) as cluster:
            yield cluster


def namespace(name: str, **parts: Any) -> Document:
    """A Namespace document."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"uid-{name}", **parts}}
