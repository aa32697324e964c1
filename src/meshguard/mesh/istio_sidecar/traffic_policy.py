"""What a DestinationRule sets for one subset and port, by Istio's own inheritance.

A port entry replaces the host level as a whole, nothing is inherited into it. A subset overrides the host level
setting by setting, unless the subset itself has an entry for the port: then that entry counts, silent settings too.
The mark that says "this endpoint speaks mutual TLS" follows another rule: there a port entry without `tls` *does*
inherit, so that an explicit mode of the host decides about endpoints behind a port that seems to have none.
Source: Istio `pilot/pkg/networking/util/util.go` (GetPortLevelTrafficPolicy, MergeSubsetTrafficPolicy),
`pilot/pkg/model/destination_rule.go` (MergeTrafficPolicy), `pilot/pkg/xds/endpoints/mtls_checker.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshguard.model.objects import dig

TrafficPolicy = Mapping[str, Any]

MESH_TLS = "ISTIO_MUTUAL"
DISABLE = "DISABLE"
#: Modes by which a caller's proxy encrypts with certificates of its own choice, for servers that terminate TLS.
OWN_TLS = ("SIMPLE", "MUTUAL")

#: The settings that a port entry has; on that level silence means the default, not the host level.
_OF_A_PORT = ("connectionPool", "loadBalancer", "outlierDetection", "tls")
_OF_A_HOST_ONLY = ("tunnel", "proxyProtocol", "retryBudget")


def settings_at(host: TrafficPolicy | None, subset: TrafficPolicy | None, port: int) -> dict[str, Any]:
    """Return the settings that hold for a service port: of the host as a whole (`subset` None), or of a subset."""
    base, _ = _at_port(host, port)
    if subset is None:
        return base
    own, by_port = _at_port(subset, port)
    merged = dict(base)
    for key in _OF_A_PORT:
        if by_port or key in own:
            merged.pop(key, None)
            if key in own:
                merged[key] = own[key]
    merged.update({key: own[key] for key in _OF_A_HOST_ONLY if key in own})
    return merged


def _at_port(policy: TrafficPolicy | None, port: int) -> tuple[dict[str, Any], bool]:
    """The settings of one level at a port, and whether they come from an entry for that port."""
    if policy is None:
        return {}, False
    for entry in policy.get("portLevelSettings") or ():
        if dig(entry, "port", "number") == port:
            return {key: entry[key] for key in _OF_A_PORT if key in entry}, True
    return {key: value for key, value in policy.items() if key != "portLevelSettings"}, False


def tls_mode(settings: Mapping[str, Any]) -> str:
    """The mode of a `tls` block, "" where there is none; a block that names no mode means DISABLE."""
    block = settings.get("tls")
    return "" if block is None else str(block.get("mode", DISABLE))


def endpoint_mark(host: TrafficPolicy | None, subset: TrafficPolicy | None, port: int) -> str:
    """The explicit mode that decides about the marks of all endpoints; "" where the servers' policies do."""
    return (_marked(subset, port) if subset is not None else "") or _marked(host, port)


def _marked(policy: TrafficPolicy | None, port: int) -> str:
    if policy is None:
        return ""
    for entry in policy.get("portLevelSettings") or ():
        if dig(entry, "port", "number") == port and "tls" in entry:
            return tls_mode(entry)
    return tls_mode(policy)


def is_passthrough(policy: Mapping[str, Any] | None) -> bool:
    """True when the load balancer sends to the address that the caller chose."""
    return bool(dig(policy, "loadBalancer", "simple") == "PASSTHROUGH")


def names_passthrough(spec: Mapping[str, Any]) -> bool:
    """True when a rule names PASSTHROUGH at host, port or subset level."""
    top = [dig(spec, "trafficPolicy", default={})]
    top += [dig(subset, "trafficPolicy", default={}) for subset in dig(spec, "subsets", default=[])]
    entries = [entry for policy in top for entry in dig(policy, "portLevelSettings", default=[])]
    return any(is_passthrough(policy) for policy in (*top, *entries))


def modes_named(spec: Mapping[str, Any]) -> frozenset[str]:
    """Every TLS mode that a rule names, at host, port or subset level."""
    top = [dig(spec, "trafficPolicy", default={})]
    top += [dig(subset, "trafficPolicy", default={}) for subset in dig(spec, "subsets", default=[])]
    entries = [entry for policy in top for entry in dig(policy, "portLevelSettings", default=[])]
    return frozenset(tls_mode(policy) for policy in (*top, *entries)) - {""}


def ports_named(spec: Mapping[str, Any]) -> frozenset[int]:
    """Every port for which the rule has an entry."""
    top = [dig(spec, "trafficPolicy", default={})]
    top += [dig(subset, "trafficPolicy", default={}) for subset in dig(spec, "subsets", default=[])]
    return frozenset(
        int(dig(entry, "port", "number", default=0))
        for policy in top
        for entry in dig(policy, "portLevelSettings", default=[])
    )
