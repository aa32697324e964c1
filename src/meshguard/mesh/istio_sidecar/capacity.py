"""Room for the pods that a rollout starts before it stops old ones: on the nodes and in the namespaces' quotas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from meshguard.mesh.istio_sidecar import lifts
from meshguard.model.objects import Ref, Resource, Workload, dig
from meshguard.model.quantities import amount, in_words
from meshguard.model.snapshot import Snapshot

RESOURCES = ("cpu", "memory")
#: Quota names, and what of a pod counts against each.
QUOTA_NAMES = {
    "pods": "pods",
    "count/pods": "pods",
    "cpu": "cpu",
    "memory": "memory",
    "requests.cpu": "cpu",
    "requests.memory": "memory",
    "limits.cpu": "limits.cpu",
    "limits.memory": "limits.memory",
}
Needs = Mapping[str, float]


def needs_of(pod_spec: Mapping[str, Any]) -> Needs:
    """Return what a pod asks for: cores, bytes, and itself.

    Containers add up, native sidecars included; ordinary init containers come before them, one at a time.
    """
    out = {"pods": 1.0}
    init = dig(pod_spec, "initContainers", default=[])
    lasting = [*dig(pod_spec, "containers", default=[]), *(c for c in init if c.get("restartPolicy") == "Always")]
    passing = [c for c in init if c.get("restartPolicy") != "Always"]
    for name in RESOURCES:
        for key, part in ((name, "requests"), (f"limits.{name}", "limits")):
            total = sum(_asked(c, part, name) for c in lasting)
            out[key] = max([total, *(_asked(c, part, name) for c in passing)])
            out[key] += amount(dig(pod_spec, "overhead", name, default=0))
    return out


def _asked(container: Mapping[str, Any], part: str, name: str) -> float:
    found = dig(container, "resources", part, name)
    if found is None and part == "requests":
        found = dig(container, "resources", "limits", name, default=0)
    return amount(found or 0)


@dataclass(frozen=True)
class NodeRoom:
    """What is free on a node."""

    node: Resource
    free: Needs

    def takes(self, needs: Needs) -> bool:
        """Tell whether one more such pod fits."""
        return all(self.free.get(name, 0.0) >= needs.get(name, 0.0) for name in ("pods", *RESOURCES))


@dataclass(frozen=True)
class Capacity:
    """The room of a cluster. `seen` is false where the nodes could not be read."""

    snapshot: Snapshot

    @property
    def seen(self) -> bool:
        """Whether there is anything to judge by."""
        return bool(self.snapshot.of_kind("Node"))

    @cached_property
    def nodes(self) -> tuple[NodeRoom, ...]:
        """The nodes that take new pods at all, with what is free on each."""
        used: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for pod in self.snapshot.pods:
            for name, value in needs_of(pod.spec).items():
                used[pod.node][name] += value
        return tuple(
            NodeRoom(node, {n: _allocatable(node, n) - used[node.ref.name][n] for n in ("pods", *RESOURCES)})
            for node in self.snapshot.of_kind("Node")
            if not dig(node.doc, "spec", "unschedulable", default=False) and _is_ready(node)
        )

    def without_room(self, workloads: Sequence[Workload]) -> dict[Ref, str]:
        """Return the workloads whose surge finds no room when all restart at the same time, each with the reason."""
        out: dict[Ref, str] = {}
        if not self.seen:
            return out
        free = [NodeRoom(room.node, dict(room.free)) for room in self.nodes]
        quota = self._quotas()
        for workload in workloads:
            extra = lifts.surge(workload) if lifts.rolls(workload) or workload.ref.kind == "Rollout" else 0
            needs = needs_of(dig(workload.template, "spec", default={}))
            for _ in range(extra):
                short = _short_of(quota[workload.ref.namespace], needs)
                if short:
                    out[workload.ref] = f"the quota {short} leaves no room for one more pod"
                    break
                if not _place(free, workload, needs):
                    out[workload.ref] = (
                        f"no node has {needs['cpu']:g} cores and {in_words(needs['memory'])} free for one more pod"
                    )
                    break
        return out

    def _quotas(self) -> dict[str, list[tuple[str, str, dict[str, float]]]]:
        """For each namespace: quota, what it counts, and a mutable record of what is left."""
        out: dict[str, list[tuple[str, str, dict[str, float]]]] = defaultdict(list)
        for quota in self.snapshot.of_kind("ResourceQuota"):
            if dig(quota.doc, "spec", "scopes") or dig(quota.doc, "spec", "scopeSelector"):
                continue  # counts some pods only; which ones is the API server's to say
            hard = dig(quota.doc, "status", "hard", default=dig(quota.doc, "spec", "hard", default={}))
            used = dig(quota.doc, "status", "used", default={})
            for name, limit in hard.items():
                if name in QUOTA_NAMES:
                    left = {"left": amount(limit) - amount(used.get(name, 0))}
                    out[quota.ref.namespace].append((f"{quota.ref.name} ({name})", QUOTA_NAMES[name], left))
        return out


def bound(snapshot: Snapshot, workloads: Iterable[Workload]) -> dict[Ref, str]:
    """Return the workloads whose next pod may have to wait for a volume or a port of the old one."""
    reasons = {workload.ref: _bound_to_its_place(snapshot, workload) for workload in workloads}
    return {ref: why for ref, why in reasons.items() if why}


def _bound_to_its_place(snapshot: Snapshot, workload: Workload) -> str:
    """Say why a new pod of a Deployment may have to wait until the old one is gone, "" when it need not."""
    if workload.ref.kind not in ("Deployment", "Rollout"):
        return ""
    ports = sorted(
        int(p["hostPort"]) for c in workload.template_containers for p in c.get("ports", ()) if p.get("hostPort")
    )
    if ports:
        return f"it uses port {ports[0]} of its node"
    for claim in claims_of(workload):
        found = snapshot.resources.get(Ref("PersistentVolumeClaim", workload.ref.namespace, claim))
        modes = dig(found.doc, "spec", "accessModes", default=[]) if found else []
        if modes and not set(modes) & {"ReadWriteMany", "ReadOnlyMany"}:
            place = "pod" if "ReadWriteOncePod" in modes else "node"
            return f"its volume {claim} is {modes[0]}: one {place} at a time"
    return ""


def claims_of(workload: Workload) -> tuple[str, ...]:
    """Return the names of the volume claims that the template uses."""
    volumes = dig(workload.template, "spec", "volumes", default=[])
    return tuple(
        str(volume["persistentVolumeClaim"]["claimName"]) for volume in volumes if "persistentVolumeClaim" in volume
    )


def _short_of(quotas: Iterable[tuple[str, str, dict[str, float]]], needs: Needs) -> str:
    """Take one pod from the quotas; return the one that has too little left, "" when all have enough."""
    quotas = list(quotas)
    for name, counted, left in quotas:
        if left["left"] < needs.get(counted, 0.0):
            return name
    for _, counted, left in quotas:
        left["left"] -= needs.get(counted, 0.0)
    return ""


def _place(free: list[NodeRoom], workload: Workload, needs: Needs) -> bool:
    """Put one pod on the first node that takes it."""
    wanted: Mapping[str, str] = dig(workload.template, "spec", "nodeSelector", default={})
    tolerations = dig(workload.template, "spec", "tolerations", default=[])
    for index, room in enumerate(free):
        if wanted.items() <= room.node.labels.items() and _tolerated(room.node, tolerations) and room.takes(needs):
            left = {name: value - needs.get(name, 0.0) for name, value in room.free.items()}
            free[index] = NodeRoom(room.node, left)
            return True
    return False


def _tolerated(node: Resource, tolerations: Iterable[Mapping[str, Any]]) -> bool:
    taints = [t for t in dig(node.doc, "spec", "taints", default=[]) if t.get("effect") in ("NoSchedule", "NoExecute")]
    listed = list(tolerations)
    return all(any(_tolerates(toleration, taint) for toleration in listed) for taint in taints)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and toleration.get("value", "") == taint.get("value", "")


def _allocatable(node: Resource, name: str) -> float:
    return amount(dig(node.doc, "status", "allocatable", name, default=0))


def _is_ready(node: Resource) -> bool:
    conditions = dig(node.doc, "status", "conditions", default=[])
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
