"""Protected namespaces hold nothing that a way out may edit: what it needs there is got around, or blocks.

A DestinationRule of the root namespace is got around without touching it: callers look for a rule in the service's
own namespace first, so a new one there, which says the same but for TLS, hides it for this one host. A server that
demands mutual TLS cannot be got around.
Source: Istio `pilot/pkg/model/push_context.go` (destinationRule): the caller's, the service's, the root namespace.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshguard.mesh.istio_sidecar import relax
from meshguard.mesh.istio_sidecar.destination_rules import DestinationRules, MergedRule
from meshguard.mesh.istio_sidecar.edits import Edit, manifest_of
from meshguard.mesh.istio_sidecar.hosts import MeshHost, mesh_hosts
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, dig
from meshguard.model.snapshot import changed_resource


@dataclass(frozen=True)
class Allowed:
    """What of the wanted edits may be made, and what is in the way of the others."""

    edits: tuple[Edit, ...]
    findings: tuple[Finding, ...] = ()


def allowed(scope: Scope, edits: Sequence[Edit], ports: Sequence[relax.ServerFirstPort]) -> Allowed:
    """Return the edits without those of protected namespaces, with what gets around these where something does.

    Parameters:
        ports: what is served without mutual TLS meanwhile, outside the scope as well.
    """
    held = [edit for edit in edits if edit.target.namespace in scope.protected]
    rules = [edit for edit in held if edit.target.kind == "DestinationRule" and edit.changes]
    hidden, findings = _hidden(scope, rules, relax.mesh_tls_rules(scope, ports) if rules else {})
    findings += [finding for edit in held if edit not in rules for finding in _in_the_way(scope, edit)]
    return Allowed((*(edit for edit in edits if edit not in held), *hidden), tuple(findings))


def _in_the_way(scope: Scope, edit: Edit) -> Iterator[Finding]:
    """A PeerAuthentication is in the way by the servers that it is for, any other policy by itself."""
    namespace = edit.target.namespace
    servers = [
        server.workload
        for server in scope.called
        if server.namespace == namespace and scope.peers.effective(namespace, server.labels).strict_somewhere
    ]
    if edit.target.kind != "PeerAuthentication" or not servers:
        yield Finding(CODES["MG224"], edit.target, f"namespace {namespace} is protected; not done: {edit.sentence}")
        return
    for workload in servers:
        yield Finding(
            CODES["MG224"],
            workload,
            f"it demands mutual TLS, the scope may call it, and namespace {namespace} is protected",
        )


def _hidden(
    scope: Scope, held: Sequence[Edit], rule_hosts: Mapping[Ref, Collection[str]]
) -> tuple[list[Edit], list[Finding]]:
    """Return new rules that hide those of the root namespace, and findings on those that nothing hides."""
    edited = [changed_resource(scope.snapshot.resources[edit.target], edit.changes) for edit in held]
    after = DestinationRules(scope.snapshot.replace(edited), scope.mesh)
    by_name = {host.name: host for host in mesh_hosts(scope.snapshot)}
    hiding: dict[Ref, Edit] = {}
    findings = []
    for edit in held:
        for host in (by_name[name] for name in sorted(rule_hosts[edit.target])):
            rule = _seen_by_all(scope, after, edit.target, host)
            if rule is None:
                words = f"namespace {edit.target.namespace} is protected; not done for {host.name}: {edit.sentence}"
                findings.append(Finding(CODES["MG224"], edit.target, words))
            else:
                made = _hiding(host, rule, edit)
                hiding[made.target] = made
    return list(hiding.values()), findings


def _seen_by_all(scope: Scope, after: DestinationRules, held: Ref, host: MeshHost) -> MergedRule | None:
    """Return the one rule that every caller of the host would follow without TLS, where a new rule can hide it."""
    if held.namespace != scope.mesh.root_namespace or host.namespace in scope.protected:
        return None
    found: list[MergedRule] = []
    for client in scope.clients:
        rule = after.for_client(client.namespace, client.labels, host)
        if rule is None or rule.namespace != held.namespace or rule in found:
            continue
        if client.namespace == held.namespace:
            return None  # callers beside the rule look there first
        found.append(rule)
    beside = after.of_namespace(host.namespace, host.name)
    return found[0] if len(found) == 1 and not beside else None


def _hiding(host: MeshHost, rule: MergedRule, edit: Edit) -> Edit:
    ref = Ref("DestinationRule", host.namespace, f"meshguard-auto-{host.name.replace('*', 'any')}"[:253])
    spec: dict[str, Any] = {"host": host.name}
    if rule.traffic_policy:
        spec["trafficPolicy"] = dict(rule.traffic_policy)
    subsets = [
        dict(subset)
        for source in rule.sources
        for subset in dig(source.doc, "spec", "subsets", default=[])
        if rule.subset_of[subset["name"]] == source.ref
    ]
    if subsets:
        spec["subsets"] = subsets
    if rule.export_to:
        spec["exportTo"] = sorted(rule.export_to)
    sentence = f"{edit.sentence}, by a new {ref} that hides it for {host.name}"
    return Edit(ref, "", sentence, f"{edit.why}; {edit.target.namespace} is protected", manifest=manifest_of(ref, spec))
