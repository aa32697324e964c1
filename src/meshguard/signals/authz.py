"""Which AuthorizationPolicies a proxy enforces, and a digest of each."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from meshguard.model.objects import dig

_RULE = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]$")
_PEER_STATE = "io.istio.peer_principal"


def authz_digests(listener: Mapping[str, Any]) -> dict[str, str]:
    """For each policy (`namespace/name`) in the inbound listener a digest: `ALLOW 2 peers 0f3a...`.

    Action, how many identities of callers it names, and a hash of all its rules in all filter chains: equal
    digests mean that two proxies enforce the same. A policy without identities judges callers without a sidecar
    as well. Dry-run rules count as the action `SHADOW ...`.
    """
    rules: dict[str, set[str]] = defaultdict(set)
    actions: dict[str, str] = {}
    peers: dict[str, set[str]] = defaultdict(set)
    for layer, action, name, policy in _rules(listener):
        if match := _RULE.search(name):
            key = f"{match['namespace']}/{match['name']}"
            actions[key] = action
            peers[key].update(_peers(policy))
            rules[key].add(_canonical([layer, action, name, policy]))
    return {
        key: f"{actions[key]} {len(peers[key])} peers {_digest(_canonical(sorted(found)))}"
        for key, found in sorted(rules.items())
    }


def _rules(listener: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    for chain in listener.get("filter_chains") or ():
        for network_filter in chain.get("filters") or ():
            config = network_filter.get("typed_config") or {}
            yield from _policies("tcp", config)
            for http_filter in config.get("http_filters") or ():
                yield from _policies("http", http_filter.get("typed_config") or {})


def _policies(layer: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    if not str(config.get("@type", "")).endswith(".RBAC"):
        return
    for field, prefix in (("rules", ""), ("shadow_rules", "SHADOW ")):
        rules = config.get(field) or {}
        # Envoy leaves out what is the default, and ALLOW is.
        action = prefix + rules.get("action", "ALLOW")
        for name, policy in dig(rules, "policies", default={}).items():
            yield layer, action, name, policy


def _peers(node: Any) -> Iterator[str]:
    """All conditions on the caller's identity, which plaintext does not have."""
    if isinstance(node, Mapping):
        if "authenticated" in node:
            yield _canonical(node["authenticated"])
        elif dig(node, "filter_state", "key") == _PEER_STATE:
            yield _canonical(node["filter_state"])
        for value in node.values():
            yield from _peers(value)
    elif isinstance(node, list):
        for value in node:
            yield from _peers(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
