"""What leaving servers listen on: ports that only their proxy serves, and applications behind the loopback.

A proxy forwards to the pod's own address, unless a Sidecar object or an old setting of istiod says 127.0.0.1; then an
application may listen on the loopback alone, and nobody reaches it once the proxy is gone. Nothing in the cluster says
what an application listens on. Where the kubelet probes the port that is served, a new pod without a proxy shows it
before an old one stops; everywhere else it is not known, and said to be so.
Source: Istio `pilot/pkg/networking/core/cluster.go` (buildInboundClusters), release notes 1.10.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from meshguard.mesh.istio_sidecar import control_plane, hosts
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Workload, dig

#: Readiness probes by which the kubelet comes to the pod's address, as callers without a proxy do.
NETWORK_PROBES = ("httpGet", "tcpSocket", "grpc")
#: istiod's switch by which all proxies forward to 127.0.0.1; its value is not ours to read.
PASSTHROUGH_SWITCH = "PILOT_ENABLE_INBOUND_PASSTHROUGH"


def ports_moved_by_sidecar(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Sidecar objects by which a leaving server is reached on another port, or only behind its proxy."""
    for workload in scope.leaving:
        sidecar = scope.reach.sidecar_of(workload.ref.namespace, workload.template_labels)
        for listener in dig(sidecar.doc, "spec", "ingress", default=[]) if sidecar else []:
            port, endpoint = int(dig(listener, "port", "number", default=0)), str(listener.get("defaultEndpoint", ""))
            if not sidecar or not endpoint:
                continue
            address, _sep, target = endpoint.rpartition(":")
            detail = f"port {port} of {workload.ref} is served at {endpoint}"
            if endpoint.startswith("unix:") or int(target) != port:
                yield Finding(CODES["MG214"], sidecar.ref, f"{detail}; without the proxy nothing listens on {port}")
            elif _is_loopback(address):
                yield Finding(CODES["MG215"], sidecar.ref, f"{detail}; it may listen on the loopback only")


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def not_known(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Servers of which nothing shows that they listen on more than the loopback, once for each namespace."""
    switch = _switched(scope)
    for namespace in sorted({w.ref.namespace for w in scope.leaving}):
        members = [w for w in scope.leaving if w.ref.namespace == namespace]
        unknown = [
            f"{w.ref.kind} {w.ref.name} (port {', '.join(map(str, p))})" for w in members if (p := _dark(scope, w))
        ]
        if unknown:
            detail = f"the kubelet does not probe these ports, so it is unknown: {', '.join(unknown)}"
            yield Finding(CODES["MG226"], Ref("Namespace", "", namespace), f"{detail}{switch}")


def _dark(scope: Scope, workload: Workload) -> list[int]:
    """Return the ports that services lead to and that no readiness probe of the kubelet looks at."""
    spec = dig(workload.template, "spec", default={})
    served = {
        number
        for service in scope.services_before(workload.ref.namespace, workload.template_labels)
        for port in hosts.ports(service)
        if (number := hosts.container_port(spec, port.target)) is not None
    }
    probed = {
        hosts.container_port(spec, str(dig(container, "readinessProbe", kind, "port", default="")))
        for container in workload.template_containers
        for kind in NETWORK_PROBES
    }
    return sorted(served - probed)


def _switched(scope: Scope) -> str:
    for istiod in control_plane.istiods(scope.snapshot):
        names = {str(v.get("name")) for c in istiod.template_containers for v in c.get("env", ())}
        if PASSTHROUGH_SWITCH in names:
            return f"; {istiod.ref} sets {PASSTHROUGH_SWITCH}, by which every proxy may forward to 127.0.0.1"
    return ""


RULES = (ports_moved_by_sidecar, not_known)
