"""Policy hazards: who loses the right to call, and which servers lose their guard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshguard.mesh.istio_sidecar import authorization, destination_rules, hosts
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Resource, Workload, dig

#: Kinds whose effect the sidecar of the server enforces.
SERVER_SIDE_POLICIES = ("AuthorizationPolicy", "RequestAuthentication", "WasmPlugin", "EnvoyFilter")


def authorization_losses(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Rules that stop meaning what they say for callers that leave."""
    for rule in lost_rules(scope):
        callers = ", ".join(sorted(c.principal for c in rule.callers))
        if rule.negative:
            yield Finding(
                CODES["MG202"],
                rule.policy.ref,
                f"rule {rule.name} reads the identity of {callers}",
                accepted=rule.name in consents.authz_rules,
            )
        else:
            yield Finding(
                CODES["MG201"],
                rule.policy.ref,
                f"rule {rule.name} admits {callers} by identity; everybody who reaches the port gains access",
                accepted=consents.authz_loss,
            )


def lost_rules(scope: Scope) -> tuple[authorization.LostRule, ...]:
    """Every rule, enforced by at least one server, that changes its meaning for the leaving callers."""
    found: list[authorization.LostRule] = []
    for policy in scope.snapshot.of_kind("AuthorizationPolicy"):
        enforced = any(
            authorization.selects(policy, server.namespace, server.labels, scope.mesh.root_namespace)
            for server in scope.servers
        )
        if enforced:
            found.extend(authorization.lost_rules(policy, scope.leaving_identities))
    return tuple(found)


def fails_open(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Server-side policies that go with the sidecars of the scope."""
    for kind in SERVER_SIDE_POLICIES:
        for policy in scope.snapshot.of_kind(kind):
            lost = [w for w in scope.leaving if _enforced_by(policy, w, scope.mesh.root_namespace)]
            if lost:
                listed = ", ".join(str(w.ref) for w in lost)
                yield Finding(
                    CODES["MG203"], policy.ref, f"no longer enforced by {listed}", accepted=consents.fail_open
                )


def _enforced_by(policy: Resource, workload: Workload, root_namespace: str) -> bool:
    if policy.ref.namespace not in (workload.ref.namespace, root_namespace):
        return False
    wanted: Mapping[str, str] = dig(policy.doc, "spec", "selector", "matchLabels", default={}) or dig(
        policy.doc, "spec", "workloadSelector", "labels", default={}
    )
    return not dig(policy.doc, "spec", "targetRefs") and wanted.items() <= workload.template_labels.items()


def explicit_tls_without_auto(scope: Scope, _: Consents) -> Iterator[Finding]:
    """ISTIO_MUTUAL rules in a mesh where dropping them would mean plaintext."""
    if scope.mesh.auto_mtls:
        return
    targets = [hosts.fqdn(service) for service in scope.services]
    for rule in scope.snapshot.of_kind("DestinationRule"):
        pattern = destination_rules.rule_host(rule)
        if destination_rules.demands_mesh_tls(rule) and any(hosts.covers(pattern, h) for h in targets):
            yield Finding(CODES["MG206"], rule.ref, "it has tls ISTIO_MUTUAL and enableAutoMtls is off")


RULES = (
    authorization_losses,
    fails_open,
    explicit_tls_without_auto,
)
