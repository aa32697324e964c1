"""Writes into pods and nodes what the kubelets of the fleet do. Source of the words: Kubernetes' kubelet."""

from __future__ import annotations

from typing import Any

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.controllers.hands import Hands
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Key
from meshguard.sim.fleet.parts import Node, Pod

PROXY = "istio-proxy"
_PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
_KILLED = 137


class Kubelets:
    """The kubelets of all nodes, as far as memory and probes are concerned."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster, self._hands = cluster, Hands(cluster.objects, "node")

    def _put(self, pod: Pod, parts: dict[str, Any]) -> None:
        doc = self._doc(pod)
        if doc is not None:
            self._hands.update("pods", _key(pod), {"status": {**doc["status"], **parts}}, "status")

    def _doc(self, pod: Pod) -> Doc | None:
        return self._hands.get("pods", _key(pod))

    def evict(self, pod: Pod) -> None:
        """End it: the pod stays as a failed one, and its ReplicaSet makes another."""
        doc = self._doc(pod)
        if doc is None:
            return
        now = self._cluster.objects.now()
        message = (
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 0. "
            f"Container {PROXY} was using {pod.proxy_mib:.0f}Mi, request is 64Mi, has larger consumption of memory. "
        )
        self._put(
            pod,
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": message,
                "conditions": _unready(doc["status"], now),
                "containerStatuses": [_ended(s, "Error", now) for s in doc["status"].get("containerStatuses", ())],
            },
        )

    def killed(self, pod: Pod) -> None:
        """The kernel ended its sidecar."""
        doc = self._doc(pod)
        if doc is None:
            return
        self._cluster.kubelet.failing.add(doc["metadata"]["uid"])
        now = self._cluster.objects.now()
        self._put(pod, {**self._proxies(doc, now, running=False), "conditions": _unready(doc["status"], now)})

    def started_again(self, pod: Pod) -> None:
        """Its sidecar runs again."""
        doc = self._doc(pod)
        if doc is None:
            return
        now = self._cluster.objects.now()
        self._put(pod, self._proxies(doc, now, running=True))
        self.ready(pod, ready=True)

    def _proxies(self, doc: Doc, now: str, *, running: bool) -> Doc:
        out: Doc = {}
        for part in ("containerStatuses", "initContainerStatuses"):
            states = doc["status"].get(part, ())
            if any(state["name"] == PROXY for state in states):
                out[part] = [_restarted(s, now, running=running) if s["name"] == PROXY else s for s in states]
        return out

    def ready(self, pod: Pod, *, ready: bool) -> None:
        """It answers its probes, or does not."""
        doc = self._doc(pod)
        if doc is None or doc["status"].get("phase") != "Running":
            return
        failing, uid, now = self._cluster.kubelet.failing, doc["metadata"]["uid"], self._cluster.objects.now()
        (failing.discard if ready else failing.add)(uid)
        conditions = _with_ready(doc["status"], now, ready=ready)
        self._put(pod, {"conditions": conditions})

    def pressed(self, node: Node, *, pressed: bool) -> None:
        """The node's condition, and the taint by which the scheduler avoids it."""
        doc = self._hands.get("nodes", ("", node.name))
        if doc is None:
            return
        now = self._cluster.objects.now()
        others = [c for c in doc["status"].get("conditions", ()) if c["type"] != "MemoryPressure"]
        reason = "KubeletHasInsufficientMemory" if pressed else "KubeletHasSufficientMemory"
        condition = {
            "type": "MemoryPressure",
            "status": "True" if pressed else "False",
            "reason": reason,
            "message": f"kubelet has {'in' if pressed else ''}sufficient memory available",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        status = {**doc["status"], "conditions": [*others, condition]}
        self._hands.update("nodes", ("", node.name), {"status": status}, "status")
        taints = [t for t in doc["spec"].get("taints", ()) if t["key"] != _PRESSURE["key"]]
        spec = {**doc["spec"], "taints": [*taints, *([_PRESSURE] if pressed else [])]}
        self._hands.update("nodes", ("", node.name), {"spec": spec})


def _key(pod: Pod) -> Key:
    namespace, _, name = pod.key.partition("/")
    return namespace, name


def _with_ready(status: Doc, now: str, *, ready: bool) -> list[Doc]:
    wanted = "True" if ready else "False"
    return [
        {**c, "status": wanted, "lastTransitionTime": now}
        if c["type"] in ("Ready", "ContainersReady") and c["status"] != wanted
        else c
        for c in status.get("conditions", ())
    ]


def _unready(status: Doc, now: str) -> list[Doc]:
    return _with_ready(status, now, ready=False)


def _end(state: Doc, reason: str, now: str) -> Doc:
    began = (state.get("state", {}).get("running") or {}).get("startedAt", now)
    return {"exitCode": _KILLED, "reason": reason, "startedAt": began, "finishedAt": now}


def _ended(state: Doc, reason: str, now: str) -> Doc:
    return {**state, "ready": False, "started": False, "state": {"terminated": _end(state, reason, now)}}


def _restarted(state: Doc, now: str, *, running: bool) -> Doc:
    if running:
        return {**state, "ready": True, "started": True, "state": {"running": {"startedAt": now}}}
    last = {"terminated": _end(state, "OOMKilled", now)}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container istio-proxy"}}
    count = state.get("restartCount", 0) + 1
    return {**state, "ready": False, "started": False, "restartCount": count, "lastState": last, "state": waiting}
