"""Policy hazards of servers: who loses the right to call, which servers lose their guard, which rules stand fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshguard.mesh.istio_sidecar import authorization, relax
from meshguard.mesh.istio_sidecar.client_tls import is_gateway
from meshguard.mesh.istio_sidecar.hazards import callers
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Resource, Workload, dig

#: Kinds whose effect the sidecar of the server enforces.
SERVER_SIDE_POLICIES = ("AuthorizationPolicy", "RequestAuthentication", "WasmPlugin", "EnvoyFilter")
#: Where an EnvoyFilter acts on what a pod receives.
INBOUND_CONTEXTS = frozenset({"SIDECAR_INBOUND", "ANY"})


def authorization_losses(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Rules that stop meaning what they say for callers that leave."""
    for rule in lost_rules(scope, consents):
        who = ", ".join(sorted(c.principal for c in rule.callers))
        if rule.harmless:
            yield Finding(CODES["MG217"], rule.policy.ref, f"rule {rule.name}: {who} {rule.meaning}")
        elif rule.widens:
            yield Finding(
                CODES["MG201"],
                rule.policy.ref,
                f"rule {rule.name} admits {who} by identity; everybody who reaches the port gains access",
                accepted=consents.authz_loss,
            )
        else:
            yield Finding(
                CODES["MG202"],
                rule.policy.ref,
                f"rule {rule.name}: {who} {rule.meaning}",
                accepted=rule.name in consents.authz_rules,
            )


def lost_rules(scope: Scope, consents: Consents) -> tuple[authorization.LostRule, ...]:
    """Every rule, enforced by at least one server, that changes its meaning for callers without an identity.

    Those are the callers that leave, and for servers that get plaintext before they leave themselves: all callers.
    """
    found: list[authorization.LostRule] = []
    told = _served_plaintext(scope, consents)
    for policy in scope.snapshot.of_kind("AuthorizationPolicy"):
        enforcing = [
            server
            for server in scope.servers
            if authorization.selects(policy, server.namespace, server.labels, scope.mesh.root_namespace)
        ]
        if enforcing:
            everybody = any(server.workload in told for server in enforcing)
            callers = scope.identities if everybody else scope.leaving_identities
            found.extend(authorization.lost_rules(policy, callers))
    return tuple(found)


def _served_plaintext(scope: Scope, consents: Consents) -> frozenset[Ref]:
    """The servers that all callers send plaintext to while they still have their proxies.

    Clusters without endpoints of their own (headless, PASSTHROUGH) have TLS for all pods or for none, so they lose it
    with the first pod that leaves; a server-first port is set to DISABLE, which takes it from every caller.
    """
    shared = [
        host
        for host in scope.hosts
        if host.passthrough and any(host.selects(w.ref.namespace, w.template_labels) for w in scope.leaving)
    ]
    interrupted = {
        p.workload for p in relax.server_first_ports(scope, frozenset()) if p.consent in consents.interruptions
    }
    return frozenset(
        server.workload
        for server in scope.servers
        if server.workload in interrupted or any(host.selects(server.namespace, server.labels) for host in shared)
    )


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
    if policy.ref.kind == "AuthorizationPolicy" and not _restrains(policy):
        return False
    if policy.ref.kind == "EnvoyFilter" and not contexts(policy) & INBOUND_CONTEXTS:
        return False
    wanted: Mapping[str, str] = dig(policy.doc, "spec", "selector", "matchLabels", default={}) or dig(
        policy.doc, "spec", "workloadSelector", "labels", default={}
    )
    aimed = dig(policy.doc, "spec", "targetRefs") or dig(policy.doc, "spec", "targetRef")
    return not aimed and wanted.items() <= workload.template_labels.items()


def _restrains(policy: Resource) -> bool:
    """A dry run and an AUDIT let everybody through as it is."""
    return authorization.action(policy) != "AUDIT" and not authorization.is_dry_run(policy)


def contexts(envoy_filter: Resource) -> frozenset[str]:
    """Where the patches of an EnvoyFilter act; a patch that does not say acts everywhere."""
    patches = dig(envoy_filter.doc, "spec", "configPatches", default=[])
    return frozenset(str(dig(patch, "match", "context", default="ANY")) for patch in patches)


def explicit_tls_without_auto(scope: Scope, _: Consents) -> Iterator[Finding]:
    """ISTIO_MUTUAL rules in a mesh where dropping them would mean plaintext."""
    if scope.mesh.auto_mtls:
        return
    for ref in relax.mesh_tls_rules(scope):
        yield Finding(CODES["MG206"], ref, "it has tls ISTIO_MUTUAL and enableAutoMtls is off")


def rules_that_stand_fast(scope: Scope, _: Consents) -> Iterator[Finding]:
    """ISTIO_MUTUAL rules of which TLS alone cannot be taken away."""
    for ref, why in sorted(relax.relaxed_rules(scope).stuck.items()):
        yield Finding(CODES["MG209"], ref, why)


def servers_in_the_root_namespace(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Servers that could take plaintext only if the whole mesh did."""
    if not scope.leaving or scope.edits_mesh_policy:
        return
    for server in scope.called:
        strict = scope.peers.effective(server.namespace, server.labels).strict_somewhere
        if server.namespace == scope.mesh.root_namespace and strict and not is_gateway(server.pod_spec):
            yield Finding(CODES["MG223"], server.workload, f"it is STRICT and lives in {server.namespace}")


RULES = (
    servers_in_the_root_namespace,
    authorization_losses,
    fails_open,
    explicit_tls_without_auto,
    rules_that_stand_fast,
    *callers.RULES,
)
