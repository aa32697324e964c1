"""Workload hazards: what a restart does to each kind of workload, and what of it cannot be restarted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshguard.mesh.istio_sidecar import lifts, membership, names
from meshguard.mesh.istio_sidecar.lifts import surge
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE, RUN_TO_COMPLETION
from meshguard.model.objects import Pod, Workload, dig

#: Why a restart cannot be graceful; each row is (words, test).
INTERRUPTIONS: tuple[tuple[str, Callable[[Workload], bool]], ...] = (
    ("it has one replica", lambda w: w.ref.kind != "DaemonSet" and w.replicas == 1),
    (
        "its strategy is Recreate",
        lambda w: dig(w.doc, "spec", "strategy", "type", default="RollingUpdate") == "Recreate",
    ),
    (
        "it has no room to surge and may lose all replicas",
        lambda w: w.ref.kind == "Deployment" and surge(w) == 0 and lifts.max_unavailable(w) >= w.replicas,
    ),
    (
        "it is a DaemonSet that stops its pod before it starts the next",
        lambda w: w.ref.kind == "DaemonSet" and surge(w) == 0,
    ),
    ("it uses a port of the node", lambda w: any(_host_ports(w))),
)
#: Ports and words by which an application shows that it talks to its proxy.
PROXY_WORDS = ("quitquitquit", "linkerd-await", ":15000", ":15020", ":15021", ":15090", "pilot-agent")
PROXY_PORTS = frozenset({15000, 15020, 15021, 15090})


def _host_ports(workload: Workload) -> Iterator[int]:
    for container in workload.template_containers:
        for port in container.get("ports", ()):
            if port.get("hostPort"):
                yield int(port["hostPort"])


def _accepted(workload: Workload, consents: Consents) -> bool:
    return f"{workload.ref.namespace}/{workload.ref.name}" in consents.interruptions


def interruptions(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Workloads whose restart leaves a moment without a ready pod."""
    for workload in scope.leaving:
        accepted = _accepted(workload, consents)
        for words, holds in INTERRUPTIONS:
            if holds(workload):
                yield Finding(CODES["MG301"], workload.ref, words, accepted)
        served = scope.services_before(workload.ref.namespace, workload.template_labels)
        if served and not any("readinessProbe" in c for c in workload.template_containers):
            yield Finding(CODES["MG302"], workload.ref, "no container has a readinessProbe", accepted)


#: Workloads that a change of their template does not renew, or that it would renew with more than a restart.
OBSTACLES: tuple[tuple[str, Callable[[Workload], bool]], ...] = (
    ("it is paused", lambda w: bool(dig(w.doc, "spec", "paused", default=False))),
    (
        "its partition or OnDelete holds a change back that a restart would let loose",
        lambda w: _is_held(w) and _has_staged_change(w),
    ),
    ("its template lives in another object (workloadRef)", lambda w: "workloadRef" in w.spec),
)


def _is_held(workload: Workload) -> bool:
    return lifts.renews_on_delete(workload) or bool(dig(workload.doc, *lifts.PARTITION, default=0))


def _has_staged_change(workload: Workload) -> bool:
    """A StatefulSet says which revision its pods have and which they shall have."""
    current, update = (dig(workload.doc, "status", key) for key in ("currentRevision", "updateRevision"))
    return current is not None and update is not None and current != update


