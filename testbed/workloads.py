"""The controllers in the cluster and whether their pods are as they should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from testbed.api_client import ApiClient
from testbed.errors import TestbedError


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet."""

    kind: str
    namespace: str
    name: str
    selector: dict[str, str]
    image: str
    desired: int
    ready: int
    settled: bool
    """All its pods are of its present template, and no other pod is left."""

    @property
    def up(self) -> bool:
        """Whether it is as declared."""
        return self.settled and self.ready == self.desired


def workloads(client: ApiClient) -> list[Workload]:
    """Return all workloads of the cluster."""
    found = [
        _workload(kind, item)
        for kind, plural in (
            ("Deployment", "deployments"),
            ("StatefulSet", "statefulsets"),
            ("DaemonSet", "daemonsets"),
        )
        for item in client.get(f"/apis/apps/v1/{plural}")["items"]
    ]
    return sorted(found, key=lambda workload: (workload.namespace, workload.name))


def not_ready(client: ApiClient) -> list[str]:
    """Return a sentence for each workload that is not as declared, or one that says that nobody can know."""
    try:
        present = workloads(client)
    except TestbedError as error:
        return [str(error)]
    return [
        f"{workload.kind} {workload.namespace}/{workload.name} has {workload.ready} of {workload.desired} ready"
        for workload in present
        if not workload.up
    ]


def _workload(kind: str, item: dict[str, Any]) -> Workload:
    spec, status = item["spec"], item.get("status", {})
    if kind == "DaemonSet":
        desired = status.get("desiredNumberScheduled", 0)
        counts = (status.get("numberReady", 0), status.get("updatedNumberScheduled", 0), desired)
    else:
        desired = spec.get("replicas", 1)
        counts = (status.get("readyReplicas", 0), status.get("updatedReplicas", 0), status.get("replicas", 0))
    ready, updated, existing = counts
    seen = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    return Workload(
        kind=kind,
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        selector=spec["selector"].get("matchLabels", {}),
        image=spec["template"]["spec"]["containers"][0]["image"],
        desired=desired,
        ready=ready,
        settled=seen and updated == desired == existing,
    )
