"""What a VirtualService does for callers with a proxy, and what they miss without one.

Source: Istio reference, VirtualService; `pilot/pkg/model/virtualservice.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.mesh.istio_sidecar.hosts import covers, resolve
from meshguard.mesh.istio_sidecar.mesh_config import PRIVATE, PUBLIC
from meshguard.model.objects import Resource, dig

#: The gateway that stands for all sidecars.
MESH = "mesh"
_CHANGES_THE_ANSWER = ("rewrite", "redirect", "directResponse", "fault", "corsPolicy", "headers")
_CARES_FOR_THE_CALL = ("retries", "timeout", "mirror", "mirrors")


@dataclass(frozen=True)
class Routing:
    """What callers miss, each part empty where there is nothing."""

    elsewhere: tuple[str, ...]
    """The request or its answer is changed, or goes to another host than it names."""
    split: tuple[str, ...]
    """Subsets of the same host are told apart."""
    care: tuple[str, ...]
    """Retries, timeouts, mirrors."""


def concerns(service: Resource, namespace: str) -> bool:
    """Tell whether the VirtualService routes what sidecars in `namespace` send to its hosts."""
    if MESH not in dig(service.doc, "spec", "gateways", default=[MESH]):
        return False
    seen_by = set(dig(service.doc, "spec", "exportTo", default=[PUBLIC]))
    own = service.ref.namespace == namespace
    return PUBLIC in seen_by or namespace in seen_by or (PRIVATE in seen_by and own)


def patterns(service: Resource) -> list[str]:
    """The full hosts and wildcards that it is for."""
    return [resolve(str(host), service.ref.namespace) for host in dig(service.doc, "spec", "hosts", default=[])]


def routing(service: Resource) -> Routing:
    """Say what callers miss without the VirtualService."""
    elsewhere: set[str] = set()
    split: set[str] = set()
    care: set[str] = set()
    for route in _routes(service):
        elsewhere |= {part for part in _CHANGES_THE_ANSWER if part in route}
        care |= {part for part in _CARES_FOR_THE_CALL if part in route}
        for destination in _destinations(route):
            host = resolve(str(destination.get("host", "")), service.ref.namespace)
            if not any(covers(pattern, host) for pattern in patterns(service)):
                elsewhere.add(f"route to {host}")
            if "subset" in destination:
                split.add(f"subset {destination['subset']}")
    return Routing(tuple(sorted(elsewhere)), tuple(sorted(split)), tuple(sorted(care)))


def _routes(service: Resource) -> Iterator[Mapping[str, Any]]:
    for protocol in ("http", "tls", "tcp"):
        yield from dig(service.doc, "spec", protocol, default=[])


def _destinations(route: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for target in route.get("route") or ():
        yield dig(target, "destination", default={})
