"""Builds plans. The order and the rules are the mesh's; scope, caps and protection are the same for every mesh."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from meshguard.mesh.protocol import LeaveRequest, Mesh, Settings
from meshguard.model.plan import Direction, Plan
from meshguard.model.snapshot import OpenRun, Snapshot


class PlanError(Exception):
    """The request cannot become a plan; the message is one sentence for a person."""


class UnknownScope(PlanError):
    """The scope names something that is not in the cluster."""


class ProtectedScope(PlanError):
    """The scope names a namespace that is never taken out."""


class NotInMesh(PlanError):
    """Nothing in the scope has anything to do with the mesh."""


def check_scope(snapshot: Snapshot, namespaces: Collection[str], protected: Collection[str]) -> None:
    """Refuse a scope that is empty, unknown or protected. Raises UnknownScope or ProtectedScope."""
    if not namespaces:
        raise UnknownScope("the scope is empty; name at least one namespace with -n")
    for name in sorted(namespaces):
        if name not in snapshot.namespaces:
            near = difflib.get_close_matches(name, snapshot.namespaces, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UnknownScope(f"there is no namespace {name!r} in this cluster{hint}")
        if name in protected:
            raise ProtectedScope(f"namespace {name} is protected and is never taken out of the mesh")


def plan_exit(snapshot: Snapshot, mesh: Mesh, request: LeaveRequest) -> Plan:
    """Plan the way out of the mesh for the request's namespaces.

    Raises UnknownScope, ProtectedScope, or NotInMesh when no namespace of the scope has to do with the mesh.
    """
    check_scope(snapshot, request.namespaces, request.settings.protected_namespaces)
    if not any(mesh.in_mesh(snapshot, name) for name in request.namespaces):
        raise NotInMesh(f"nothing in {', '.join(sorted(request.namespaces))} is in the mesh; nothing was changed")
    draft = mesh.leave(snapshot, request)
    return Plan(
        Direction.EXIT,
        mesh.name,
        snapshot.cluster.uid,
        snapshot.cluster.context,
        tuple(sorted(request.namespaces)),
        draft.phases,
        draft.findings,
        draft.notes,
        request.consents.words(),
        draft.excluded,
    )


def plan_restore(snapshot: Snapshot, mesh: Mesh, run: OpenRun, settings: Settings) -> Plan:
    """Plan the way back of an open run, on the cluster as it is now."""
    draft = mesh.rejoin(snapshot, run, settings)
    return Plan(
        Direction.RESTORE,
        mesh.name,
        snapshot.cluster.uid,
        snapshot.cluster.context,
        run.namespaces,
        draft.phases,
        draft.findings,
        draft.notes,
        (),
        draft.excluded,
        run.run,
    )
