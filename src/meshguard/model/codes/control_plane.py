"""Findings about the control plane and its webhooks."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

CONTROL_PLANE_CODES = (
    Code(
        "MG401",
        "no istiod is ready",
        Severity.BLOCKS,
        "Policies reach no proxy: under STRICT there is no order without an outage.",
        "Bring one istiod back first.",
        "Istio, operations: control plane outage",
        example="no ready pod behind service istio-system/istiod",
    ),
    Code(
        "MG402",
        "no injection webhook serves this namespace",
        Severity.BLOCKS,
        "On the way back its pods would be created without a sidecar.",
        "Install the revision that the namespace names, or correct its label.",
        "Istio docs, canary upgrades",
        example="namespace shop has istio.io/rev=1-28, and no webhook selects it",
    ),
)
