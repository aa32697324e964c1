"""Faults of workloads: limits that are too small, another proxy, another revision, the textbook's way out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from meshguard.mesh.istio_sidecar import lifts, names, restart
from meshguard.mesh.istio_sidecar.faults import targets
from meshguard.mesh.istio_sidecar.faults.targets import FaultError
from meshguard.mesh.istio_sidecar.proxy_resources import MEMORY_LIMIT, MEMORY_REQUEST, annotation
from meshguard.mesh.istio_sidecar.restart import Outcome
from meshguard.mesh.protocol import Draft, Settings
from meshguard.model.change import ABSENT, Change, read
from meshguard.model.objects import Pod
from meshguard.model.plan import Action, Await, Check, Phase, Step, Wave
from meshguard.model.snapshot import Snapshot

PROXY_IMAGE = "sidecar.istio.io/proxyImage"
NATIVE_SIDECAR = "sidecar.istio.io/nativeSidecar"


def limit_sidecars(
    snapshot: Snapshot,
    settings: Settings,
    namespace: str,
    workloads: Collection[str],
    memory_limit: str,
    memory_request: str = "32Mi",
) -> Draft:
    """Give sidecars a memory limit, through the workload: a running pod's missing limit cannot be added.

    Any one of these annotations drops the injector's own requests and limits, so the request is given with it.
    Source: Istio's injection template, `proxyv2` resources.
    """
    targets.quantity("memory_limit", memory_limit)
    targets.quantity("memory_request", memory_request)
    why = f"its sidecars shall run out of memory at {memory_limit}, as they would with a limit that is too small"
    wanted = {MEMORY_LIMIT: memory_limit, MEMORY_REQUEST: memory_request}
    return _annotated(snapshot, settings, namespace, workloads, wanted, why)


def use_proxy_image(
    snapshot: Snapshot, settings: Settings, namespace: str, workloads: Collection[str], image: str
) -> Draft:
    """Give workloads a proxy of another version, as a template that pins an old image does."""
    if not image:
        raise FaultError("image must name a proxy image")
    why = f"its sidecars shall be {image}, whatever their control plane is"
    return _annotated(snapshot, settings, namespace, workloads, {PROXY_IMAGE: image}, why)


def _annotated(
    snapshot: Snapshot,
    settings: Settings,
    namespace: str,
    workloads: Collection[str],
    wanted: Mapping[str, str],
    why: str,
) -> Draft:
    members = targets.meshed(snapshot, namespace, workloads)
    scope = targets.scope_of(snapshot, members)
    restarts = [
        restart.restart_of(
            workload,
            number,
            why,
            lifts.lift_of(workload, room=workload.ref not in scope.without_room),
            [annotation(workload, name, value) for name, value in wanted.items()],
        )
        for number, workload in enumerate(members, start=1)
    ]
    waves = restart.waves(scope, restarts, settings, Outcome(meshed=True), settings.wave_size)
    return Draft((Phase("fault", "Restart with other sidecars", waves),))


def move_to_revision(
    snapshot: Snapshot, settings: Settings, namespace: str, workloads: Collection[str], revision: str
) -> Draft:
    """Put a namespace on another revision and delete the pods of workloads, as a drained node would.

    Nothing is awaited of the new pods but their proxies: whether they become ready is what the fault is about.
    """
    members = targets.meshed(snapshot, namespace, workloads)
    targets.istiods(snapshot, revision)
    step = _labels(
        snapshot,
        namespace,
        {names.NS_INJECTION: ABSENT, names.REVISION: revision},
        f"Put {namespace} on revision {revision}",
        "its next pods shall be injected by a control plane that does not fit their proxies",
    )
    moved = Wave((step,), restart.injection_awaits(members, settings, Outcome(meshed=True, revision=revision)))
    pods = [pod for w in members for pod in snapshot.pods_of_workload.get(w.ref, ()) if not pod.terminating]
    subject = tuple(str(w.ref) for w in members)
    came = Await(
        Check.MEMBERSHIP,
        f"the pods of {len(members)} workload(s) have proxies of revision {revision}",
        subject,
        {"meshed": True, "revision": revision},
        settings.rollout_deadline_s,
    )
    return Draft(
        (
            Phase("enrol", "Name the other revision", (moved,)),
            Phase("fault", "Let the pods come anew", (Wave(tuple(_evict(pod) for pod in pods), (came,)),)),
        )
    )


def strip_label(snapshot: Snapshot, settings: Settings, namespace: str, workloads: Collection[str]) -> Draft:
    """Leave as everybody documents it: the namespace's label goes, the workloads restart, nothing is relaxed."""
    members = targets.meshed(snapshot, namespace, workloads)
    scope = targets.scope_of(snapshot, members)
    step = _labels(
        snapshot,
        namespace,
        {names.NS_INJECTION: ABSENT, names.REVISION: ABSENT},
        f"Strip the injection label of {namespace}",
        "the textbook's break-glass begins with it",
    )
    restarts = [
        restart.restart_of(workload, number, "the textbook's second step", None)
        for number, workload in enumerate(members, start=1)
    ]
    outcome = Outcome(meshed=False, endpoints=False)
    return Draft(
        (
            Phase("enrol", "Strip the label", (Wave((step,), restart.injection_awaits(members, settings, outcome)),)),
            Phase("fault", "Restart", restart.waves(scope, restarts, settings, outcome, settings.wave_size)),
        )
    )


def evict(snapshot: Snapshot, settings: Settings, namespace: str, workloads: Collection[str]) -> Draft:
    """Delete the pods of workloads all at once, as a node without memory does; nothing is awaited."""
    members = targets.meshed(snapshot, namespace, workloads)
    pods: Sequence[Pod] = [p for w in members for p in snapshot.pods_of_workload.get(w.ref, ()) if not p.terminating]
    return Draft((Phase("fault", "Delete the pods", (Wave(tuple(_evict(pod) for pod in pods)),)),))


def _evict(pod: Pod) -> Step:
    return Step(
        f"evict-{pod.ref.namespace}-{pod.ref.name}",
        Action.RENEW,
        pod.ref,
        pod.uid,
        f"Delete {pod.ref}",
        "a node that runs out of memory would evict it",
    )


def _labels(snapshot: Snapshot, namespace: str, wanted: Mapping[str, object], sentence: str, why: str) -> Step:
    resource = snapshot.namespaces[namespace]
    changes = tuple(
        Change(path, found, value)
        for name, value in wanted.items()
        if (found := read(resource.doc, path := ("metadata", "labels", name))) != value
    )
    if not changes:
        raise FaultError(f"namespace {namespace} is labelled so already; nothing was changed")
    return Step("label-001", Action.CHANGE, resource.ref, resource.uid, sentence, why, changes)
