"""The cluster at one moment, as far as the rules need it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from meshguard.model.change import Change, apply_changes
from meshguard.model.objects import Namespace, Pod, Ref, Resource, Workload, controller_of


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """Which cluster this is: the UID of its kube-system namespace, and the names a person knows it by."""

    uid: str
    context: str
    server: str
    version: str = ""


@dataclass(frozen=True)
class OpenRun:
    """A run that has left something out of the mesh and is not restored yet, as its record in the cluster says."""

    run: str
    owner: str
    reason: str
    started: str
    namespaces: tuple[str, ...]
    changes: Mapping[Ref, tuple[Change, ...]] = field(default_factory=dict)
    """What it still holds, object by object; deletion of an object that it created included."""
    created: Mapping[Ref, str] = field(default_factory=dict)
    """Objects that it created, with their UIDs; "" where the run was killed before it could note the UID."""
    manifests: Mapping[Ref, Mapping[str, Any]] = field(default_factory=dict)
    """What it created them from: a later edit by somebody else is a difference from this."""
    fingerprints: Mapping[Ref, str] = field(default_factory=dict)
    """For each object a digest of what it was before the run."""
    consents: tuple[str, ...] = ()
    """What the person had accepted for it, in the words of the options."""

    def holds(self, ref: Ref, path: tuple[str, ...] | None = None) -> bool:
        """Tell whether it needs its change of the object at `path`, or, without a path, the object itself."""
        if path is None:
            return ref in self.created
        return any(change.path == path for change in self.changes.get(ref, ()))


@dataclass(frozen=True)
class Snapshot:
    """Everything that a command read, in a constant number of LIST calls.

    `blind` names what could not be read (a kind, or a kind in a namespace) and why.
    """

    cluster: ClusterIdentity
    taken_at: str
    resources: Mapping[Ref, Resource] = field(repr=False)
    open_runs: tuple[OpenRun, ...] = ()
    blind: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0
    told_versions: Mapping[Ref, str] = field(default_factory=dict)
    """What pods of a control plane say of their own version, where neither image nor label names one."""

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Resource]]:
        groups: dict[str, list[Resource]] = defaultdict(list)
        for ref, resource in self.resources.items():
            groups[ref.kind].append(resource)
        return dict(groups)

    @cached_property
    def _ordered(self) -> dict[str, tuple[Resource, ...]]:
        return {}

    def of_kind(self, kind: str) -> tuple[Resource, ...]:
        """All objects of a kind, ordered by namespace and name."""
        if kind not in self._ordered:
            members = self._by_kind.get(kind, ())
            self._ordered[kind] = tuple(sorted(members, key=lambda r: (r.ref.namespace, r.ref.name)))
        return self._ordered[kind]

    @cached_property
    def namespaces(self) -> Mapping[str, Namespace]:
        """Namespaces by name."""
        return {r.ref.name: r for r in self.of_kind("Namespace") if isinstance(r, Namespace)}

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """All pods that are not finished."""
        return tuple(p for p in self.of_kind("Pod") if isinstance(p, Pod) and not p.finished)

    @cached_property
    def workloads(self) -> tuple[Workload, ...]:
        """All workloads with a pod template."""
        return tuple(r for r in self.resources.values() if isinstance(r, Workload))

    @cached_property
    def workload_of_pod(self) -> Mapping[Ref, Ref]:
        """For each pod the workload at the top of its chain of owners (a bare pod owns itself)."""
        return {pod.ref: self._root_owner(pod) for pod in self.pods}

    @cached_property
    def pods_of_workload(self) -> Mapping[Ref, tuple[Pod, ...]]:
        """The pods of each workload that is at the top of a chain of owners."""
        groups: dict[Ref, list[Pod]] = defaultdict(list)
        for pod in self.pods:
            groups[self.workload_of_pod[pod.ref]].append(pod)
        return {ref: tuple(members) for ref, members in groups.items()}

    def _root_owner(self, pod: Pod) -> Ref:
        kind, name = pod.owner
        current = pod.ref
        while kind:
            current = Ref(kind, pod.ref.namespace, name)
            owner = self.resources.get(current)
            if owner is None:
                break
            kind, name = controller_of(owner.doc)
        return current

    def replace(self, changed: Iterable[Resource], removed: Iterable[Ref] = ()) -> Snapshot:
        """Return the snapshot with some objects replaced or added, and others removed."""
        gone, new = list(removed), list(changed)
        if not gone and not new:
            return self
        resources = dict(self.resources)
        for ref in gone:
            resources.pop(ref, None)
        for resource in new:
            resources[resource.ref] = resource
        return dataclasses.replace(self, resources=resources)


def changed_resource(resource: Resource, changes: Iterable[Change]) -> Resource:
    """Return the object with the changes made. Raises FieldConflict as `apply_changes` does."""
    return type(resource)(resource.ref, apply_changes(resource.doc, changes))


def resource_of(doc: Mapping[str, Any], kind: str) -> Resource:
    """Wrap a document of the API server in the view that fits its kind."""
    metadata = doc["metadata"]
    ref = Ref(kind, metadata.get("namespace", ""), metadata["name"])
    view = _VIEWS.get(kind, Resource)
    if kind == "ReplicaSet" and is_bare(doc) and "spec" in doc:
        view = Workload
    return view(ref, doc)


def is_bare(doc: Mapping[str, Any]) -> bool:
    """Tell whether nobody controls the object: a ReplicaSet of a Deployment is that Deployment's, and no workload."""
    return controller_of(doc) == ("", "")


_VIEWS: dict[str, type[Resource]] = {
    "Namespace": Namespace,
    "Pod": Pod,
    "Deployment": Workload,
    "StatefulSet": Workload,
    "DaemonSet": Workload,
    "Rollout": Workload,
    "Job": Workload,
    "CronJob": Workload,
}
