"""When a workload counts as restarted: every old pod is gone, and the new ones are ready. Seen on the pods."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meshguard.mesh.istio_sidecar.restart import RESTART_MARK
from meshguard.model.objects import Pod, Workload, dig


def still_rolling(workload: Workload) -> str:
    """Say what a Deployment itself still misses, "" when it says that it is done, and for all other kinds.

    A hint only: what is done is seen on the pods. But while the controller says that it is not, nobody need look.
    """
    if workload.ref.kind != "Deployment":
        return ""
    status = dig(workload.doc, "status", default={})
    if int(status.get("observedGeneration", 0)) < int(dig(workload.doc, "metadata", "generation", default=0)):
        return "its controller has not seen the change yet"
    new, ready, present = (int(status.get(key, 0)) for key in ("updatedReplicas", "readyReplicas", "replicas"))
    if new < workload.replicas or present > new:
        return f"{new} of {workload.replicas} pods are new, {present - new} old"
    return "" if ready >= workload.replicas else f"{ready} of {workload.replicas} pods ready"


def rollout_missing(workload: Workload, pods: Sequence[Pod], gone: Collection[str] = ()) -> str:
    """Say what is missing until the workload's pods are all of its present template, "" when nothing is.

    A pod is new when it carries the restart mark of the template as it is now, or, like the template, none. With
    `gone`, UIDs of pods that were deleted, only those have to be replaced.
    """
    generation = int(dig(workload.doc, "metadata", "generation", default=0))
    if int(dig(workload.doc, "status", "observedGeneration", default=0)) < generation:
        return "its controller has not seen the change yet"
    mark = workload.template_annotations.get(RESTART_MARK)
    old = [pod for pod in pods if (pod.uid in gone if gone else pod.annotations.get(RESTART_MARK) != mark)]
    leaving = [pod for pod in pods if pod.terminating]
    if old or leaving:
        names = sorted({pod.ref.name for pod in (*old, *leaving)})
        return f"{len(names)} old pod(s) still there: {', '.join(names[:3])}"
    ready = sum(1 for pod in pods if pod.ready)
    if ready < workload.replicas or len(pods) > workload.replicas:
        return f"{ready} of {workload.replicas} pods ready"
    return ""
