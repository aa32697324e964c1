"""Findings about rights and protection."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

RIGHTS_CODES = (
    Code(
        "MG701",
        "protected",
        Severity.BLOCKS,
        "It is never taken out of the mesh, nor restarted.",
        "Take it out of the scope; change `protectedNamespaces` only with great care.",
        "meshguard.yaml, protectedNamespaces",
        example="the scope names namespace kube-system",
    ),
    Code(
        "MG702",
        "what decides could not be read",
        Severity.BLOCKS,
        "A policy, a pod or a webhook that meshguard does not see can make the plan wrong.",
        "Grant the right that is named (`meshguard rbac --for exit`).",
        "meshguard, half-readable clusters",
        example="PeerAuthentication: forbidden in the whole cluster",
    ),
    Code(
        "MG703",
        "something that informs could not be read",
        Severity.TELLS,
        "The plan is right without it, but a cost or a hint may be missing.",
        "Grant the right that is named if you want to know.",
        "meshguard, half-readable clusters",
        example="PodDisruptionBudget: forbidden in the whole cluster",
    ),
    Code(
        "MG704",
        "the run cannot be mirrored in the cluster",
        Severity.BLOCKS,
        "Only this machine would know of it: nobody else could resume or restore it, or see it at work.",
        "Create the namespace (`kubectl create namespace meshguard-system`), or grant the right that is named.",
        "meshguard, the mirror of a run",
        consent="--local-journal-only",
        example='configmaps cannot be written: namespaces "meshguard-system" not found',
    ),
    Code(
        "MG705",
        "the record of a run cannot be read",
        Severity.BLOCKS,
        "What that run keeps out, and which policies it has relaxed, is not known: they look like the cluster's own.",
        "Use the meshguard that wrote it. Where it is damaged, `meshguard runs show RUN` on the machine that executed "
        "it tells what to bring back by hand; then set the record aside by the command in the finding.",
        "meshguard, the mirror of a run",
        example="ConfigMap meshguard-system/run-20261123-170821-6db5: the record is incomplete: 'state' is missing",
    ),
)
