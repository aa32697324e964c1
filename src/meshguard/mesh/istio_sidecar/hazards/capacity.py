"""Hazards of room: nodes and quotas that do not take one more pod."""

from __future__ import annotations

from collections.abc import Iterator

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref


def no_room(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Workloads whose rollout would wait for room that is not there."""
    for workload in scope.leaving:
        why = scope.no_room.get(workload.ref)
        if why:
            code = CODES["MG503"] if why.startswith("the quota") else CODES["MG502"]
            remedy = "the plan sets maxSurge to 0" if workload.ref.kind == "Deployment" else "set its maxSurge to 0"
            accepted = f"{workload.ref.namespace}/{workload.ref.name}" in consents.interruptions
            yield Finding(code, workload.ref, f"{why}: {remedy}", accepted)


def unseen_nodes(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Nodes that could not be read: room is not judged then."""
    if scope.leaving and not scope.capacity.seen:
        yield Finding(CODES["MG504"], Ref("Node", "", "*"), scope.snapshot.blind.get("Node", "no node was listed"))


RULES = (no_room, unseen_nodes)
