"""Findings about workloads: what a restart does to them."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

WORKLOAD_CODES = (
    Code(
        "MG301",
        "a restart interrupts the workload",
        Severity.BLOCKS,
        "There is a moment without a ready pod.",
        "Scale to two replicas with RollingUpdate and a readiness probe, or accept the interruption.",
        "Kubernetes docs, Deployment strategy",
        consent="--accept-interruption NS/WORKLOAD",
        example="Deployment shop-core/cart has one replica",
    ),
    Code(
        "MG302",
        "no readiness probe",
        Severity.BLOCKS,
        "A new pod gets traffic before it can answer.",
        "Add a readiness probe, or accept the interruption.",
        "Kubernetes docs, container probes",
        consent="--accept-interruption NS/WORKLOAD",
        example="container app of Deployment shop-core/cart has no readinessProbe",
    ),
    Code(
        "MG303",
        "cannot be restarted",
        Severity.BLOCKS,
        "A paused Deployment or an OnDelete or partitioned set keeps its old pods, sidecar included.",
        "Resume it, or leave it out of the scope.",
        "Kubernetes docs, update strategies",
        example="Deployment shop-core/cart is paused",
    ),
    Code(
        "MG304",
        "runs to completion; reported and left alone",
        Severity.TELLS,
        "Its running pods keep their sidecars; the next ones are created without.",
        "None needed; a Job that calls a server keeps its identity until it ends.",
        "Kubernetes docs, Jobs",
        example="Job shop-core/seed has a running pod with a sidecar",
    ),
    Code(
        "MG305",
        "nobody restarts these pods",
        Severity.WARNS,
        "A bare pod, or one with an owner that meshguard does not know, is never touched: it stays in the mesh.",
        "Recreate it by its own means.",
        "Kubernetes docs, owners",
        example="pod shop-core/debug has no controller",
    ),
)
