"""One proxy's subscriptions, as an Envoy makes them: CDS and LDS for everything, EDS and RDS for what those name.

Every answer is acknowledged by its version and nonce. Resources stay undecoded but for the names that the next
subscription needs, and those are found once for equal answers. Source: Envoy's "xDS REST and gRPC protocol",
ACK/NACK and resource warming; Istio `pilot/pkg/xds/ads.go`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

_PREFIX = "type.googleapis.com/"
CDS = f"{_PREFIX}envoy.config.cluster.v3.Cluster"
EDS = f"{_PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = f"{_PREFIX}envoy.config.listener.v3.Listener"
RDS = f"{_PREFIX}envoy.config.route.v3.RouteConfiguration"
SHORT = {CDS: "cds", EDS: "eds", LDS: "lds", RDS: "rds"}
_HTTP = f"{_PREFIX}{HttpConnectionManager.DESCRIPTOR.full_name}"

#: Which answer names what is subscribed next.
_NAMED_BY = {CDS: EDS, LDS: RDS}


def node(number: int, namespace: str, version: str, labels: dict[str, str] | None = None) -> Node:
    """Return the identity of a client, as a sidecar's agent would tell it. `number` also makes its address."""
    address = f"198.18.{number // 250 % 250}.{number % 250 + 1}"
    name = f"meshguard-storm-{number}"
    made = Node(id=f"sidecar~{address}~{name}.{namespace}~{namespace}.svc.cluster.local", cluster=f"storm.{namespace}")
    made.metadata.update(
        {
            "NAME": name,
            "NAMESPACE": namespace,
            "ISTIO_VERSION": version,
            "CLUSTER_ID": "Kubernetes",
            "INSTANCE_IPS": address,
            "INTERCEPTION_MODE": "REDIRECT",
            "LABELS": labels or {"app": "meshguard-storm"},
            "SERVICE_ACCOUNT": "default",
            "WORKLOAD_NAME": "meshguard-storm",
        }
    )
    return made


class NamesOnce:
    """Finds the names in an answer once for all clients that get the same one."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], tuple[str, ...]] = {}

    def of(self, response: DiscoveryResponse) -> tuple[str, ...]:
        """Return the names that the answer makes a client subscribe to."""
        key = (response.type_url, hash(tuple(resource.value for resource in response.resources)))
        if key not in self._found:
            finder: Callable[[Iterable[Any]], tuple[str, ...]] = {CDS: clusters_of, LDS: routes_of}[response.type_url]
            self._found[key] = finder(response.resources)
        return self._found[key]


def clusters_of(resources: Iterable[Any]) -> tuple[str, ...]:
    """Return what an Envoy asks EDS for: the service name of each cluster whose endpoints come that way."""
    names = set()
    for resource in resources:
        cluster = Cluster.FromString(resource.value)
        if cluster.type == Cluster.EDS:
            names.add(cluster.eds_cluster_config.service_name or cluster.name)
    return tuple(sorted(names))


def routes_of(resources: Iterable[Any]) -> tuple[str, ...]:
    """Return what an Envoy asks RDS for: the route configurations that its HTTP listeners name."""
    names = set()
    for resource in resources:
        listener = Listener.FromString(resource.value)
        chains = [*listener.filter_chains, *([listener.default_filter_chain] if listener.HasField(_DEFAULT) else [])]
        for filter_ in (f for chain in chains for f in chain.filters):
            if filter_.typed_config.type_url == _HTTP:
                manager = HttpConnectionManager.FromString(filter_.typed_config.value)
                if manager.HasField("rds"):
                    names.add(manager.rds.route_config_name)
    return tuple(sorted(names))


_DEFAULT = "default_filter_chain"


@dataclass
class Subscriber:
    """The state of one client: what it asks for, and what it has had."""

    node: Node
    names: NamesOnce
    bytes: Counter[str] = field(default_factory=Counter)
    """Bytes of resources by `cds`, `eds`, `lds`, `rds`."""
    messages: Counter[str] = field(default_factory=Counter)
    _wanted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _nonces: dict[str, tuple[str, str]] = field(default_factory=dict)

    def hello(self) -> DiscoveryRequest:
        """The first request of the stream; the only one that carries the node."""
        self._wanted[CDS] = ()
        return DiscoveryRequest(type_url=CDS, node=self.node)

    @property
    def configured(self) -> bool:
        """Everything that it asked for has been answered, listeners among it."""
        return LDS in self._nonces and all(kind in self._nonces for kind in self._wanted)

    def heard(self, response: DiscoveryResponse) -> Sequence[DiscoveryRequest]:
        """Take an answer; return its acknowledgement, and what has to be asked next."""
        kind = response.type_url
        self.bytes[SHORT.get(kind, kind)] += sum(len(resource.value) for resource in response.resources)
        self.messages[SHORT.get(kind, kind)] += 1
        self._nonces[kind] = (response.version_info, response.nonce)
        out = [self._request(kind)]
        if kind in _NAMED_BY:
            out += self._follow(_NAMED_BY[kind], self.names.of(response))
        if kind == CDS and LDS not in self._wanted:
            out += self._follow(LDS, ())
        return out

    def _follow(self, kind: str, names: tuple[str, ...]) -> list[DiscoveryRequest]:
        """Subscribe to other names than so far; nobody asks for no names at all, but for what is not named."""
        if self._wanted.get(kind) == names or (not names and kind != LDS):
            return []
        self._wanted[kind] = names
        return [self._request(kind)]

    def _request(self, kind: str) -> DiscoveryRequest:
        version, nonce = self._nonces.get(kind, ("", ""))
        return DiscoveryRequest(
            type_url=kind, version_info=version, response_nonce=nonce, resource_names=self._wanted.get(kind, ())
        )