def cannot_restart(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that stay as they are whatever is done to their template."""
    for workload in scope.leaving:
        for words, holds in OBSTACLES:
            if holds(workload):
                yield Finding(CODES["MG303"], workload.ref, words)
        if workload.ref.kind == "ReplicaSet" and (held := _images_held_back(workload, scope)):
            words = f"its template has other images than its pods ({', '.join(held)}): a restart would let them loose"
            yield Finding(CODES["MG303"], workload.ref, words)


def _images_held_back(workload: Workload, scope: Scope) -> list[str]:
    """A ReplicaSet does not say which template its pods come from; their images do."""
    wanted = {c.get("name"): c.get("image") for c in workload.template_containers}
    running = {(c.get("name"), c.get("image")) for p in scope.meshed_workloads[workload.ref] for c in p.containers}
    return sorted(str(name) for name, image in running if name in wanted and image != wanted[name])


def held_back(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Sets whose update strategy keeps old pods; with consent the plan gets round it and gives it back."""
    for workload in scope.leaving:
        accepted = _accepted(workload, consents)
        if lifts.renews_on_delete(workload):
            alone = workload.ref.kind == "ReplicaSet"
            why = "it replaces no pods by itself" if alone else "its update strategy is OnDelete"
            words = f"{why}: the plan deletes its pods, a tenth at a time"
            yield Finding(CODES["MG306"], workload.ref, words, accepted)
        elif _is_held(workload):
            words = "its update strategy has a partition: the plan sets it to 0 and puts it back after the restart"
            yield Finding(CODES["MG306"], workload.ref, words, accepted)


def waits_for_a_person(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Argo Rollouts that stop on their way until somebody promotes them."""
    for workload in scope.leaving:
        strategy = dig(workload.doc, "spec", "strategy", default={})
        steps = dig(strategy, "canary", "steps", default=[])
        if any("pause" in step and not dig(step, "pause", "duration") for step in steps):
            yield Finding(CODES["MG307"], workload.ref, "its canary has a pause without an end")
        if dig(strategy, "blueGreen", "autoPromotionEnabled", default=True) is False:
            yield Finding(CODES["MG307"], workload.ref, "its blue-green strategy is not promoted by itself")


def bound(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Deployments whose next pod may have to wait for the volume of the one that it replaces."""
    for workload in scope.leaving:
        why = scope.bound.get(workload.ref)
        if why and not any(_host_ports(workload)) and surge(workload) > 0:
            yield Finding(
                CODES["MG313"], workload.ref, f"{why}: the plan sets maxSurge to 0", _accepted(workload, consents)
            )


def left_alone(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Pods that run to completion, and pods that nobody restarts."""
    for ref, pods in scope.meshed_workloads.items():
        known = isinstance(scope.snapshot.resources.get(ref), Workload)
        if not scope.covers(ref) or (known and ref.kind in RESTARTABLE):
            continue
        code = CODES["MG304"] if ref.kind in RUN_TO_COMPLETION else CODES["MG305"]
        yield Finding(code, ref, f"{len(pods)} running pod(s) keep their sidecar")


def no_pods(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Workloads that are scaled to zero, and CronJobs: nothing runs that could be seen to leave."""
    for workload in sorted(scope.snapshot.workloads, key=lambda w: w.ref):
        idle = workload.ref.kind in (*RESTARTABLE, "CronJob") and workload.replicas == 0
        if idle and scope.covers(workload.ref) and not scope.snapshot.pods_of_workload.get(workload.ref):
            yield Finding(CODES["MG308"], workload.ref, "nothing runs now")


def disruption_budgets(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Budgets that a person may take for a brake on the restart."""
    for budget in scope.snapshot.of_kind("PodDisruptionBudget"):
        wanted: Mapping[str, str] = dig(budget.doc, "spec", "selector", "matchLabels", default={})
        for workload in scope.leaving:
            if workload.ref.namespace == budget.ref.namespace and wanted.items() <= workload.template_labels.items():
                yield Finding(CODES["MG309"], budget.ref, f"it does not limit the restart of {workload.ref}")


def autoscalers(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Autoscalers that count the proxy's use of processor and memory."""
    leaving = {(w.ref.kind, w.ref.namespace, w.ref.name) for w in scope.leaving}
    for scaler in scope.snapshot.of_kind("HorizontalPodAutoscaler"):
        target = dig(scaler.doc, "spec", "scaleTargetRef", default={})
        if (target.get("kind"), scaler.ref.namespace, target.get("name")) not in leaving:
            continue
        for metric in dig(scaler.doc, "spec", "metrics", default=[]):
            container = dig(metric, "containerResource", "container")
            if container == names.PROXY_CONTAINER:
                yield Finding(CODES["MG311"], scaler.ref, f"it scales by the container {container}, which goes")
            elif metric.get("type") == "Resource" and dig(metric, "resource", "target", "type") == "Utilization":
                words = f"its {dig(metric, 'resource', 'name')} utilisation is over all containers, the proxy included"
                yield Finding(CODES["MG310"], scaler.ref, words)


def talks_to_its_proxy(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Applications that need an answer of their sidecar."""
    for workload in scope.leaving:
        found = sorted({word for c in workload.template_containers for word in _proxy_words(c)})
        port = workload.template_annotations.get("prometheus.io/port", "")
        if port.isdigit() and int(port) in PROXY_PORTS:
            found.append(f"prometheus.io/port={port}")
        if found:
            yield Finding(CODES["MG312"], workload.ref, f"its template mentions {', '.join(found)}")


def _proxy_words(container: Mapping[str, Any]) -> Iterator[str]:
    text = " ".join(str(word) for key in ("command", "args") for word in container.get(key) or ())
    text += str(container.get("lifecycle") or "")
    yield from (word.removeprefix(":") for word in PROXY_WORDS if word in text)
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        for way in ("httpGet", "tcpSocket", "grpc"):
            port = dig(container, probe, way, "port")
            if port in PROXY_PORTS:
                yield str(port)


def failing_proxies(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Pods whose proxy is what keeps them from being ready."""
    for workload in scope.leaving:
        pods = scope.meshed_workloads[workload.ref]
        failing = [pod for pod in pods if not _proxy_is_ready(pod)]
        if failing:
            native = any(membership.proxy_kind(pod) is membership.ProxyKind.NATIVE for pod in failing)
            yield Finding(
                CODES["MG314"],
                workload.ref,
                f"the {'native ' if native else ''}sidecar of {len(failing)} of {len(pods)} pods is not ready",
            )


def _proxy_is_ready(pod: Pod) -> bool:
    statuses = [
        status
        for key in ("containerStatuses", "initContainerStatuses")
        for status in dig(pod.doc, "status", key, default=[])
        if status.get("name") == names.PROXY_CONTAINER
    ]
    return all(status.get("ready") for status in statuses)


RULES = (
    interruptions,
    cannot_restart,
    held_back,
    waits_for_a_person,
    bound,
    disruption_budgets,
)
#: What is of interest only because the sidecar goes.
EXIT_RULES = (left_alone, no_pods, autoscalers, talks_to_its_proxy, failing_proxies)
