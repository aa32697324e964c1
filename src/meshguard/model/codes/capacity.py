"""Findings about capacity, scope and what other runs hold."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

CAPACITY_CODES = (
    Code(
        "MG501",
        "the namespace has not been restored before",
        Severity.TELLS,
        "Another run has taken a part of the scope out already; that part stays with it.",
        "Restore that run to bring its part back.",
        "meshguard's records in meshguard-system",
        example="run 20260101-030000-ab12 took Deployment shop-web/storefront out",
    ),
)
