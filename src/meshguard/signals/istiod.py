"""What istiod says of the proxies that are connected to it. Each replica knows only its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshguard.model.objects import Pod, Ref
from meshguard.ports import ClusterError
from meshguard.signals.http1 import HttpConnection, HttpError
from meshguard.signals.portforward import PortForwardError, Tunnels, port_stream

MONITORING_PORT = 15014
_SYNC_PATH = "/debug/syncz"


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
        if isinstance(answer, str):
            silent[pod.ref] = answer
        else:
            proxies.update((proxy.pod, proxy) for proxy in answer)
    return ControlPlane(proxies, silent)


async def _ask(tunnels: Tunnels, istiod: Ref, deadline_s: float) -> list[ConnectedProxy] | str:
    try:
        async with asyncio.timeout(deadline_s), port_stream(tunnels, istiod, MONITORING_PORT) as stream:
            rows = json.loads(await HttpConnection(stream).get(_SYNC_PATH))
        return list(connected_proxies(rows or (), istiod))
    except TimeoutError:
        return f"no answer within {deadline_s:.0f} s"
    except (ClusterError, PortForwardError, HttpError, ValueError) as error:
        return str(error)


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
