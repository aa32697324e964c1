"""Findings about rights and protection."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

RIGHTS_CODES = (
    Code(
        "MG701",
        "a protected namespace",
        Severity.BLOCKS,
        "System and gateway namespaces are never taken out.",
        "Take it out of the scope; change `protectedNamespaces` only with great care.",
        "meshguard.yaml, protectedNamespaces",
        example="kube-system",
    ),
)
