"""Which sidecars are *unreachable*: there by the pod's containers, but nobody ever heard of a proxy in them.

Nobody waits for such a proxy, and it is never counted as verified. One that never connected to a control plane has no
listener that a policy could close, and when it connects it gets the policies of that moment; so the plan may go on
without having seen it, and the run says at its end (exit code 5) how many it has not seen.

A proxy that only cannot be reached must not be taken for one: it may still enforce STRICT. So all of this has to be
seen at one moment, and whatever is missing of it means that the proxy is awaited as ever:

1. Its admin port turned the question down at once, because nobody is there: its node takes no port-forwards, or
   nothing listens in the pod. No answer within the deadline is not that, nor is a lack of rights.
2. Every istiod of the cluster has answered, ready or not, and at least one has; none of them knows the proxy.
3. Each of these istiods has run long enough that a proxy which had lost its connection would be back: Envoy tries
   again at least every 30 s, and istiod admits so many new ones a second and no more
   (Istio, PILOT_MAX_REQUESTS_PER_SECOND).
4. The pod is ready and has been for a while (a real proxy is ready only after it has had its configuration from an
   istiod), or it has been there, unready, for longer than any proxy takes to start.

Times are compared by this machine's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from meshguard.mesh.istio_sidecar import names
from meshguard.model.objects import Pod, Ref, dig
from meshguard.model.proxy import Connected
from meshguard.model.snapshot import Snapshot

RECONNECT_S = 60.0
ADMITTED_A_SECOND = 20
READY_S = 10.0
STARTED_S = 120.0


def istiods_of(snapshot: Snapshot) -> tuple[Pod, ...]:
    """Return every istiod that is not finished, ready or not: proxies stay connected to one that is not."""
    return tuple(pod for pod in snapshot.pods if pod.labels.get("app") == names.ISTIOD_APP)


def unreachable(suspects: Iterable[Pod], connected: Connected, snapshot: Snapshot, meshed: int) -> frozenset[Ref]:
    """Return those of the suspects, whose admin port turned the question down, that no control plane knows of.

    Parameters:
        connected: what every istiod of the snapshot was asked for after the suspects had been asked.
        meshed: how many proxies there may be in the mesh, which must all have had the time to come back.
    """
    istiods, now = istiods_of(snapshot), snapshot.taken_at
    settled_s = RECONNECT_S + meshed / ADMITTED_A_SECOND
    if not istiods or connected.answered != {pod.ref for pod in istiods}:
        return frozenset()
    if not all(_since(_running_since(pod), now) >= settled_s for pod in istiods):
        return frozenset()
    return frozenset(pod.ref for pod in suspects if pod.ref not in connected.pods and _is_settled(pod, now))


def _is_settled(pod: Pod, now: str) -> bool:
    if pod.ready:
        return _since(_ready_since(pod), now) >= READY_S
    return _since(_started(pod), now) >= STARTED_S


def _started(pod: Pod) -> str:
    return str(dig(pod.doc, "status", "startTime", default=""))


def _running_since(pod: Pod) -> str:
    """When the youngest of its containers started, "" while one does not run."""
    states = dig(pod.doc, "status", "containerStatuses", default=[])
    starts = [str(dig(status, "state", "running", "startedAt", default="")) for status in states]
    return max(starts) if starts and all(starts) else ""


def _ready_since(pod: Pod) -> str:
    conditions = dig(pod.doc, "status", "conditions", default=[])
    return next((str(c.get("lastTransitionTime", "")) for c in conditions if c.get("type") == "Ready"), "")


def _since(moment: str, now: str) -> float:
    """Seconds; less than none for what is not told."""
    if not moment:
        return -1.0
    return (datetime.fromisoformat(now) - datetime.fromisoformat(moment)).total_seconds()
