"""Hosts whose callers hold on to TLS when pods behind them lose their proxies, and the rule that lets go in time.

A cluster that sends to the address the caller chose (headless, PASSTHROUGH) is built with TLS or without. istiod
looks at the pods when it builds it, but it does not build it anew when only pods come and go, except for headless
services with a port that is not HTTP. So the callers are told by an explicit `tls: DISABLE` before the first restart,
and only where they would hold on; it goes on the way back once all pods have proxies again.
Source: Istio `pilot/pkg/xds/cds.go` (cdsNeedsPush), `serviceregistry/kube/controller/endpointslice.go`; seen on the
testbed: with HTTP ports alone the callers' clusters had TLS as long as one looked, with a TCP port 1.2 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshguard.mesh.istio_sidecar import hosts
from meshguard.mesh.istio_sidecar.client_tls import ClientSide
from meshguard.mesh.istio_sidecar.destination_rules import MergedRule, rule_host
from meshguard.mesh.istio_sidecar.edits import Edit, manifest_of
from meshguard.mesh.istio_sidecar.relax import relaxed_rules
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.traffic_policy import (
    DISABLE,
    MESH_TLS,
    TrafficPolicy,
    names_passthrough,
    tls_mode,
)
from meshguard.model.change import ABSENT, Change, read
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.proxy import UpstreamTls
from meshguard.model.snapshot import changed_resource

_HTTP = frozenset({"http", "http2", "grpc", "grpc-web"})
_PLAINTEXT = {"mode": DISABLE}
_WHY = "istiod would leave TLS in the callers' clusters while pods without proxies come"


def is_rebuilt(scope: Scope, host: hosts.MeshHost) -> bool:
    """True when istiod builds the callers' clusters anew as pods come and go."""
    service = scope.snapshot.resources.get(host.origin)
    if service is None or host.origin.kind != "Service" or not hosts.is_headless(service):
        return False
    return any(port.protocol not in _HTTP for port in hosts.ports(service))


def held_hosts(scope: Scope) -> Mapping[hosts.MeshHost, tuple[MergedRule | None, ...]]:
    """Return the hosts whose callers would hold on to TLS, with the rules that are in effect for these callers."""
    relaxed = relaxed_rules(scope)
    edited = [changed_resource(scope.snapshot.resources[ref], changes) for ref, changes in relaxed.changes.items()]
    after = ClientSide(scope.snapshot.replace(edited), scope.mesh)
    found: dict[hosts.MeshHost, list[MergedRule | None]] = {}
    for host in _direct_hosts(scope):
        served = any(host.selects(w.ref.namespace, w.template_labels) for w in scope.leaving)
        if not served or host.external or is_rebuilt(scope, host):
            continue
        for client in scope.clients:
            known = scope.reach.knows(client.namespace, client.labels, host)
            ways = after.towards(client, host).values() if known else ()
            if any(tls.cluster is UpstreamTls.ALWAYS and not tls.mode for tls in ways):
                rule = scope.client_side.rules.for_client(client.namespace, client.labels, host)
                members = found.setdefault(host, [])
                if rule not in members:
                    members.append(rule)
    return {host: tuple(members) for host, members in found.items()}


def _direct_hosts(scope: Scope) -> list[hosts.MeshHost]:
    """Hosts that a caller's proxy may send to without a choice of endpoints: of themselves, or by a rule."""
    passing = (rule for rule in scope.snapshot.of_kind("DestinationRule") if names_passthrough(rule.spec))
    ruled = frozenset(hosts.among(scope.hosts, map(rule_host, passing)))
    return [host for host in scope.hosts if host.passthrough or host in ruled]


def plaintext_edits(scope: Scope) -> tuple[Edit, ...]:
    """Return the edits by which callers send plaintext to these hosts, whoever serves them."""
    edits: dict[Ref, Edit] = {}
    for host, rules in held_hosts(scope).items():
        for rule in rules:
            for edit in _edits(host, rule):
                edits[edit.target] = edit
    return tuple(edits[ref] for ref in sorted(edits))


def _edits(host: hosts.MeshHost, rule: MergedRule | None) -> list[Edit]:
    sentence = f"Let callers of {host.name} send plaintext"
    if rule is not None and rule_host(rule.sources[0]) == host.name:
        holders = rule.in_effect() or rule.sources[:1]
        first = rule.policy_of or rule.sources[0].ref
        changed = [(source, _changes(source, host_level=source.ref == first)) for source in holders]
        if not any(source.ref == first for source, _ in changed):
            changed.append((rule.sources[0], _changes(rule.sources[0], host_level=True)))
        return [Edit(s.ref, s.uid, f"{sentence} ({s.ref})", _WHY, changes) for s, changes in changed if changes]
    namespace = rule.namespace if rule else host.namespace
    ref = Ref("DestinationRule", namespace, f"meshguard-{host.name.replace('*', 'any')}"[:253])
    manifest = manifest_of(ref, {"host": host.name, **_copied(rule)})
    return [Edit(ref, "", f"{sentence} (new {ref})", _WHY, manifest=manifest)]


def _copied(rule: MergedRule | None) -> dict[str, Any]:
    """The new rule hides a wildcard one for this host, so it says all that that one says, but for TLS."""
    if rule is None:
        return {"trafficPolicy": {"tls": dict(_PLAINTEXT)}}
    spec: dict[str, Any] = {"trafficPolicy": _plain(rule.traffic_policy or {}, host_level=True)}
    subsets = [
        _plain_subset(subset)
        for source in rule.sources
        for subset in dig(source.doc, "spec", "subsets", default=[])
        if rule.subset_of[subset["name"]] == source.ref
    ]
    if subsets:
        spec["subsets"] = subsets
    if rule.selector is not None:
        spec["workloadSelector"] = {"matchLabels": dict(rule.selector)}
    elif rule.export_to:
        spec["exportTo"] = sorted(rule.export_to)
    return spec


def _changes(rule: Resource, *, host_level: bool) -> tuple[Change, ...]:
    before = {part: read(rule.doc, ("spec", part)) for part in ("trafficPolicy", "subsets")}
    after = dict(before)
    if before["trafficPolicy"] is not ABSENT or host_level:
        policy = {} if before["trafficPolicy"] is ABSENT else before["trafficPolicy"]
        after["trafficPolicy"] = _plain(policy, host_level=host_level)
    if before["subsets"] is not ABSENT:
        after["subsets"] = [_plain_subset(subset) for subset in before["subsets"]]
    return tuple(Change(("spec", part), before[part], after[part]) for part in before if before[part] != after[part])


def _plain_subset(subset: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(subset)
    if "trafficPolicy" in out:
        out["trafficPolicy"] = _plain(out["trafficPolicy"], host_level=False)
    return out


def _plain(policy: TrafficPolicy, *, host_level: bool) -> dict[str, Any]:
    """Put DISABLE where mutual TLS is decreed or would be inferred; a caller's own TLS stays."""
    out = _plain_settings(policy, needed=host_level)
    if "portLevelSettings" in out:
        out["portLevelSettings"] = [_plain_settings(entry, needed=True) for entry in out["portLevelSettings"]]
    return out


def _plain_settings(settings: Mapping[str, Any], *, needed: bool) -> dict[str, Any]:
    out = dict(settings)
    if tls_mode(settings) == MESH_TLS or (needed and "tls" not in settings):
        out["tls"] = dict(_PLAINTEXT)
    return out


def patterns(held: Iterable[hosts.MeshHost]) -> tuple[str, ...]:
    """The names of these hosts, in order."""
    return tuple(sorted({host.name for host in held}))
