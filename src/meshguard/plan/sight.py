"""What must have been read before anything is planned.

An object that this person may not see looks like one that is not there. Most of that becomes a finding of the plan; but
where absence would decide who is meant, or what has to be brought back, nothing is planned at all.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.model.rights import OWN_NAMESPACE
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.plan.scopes import PlanError

#: Which workloads there are, and which of them are in the mesh.
SCOPE_KINDS = (
    "Namespace",
    "Pod",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "MutatingWebhookConfiguration",
)
RECORDS = f"ConfigMap in {OWN_NAMESPACE}"


class Blind(PlanError):
    """What decides could not be read."""


def require_scope(snapshot: Snapshot, namespaces: Iterable[str] = ()) -> None:
    """Raise Blind when it cannot be known who there is and who is in the mesh, anywhere or in these namespaces."""
    _require(snapshot, [*SCOPE_KINDS, *(f"{kind} in {space}" for kind in SCOPE_KINDS for space in sorted(namespaces))])


def require_records(snapshot: Snapshot) -> None:
    """Raise Blind when it cannot be known which runs are open."""
    _require(snapshot, [RECORDS])


def require_objects(snapshot: Snapshot, run: OpenRun) -> None:
    """Raise Blind when an object that the run has changed could be there, unseen."""
    held = sorted({*run.changes, *run.created})
    _require(snapshot, dict.fromkeys(what for ref in held for what in (ref.kind, f"{ref.kind} in {ref.namespace}")))


def _require(snapshot: Snapshot, wanted: Iterable[str]) -> None:
    unseen = [f"{what}: {snapshot.blind[what]}" for what in wanted if what in snapshot.blind]
    if unseen:
        raise Blind(f"nothing was changed; what decides could not be read: {'; '.join(unseen)}")
