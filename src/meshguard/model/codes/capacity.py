"""Findings about capacity, scope and what other runs hold."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

CAPACITY_CODES = (
    Code(
        "MG501",
        "another open run has a part of the scope",
        Severity.TELLS,
        "Another run has taken a part of the scope out already; that part stays with it.",
        "Restore that run to bring its part back.",
        "meshguard's records in meshguard-system",
        example="run 20260101-030000-ab12 took Deployment shop-web/storefront out",
    ),
    Code(
        "MG502",
        "no node has room for one more pod",
        Severity.BLOCKS,
        "The rollout starts new pods before it stops old ones: they stay pending, and it stands still.",
        "Add room, or accept that the plan stops old pods first.",
        "Kubernetes docs, Deployment maxSurge",
        consent="--accept-interruption NS/WORKLOAD",
        example="no node has 2 cores and 4.0 GiB free for one more pod of Deployment shop-core/cart",
    ),
    Code(
        "MG503",
        "a quota leaves no room for one more pod",
        Severity.BLOCKS,
        "The API server refuses the additional pods of the rollout, and it stands still.",
        "Raise the quota, or accept that the plan stops old pods first.",
        "Kubernetes docs, resource quotas",
        consent="--accept-interruption NS/WORKLOAD",
        example="ResourceQuota shop-core/team allows 10 pods, and 10 are there",
    ),
    Code(
        "MG504",
        "room on the nodes is unknown",
        Severity.TELLS,
        "Whether new pods find a place shows only when they are made.",
        "Grant `list nodes`, or look at the nodes yourself.",
        "meshguard, capacity",
        example="nodes: forbidden",
    ),
)
