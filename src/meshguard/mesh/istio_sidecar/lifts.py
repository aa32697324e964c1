"""Update strategies that would hold a restart up, and what the plan does about each for the length of the restart.

A lift is made together with the restart mark and taken back once every old pod is gone, so that the strategy ends
as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshguard.model.change import ABSENT, Change, read
from meshguard.model.objects import Workload, dig
from meshguard.model.quantities import rounded

PARTITION = ("spec", "updateStrategy", "rollingUpdate", "partition")
MAX_SURGE = ("spec", "strategy", "rollingUpdate", "maxSurge")
MAX_UNAVAILABLE = ("spec", "strategy", "rollingUpdate", "maxUnavailable")
#: Fields that a lift may have changed: whoever undoes a run gives them back after the restart, not with it.
LIFTED = (PARTITION, MAX_SURGE, MAX_UNAVAILABLE)


@dataclass(frozen=True)
class Lift:
    """A change of a workload's strategy while it restarts."""

    changes: tuple[Change, ...]
    why: str
    lost: str
    """The capacity that is missing meanwhile."""

    @property
    def inverse(self) -> tuple[Change, ...]:
        """What gives the strategy back."""
        return tuple(change.inverse() for change in reversed(self.changes))


def lift_of(workload: Workload, *, room: bool) -> Lift | None:
    """Return what the workload's strategy needs so that a new template reaches every pod; None when nothing.

    `room` says whether the cluster has room for the pods that the strategy starts before it stops old ones.
    """
    for kind, needed, lift in _LIFTS:
        if workload.ref.kind == kind and needed(workload, room):
            return lift(workload)
    return None


def _has_partition(workload: Workload, _room: bool) -> bool:
    return bool(dig(workload.doc, *PARTITION, default=0))


def _without_partition(workload: Workload) -> Lift:
    change = Change(PARTITION, read(workload.doc, PARTITION), 0)
    return Lift((change,), "its partition would keep old pods", f"one of {workload.replicas} pods at a time")


def _cannot_surge(workload: Workload, room: bool) -> bool:
    return not room and rolls(workload) and surge(workload) > 0


def _without_surge(workload: Workload) -> Lift:
    surging, unavailable = read(workload.doc, MAX_SURGE), read(workload.doc, MAX_UNAVAILABLE)
    wanted = max(1, max_unavailable(workload))
    changes = [Change(MAX_SURGE, surging, 0)]
    if unavailable is ABSENT or max_unavailable(workload) < 1:
        changes.append(Change(MAX_UNAVAILABLE, unavailable, 1))
    return Lift(
        tuple(changes),
        "there is no room for one more pod",
        f"{wanted} of {workload.replicas} pods at a time",
    )


_LIFTS: tuple[tuple[str, Callable[[Workload, bool], bool], Callable[[Workload], Lift]], ...] = (
    ("StatefulSet", _has_partition, _without_partition),
    ("Deployment", _cannot_surge, _without_surge),
)


def rolls(workload: Workload) -> bool:
    """True for a strategy that replaces pods bit by bit and by itself."""
    if workload.ref.kind == "ReplicaSet":
        return False
    field = "strategy" if workload.ref.kind == "Deployment" else "updateStrategy"
    return bool(dig(workload.doc, "spec", field, "type", default="RollingUpdate") == "RollingUpdate")


def renews_on_delete(workload: Workload) -> bool:
    """True for a set whose controller waits until somebody deletes the old pods; a ReplicaSet always does."""
    return workload.ref.kind == "ReplicaSet" or bool(dig(workload.doc, "spec", "updateStrategy", "type") == "OnDelete")


def surge(workload: Workload) -> int:
    """How many pods beyond its replicas a rollout may start."""
    match workload.ref.kind:
        case "Deployment":
            return rounded(dig(workload.doc, *MAX_SURGE, default="25%"), workload.replicas, up=True)
        case "DaemonSet":
            path = ("spec", "updateStrategy", "rollingUpdate", "maxSurge")
            return rounded(dig(workload.doc, *path, default=0), workload.replicas, up=True)
        case "Rollout":
            strategy = dig(workload.doc, "spec", "strategy", default={})
            if "blueGreen" in strategy:
                return workload.replicas
            return rounded(dig(strategy, "canary", "maxSurge", default="25%"), workload.replicas, up=True)
    return 0


def max_unavailable(workload: Workload) -> int:
    """How many pods a rollout may take away before new ones are ready."""
    match workload.ref.kind:
        case "Deployment":
            found = rounded(dig(workload.doc, *MAX_UNAVAILABLE, default="25%"), workload.replicas, up=False)
            return found or (0 if surge(workload) else 1)
        case "Rollout":
            found = dig(workload.doc, "spec", "strategy", "canary", "maxUnavailable", default="25%")
            return rounded(found, workload.replicas, up=False)
        case "DaemonSet":
            path = ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
            found = rounded(dig(workload.doc, *path, default=1), workload.replicas, up=True)
            return found or (0 if surge(workload) else 1)
        case "StatefulSet":
            path = ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
            return max(1, rounded(dig(workload.doc, *path, default=1), workload.replicas, up=False))
    return 1
