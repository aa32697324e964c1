"""Where Envoy's admin interface keeps each fact, asked so that the proxy sends as little as possible.

Nobody reads a whole config_dump of 2,400 proxies: `resource`, `mask` and `name_regex` make Envoy select. A mask
cannot look inside the listeners of a dump, so there only the name selects.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote, urlencode

ADMIN_PORT = 15000
INBOUND_LISTENER = "virtualInbound"

_MOST_HOSTS = 100
"""More names than this make a longer URL than they save in the answer; then all services are read."""

_CLUSTER_MASK = "cluster.name,cluster.type,cluster.transport_socket,cluster.transport_socket_matches"
_CLUSTER_TYPE_MASK = "cluster.name,cluster.type"
_COUNTERS = "|".join(
    (
        r"ssl\.(handshake|connection_error|fail_verify_[a-z_]+)",
        r"(downstream|upstream)_cx_total",
        r"upstream_cx_connect_(fail|timeout)",
        r"upstream_cx_destroy_(local|remote)_with_active_rq",
        r"upstream_rq_(total|retry|[1-5]xx|rx_reset|tx_reset|timeout)",
        r"downstream_rq_(total|[1-5]xx|rx_reset|tx_reset)",
        r"rbac\.(allowed|denied|shadow_denied)",
        r"(cds|lds)\.update_(success|rejected)",
    )
)
_OWN_COUNTERS = r"listener|http\.inbound|cluster\.inbound|cluster_manager"
"""Prefixes of the counters that do not belong to a service that the proxy calls."""


def inbound_path() -> str:
    """The listener that takes everything inbound: ports, TLS and authorization."""
    return _dump(resource="dynamic_listeners", name_regex=INBOUND_LISTENER)


def clusters_path(hosts: Collection[str], *, types_only: bool = False) -> str:
    """The clusters of these services (of all, when `hosts` is empty), without what does not concern TLS."""
    mask = _CLUSTER_TYPE_MASK if types_only else _CLUSTER_MASK
    return _dump(resource="dynamic_active_clusters", mask=mask, name_regex=_outbound(hosts))


def endpoints_path(hosts: Collection[str]) -> str:
    """The endpoints of these services (of all, when `hosts` is empty), each with its TLS mark."""
    return _dump(include_eds="", resource="dynamic_endpoint_configs", name_regex=_outbound(hosts))


def counters_path(hosts: Collection[str]) -> str:
    """The counters that tell trouble, the proxy's own and those of calls to these services (to all, when empty).

    Unused ones come too: an absent one is not collected, which is not zero.
    """
    whose = rf"cluster\.{_outbound(hosts)};?\." if hosts else r"cluster\.outbound\|"
    pattern = rf"^({_OWN_COUNTERS}|{whose}).*({_COUNTERS})$"
    return "/stats?" + urlencode({"format": "json", "type": "Counters", "filter": pattern}, quote_via=quote)


def _dump(**parameters: str) -> str:
    return "/config_dump?" + urlencode(parameters, quote_via=quote)


def _outbound(hosts: Collection[str]) -> str:
    """The pattern of cluster names `outbound|PORT|SUBSET|HOST`. RE2 matches the whole name."""
    if not hosts or len(hosts) > _MOST_HOSTS:
        return r"outbound\|.*"
    return r"outbound\|[0-9]+\|[^|]*\|(" + "|".join(re.escape(host) for host in sorted(hosts)) + ")"
