"""How a proxy calls other services: with TLS or without, and to which endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshguard.model.objects import dig
from meshguard.model.proxy import Endpoint, UpstreamTls

_TLS = "envoy.transport_sockets.tls"
_MARK = ("metadata", "filter_metadata", "envoy.transport_socket_match")
_UNHEALTHY = ("UNHEALTHY", "DRAINING", "TIMEOUT")


def cluster_types(dump: Mapping[str, Any]) -> dict[str, str]:
    """For each service the way its endpoints are found (`EDS`, `ORIGINAL_DST`, `STRICT_DNS`)."""
    return {key: str(cluster.get("type", "STATIC")) for key, cluster in _clusters(dump)}


def cluster_tls(dump: Mapping[str, Any]) -> dict[str, UpstreamTls]:
    """For each service (`host:port` or `host:port/subset`) how the proxy encrypts towards it."""
    return {key: _tls_of(cluster) for key, cluster in _clusters(dump)}


def endpoints(dump: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, tuple[Endpoint, ...]]:
    """For each service that istiod sends endpoints for, these endpoints.

    Services that the caller addresses pod by pod (headless ones, ORIGINAL_DST) have no such list and are left out.
    """
    found: dict[str, tuple[Endpoint, ...]] = {}
    for entry in dump.get("configs") or ():
        config = entry.get("endpoint_config") or {}
        key = service_key(str(config.get("cluster_name", "")))
        if key and types.get(key) == "EDS":
            localities = config.get("endpoints") or ()
            found[key] = tuple(
                sorted((_endpoint(e) for part in localities for e in part.get("lb_endpoints") or ()), key=_address)
            )
    return found


def service_key(cluster_name: str) -> str:
    """Turn `outbound|80|v1|host` into `host:80/v1`; "" for a cluster that is no service."""
    direction, _, rest = cluster_name.partition("|")
    parts = rest.split("|")
    if direction != "outbound" or len(parts) != 3:
        return ""
    port, subset, host = parts
    return f"{host}:{port}/{subset}" if subset else f"{host}:{port}"


def _clusters(dump: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in dump.get("configs") or ():
        cluster = entry.get("cluster") or {}
        if key := service_key(str(cluster.get("name", ""))):
            yield key, cluster


def _tls_of(cluster: Mapping[str, Any]) -> UpstreamTls:
    # A tunnel to a ztunnel or waypoint is chosen by the endpoint, whatever TLS the service has.
    matches = [m for m in cluster.get("transport_socket_matches") or () if "tunnel" not in (m.get("match") or {})]
    sockets = [m.get("transport_socket") for m in matches] or [cluster.get("transport_socket")]
    encrypted = [_encrypts(socket) for socket in sockets]
    if all(encrypted):
        return UpstreamTls.ALWAYS
    return UpstreamTls.PER_ENDPOINT if any(encrypted) else UpstreamTls.NEVER


def _encrypts(socket: Mapping[str, Any] | None) -> bool:
    """Look through sockets that wrap another one (PROXY protocol, TCP statistics)."""
    if not socket:
        return False
    return socket.get("name") == _TLS or _encrypts(dig(socket, "typed_config", "transport_socket"))


def _endpoint(lb_endpoint: Mapping[str, Any]) -> Endpoint:
    address = dig(lb_endpoint, "endpoint", "address", default={})
    mark = dig(lb_endpoint, *_MARK, default={})
    healthy = lb_endpoint.get("health_status") not in _UNHEALTHY
    if "envoy_internal_address" in address:
        return Endpoint(str(dig(address, "envoy_internal_address", "endpoint_id", default="")), True, healthy)
    ip, port = (
        dig(address, "socket_address", "address", default=""),
        dig(address, "socket_address", "port_value", default=0),
    )
    return Endpoint(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}", mark.get("tlsMode") == "istio", healthy)


def _address(endpoint: Endpoint) -> str:
    return endpoint.address
