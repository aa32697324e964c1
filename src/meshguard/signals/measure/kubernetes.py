"""What Kubernetes itself knows: readiness, restarts, and who was killed for memory. Native sidecars count as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from meshguard.model.measurement import Measurement, Sample
from meshguard.model.objects import Pod, Ref, Resource, Workload, dig
from meshguard.model.snapshot import ClusterIdentity, Snapshot
from meshguard.signals.measure.proxies import PROXY_CONTAINER
from meshguard.signals.measure.world import ISTIOD_LABEL, World, name_of

SOURCE = "kubernetes"
_INJECTOR = "sidecar-injector.istio.io"
_SYSTEMS = ("kube-", "istio-")
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


async def control_plane_ready(world: World, args: Mapping[str, Any]) -> Measurement:
    """Ready istiod pods for each revision, those included that only an injector's webhook still asks for.

    Whoever scales istiod to nothing leaves the webhook behind, and it refuses every pod that it is for.
    """
    key, value = ISTIOD_LABEL
    ready: dict[str, int] = {}
    for deployment in await world.objects("Deployment"):
        if deployment.labels.get(key) == value and dig(deployment.doc, "spec", "replicas", default=1):
            ready.setdefault(_revision(deployment.labels), 0)
    for configuration in await world.objects("MutatingWebhookConfiguration"):
        names = (str(webhook.get("name", "")) for webhook in dig(configuration.doc, "webhooks", default=[]))
        if any(name.endswith(_INJECTOR) for name in names):
            ready.setdefault(_revision(configuration.labels), 0)
    for pod in await world.istiods():
        revision = _revision(pod.labels)
        ready[revision] = ready.get(revision, 0) + int(pod.ready)
    if not ready:
        return Measurement((Sample("istiod", 0, "no istiod in this cluster is wanted"),), SOURCE)
    return Measurement(tuple(Sample(f"revision {name}", count) for name, count in sorted(ready.items())), SOURCE)


def _revision(labels: Mapping[str, str]) -> str:
    return labels.get("istio.io/rev", "default")


async def restarts(world: World, args: Mapping[str, Any]) -> Measurement:
    """Containers that ended and were started again, of meshed pods and of istiod."""
    return await _ends(world, args, wanted=lambda end: True)


async def held(world: World, args: Mapping[str, Any]) -> Measurement:
    """Pods that go on only because their proxy does: a Job with a classic sidecar never completes."""
    counted: dict[str, list[str]] = {}
    for pod in await world.meshed(args["namespaces"]):
        names = counted.setdefault(pod.ref.namespace, [])
        names += [pod.ref.name] if _held_by_proxy(pod) else []
    return Measurement(
        tuple(Sample(space, len(names), ", ".join(names[:3])) for space, names in sorted(counted.items())), SOURCE
    )


def _held_by_proxy(pod: Pod) -> bool:
    statuses = dig(pod.doc, "status", "containerStatuses", default=[])
    running = {str(s.get("name")) for s in statuses if dig(s, "state", "terminated") is None}
    return len(statuses) > 1 and running == {PROXY_CONTAINER}


async def oom(world: World, args: Mapping[str, Any]) -> Measurement:
    """Containers that were killed for memory, of meshed pods and of istiod."""
    return await _ends(world, args, wanted=lambda end: end.get("reason") == "OOMKilled")


async def evicted(world: World, args: Mapping[str, Any]) -> Measurement:
    """Pods with a proxy that a kubelet ended because its node had no memory; they stay as failed ones until collected.

    Source: Kubernetes, pkg/kubelet/eviction; the reason `Evicted` and the words of the message.
    """
    now, named = datetime.fromisoformat(world.clock.wall()), frozenset(args["namespaces"])
    samples = []
    for pod in await world.objects("Pod"):
        if not isinstance(pod, Pod) or pod.ref.namespace not in (named or {pod.ref.namespace}):
            continue
        message = str(dig(pod.doc, "status", "message", default=""))
        if dig(pod.doc, "status", "reason") == "Evicted" and "memory" in message and world.has_proxy(pod):
            ages = [_age(end, now) for _, end in container_ends(pod)]
            if min(ages, default=0.0) <= args["within"]:
                samples.append(Sample(name_of(pod.ref), 1, f"from {pod.node}"))
    return Measurement(tuple(sorted(samples, key=lambda s: s.subject)) or (Sample("all pods", 0),), SOURCE)


async def restarts_outside(world: World, args: Mapping[str, Any]) -> Measurement:
    """Containers that ended, of pods that have no proxy and belong to nobody's system."""
    named = frozenset(args["namespaces"])
    outside = [
        pod
        for pod in await world.pods()
        if not world.has_proxy(pod) and not pod.ref.namespace.startswith(_SYSTEMS)
        if pod.ref.namespace in (named or {pod.ref.namespace})
    ]
    return _ends_of(outside, world, args, wanted=lambda end: True)


