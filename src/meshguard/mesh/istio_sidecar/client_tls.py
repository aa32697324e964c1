"""How a caller's proxy encrypts towards a host, subset by subset and port by port, by Istio's own rules.

Without a `tls` block auto mTLS decides endpoint by endpoint, unless the server's namespace is DISABLE. A cluster that
sends to the address the caller chose (headless, PASSTHROUGH) has no endpoints to look at: there it is all or nothing,
TLS only while every pod of the service has a proxy.
Source: Istio `pilot/pkg/networking/core/cluster_tls.go` (buildUpstreamTLSSettings, applyUpstreamTLSSettings),
`cluster_builder.go`, `pilot/pkg/model/push_context.go` (BestEffortInferServiceMTLSMode).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from meshguard.mesh.istio_sidecar import hosts, names
from meshguard.mesh.istio_sidecar.destination_rules import DestinationRules, MergedRule
from meshguard.mesh.istio_sidecar.mesh_config import MeshConfig
from meshguard.mesh.istio_sidecar.peer_authentication import Mode, PeerPolicies
from meshguard.mesh.istio_sidecar.traffic_policy import (
    DISABLE,
    MESH_TLS,
    OWN_TLS,
    endpoint_mark,
    is_passthrough,
    settings_at,
    tls_mode,
)
from meshguard.model.objects import Pod, dig
from meshguard.model.proxy import UpstreamTls
from meshguard.model.snapshot import Snapshot


@dataclass(frozen=True)
class Client:
    """A proxy that calls."""

    namespace: str
    labels: Mapping[str, str]
    gateway: bool = False
    """A gateway's proxy, which load-balances over the pods of headless services as well."""


def client_of(pod: Pod) -> Client:
    """See a pod as a caller."""
    return Client(pod.ref.namespace, pod.labels, is_gateway(pod.spec))


def is_gateway(pod_spec: Mapping[str, Any]) -> bool:
    """True when the proxy of a pod with this specification runs as a gateway."""
    containers = (*dig(pod_spec, "containers", default=[]), *dig(pod_spec, "initContainers", default=[]))
    return any("router" in (c.get("args") or ()) for c in containers if c.get("name") == names.PROXY_CONTAINER)


def distinct(snapshot: Snapshot, clients: Iterable[Client]) -> tuple[Client, ...]:
    """Return one of all callers that no rule can tell apart: of a namespace in which nothing selects workloads."""
    selective = {
        resource.ref.namespace
        for kind in ("DestinationRule", "Sidecar")
        for resource in snapshot.of_kind(kind)
        if "workloadSelector" in resource.spec
    }
    chosen: dict[object, Client] = {}
    for client in clients:
        labels = frozenset(client.labels.items()) if client.namespace in selective else None
        chosen.setdefault((client.namespace, client.gateway, labels), client)
    return tuple(chosen.values())


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a proxy encrypts towards one subset and port of a host."""

    cluster: UpstreamTls
    mode: str = ""
    """The explicit mode; "" where auto mTLS decides."""
    marked: str = ""
    """The explicit mode that decides about the endpoints' marks; "" where each server's PeerAuthentication does."""

    @property
    def demands_mesh_tls(self) -> bool:
        """True when mutual TLS is sent by decree: to a pod without a proxy, or to a port that has DISABLE."""
        return self.mode == MESH_TLS or (self.cluster is UpstreamTls.PER_ENDPOINT and self.marked == MESH_TLS)

    def marks(self, *, proxied: bool, mode: Mode) -> bool:
        """Tell whether an endpoint is marked for mutual TLS: its pod must have a proxy, whatever is decreed.

        `mode` is what the server's PeerAuthentications say for the port; only an explicit ISTIO_MUTUAL overrides it.
        """
        return proxied and (self.marked == MESH_TLS if self.marked else mode is not Mode.DISABLE)

    @property
    def originates(self) -> bool:
        """True when the proxy encrypts for a server that terminates TLS itself."""
        return self.mode in OWN_TLS


class ClientSide:
    """Everything about outbound TLS in a cluster, ready to be asked."""

    def __init__(self, snapshot: Snapshot, mesh: MeshConfig) -> None:
        self._snapshot, self._mesh = snapshot, mesh
        self.rules = DestinationRules(snapshot, mesh)
        self._peers = PeerPolicies(snapshot, mesh.root_namespace)

    def towards(self, client: Client, host: hosts.MeshHost) -> dict[str, ClientTls]:
        """For each `host:port` and `host:port/subset`: how the client's proxy encrypts."""
        rule = self.rules.for_client(client.namespace, client.labels, host)
        found = {}
        for port in host.ports:
            found[f"{host.name}:{port}"] = self._at(client, host, rule, None, port)
            for subset in rule.subsets if rule else ():
                found[f"{host.name}:{port}/{subset}"] = self._at(client, host, rule, subset, port)
        return found

    def _at(
        self, client: Client, host: hosts.MeshHost, rule: MergedRule | None, subset: str | None, port: int
    ) -> ClientTls:
        top = rule.traffic_policy if rule else None
        own = (rule.subsets[subset] or {}) if rule and subset is not None else None
        settings = settings_at(top, own, port)
        mode, marked = tls_mode(settings), endpoint_mark(top, own, port)
        if mode == DISABLE or self._unusable(rule, settings):
            return ClientTls(UpstreamTls.NEVER, mode, marked)
        if mode:
            return ClientTls(UpstreamTls.ALWAYS, mode, marked)
        direct = (
            (host.passthrough and not client.gateway)
            or is_passthrough(settings)
            or is_passthrough(settings_at(top, None, port))
            or is_passthrough(own)
        )
        looks = host.passthrough or is_passthrough(own if own is not None else top)
        return ClientTls(self._auto(host, port, direct=direct, looks=looks), "", marked)

    def _unusable(self, rule: MergedRule | None, settings: Mapping[str, object]) -> bool:
        """A credential by name is given to gateways and chosen workloads only; other sidecars send plaintext."""
        tls = settings.get("tls")
        if not isinstance(tls, Mapping) or tls_mode(settings) not in OWN_TLS:
            return False
        name = str(tls.get("credentialName", ""))
        return bool(name) and not name.startswith("configmap://") and (rule is None or rule.selector is None)

    def _auto(self, host: hosts.MeshHost, port: int, *, direct: bool, looks: bool) -> UpstreamTls:
        """Auto mTLS: `direct` clusters have no endpoints; `looks` says that istiod looks at all pods of the service."""
        if host.external or not self._mesh.auto_mtls:
            return UpstreamTls.NEVER
        if looks and not self._all_proxied(host):
            return UpstreamTls.NEVER
        if self._peers.namespace_mode(host.namespace) is Mode.DISABLE:
            return UpstreamTls.NEVER
        return UpstreamTls.ALWAYS if direct else UpstreamTls.PER_ENDPOINT

    def _all_proxied(self, host: hosts.MeshHost) -> bool:
        pods = [pod for pod in self._serving.get(host.namespace, ()) if host.selects(pod.ref.namespace, pod.labels)]
        return bool(pods) and all(pod.labels.get(names.TLS_MODE) == "istio" for pod in pods)

    @cached_property
    def _serving(self) -> Mapping[str, list[Pod]]:
        groups: dict[str, list[Pod]] = {}
        for pod in self._snapshot.pods:
            if pod.ip and not pod.terminating:
                groups.setdefault(pod.ref.namespace, []).append(pod)
        return groups
