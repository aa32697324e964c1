"""Findings about controllers that would revert a change."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

GITOPS_CODES = (
    Code(
        "MG601",
        "a GitOps controller may revert the change",
        Severity.WARNS,
        "With self-heal on, the label or policy comes back within minutes.",
        "Pause the application before the exit.",
        "argo-cd#15588",
        example="Deployment shop-core/cart carries argocd.argoproj.io/tracking-id",
    ),
)
