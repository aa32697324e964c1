"""What speaks against taking a scope out, object by object. One small function for each rule, listed in a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshguard.mesh.istio_sidecar import authorization, destination_rules, hosts, membership, names
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE, RUN_TO_COMPLETION
from meshguard.model.objects import Ref, Resource, Workload, dig

#: Kinds whose effect the sidecar of the server enforces.
SERVER_SIDE_POLICIES = ("AuthorizationPolicy", "RequestAuthentication", "WasmPlugin", "EnvoyFilter")
GITOPS_MARKS = ("argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")

Rule = Callable[[Scope, Consents], Iterator[Finding]]


def needs_injection(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Gateways and other templates that cannot start without the injector."""
    for workload in scope.candidates:
        if membership.needs_injection(workload):
            yield Finding(CODES["MG102"], workload.ref, "its template has `image: auto` or another injection template")


def baked_in(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Sidecars that the template itself holds."""
    for workload in scope.candidates:
        if not membership.needs_injection(workload) and any(
            c.get("name") == names.PROXY_CONTAINER for c in workload.template_containers
        ):
            yield Finding(CODES["MG103"], workload.ref, f"its template holds a container {names.PROXY_CONTAINER}")


def template_attracts_tls(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Templates that carry the server's TLS mark themselves."""
    for workload in scope.candidates:
        if names.TLS_MODE in workload.template_labels:
            yield Finding(CODES["MG105"], workload.ref, f"its template carries the label {names.TLS_MODE}")


def dual_enrolment(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Namespaces that would fall into ambient."""
    for name in sorted(scope.namespaces):
        namespace = scope.snapshot.namespaces[name]
        if namespace.labels.get(names.AMBIENT_MODE) == "ambient":
            yield Finding(CODES["MG106"], namespace.ref, f"it carries {names.AMBIENT_MODE}=ambient")


def inconsistent(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads whose pods are not what the next create would be."""
    for workload in scope.candidates:
        answer = membership.membership_of(scope.snapshot, workload)
        if not answer.consistent:
            yield Finding(
                CODES["MG101"],
                workload.ref,
                f"declared: {answer.declared}; due: {answer.due.due} ({answer.due.reason}); actual: {answer.actual}",
            )


def already_out(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that have nothing to leave."""
    for workload in scope.candidates:
        if workload.ref not in scope.meshed_workloads:
            yield Finding(CODES["MG104"], workload.ref, already_out_reason(scope, workload))


def already_out_reason(scope: Scope, workload: Workload) -> str:
    """Say why the workload is left alone: which run took it out, or that it was never in."""
    for run in scope.snapshot.open_runs:
        if workload.ref in run.changes:
            return f"already out of the mesh by run {run.run}"
    return "none of its pods carries a sidecar"


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
        pattern = destination_rules.rule_hosts(rule)
        if destination_rules.demands_mesh_tls(rule) and any(hosts.covers(pattern, h) for h in targets):
            yield Finding(CODES["MG206"], rule.ref, "it has tls ISTIO_MUTUAL and enableAutoMtls is off")


#: Why a restart cannot be graceful; each row is (words, test).
INTERRUPTIONS: tuple[tuple[str, Callable[[Workload], bool]], ...] = (
    ("it has one replica", lambda w: w.ref.kind != "DaemonSet" and w.replicas == 1),
    (
        "its strategy is Recreate",
        lambda w: dig(w.doc, "spec", "strategy", "type", default="RollingUpdate") == "Recreate",
    ),
    (
        "it has no room to surge and may lose all replicas",
        lambda w: w.ref.kind == "Deployment" and _surge(w) == 0 and _count(w, "maxUnavailable", 1) >= w.replicas,
    ),
    (
        "it is a DaemonSet that stops its pod before it starts the next",
        lambda w: w.ref.kind == "DaemonSet" and _surge(w) == 0,
    ),
    ("it uses a port of the node", lambda w: any(_host_ports(w))),
)


def _surge(workload: Workload) -> int:
    default = 0 if workload.ref.kind == "DaemonSet" else 1
    return _count(workload, "maxSurge", default)


def _count(workload: Workload, key: str, default: int) -> int:
    field = "strategy" if workload.ref.kind == "Deployment" else "updateStrategy"
    value: Any = dig(workload.doc, "spec", field, "rollingUpdate", key, default=default)
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * workload.replicas
        return -(-share // 100) if key == "maxSurge" else share // 100
    return int(value)


def _host_ports(workload: Workload) -> Iterator[int]:
    for container in workload.template_containers:
        for port in container.get("ports", ()):
            if port.get("hostPort"):
                yield int(port["hostPort"])


def interruptions(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Workloads whose restart leaves a moment without a ready pod."""
    for workload in scope.leaving:
        accepted = f"{workload.ref.namespace}/{workload.ref.name}" in consents.interruptions
        for words, holds in INTERRUPTIONS:
            if holds(workload):
                yield Finding(CODES["MG301"], workload.ref, words, accepted)
        served = scope.services_before(workload.ref.namespace, workload.template_labels)
        if served and not any("readinessProbe" in c for c in workload.template_containers):
            yield Finding(CODES["MG302"], workload.ref, "no container has a readinessProbe", accepted)


def cannot_restart(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that a template change does not renew."""
    for workload in scope.leaving:
        strategy = dig(workload.doc, "spec", "updateStrategy", default={})
        if dig(workload.doc, "spec", "paused", default=False):
            yield Finding(CODES["MG303"], workload.ref, "it is paused")
        elif strategy.get("type") == "OnDelete":
            yield Finding(CODES["MG303"], workload.ref, "its update strategy is OnDelete")
        elif dig(strategy, "rollingUpdate", "partition", default=0):
            yield Finding(CODES["MG303"], workload.ref, "its update strategy has a partition")


def left_alone(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Pods that run to completion, and pods that nobody restarts."""
    for ref, pods in scope.meshed_workloads.items():
        if ref.namespace not in scope.namespaces or ref.kind in RESTARTABLE:
            continue
        code = CODES["MG304"] if ref.kind in RUN_TO_COMPLETION else CODES["MG305"]
        yield Finding(code, ref, f"{len(pods)} running pod(s) keep their sidecar")


def control_plane(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Policies and endpoints reach the proxies only through a living istiod."""
    if not living_istiod(scope):
        yield Finding(
            CODES["MG401"],
            Ref("Namespace", "", scope.mesh.root_namespace),
            "no ready pod answers for any injector's service",
        )


def living_istiod(scope: Scope) -> bool:
    """True when at least one revision's istiod has a ready pod."""
    services = {w.service for w in membership.injector_webhooks(scope.snapshot)}
    return bool(services & membership.ready_injectors(scope.snapshot))


def gitops(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Objects that somebody's reconciler owns."""
    for resource in (*(scope.snapshot.namespaces[n] for n in sorted(scope.namespaces)), *scope.candidates):
        marks = [m for m in GITOPS_MARKS if m in resource.annotations or m in resource.labels]
        if marks:
            yield Finding(CODES["MG601"], resource.ref, f"it carries {', '.join(marks)}")


HAZARDS: tuple[Rule, ...] = (
    control_plane,
    needs_injection,
    baked_in,
    template_attracts_tls,
    dual_enrolment,
    authorization_losses,
    fails_open,
    explicit_tls_without_auto,
    interruptions,
    cannot_restart,
    gitops,
    inconsistent,
    left_alone,
    already_out,
)


def hazards(scope: Scope, consents: Consents) -> tuple[Finding, ...]:
    """Return everything that speaks against taking the scope out, in the order of the table."""
    return tuple(finding for rule in HAZARDS for finding in rule(scope, consents))
