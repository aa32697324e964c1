"""The rules of Istio's sidecar mesh, behind the protocol that every mesh implements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meshguard.mesh.istio_sidecar import membership, names, sharing
from meshguard.mesh.istio_sidecar.hazards import hazards
from meshguard.mesh.istio_sidecar.leave import leave
from meshguard.mesh.istio_sidecar.narrowing import narrowing
from meshguard.mesh.istio_sidecar.realign import realign
from meshguard.mesh.istio_sidecar.rejoin import rejoin
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import (
    Consents,
    Draft,
    LeaveRequest,
    Member,
    RealignRequest,
    Settings,
    WorkloadStatus,
)
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.model.staging import Staging


class IstioSidecar:
    """Istio with one proxy in every pod."""

    name = "istio-sidecar"

    def detect(self, snapshot: Snapshot) -> bool:
        """True when an injector is configured, or a pod carries a sidecar although none is."""
        return bool(membership.injector_webhooks(snapshot)) or any(membership.is_meshed(p) for p in snapshot.pods)

    def in_mesh(self, snapshot: Snapshot, namespace: str) -> bool:
        """True when a pod of the namespace carries a sidecar, or the labels ask for one."""
        labels = snapshot.namespaces[namespace].labels
        if labels.get(names.NS_INJECTION) == "enabled" or names.REVISION in labels:
            return True
        return any(membership.is_meshed(p) for p in snapshot.pods if p.ref.namespace == namespace)

    def members(self, snapshot: Snapshot) -> tuple[Member, ...]:
        """Return every restartable workload with a pod that carries a sidecar, in order."""
        meshed = Scope(snapshot, frozenset(snapshot.namespaces)).meshed_workloads
        return tuple(
            Member(ref, pods[0].labels, membership.revision_of(pods[0]))
            for ref, pods in meshed.items()
            if ref.kind in RESTARTABLE
        )

    def status(self, snapshot: Snapshot, namespaces: Sequence[str]) -> tuple[WorkloadStatus, ...]:
        """Return one row for each workload of these namespaces, in order."""
        scope = Scope(snapshot, frozenset(namespaces))
        rows = []
        for workload in sorted(snapshot.workloads, key=lambda w: w.ref):
            if workload.ref.namespace not in scope.namespaces:
                continue
            answer = scope.memberships.of(workload)
            mode = scope.peers.effective(workload.ref.namespace, workload.template_labels)
            rows.append(
                WorkloadStatus(
                    f"{workload.ref.kind} {workload.ref.name}",
                    workload.ref.namespace,
                    answer.declared,
                    answer.due.due.value,
                    answer.due.reason,
                    answer.actual,
                    answer.consistent,
                    answer.revision,
                    answer.proxy_image.rsplit(":", 1)[-1] if answer.proxy_image else "",
                    mode.mode.value if answer.in_mesh else "none",
                    "kubernetes",
                )
            )
        return tuple(rows)

    def findings(self, snapshot: Snapshot, namespaces: Sequence[str]) -> tuple[Finding, ...]:
        """Return what an exit of these namespaces would meet."""
        return hazards(Scope(snapshot, frozenset(namespaces)), Consents())

    def leave(self, snapshot: Snapshot, request: LeaveRequest) -> Draft:
        """Plan the way out; see the module `leave`."""
        scope = Scope(snapshot, request.namespaces, request.selection, request.settings.protected_namespaces)
        narrowed = narrowing(scope, request.observed) if request.observed else None
        if narrowed:
            scope = replace(scope, spared=frozenset(server.workload for server in narrowed.spared))
        return leave(request, scope, replace(scope, snapshot=sharing.without_open_runs(snapshot)), narrowed)

    def realign(self, snapshot: Snapshot, request: RealignRequest) -> Draft:
        """Plan restarts of proxies that do not fit; see the module `realign`."""
        return realign(Scope(snapshot, request.namespaces, request.selection), request)

    def rejoin(self, snapshot: Snapshot, run: OpenRun, settings: Settings, staging: Staging | None = None) -> Draft:
        """Plan the way back; see the module `rejoin`."""
        return rejoin(snapshot, run, settings, staging)
