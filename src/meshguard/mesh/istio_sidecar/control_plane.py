"""The control plane as far as a plan depends on it: is one istiod alive, who is it, how could one be brought back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshguard.mesh.istio_sidecar import names, supported, webhooks
from meshguard.model.objects import Pod, Ref, Resource, Workload, dig
from meshguard.model.snapshot import Snapshot
from meshguard.model.versions import release

#: Groups whose objects a plan may have to edit.
ISTIO_GROUPS = frozenset({"security.istio.io", "networking.istio.io"})
_ISTIOD_KINDS = ("Deployment", "DaemonSet")


def is_alive(snapshot: Snapshot) -> bool:
    """True when at least one revision's istiod has a ready pod."""
    services = {webhook.service for webhook in webhooks.injector_webhooks(snapshot)}
    return bool(services & webhooks.ready_injectors(snapshot))


def istiods(snapshot: Snapshot) -> tuple[Workload, ...]:
    """Return the workloads behind the injectors' services."""
    called = {webhook.service for webhook in webhooks.injector_webhooks(snapshot)}
    selectors = [
        (service.ref.namespace, selector)
        for service in snapshot.of_kind("Service")
        if (service.ref.namespace, service.ref.name) in called
        and (selector := dig(service.doc, "spec", "selector", default={}))
    ]
    return tuple(
        workload
        for workload in sorted(snapshot.workloads, key=lambda w: w.ref)
        if workload.ref.kind in _ISTIOD_KINDS
        and any(
            workload.ref.namespace == namespace and selector.items() <= workload.template_labels.items()
            for namespace, selector in selectors
        )
    )


def way_to_bring_one_back(snapshot: Snapshot) -> str:
    """Say what keeps the istiods down, and the command that would bring the most promising one back."""
    found = istiods(snapshot)
    if not found:
        return "no Deployment stands behind the injectors' services: install the revision that the webhooks name"
    return "; ".join(_way_back(workload, snapshot.pods_of_workload.get(workload.ref, ())) for workload in found)


def _way_back(workload: Workload, pods: Iterable[Pod]) -> str:
    kubectl = f"kubectl -n {workload.ref.namespace}"
    name = f"{workload.ref.kind.lower()}/{workload.ref.name}"
    if workload.ref.kind != "DaemonSet" and workload.replicas == 0:
        return f"{workload.ref} is scaled to 0: {kubectl} scale {name} --replicas=1"
    reasons = sorted({reason for pod in pods if (reason := _trouble(pod))})
    if "OOMKilled" in reasons:
        return (
            f"{workload.ref} runs out of memory: {kubectl} set resources {name} --limits=memory=... with more than "
            f"it has now ({_memory_limit(workload)})"
        )
    told = f" ({', '.join(reasons)})" if reasons else ""
    return f"{workload.ref} has no ready pod{told}: {kubectl} describe {name}, {kubectl} rollout restart {name}"


def _trouble(pod: Pod) -> str:
    for status in dig(pod.doc, "status", "containerStatuses", default=[]):
        for state in ("state", "lastState"):
            reason = dig(status, state, "terminated", "reason") or dig(status, state, "waiting", "reason")
            if reason and not status.get("ready"):
                return str(reason)
    conditions = dig(pod.doc, "status", "conditions", default=[])
    return next((str(c.get("reason")) for c in conditions if c.get("status") == "False" and c.get("reason")), "")


def _memory_limit(workload: Workload) -> str:
    limits = [dig(c, "resources", "limits", "memory") for c in workload.template_containers]
    return str(next((limit for limit in limits if limit), "no limit of its own"))


def deaf_validators(snapshot: Snapshot) -> tuple[Resource, ...]:
    """Return validation webhooks that refuse every edit of an Istio policy, because nobody answers behind them."""
    return tuple(
        configuration
        for configuration in snapshot.of_kind("ValidatingWebhookConfiguration")
        if any(_refuses(snapshot, webhook) for webhook in dig(configuration.doc, "webhooks", default=[]))
    )


def _refuses(snapshot: Snapshot, webhook: Mapping[str, Any]) -> bool:
    called = dig(webhook, "clientConfig", "service")
    if called is None or webhook.get("failurePolicy", "Fail") != "Fail":
        return False
    groups = {group for rule in webhook.get("rules") or () for group in rule.get("apiGroups") or ()}
    if not groups & ISTIO_GROUPS:
        return False
    service = snapshot.resources.get(Ref("Service", called.get("namespace", ""), called.get("name", "")))
    return service is None or not webhooks.has_ready_pod(snapshot, service)


def versions(snapshot: Snapshot) -> Mapping[str, str]:
    """Return the version of each revision's istiod; the tag of its image where nothing tells one."""
    return {
        revision_of(workload): version_of(snapshot, workload) or _image(workload).rpartition(":")[2]
        for workload in istiods(snapshot)
    }


def revision_of(istiod: Workload) -> str:
    """Return the revision that an istiod serves."""
    return istiod.template_labels.get(names.REVISION) or istiod.labels.get(names.REVISION) or "default"


def version_of(snapshot: Snapshot, istiod: Workload) -> str:
    """Return an istiod's version: what its image or its chart names, else what its pods say; "" where nobody does."""
    declared = supported.declared_version(_image(istiod), {**istiod.labels, **istiod.template_labels})
    pods = snapshot.pods_of_workload.get(istiod.ref, ())
    told = (snapshot.told_versions.get(pod.ref, "") for pod in pods)
    return declared or next((text for text in told if release(text)), "")


def silent_pods(snapshot: Snapshot) -> tuple[Pod, ...]:
    """Return the ready pods of those istiods whose version only they themselves can tell."""
    unnamed = [workload for workload in istiods(snapshot) if not version_of(snapshot, workload)]
    return tuple(p for w in unnamed for p in snapshot.pods_of_workload.get(w.ref, ()) if p.ready)


def _image(istiod: Workload) -> str:
    return next((str(container.get("image", "")) for container in istiod.template_containers), "")
