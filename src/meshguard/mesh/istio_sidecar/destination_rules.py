"""What a DestinationRule says about TLS, and the smallest edit that leaves it to auto mTLS.

An explicit ISTIO_MUTUAL encrypts to every endpoint, proxied or not. In the mixed phase the `tls` block must be
absent; setting it to anything else would only move the breakage. A `trafficPolicy` or port entry must not be left
empty, for validation rejects it.
Source: Istio `pilot/pkg/networking/core/cluster_tls.go`, `pkg/config/validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshguard.mesh.istio_sidecar import hosts
from meshguard.model.change import ABSENT, Change, read
from meshguard.model.objects import Resource, dig

#: Modes that demand mutual TLS by the mesh's own certificates.
MESH_TLS = "ISTIO_MUTUAL"


def rule_hosts(rule: Resource) -> str:
    """The full host (or wildcard) that the rule is for."""
    return hosts.resolve(str(dig(rule.doc, "spec", "host", default="")), rule.ref.namespace)


def demands_mesh_tls(rule: Resource) -> bool:
    """True when the rule sets ISTIO_MUTUAL at host, port or subset level."""
    return any(dig(policy, "tls", "mode") == MESH_TLS for policy in _policies(rule))


def _policies(rule: Resource) -> list[Mapping[str, Any]]:
    top = [dig(rule.doc, "spec", "trafficPolicy", default={})]
    top += [dig(s, "trafficPolicy", default={}) for s in dig(rule.doc, "spec", "subsets", default=[])]
    return top + [entry for policy in top for entry in dig(policy, "portLevelSettings", default=[])]


def without_mesh_tls(rule: Resource) -> tuple[Change, ...]:
    """Return the changes that drop every ISTIO_MUTUAL of the rule and nothing else."""
    changes = []
    before = read(rule.doc, ("spec", "trafficPolicy"))
    if before is not ABSENT:
        after = _relaxed(before)
        if after != before:
            changes.append(Change(("spec", "trafficPolicy"), before, after if after else ABSENT))
    subsets = read(rule.doc, ("spec", "subsets"))
    if subsets is not ABSENT:
        relaxed = [_relaxed_subset(subset) for subset in subsets]
        if relaxed != subsets:
            changes.append(Change(("spec", "subsets"), subsets, relaxed))
    return tuple(changes)


def _relaxed_subset(subset: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(subset)
    if "trafficPolicy" in out:
        out["trafficPolicy"] = _relaxed(out["trafficPolicy"])
        if not out["trafficPolicy"]:
            del out["trafficPolicy"]
    return out


def _relaxed(policy: Mapping[str, Any]) -> dict[str, Any]:
    out = _without_tls(policy)
    if "portLevelSettings" in out:
        # A port entry replaces the host level as a whole, so one that only said TLS goes, and the host level,
        # relaxed as well, takes over: the same answer, auto mTLS.
        entries = [_without_tls(entry) for entry in out["portLevelSettings"]]
        kept = [entry for entry in entries if set(entry) - {"port"}]
        if kept:
            out["portLevelSettings"] = kept
        else:
            del out["portLevelSettings"]
    return out


def _without_tls(policy: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(policy)
    if dig(out, "tls", "mode") == MESH_TLS:
        del out["tls"]
    return out


def host_level_mesh_tls(rule: Resource) -> bool:
    """True when the rule sets ISTIO_MUTUAL for the host as a whole."""
    return bool(dig(rule.doc, "spec", "trafficPolicy", "tls", "mode") == MESH_TLS)
