"""Membership hazards: templates, labels and enrolments that decide who comes out of a restart how."""

from __future__ import annotations

from collections.abc import Iterator

from meshguard.mesh.istio_sidecar import membership, names
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Workload


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


RULES = (
    needs_injection,
    baked_in,
    template_attracts_tls,
    dual_enrolment,
    inconsistent,
    already_out,
)
