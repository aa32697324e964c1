"""Which AuthorizationPolicies a proxy enforces, and which of their rules judge the caller's identity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from meshguard.model.objects import dig

_RULE = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]$")
_PEER_STATE = "io.istio.peer_principal"
#: What istiod sends for a policy without rules, or without one that fits the protocol.
_NEVER = [{"not_rule": {"any": True}}]


def authz_rules(listener: Mapping[str, Any]) -> dict[str, dict[int, bool]]:
    """For each policy (`namespace/name`) in the inbound listener: its rules, and whether each judges who calls.

    A rule judges who calls when a caller without a sidecar fares otherwise than one with: it speaks of the peer's
    principal, or of the server name that only TLS has. Dry runs and external authorizers are included. A policy of
    which the proxy holds no rule that could match is there with none.
    """
    policies: dict[str, dict[int, bool]] = {}
    for name, rule in _rules(listener):
        if match := _RULE.search(name):
            found = policies.setdefault(f"{match['namespace']}/{match['name']}", {})
            if rule.get("permissions") != _NEVER:
                number = int(match["rule"])
                found[number] = found.get(number, False) or _judges_peer(rule)
    return {key: dict(sorted(found.items())) for key, found in sorted(policies.items())}


def _rules(listener: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for chain in listener.get("filter_chains") or ():
        for network_filter in chain.get("filters") or ():
            config = network_filter.get("typed_config") or {}
            yield from _policies(config)
            for http_filter in config.get("http_filters") or ():
                yield from _policies(http_filter.get("typed_config") or {})


def _policies(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if str(config.get("@type", "")).endswith(".RBAC"):
        for part in ("rules", "shadow_rules"):
            yield from dig(config, part, "policies", default={}).items()


def _judges_peer(node: Any) -> bool:
    if isinstance(node, Mapping):
        if "authenticated" in node or "requested_server_name" in node:
            return True
        if dig(node, "filter_state", "key") == _PEER_STATE:
            return True
        return any(map(_judges_peer, node.values()))
    return isinstance(node, list) and any(map(_judges_peer, node))
