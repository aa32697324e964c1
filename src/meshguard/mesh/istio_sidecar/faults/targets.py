"""Whom a fault is for. A target that is not there is refused; nothing given never means everything."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from meshguard.mesh.istio_sidecar import names
from meshguard.mesh.istio_sidecar.membership import Due, Memberships
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Selection
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref, Workload
from meshguard.model.quantities import amount
from meshguard.model.snapshot import Snapshot

DEFAULT_REVISION = "default"


class FaultError(Exception):
    """The fault cannot be planned as asked; the message is one sentence for a person."""


def meshed(snapshot: Snapshot, namespace: str, workloads: Collection[str]) -> tuple[Workload, ...]:
    """Return workloads of a namespace that carry sidecars: those of these names, all of them only for `["*"]`.

    Raises FaultError for a namespace or a name that is not there, and when nothing is left.
    """
    known(namespace, snapshot.namespaces, "namespace")
    scope = Scope(snapshot, frozenset({namespace}))
    there = {
        ref.name: workload
        for ref in scope.meshed_workloads
        if ref.namespace == namespace and ref.kind in RESTARTABLE
        if isinstance(workload := snapshot.resources.get(ref), Workload)
    }
    if not workloads:
        raise FaultError(f'name the workloads of {namespace} that are meant, or ["*"] for all of them')
    if list(workloads) == ["*"]:
        workloads = sorted(there)
    for name in workloads:
        known(name, there, f"workload with sidecars in {namespace}")
    if not workloads:
        raise FaultError(f"no workload in {namespace} carries a sidecar; nothing was changed")
    return tuple(there[name] for name in workloads)


def scope_of(snapshot: Snapshot, members: Sequence[Workload]) -> Scope:
    """Return the scope that holds exactly these workloads."""
    spaces = frozenset(w.ref.namespace for w in members)
    return Scope(snapshot, spaces, Selection(frozenset(w.ref for w in members)))


def istiods(snapshot: Snapshot, revision: str) -> tuple[Workload, ...]:
    """Return the Deployments of a revision's istiod. Raises FaultError, with the nearest name, when there is none."""
    found = [
        resource
        for resource in snapshot.of_kind("Deployment")
        if isinstance(resource, Workload) and resource.labels.get("app") == names.ISTIOD_APP
    ]
    by_revision: dict[str, list[Workload]] = {}
    for workload in found:
        by_revision.setdefault(workload.labels.get(names.REVISION, DEFAULT_REVISION), []).append(workload)
    known(revision, by_revision, "revision of istiod")
    return tuple(by_revision[revision])


def known(name: str, names_there: Iterable[str], what: str) -> None:
    """Raise FaultError, with the nearest name, for one that is not there."""
    there = list(names_there)
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1, cutoff=0.5)
        raise FaultError(f"there is no {what} {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def admitted(snapshot: Snapshot) -> dict[Ref, str]:
    """Return for each workload whose next pods would be injected the revision that would do it."""
    memberships = Memberships(snapshot)
    answers = {w.ref: memberships.of(w).due for w in snapshot.workloads if w.ref.kind in RESTARTABLE}
    return {ref: due.revision for ref, due in answers.items() if due.due is Due.INJECTED}


def positive(what: str, value: float, most: float) -> None:
    """Raise FaultError for a number that is not above 0 and at most `most`."""
    if not 0 < value <= most:
        raise FaultError(f"{what} must be above 0 and at most {most:g}, not {value:g}")


def quantity(what: str, text: str) -> None:
    """Raise FaultError for what is no resource quantity."""
    try:
        amount(text)
    except ValueError as error:
        raise FaultError(f"{what}: {error}") from error


def created(kind: str, namespace: str, name: str) -> Ref:
    """Name an object that a fault makes: every one of them says whose it is."""
    return Ref(kind, namespace, f"meshguard-{name}")
