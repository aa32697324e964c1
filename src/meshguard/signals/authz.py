"""Which AuthorizationPolicies a proxy enforces, and whom each of their rules names."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshguard.model.objects import dig

_RULE = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]$")
_PEER_STATE = "io.istio.peer_principal"
#: What istiod sends for a policy without rules.
_NEVER = [{"not_rule": {"any": True}}]


@dataclass
class _Enforced:
    """What was found of one policy in all filter chains."""

    action: str
    peers: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """For each rule the callers' identities that it speaks of."""
    never: set[int] = field(default_factory=set)
    rules: set[str] = field(default_factory=set)

    def describe(self) -> str:
        digest = hashlib.sha256(_canonical(sorted(self.rules)).encode()).hexdigest()[:12]
        words = "; ".join(f"rule {number} {self._whom(number)}" for number in sorted(self.peers))
        return f"{self.action}: {words} ({digest})"

    def _whom(self, number: int) -> str:
        if number in self.never:
            return "never matches"
        return f"from {', '.join(sorted(self.peers[number])) or 'anyone'}"


def authz_digests(listener: Mapping[str, Any]) -> dict[str, str]:
    """Say for each policy (`namespace/name`) in the inbound listener what it does.

    `ALLOW: rule 0 from spiffe://cluster.local/ns/web/sa/shop; rule 1 from anyone (0f3a5b7c9d1e)`: the action (`SHADOW
    ...` for a dry run or an external authorizer), for each rule the identities of callers that it speaks of (`anyone`
    where a caller without a sidecar is judged like all others), and a hash of everything else. Equal texts mean that
    two proxies enforce the same.
    """
    policies: dict[str, _Enforced] = {}
    for layer, action, name, rule in _rules(listener):
        if match := _RULE.search(name):
            found = policies.setdefault(f"{match['namespace']}/{match['name']}", _Enforced(action))
            number = int(match["rule"])
            found.peers[number].update(_peers(rule))
            found.rules.add(_canonical([layer, action, name, rule]))
            if rule.get("permissions") == _NEVER:
                found.never.add(number)
    return {key: found.describe() for key, found in sorted(policies.items())}


def _rules(listener: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    for chain in listener.get("filter_chains") or ():
        for network_filter in chain.get("filters") or ():
            config = network_filter.get("typed_config") or {}
            yield from _policies("tcp", config)
            for http_filter in config.get("http_filters") or ():
                yield from _policies("http", http_filter.get("typed_config") or {})


def _policies(layer: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    if not str(config.get("@type", "")).endswith(".RBAC"):
        return
    for part, prefix in (("rules", ""), ("shadow_rules", "SHADOW ")):
        rules = config.get(part) or {}
        # Envoy leaves out what is the default, and ALLOW is.
        action = prefix + rules.get("action", "ALLOW")
        for name, rule in dig(rules, "policies", default={}).items():
            yield layer, action, name, rule


def _peers(node: Any) -> Iterator[str]:
    """All conditions on the caller's identity, which plaintext does not have."""
    if isinstance(node, Mapping):
        if "authenticated" in node:
            yield _pattern(dig(node, "authenticated", "principal_name", default={}))
        elif dig(node, "filter_state", "key") == _PEER_STATE:
            yield _pattern(dig(node, "filter_state", "string_match", default={}))
        for value in node.values():
            yield from _peers(value)
    elif isinstance(node, list):
        for value in node:
            yield from _peers(value)


def _pattern(matcher: Mapping[str, Any]) -> str:
    """A string matcher in Istio's own words: `exact`, `prefix*`, `*suffix`, or a regular expression."""
    match matcher:
        case {"exact": text}:
            return str(text)
        case {"prefix": text}:
            return f"{text}*"
        case {"suffix": text}:
            return f"*{text}"
        case {"safe_regex": {"regex": text}}:
            return f"/{text}/"
    return _canonical(matcher) if matcher else "any identity"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
