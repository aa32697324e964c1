"""Workload hazards: what a restart does to each kind of workload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE, RUN_TO_COMPLETION
from meshguard.model.objects import Workload, dig

#: Why a restart cannot be graceful; each row is (words, test).
INTERRUPTIONS: tuple[tuple[str, Callable[[Workload], bool]], ...] = (
    ("it has one replica", lambda w: w.ref.kind != "DaemonSet" and w.replicas == 1),
    (
        "its strategy is Recreate",
        lambda w: dig(w.doc, "spec", "strategy", "type", default="RollingUpdate") == "Recreate",
    ),
    (
        "it has no room to surge and may lose all replicas",
        lambda w: w.ref.kind == "Deployment" and _surge(w) == 0 and _count(w, "maxUnavailable", 1) >= w.replicas,
    ),
    (
        "it is a DaemonSet that stops its pod before it starts the next",
        lambda w: w.ref.kind == "DaemonSet" and _surge(w) == 0,
    ),
    ("it uses a port of the node", lambda w: any(_host_ports(w))),
)


def _surge(workload: Workload) -> int:
    default = 0 if workload.ref.kind == "DaemonSet" else 1
    return _count(workload, "maxSurge", default)


def _count(workload: Workload, key: str, default: int) -> int:
    field = "strategy" if workload.ref.kind == "Deployment" else "updateStrategy"
    value: Any = dig(workload.doc, "spec", field, "rollingUpdate", key, default=default)
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * workload.replicas
        return -(-share // 100) if key == "maxSurge" else share // 100
    return int(value)


def _host_ports(workload: Workload) -> Iterator[int]:
    for container in workload.template_containers:
        for port in container.get("ports", ()):
            if port.get("hostPort"):
                yield int(port["hostPort"])


def interruptions(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Workloads whose restart leaves a moment without a ready pod."""
    for workload in scope.leaving:
        accepted = f"{workload.ref.namespace}/{workload.ref.name}" in consents.interruptions
        for words, holds in INTERRUPTIONS:
            if holds(workload):
                yield Finding(CODES["MG301"], workload.ref, words, accepted)
        served = scope.services_before(workload.ref.namespace, workload.template_labels)
        if served and not any("readinessProbe" in c for c in workload.template_containers):
            yield Finding(CODES["MG302"], workload.ref, "no container has a readinessProbe", accepted)


def cannot_restart(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that a template change does not renew."""
    for workload in scope.leaving:
        strategy = dig(workload.doc, "spec", "updateStrategy", default={})
        if dig(workload.doc, "spec", "paused", default=False):
            yield Finding(CODES["MG303"], workload.ref, "it is paused")
        elif strategy.get("type") == "OnDelete":
            yield Finding(CODES["MG303"], workload.ref, "its update strategy is OnDelete")
        elif dig(strategy, "rollingUpdate", "partition", default=0):
            yield Finding(CODES["MG303"], workload.ref, "its update strategy has a partition")


def left_alone(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Pods that run to completion, and pods that nobody restarts."""
    for ref, pods in scope.meshed_workloads.items():
        if ref.namespace not in scope.namespaces or ref.kind in RESTARTABLE:
            continue
        code = CODES["MG304"] if ref.kind in RUN_TO_COMPLETION else CODES["MG305"]
        yield Finding(code, ref, f"{len(pods)} running pod(s) keep their sidecar")


RULES = (
    interruptions,
    cannot_restart,
    left_alone,
)
