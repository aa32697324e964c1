"""What all readers share: the ports, and reads that several probes of one moment need at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from meshguard.model.objects import Pod, Ref, Resource
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable
from meshguard.ports import Clock, Cluster, Signals
from meshguard.signals.asking import Silence, ask
from meshguard.signals.portforward import Tunnels
from meshguard.signals.prometheus import Prometheus

T = TypeVar("T")

ISTIOD_LABEL = ("app", "istiod")
_CONCURRENT = 16
_ANSWER_S = 5.0


@dataclass
class World:
    """The ports, and the reads that are under way."""

    cluster: Cluster
    signals: Signals
    tunnels: Tunnels
    clock: Clock
    has_proxy: Callable[[Pod], bool]
    prometheus: Prometheus | None = None
    _under_way: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONCURRENT))

    async def shared(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Read, or join the same read when another probe has begun it; one probe's deadline ends nobody else's."""
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.ensure_future(read())
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._over(key, done))
        return cast(T, await asyncio.shield(task))

    def _over(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # every probe that waited has had it

    async def objects(self, kind: str) -> Sequence[Resource]:
        """All objects of a kind. Raises ClusterError."""
        return await self.shared(("list", kind), lambda: self.cluster.list(kind))

    async def pods(self) -> list[Pod]:
        """All pods that are neither finished nor on their way out."""
        found = [pod for pod in await self.objects("Pod") if isinstance(pod, Pod)]
        return [pod for pod in found if not pod.finished and not pod.terminating]

    async def meshed(self, namespaces: Collection[str]) -> list[Pod]:
        """Running pods with a sidecar, in all namespaces or in some."""
        pods = await self.pods()
        return [p for p in pods if p.ip and self.has_proxy(p) and p.ref.namespace in (namespaces or {p.ref.namespace})]

    async def istiods(self) -> list[Pod]:
        """Every istiod pod, of all revisions, that has an address."""
        key, value = ISTIOD_LABEL
        return [pod for pod in await self.pods() if pod.labels.get(key) == value and pod.ip]

    async def counters(self, pods: Sequence[Pod]) -> Mapping[Ref, ProxyFacts | ProxyUnreachable]:
        """The Envoy counters of these pods' proxies."""
        key = ("counters", frozenset(pod.ref for pod in pods))
        return await self.shared(key, lambda: self.signals.proxies(pods, ["counters"]))

    async def ask_all(
        self, pods: Sequence[Pod], port: int, path: str, read: Callable[[bytes], T]
    ) -> dict[Ref, T | Silence]:
        """Ask the same of many pods, a few at a time."""

        async def one(pod: Pod) -> T | Silence:
            async with self._turns:
                return await ask(self.tunnels, pod.ref, port, path, read, deadline_s=_ANSWER_S)

        key = (port, path, frozenset(pod.ref for pod in pods))
        answers = await self.shared(key, lambda: asyncio.gather(*(one(pod) for pod in pods)))
        return {pod.ref: answer for pod, answer in zip(pods, answers, strict=True)}


def silent(answers: Mapping[Ref, Any]) -> tuple[str, ...]:
    """One sentence for each pod that gave no usable answer."""
    return tuple(
        f"{ref.namespace}/{ref.name}: {answer.reason}"
        for ref, answer in sorted(answers.items())
        if isinstance(answer, Silence | ProxyUnreachable)
    )


def name_of(ref: Ref) -> str:
    """`namespace/name`."""
    return f"{ref.namespace}/{ref.name}"
