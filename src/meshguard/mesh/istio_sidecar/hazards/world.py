"""Hazards of the world around the scope: the control plane, and who else has a hand on the objects."""

from __future__ import annotations

from collections.abc import Iterator

from meshguard.mesh.istio_sidecar import membership
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref

GITOPS_MARKS = ("argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")


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


RULES = (
    control_plane,
    gitops,
)