async def strict(world: World, args: Mapping[str, Any]) -> Measurement:
    """Policies that refuse plaintext and are young: whoever wrote them may not have looked who still speaks it."""
    now = datetime.fromisoformat(world.clock.wall())
    samples = []
    for policy in await world.objects("PeerAuthentication"):
        if "STRICT" in _modes(policy) and (now - _written(policy)).total_seconds() <= args["within"]:
            samples.append(Sample(name_of(policy.ref), 1, f"written {_written(policy).isoformat()}"))
    return Measurement(tuple(samples), SOURCE)


def _modes(policy: Resource) -> set[str]:
    ports = dig(policy.doc, "spec", "portLevelMtls", default={})
    levels = [dig(policy.doc, "spec", "mtls", default={}), *ports.values()]
    return {str(level.get("mode", "")) for level in levels}


def _written(policy: Resource) -> datetime:
    """When somebody wrote the object last; controllers do not write policies."""
    metadata = policy.doc["metadata"]
    times = [metadata["creationTimestamp"], *(m["time"] for m in metadata.get("managedFields", ()) if "time" in m)]
    return max(datetime.fromisoformat(str(time)) for time in times)


async def _ends(world: World, args: Mapping[str, Any], wanted: Any) -> Measurement:
    pods = {pod.ref: pod for pod in [*await world.meshed(args["namespaces"]), *await world.istiods()]}
    return _ends_of(pods.values(), world, args, wanted)


def _ends_of(found: Iterable[Pod], world: World, args: Mapping[str, Any], wanted: Any) -> Measurement:
    now = datetime.fromisoformat(world.clock.wall())
    pods = {pod.ref: pod for pod in found}
    samples = []
    for ref, pod in sorted(pods.items()):
        ends = [(name, end) for name, end in container_ends(pod) if _age(end, now) <= args["within"] and wanted(end)]
        note = ", ".join(f"{name} {end.get('reason', 'ended')} at {end.get('finishedAt')}" for name, end in ends)
        samples.append(Sample(name_of(ref), len(ends), note))
    return Measurement(tuple(samples), SOURCE)


def container_ends(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Ends of containers that run for as long as the pod does: ordinary ones and native sidecars.

    An init container that runs to its end is meant to end.
    """
    sidecars = {c.get("name") for c in pod.init_containers if c.get("restartPolicy") == "Always"}
    init = dig(pod.doc, "status", "initContainerStatuses", default=[])
    lasting = [status for status in init if status.get("name") in sidecars]
    for status in [*dig(pod.doc, "status", "containerStatuses", default=[]), *lasting]:
        for state in ("lastState", "state"):
            end = dig(status, state, "terminated")
            if end:
                yield str(status.get("name", "")), end


def _age(end: Mapping[str, Any], now: datetime) -> float:
    """Seconds since the end; one without a time counts as recent."""
    finished = end.get("finishedAt")
    moment = datetime.fromisoformat(finished) if finished else now
    return (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).total_seconds()


async def workloads_ready(world: World, args: Mapping[str, Any]) -> Measurement:
    """Ready pods as a share of the wanted ones, for workloads with a sidecar or in the namespaces asked for."""
    lists = [await world.objects(kind) for kind in (*_WORKLOADS, "ReplicaSet")]
    pods = await world.pods()
    resources = {r.ref: r for members in [*lists, pods] for r in members}
    snapshot = Snapshot(ClusterIdentity("", "", ""), "", resources)
    named = frozenset(args["namespaces"])
    samples = []
    for workload in sorted(snapshot.workloads, key=lambda w: w.ref):
        members = snapshot.pods_of_workload.get(workload.ref, ())
        if _concerned(workload, members, named, world) and workload.replicas:
            ready = sum(1 for pod in members if pod.ready)
            note = f"{ready} of {workload.replicas} ready"
            samples.append(Sample(_title(workload.ref), ready / workload.replicas, note))
    return Measurement(tuple(samples), SOURCE)


def _concerned(workload: Workload, pods: tuple[Pod, ...], named: frozenset[str], world: World) -> bool:
    if workload.ref.kind not in _WORKLOADS:
        return False
    return workload.ref.namespace in named if named else any(world.has_proxy(pod) for pod in pods)


def _title(ref: Ref) -> str:
    return f"{ref.kind} {name_of(ref)}"


READERS = {
    "control-plane.ready": control_plane_ready,
    "pods.restarts": restarts,
    "pods.restarts-outside": restarts_outside,
    "policies.strict": strict,
    "pods.oom": oom,
    "pods.evicted": evicted,
    "pods.held": held,
    "workloads.ready": workloads_ready,
}
