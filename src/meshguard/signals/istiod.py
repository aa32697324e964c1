"""What istiod says of the proxies that are connected to it. Each replica knows only its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshguard.model.objects import Pod, Ref
from meshguard.signals.asking import Silence, ask
from meshguard.signals.portforward import Tunnels

MONITORING_PORT = 15014
SYNC_PATH = "/debug/syncz"
VERSION_PATH = "/version"


@dataclass(frozen=True, slots=True)
class ConnectedProxy:
    """A proxy as its istiod sees it."""

    pod: Ref
    istiod: Ref
    version: str
    """Istio's version of the proxy, "" when it does not tell."""
    unacknowledged: tuple[str, ...] = ()
    """Kinds of configuration that were sent and not yet acknowledged (`Cluster`, `Listener`, ...)."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Kinds of configuration that the proxy refuses, with Envoy's words."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """All replicas of istiod together."""

    proxies: Mapping[Ref, ConnectedProxy]
    silent: Mapping[Ref, str]
    """Replicas that could not be asked, and why; their proxies are unknown, not gone."""


async def control_plane(tunnels: Tunnels, istiods: Sequence[Pod], *, deadline_s: float = 5.0) -> ControlPlane:
    """Ask every replica of istiod which proxies are connected to it. Raises nothing: silence is an answer."""
    answers = await asyncio.gather(*(_ask(tunnels, pod.ref, deadline_s) for pod in istiods))
    proxies: dict[Ref, ConnectedProxy] = {}
    silent: dict[Ref, str] = {}
    for pod, answer in zip(istiods, answers, strict=True):
        if isinstance(answer, Silence):
            silent[pod.ref] = answer.reason
        else:
            proxies.update((proxy.pod, proxy) for proxy in answer)
    return ControlPlane(proxies, silent)


async def versions(tunnels: Tunnels, istiods: Sequence[Pod], *, deadline_s: float = 5.0) -> Mapping[Ref, str]:
    """Ask replicas of istiod which version they are; who does not answer is left out. Raises nothing.

    Source: Istio, pilot/pkg/bootstrap/monitoring.go.
    """

    def line(body: bytes) -> str:
        return body.decode().strip()

    asked = (ask(tunnels, pod.ref, MONITORING_PORT, VERSION_PATH, line, deadline_s=deadline_s) for pod in istiods)
    answers = zip(istiods, await asyncio.gather(*asked), strict=True)
    return {pod.ref: answer for pod, answer in answers if not isinstance(answer, Silence)}


async def _ask(tunnels: Tunnels, istiod: Ref, deadline_s: float) -> list[ConnectedProxy] | Silence:
    def rows(body: bytes) -> list[ConnectedProxy]:
        return list(connected_proxies(json.loads(body) or (), istiod))

    return await ask(tunnels, istiod, MONITORING_PORT, SYNC_PATH, rows, deadline_s=deadline_s)


def connected_proxies(rows: Iterable[Mapping[str, Any]], istiod: Ref) -> Iterable[ConnectedProxy]:
    """Read the rows of `/debug/syncz`: a proxy is named `POD.NAMESPACE`."""
    for row in rows:
        name, dot, namespace = str(row.get("proxy", "")).rpartition(".")
        if not dot:
            continue
        resources = row.get("resources") or {}
        kinds = {_kind(url): status for url, status in resources.items()}
        yield ConnectedProxy(
            Ref("Pod", namespace, name),
            istiod,
            str(row.get("istio_version", "")),
            tuple(sorted(kind for kind, s in kinds.items() if s.get("sent") and s.get("sent") != s.get("acked"))),
            {kind: s["lastError"] for kind, s in kinds.items() if s.get("lastError")},
        )


def _kind(type_url: str) -> str:
    """`type.googleapis.com/envoy.config.cluster.v3.Cluster` -> `Cluster`."""
    return type_url.rpartition(".")[2]
