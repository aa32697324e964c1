"""Hosts: how Istio names services, and which of them a policy's `host` means.

Source: Istio `pilot/pkg/model/config.go` (ResolveShortnameToFQDN), `pkg/config/host/name.go` (Matches),
`pilot/pkg/serviceregistry/serviceentry/conversion.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.snapshot import Snapshot

CLUSTER_DOMAIN = "cluster.local"
EXPORT_TO_ANNOTATION = "networking.istio.io/exportTo"


@dataclass(frozen=True)
class ServicePort:
    """A port of a service, as the mesh sees it."""

    number: int
    target: str
    name: str
    protocol: str
    """`http`, `grpc`, `tcp`, ... by appProtocol or by the name's prefix; "" where Istio would sniff."""


@dataclass(frozen=True)
class MeshHost:
    """A name that a caller's proxy knows: a service, or a host of a ServiceEntry."""

    name: str
    namespace: str
    origin: Ref
    ports: tuple[int, ...]
    passthrough: bool
    """Without an address of its own (headless), or resolved by nobody: the proxy sends where the caller wants."""
    external: bool
    """Outside the mesh: auto mTLS keeps away."""
    selector: Mapping[str, str] = field(hash=False)
    export_to: frozenset[str]
    """Namespaces that see it; empty where the mesh's default counts."""

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """True when pods with these labels serve it."""
        return bool(self.selector) and namespace == self.namespace and self.selector.items() <= labels.items()


def mesh_hosts(snapshot: Snapshot) -> tuple[MeshHost, ...]:
    """Every service and ServiceEntry host of the cluster, in order."""
    services = (_of_service(service) for service in snapshot.of_kind("Service"))
    entries = (host for entry in snapshot.of_kind("ServiceEntry") for host in of_service_entry(entry))
    return (*services, *entries)


def _of_service(service: Resource) -> MeshHost:
    exported = service.annotations.get(EXPORT_TO_ANNOTATION, "")
    return MeshHost(
        fqdn(service),
        service.ref.namespace,
        service.ref,
        tuple(port.number for port in ports(service)),
        is_headless(service),
        False,
        dig(service.doc, "spec", "selector", default={}),
        frozenset(part.strip() for part in exported.split(",") if part.strip()),
    )


def of_service_entry(entry: Resource) -> Iterator[MeshHost]:
    """The hosts that a ServiceEntry adds; without a `location` they are outside the mesh."""
    for host in dig(entry.doc, "spec", "hosts", default=[]):
        yield MeshHost(
            str(host),
            entry.ref.namespace,
            entry.ref,
            tuple(int(p["number"]) for p in dig(entry.doc, "spec", "ports", default=[]) if p.get("protocol") != "UDP"),
            dig(entry.doc, "spec", "resolution", default="NONE") == "NONE",
            dig(entry.doc, "spec", "location", default="MESH_EXTERNAL") == "MESH_EXTERNAL",
            dig(entry.doc, "spec", "workloadSelector", "labels", default={}),
            frozenset(dig(entry.doc, "spec", "exportTo", default=[])),
        )


def fqdn(service: Resource) -> str:
    """The service's full name."""
    return f"{service.ref.name}.{service.ref.namespace}.svc.{CLUSTER_DOMAIN}"


def resolve(host: str, namespace: str) -> str:
    """Make a policy's host full: a name without dots is a service of the policy's own namespace.

    A name with dots stays as it is: Istio does not complete `cart.shop-core`, such a policy matches no service.
    """
    if "*" in host or "." in host:
        return host
    return f"{host}.{namespace}.svc.{CLUSTER_DOMAIN}"


def covers(pattern: str, host: str) -> bool:
    """Tell whether a (full) host or a wildcard like `*.local` means this host."""
    if pattern == "*":
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*") else pattern == host


def among(known: Iterable[MeshHost], patterns: Iterable[str]) -> list[MeshHost]:
    """Return those of the hosts that one of the (full) names or wildcards means, in their order."""
    wanted = frozenset(patterns)
    wild = [pattern for pattern in wanted if pattern.startswith("*")]
    return [h for h in known if h.name in wanted or any(covers(pattern, h.name) for pattern in wild)]


def is_headless(service: Resource) -> bool:
    """True for a service without an address of its own."""
    return str(dig(service.doc, "spec", "clusterIP", default="")) == "None"


def selects(service: Resource, namespace: str, labels: Mapping[str, str]) -> bool:
    """True when the service's selector picks pods with these labels."""
    selector: Mapping[str, str] = dig(service.doc, "spec", "selector", default={})
    return bool(selector) and service.ref.namespace == namespace and selector.items() <= labels.items()


def ports(service: Resource) -> tuple[ServicePort, ...]:
    """The service's TCP ports."""
    return tuple(
        ServicePort(
            int(port["port"]),
            str(port.get("targetPort", port["port"])),
            str(port.get("name", "")),
            _protocol(port),
        )
        for port in dig(service.doc, "spec", "ports", default=[])
        if port.get("protocol", "TCP") == "TCP"
    )


def _protocol(port: Mapping[str, object]) -> str:
    declared = str(port.get("appProtocol") or port.get("name") or "").lower()
    known = {"http", "http2", "https", "grpc", "grpc-web", "tls", "tcp", "mongo", "mysql", "redis"}
    if declared in known:
        return declared
    prefix = "grpc-web" if declared.startswith("grpc-web") else declared.split("-", 1)[0]
    return prefix if prefix in known else ""


def services_of(snapshot: Snapshot, namespaces: frozenset[str]) -> tuple[Resource, ...]:
    """The services that live in these namespaces."""
    return tuple(s for s in snapshot.of_kind("Service") if s.ref.namespace in namespaces)


def container_port(pod_spec: Mapping[str, object], target: str) -> int | None:
    """The number behind a targetPort, which may be a name; None when no container declares the name."""
    if target.isdigit():
        return int(target)
    for container in dig(pod_spec, "containers", default=[]):
        for port in container.get("ports", ()):
            if port.get("name") == target:
                return int(port["containerPort"])
    return None
