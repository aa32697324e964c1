"""Membership hazards: templates, labels and enrolments that decide who comes out of a restart how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from meshguard.mesh.istio_sidecar import membership, names
from meshguard.mesh.istio_sidecar.membership import Candidate, Due, ProxyKind
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.webhooks import other_pod_webhooks
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Workload


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
    """Namespaces and templates that would fall into ambient."""
    for name in sorted(scope.namespaces):
        namespace = scope.snapshot.namespaces[name]
        if namespace.labels.get(names.AMBIENT_MODE) == names.AMBIENT:
            yield Finding(CODES["MG106"], namespace.ref, f"it carries {names.AMBIENT_MODE}={names.AMBIENT}")
    for workload in scope.candidates:
        if workload.template_labels.get(names.AMBIENT_MODE) == names.AMBIENT:
            yield Finding(CODES["MG106"], workload.ref, f"its template carries {names.AMBIENT_MODE}={names.AMBIENT}")


def inconsistent(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads whose pods are not what the next create would be."""
    for workload in scope.candidates:
        answer = scope.memberships.of(workload)
        if not answer.consistent and answer.due.due is not Due.REFUSED:
            yield Finding(
                CODES["MG101"],
                workload.ref,
                f"declared: {answer.declared}; due: {answer.due.due} ({answer.due.reason}); actual: {answer.actual}",
            )


def no_way_back(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that no restart would bring back: their pods have a sidecar, but the next ones would not get it."""
    for workload in scope.leaving:
        answer = scope.memberships.of(workload).due
        if answer.due is Due.NOT_INJECTED:
            yield Finding(CODES["MG402"], workload.ref, f"its next pod would be {answer.due}: {answer.reason}")


def refused(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads whose next pod cannot be created."""
    for workload in scope.candidates:
        answer = scope.memberships.of(workload).due
        if answer.due is Due.REFUSED:
            yield Finding(CODES["MG108"], workload.ref, answer.reason)


def unserved_revision(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Labels that ask for a revision which is not there."""
    webhooks = [injector.webhook for injector in scope.memberships.injectors]
    for workload in scope.candidates:
        if revision := membership.unserved_revision(scope.memberships.candidate(workload), webhooks):
            served = ", ".join(sorted({w.tag or w.revision for w in webhooks})) or "none"
            yield Finding(CODES["MG107"], workload.ref, f"it asks for {names.REVISION}={revision}; served: {served}")


def switch_without_effect(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Injectors that would take the pod although its namespace, or its own label, is switched off."""
    for workload in scope.leaving:
        answer = membership.due(_switched_off(scope, workload), scope.memberships.injectors)
        if answer.due is not Due.NOT_INJECTED:
            yield Finding(CODES["MG109"], workload.ref, f"it would be {answer.due}: {answer.reason}")


def _switched_off(scope: Scope, workload: Workload) -> Candidate:
    """The workload's next pod after the switch that its exit uses."""
    candidate = scope.memberships.candidate(workload)
    if workload.ref.namespace in scope.partial:
        return replace(candidate, labels={**candidate.labels, names.POD_INJECT: "false"})
    return replace(candidate, namespace_labels={**candidate.namespace_labels, names.NS_INJECTION: "disabled"})


def uncertain(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads about which only a dry-run create can tell."""
    for workload in scope.candidates:
        answer = scope.memberships.of(workload).due
        if answer.due is Due.UNKNOWN:
            yield Finding(CODES["MG110"], workload.ref, answer.reason)


def several_injectors(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that more than one injector takes."""
    for workload in scope.candidates:
        candidate = scope.memberships.candidate(workload)
        called = {i.webhook.configuration for i in scope.memberships.injectors if i.selects(candidate)}
        if len(called) > 1:
            yield Finding(CODES["MG111"], workload.ref, f"it is selected by {', '.join(sorted(called))}")


def foreign_webhooks(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Other people's webhooks that see the scope's new pods, once for each namespace."""
    found: dict[str, set[str]] = defaultdict(set)
    for workload in scope.candidates:
        candidate = scope.memberships.candidate(workload)
        others = other_pod_webhooks(scope.snapshot, candidate.namespace_labels, candidate.labels)
        found[workload.ref.namespace].update(others)
    for name in sorted(found):
        if found[name]:
            yield Finding(CODES["MG112"], scope.snapshot.namespaces[name].ref, ", ".join(sorted(found[name])))


def native_sidecars(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Sidecars among the init containers, once for each namespace."""
    of_namespace: dict[str, list[ProxyKind]] = defaultdict(list)
    for pod in scope.meshed_pods:
        of_namespace[pod.ref.namespace].append(membership.proxy_kind(pod))
    for name in sorted(scope.namespaces):
        kinds = of_namespace[name]
        if native := kinds.count(ProxyKind.NATIVE):
            detail = f"{native} of {len(kinds)} sidecars are init containers"
            yield Finding(CODES["MG113"], scope.snapshot.namespaces[name].ref, detail)


def only_annotation(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that istiod leaves alone because of an annotation."""
    for workload in scope.candidates:
        answer = scope.memberships.of(workload).due
        if answer.due is Due.NOT_INJECTED and answer.rows[1:] == ("annotation",):
            yield Finding(CODES["MG114"], workload.ref, f"its template has the annotation {names.POD_INJECT}=false")


def ignored_revision(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Namespaces with both labels."""
    for name in sorted(scope.namespaces):
        namespace = scope.snapshot.namespaces[name]
        if {names.NS_INJECTION, names.REVISION} <= namespace.labels.keys():
            detail = ", ".join(f"{key}={namespace.labels[key]}" for key in (names.NS_INJECTION, names.REVISION))
            yield Finding(CODES["MG115"], namespace.ref, f"it carries {detail}")


def assumed_settings(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Injectors that take pods of the scope by settings that nobody can read from here."""
    candidates = [scope.memberships.candidate(workload) for workload in scope.candidates]
    unread = {
        injector.webhook.configuration
        for injector in scope.memberships.injectors
        if not injector.config.known and any(injector.selects(candidate) for candidate in candidates)
    }
    for configuration in sorted(unread):
        yield Finding(
            CODES["MG116"], Ref("MutatingWebhookConfiguration", "", configuration), "its settings are assumed"
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


RULES = (
    needs_injection,
    baked_in,
    template_attracts_tls,
    dual_enrolment,
    inconsistent,
    no_way_back,
    refused,
    unserved_revision,
    switch_without_effect,
    uncertain,
    several_injectors,
    foreign_webhooks,
    native_sidecars,
    only_annotation,
    ignored_revision,
    assumed_settings,
    already_out,
)
