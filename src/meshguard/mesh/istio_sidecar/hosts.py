"""Hosts: how Istio names services, and which of them a policy's `host` means.

Source: Istio `pilot/pkg/model/service.go` (ResolveShortnameToFQDN) and `pkg/config/host/name.go` (Matches).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshguard.model.objects import Resource, dig
from meshguard.model.snapshot import Snapshot

CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class ServicePort:
    """A port of a service, as the mesh sees it."""

    number: int
    target: str
    name: str
    protocol: str
    """`http`, `grpc`, `tcp`, ... by appProtocol or by the name's prefix; "" where Istio would sniff."""


def fqdn(service: Resource) -> str:
    """The service's full name."""
    return f"{service.ref.name}.{service.ref.namespace}.svc.{CLUSTER_DOMAIN}"


def resolve(host: str, namespace: str) -> str:
    """Make a policy's host full: a name without dots is a service of the policy's own namespace."""
    if "*" in host or "." in host:
        return _complete(host)
    return f"{host}.{namespace}.svc.{CLUSTER_DOMAIN}"


def _complete(host: str) -> str:
    return f"{host}.{CLUSTER_DOMAIN}" if host.endswith(".svc") else host


def covers(pattern: str, host: str) -> bool:
    """Tell whether a (full) host or a wildcard like `*.local` means this host."""
    if pattern == "*":
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*") else pattern == host


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
