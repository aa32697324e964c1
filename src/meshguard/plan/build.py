"""Builds plans. The order and the rules are the mesh's; scope, caps and protection are the same for every mesh."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from meshguard.mesh.protocol import Consents, Draft, LeaveRequest, Mesh, RealignRequest, Selection, Settings
from meshguard.model.objects import Ref
from meshguard.model.plan import Direction, Plan
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.model.staging import Staging
from meshguard.plan.scopes import NotInMesh, OverCap, PlanError, ProtectedScope, UnknownScope, check_scope

__all__ = [
    "NotInMesh",
    "OverCap",
    "PlanError",
    "ProtectedScope",
    "UnknownScope",
    "check_scope",
    "plan_exit",
    "plan_out_again",
    "plan_realign",
    "plan_restore",
    "plan_roll_back",
]


def plan_exit(snapshot: Snapshot, mesh: Mesh, request: LeaveRequest) -> Plan:
    """Plan the way out of the mesh for the request's scope.

    Raises UnknownScope, ProtectedScope, or NotInMesh when no namespace of the scope has to do with the mesh.
    """
    _check(snapshot, mesh, request)
    draft = mesh.leave(snapshot, request)
    consents = request.consents.words()
    return _plan(snapshot, mesh, Direction.EXIT, tuple(sorted(request.namespaces)), draft, consents, request.selection)


def plan_realign(snapshot: Snapshot, mesh: Mesh, request: RealignRequest) -> Plan:
    """Plan restarts of the scope's proxies that do not fit their control plane; nothing leaves the mesh.

    Raises UnknownScope, ProtectedScope or NotInMesh.
    """
    _check(snapshot, mesh, request)
    draft = mesh.realign(snapshot, request)
    words = (
        *request.selection.words,
        *([f"--to-revision {request.to_revision}"] if request.to_revision else []),
    )
    selection = Selection(words=words)
    consents = request.consents.words()
    return _plan(snapshot, mesh, Direction.REALIGN, tuple(sorted(request.namespaces)), draft, consents, selection)


def plan_restore(
    snapshot: Snapshot, mesh: Mesh, run: OpenRun, settings: Settings, staging: Staging | None = None
) -> Plan:
    """Plan the way back of an open run on the cluster as it is now: at once or, with a staging, wave by wave."""
    draft = mesh.rejoin(snapshot, run, settings, staging)
    direction = Direction.REJOIN if staging else Direction.RESTORE
    return _plan(snapshot, mesh, direction, run.namespaces, draft, of_run=run.run)


def plan_out_again(
    snapshot: Snapshot, mesh: Mesh, run: OpenRun, settings: Settings, members: Collection[Ref], consents: Consents
) -> Plan:
    """Plan the way out again of workloads of an open run that a wave of its way back has brought back.

    They leave by their pod label, for others of their namespace may be back to stay; what the run has relaxed is held.
    `consents` are what was accepted for the run. Raises UnknownScope, ProtectedScope or NotInMesh.
    """
    selection = Selection(frozenset(members), words=_named(members))
    spaces = frozenset(ref.namespace for ref in members)
    return plan_exit(snapshot, mesh, LeaveRequest(spaces, consents, settings, selection))


def plan_roll_back(snapshot: Snapshot, mesh: Mesh, run: OpenRun, settings: Settings, members: Collection[Ref]) -> Plan:
    """Plan the way back of some workloads of an open run; everything else that it holds stays.

    The label of a workload's namespace goes back as well where the run has changed it: without it no restart would
    bring a proxy.
    """
    part = part_of(run, members)
    draft = mesh.rejoin(snapshot, part, settings)
    words = Selection(words=_named(members))
    return _plan(snapshot, mesh, Direction.RESTORE, part.namespaces, draft, selection=words, of_run=run.run)


def _named(members: Collection[Ref]) -> tuple[str, ...]:
    return tuple(f"--workload {ref.namespace}/{ref.kind}/{ref.name}" for ref in sorted(members))


def part_of(run: OpenRun, members: Collection[Ref]) -> OpenRun:
    """Return what a run holds of these workloads, and of the namespaces that they are in."""
    spaces = {ref.namespace for ref in members}
    changes = {
        ref: changes
        for ref, changes in run.changes.items()
        if ref in members or (ref.kind == "Namespace" and ref.name in spaces)
    }
    return replace(run, namespaces=tuple(sorted(spaces)), changes=changes, created={}, manifests={})


def _check(snapshot: Snapshot, mesh: Mesh, request: LeaveRequest | RealignRequest) -> None:
    check_scope(snapshot, request.namespaces, request.settings.protected_namespaces)
    if not any(mesh.in_mesh(snapshot, name) for name in request.namespaces):
        raise NotInMesh(f"nothing in {', '.join(sorted(request.namespaces))} is in the mesh; nothing was changed")


def _plan(
    snapshot: Snapshot,
    mesh: Mesh,
    direction: Direction,
    namespaces: tuple[str, ...],
    draft: Draft,
    consents: tuple[str, ...] = (),
    selection: Selection | None = None,
    of_run: str = "",
) -> Plan:
    return Plan(
        direction,
        mesh.name,
        snapshot.cluster.uid,
        snapshot.cluster.context,
        namespaces,
        draft.phases,
        draft.findings,
        draft.notes,
        consents,
        draft.excluded,
        of_run,
        selection.words if selection else (),
    )
