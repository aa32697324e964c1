"""What istiod has sent: the objects as they were when a push context was made, and what an Envoy makes of them.

Written from Istio's documentation of PeerAuthentication and auto mTLS; DestinationRules, VirtualServices and
authorization are not rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Entry, Store
from meshguard.sim.live.shop import ROOT

PEERS = "peerauthentications.security.istio.io"
_HTTP_ALPN = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
_TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
    },
}
_UPSTREAM_TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
}
_Alike = tuple[str, tuple[tuple[str, str], ...], tuple[int, ...]]
"""Namespace, labels and ports of a pod."""
_RAW = {"name": "envoy.transport_sockets.raw_buffer"}


@dataclass(frozen=True)
class Configuration:
    """One generation. The entries are never changed: a newer state has entries of its own."""

    peers: tuple[Entry, ...]
    services: tuple[Entry, ...]
    endpoints: tuple[Entry, ...]
    marks: Mapping[str, bool]
    """For each pod (`namespace/name`) whether callers use mutual TLS towards it."""
    _listeners: dict[_Alike, Doc] = field(default_factory=dict)
    """Pods with the same labels and ports have the same listener, which is made when the first one asks."""

    def inbound(self, pod: Doc) -> Doc:
        """The inbound listener of a pod's proxy."""
        metadata = pod["metadata"]
        ports = tuple(sorted(p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports", ())))
        alike = (metadata["namespace"], tuple(sorted(metadata.get("labels", {}).items())), ports)
        if alike not in self._listeners:
            self._listeners[alike] = self._listener(metadata["namespace"], metadata.get("labels", {}), ports)
        return self._listeners[alike]

    def _listener(self, namespace: str, labels: Mapping[str, str], ports: Iterable[int]) -> Doc:
        blackhole = {
            "filter_chain_match": {"destination_port": 15006},
            "filters": [],
            "name": "virtualInbound-blackhole",
        }
        chains: list[Doc] = [blackhole]
        decreed = mode_of(self.peers, namespace, labels, 0)
        chains += _chains({}, "virtualInbound", decreed)
        for port in ports:
            mode = mode_of(self.peers, namespace, labels, port)
            chains += _chains({"destination_port": port}, f"0.0.0.0_{port}", mode)
        inspectors = [{"name": f"envoy.filters.listener.{kind}_inspector"} for kind in ("tls", "http")]
        return {"name": "virtualInbound", "filter_chains": chains, "listener_filters": inspectors}

    @cached_property
    def clusters(self) -> list[tuple[str, Doc]]:
        """A cluster for each port of each service, by its name."""
        return [(name, _cluster(name)) for name, _, _ in self._ports()]

    @cached_property
    def assignments(self) -> list[tuple[str, Doc]]:
        """The endpoints of each cluster, by its name."""
        found = {entry.key: entry.doc for entry in self.endpoints}
        return [(name, self._assignment(name, found.get(key), port)) for name, key, port in self._ports()]

    def _ports(self) -> list[tuple[str, tuple[str, str], Doc]]:
        return [
            (f"outbound|{port['port']}||{entry.key[1]}.{entry.key[0]}.svc.cluster.local", entry.key, port)
            for entry in self.services
            for port in entry.doc["spec"].get("ports", ())
        ]

    def _assignment(self, name: str, endpoints: Doc | None, port: Doc) -> Doc:
        members = []
        for subset in (endpoints or {}).get("subsets", ()):
            number = next((p["port"] for p in subset.get("ports", ()) if p.get("name") == port.get("name")), None)
            if number is not None:
                members += [self._member(address, number) for address in subset.get("addresses", ())]
        return {"cluster_name": name, "endpoints": [{"lb_endpoints": members}] if members else []}

    def _member(self, address: Doc, number: int) -> Doc:
        target = address.get("targetRef", {})
        marked = self.marks.get(f"{target.get('namespace')}/{target.get('name')}", False)
        metadata = {"envoy.transport_socket_match": {"tlsMode": "istio"}} if marked else {}
        socket = {"socket_address": {"address": address["ip"], "port_value": number}}
        return {
            "endpoint": {"address": socket},
            "health_status": "HEALTHY",
            "metadata": {"filter_metadata": metadata},
        }


def taken(store: Store, marks: Mapping[str, bool]) -> Configuration:
    """The configuration as the objects are now."""
    return Configuration(
        tuple(store.all(PEERS)), tuple(store.all("services")), tuple(store.all("endpoints")), dict(marks)
    )


def mode_of(peers: Iterable[Entry], namespace: str, labels: Mapping[str, str], port: int) -> str:
    """The mode at a port: its own, the workload's, the namespace's, the mesh's; the oldest of a scope counts."""
    by_age = sorted(peers, key=lambda e: (e.doc["metadata"]["creationTimestamp"], e.key))
    scopes: dict[str, Doc] = {}
    for entry in by_age:
        spec, space = entry.doc.get("spec", {}), entry.key[0]
        wanted = (spec.get("selector") or {}).get("matchLabels")
        if wanted:
            if space == namespace and space != ROOT and wanted.items() <= labels.items():
                scopes.setdefault("workload", spec)
        elif space == namespace and space != ROOT:
            scopes.setdefault("namespace", spec)
        elif space == ROOT:
            scopes.setdefault("mesh", spec)
    at_port = (scopes.get("workload", {}).get("portLevelMtls") or {}).get(str(port), {})
    modes = [at_port.get("mode")] + [
        (scopes.get(s, {}).get("mtls") or {}).get("mode") for s in ("workload", "namespace", "mesh")
    ]
    return next((mode for mode in modes if mode and mode != "UNSET"), "PERMISSIVE")


def _chains(match: Doc, name: str, mode: str) -> list[Doc]:
    tls = {**match, "transport_protocol": "tls", "application_protocols": _HTTP_ALPN}
    secured = {"filter_chain_match": tls, "filters": [], "name": name, "transport_socket": _TLS}
    plain = {"filter_chain_match": {**match, "transport_protocol": "raw_buffer"}, "filters": [], "name": name}
    return {"STRICT": [secured], "DISABLE": [plain]}.get(mode, [secured, plain])


def _cluster(name: str) -> Doc:
    matches = [
        {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": _UPSTREAM_TLS},
        {"name": "tlsMode-disabled", "match": {}, "transport_socket": _RAW},
    ]
    return {"name": name, "type": "EDS", "transport_socket_matches": matches}
