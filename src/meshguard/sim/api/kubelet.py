"""Scheduler and kubelet: pods get a node, start, become ready, end, and go.

How long each takes is the simulator's; that it takes that order is the kubelet's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshguard.sim.api.controllers.hands import Hands, key_of
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Change, Event, Key
from meshguard.sim.api.tables.ages import seconds_between

RUN_SECONDS = "meshguard.dev/run-seconds"
"""Annotation of a pod: how long its containers run before they end by themselves; without it they do not end."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in simulated seconds."""

    start_s: float = 1.0
    """From the node to running containers."""
    stop_s: float = 1.0
    """From the signal to the end of a container that minds it."""
    run_s: float = 5.0
    """How long a container of a Job runs."""


class Kubelet:
    """All kubelets and the scheduler."""

    def __init__(self, objects: Objects, pace: Pace | None = None) -> None:
        self._objects, self._hands, self.pace = objects, Hands(objects, "node"), pace or Pace()
        self._counts: dict[str, int] = {}
        self._known: set[str] = set()
        self._addresses = 0
        self.failing: set[str] = set()
        """UIDs of pods that do not answer their readiness probes now; who put them there keeps their status."""

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """Every pod, and the pods that wait for a node."""
        if storage == "pods":
            if event.change is Change.DELETED and event.new.doc["metadata"]["uid"] in self._known:
                self._known.remove(event.new.doc["metadata"]["uid"])
                self._counts[event.new.doc["spec"]["nodeName"]] -= 1
            yield event.new.key
        elif storage == "nodes":
            for entry in self._objects.store.all("pods"):
                if not entry.doc["spec"].get("nodeName"):
                    yield entry.key

    def reconcile(self, key: Key) -> float | None:
        """Take the next step of a pod's life."""
        pod = self._hands.get("pods", key)
        if pod is None:
            return None
        status = pod["status"]
        if not pod["spec"].get("nodeName"):
            return self._schedule(pod)
        self._know(pod)
        if pod["metadata"].get("deletionTimestamp"):
            return self._stop(pod)
        if status.get("phase") == "Pending":
            return self._start(pod)
        if status.get("phase") == "Running":
            return self._run(pod)
        return None

    def _know(self, pod: Doc) -> None:
        if pod["metadata"]["uid"] in self._known:
            return
        self._known.add(pod["metadata"]["uid"])
        node = pod["spec"]["nodeName"]
        self._counts[node] = self._counts.get(node, 0) + 1

    def _schedule(self, pod: Doc) -> float | None:
        wanted = pod["spec"].get("nodeSelector", {})
        nodes = [
            entry.doc
            for entry in self._objects.store.all("nodes")
            if not entry.doc["spec"].get("unschedulable")
            and not _repels(entry.doc, pod)
            and wanted.items() <= entry.doc["metadata"].get("labels", {}).items()
        ]
        if not nodes:
            count = len(self._objects.store.all("nodes"))
            head = f"0/{count} nodes are available:"
            words = (
                f"{head} {count} node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
                f"preemption: {head} {count} Preemption is not helpful for scheduling."
            )
            self._put(
                pod, {"conditions": [_condition("PodScheduled", False, self._objects.now(), "Unschedulable", words)]}
            )
            return None
        chosen = min(nodes, key=lambda node: self._counts.get(node["metadata"]["name"], 0))["metadata"]["name"]
        self._know({**pod, "spec": {**pod["spec"], "nodeName": chosen}})
        conditions = [_condition("PodScheduled", True, self._objects.now())]
        self._hands.update("pods", key_of(pod), {"spec": {**pod["spec"], "nodeName": chosen}}, "binding")
        fresh = self._hands.get("pods", key_of(pod))
        if fresh is not None:
            self._put(fresh, {"conditions": conditions})
        return None

    def _put(self, pod: Doc, parts: Doc) -> None:
        status = {**pod["status"], **parts}
        if status != pod["status"]:
            self._hands.update("pods", key_of(pod), {"status": status}, "status")

    def _start(self, pod: Doc) -> float | None:
        now = self._objects.now()
        began = pod["status"].get("startTime")
        if began is None:
            states = [_waiting(c) for c in pod["spec"]["containers"]]
            self._put(pod, {"startTime": now, "hostIP": self._host(pod), "containerStatuses": states})
            return self.pace.start_s
        left: float = self.pace.start_s - seconds_between(began, now)
        if left > 0:
            return left
        native = [c for c in pod["spec"].get("initContainers", ()) if c.get("restartPolicy") == "Always"]
        inits = [
            _running(c, now) if c in native else _ended(c, began, now) for c in pod["spec"].get("initContainers", ())
        ]
        self._addresses += 1
        address = f"10.100.{self._addresses // 250 % 250}.{self._addresses % 250 + 2}"
        ready = not self._delay(pod)
        parts: Doc = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": [_running(c, now, ready) for c in pod["spec"]["containers"]],
            "conditions": _conditions(now, ready=ready),
        }
        if inits:
            parts["initContainerStatuses"] = inits
        self._put(pod, parts)
        return self._delay(pod) or None

    @staticmethod
    def _delay(pod: Doc) -> float:
        """Seconds from running to ready: the longest that a readiness probe asks for."""
        probes = [container.get("readinessProbe") for container in pod["spec"]["containers"]]
        return float(max((probe.get("initialDelaySeconds", 0) for probe in probes if probe), default=0))

    def _host(self, pod: Doc) -> str:
        node = self._hands.get("nodes", ("", pod["spec"]["nodeName"])) or {}
        addresses = node.get("status", {}).get("addresses", ())
        return str(next((a["address"] for a in addresses if a["type"] == "InternalIP"), "10.96.255.1"))

    def _run(self, pod: Doc) -> float | None:
        if pod["metadata"]["uid"] in self.failing:
            return None
        now = self._objects.now()
        started = pod["status"]["containerStatuses"][0]["state"].get("running", {}).get("startedAt")
        if started is None:
            return None
        left: float = self._delay(pod) - seconds_between(started, now)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        if left > 0:
            return left
        if not ready:
            states = [_running(c, started) for c in pod["spec"]["containers"]]
            self._put(pod, {"containerStatuses": states, "conditions": _conditions(now, ready=True)})
            return None
        return self._end_by_itself(pod, str(started), now)

    def _end_by_itself(self, pod: Doc, started: str, now: str) -> float | None:
        """A pod of a Job ends, unless a container in it does not: a sidecar that is no native one keeps it alive."""
        given = pod["metadata"].get("annotations", {}).get(RUN_SECONDS)
        if pod["spec"].get("restartPolicy") == "Always" or (given is None and not _is_of_job(pod)):
            return None
        left: float = float(given or self.pace.run_s) - seconds_between(started, now)
        if left > 0:
            return left
        endless = any(container["name"] == "istio-proxy" for container in pod["spec"]["containers"])
        states = [
            _running(c, started) if c["name"] == "istio-proxy" else _ended(c, started, now)
            for c in pod["spec"]["containers"]
        ]
        conditions = _conditions(now, ready=False)
        self._put(
            pod, {"phase": "Running" if endless else "Succeeded", "containerStatuses": states, "conditions": conditions}
        )
        return None

    def _stop(self, pod: Doc) -> float | None:
        metadata = pod["metadata"]
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        asked = seconds_between(metadata["deletionTimestamp"], self._objects.now()) + grace
        left: float = min(float(grace), self.pace.stop_s) - asked
        if left > 0:
            return left
        self._hands.delete("pods", key_of(pod), 0)
        return None


def _repels(node: Doc, pod: Doc) -> bool:
    """Whether a taint of the node keeps the pod from being scheduled there."""
    tolerations = pod["spec"].get("tolerations", ())
    return any(
        taint.get("effect") in ("NoSchedule", "NoExecute") and not any(_tolerates(t, taint) for t in tolerations)
        for taint in node["spec"].get("taints", ())
    )


def _tolerates(toleration: Doc, taint: Doc) -> bool:
    """Source: `ToleratesTaint` of `k8s.io/component-helpers`."""
    if (
        toleration.get("effect") not in (None, "", taint["effect"])
        or toleration.get("key", taint["key"]) != taint["key"]
    ):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def _is_of_job(pod: Doc) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences") or ())


def _condition(kind: str, holds: bool, now: str, reason: str = "", message: str = "") -> Doc:
    out: Doc = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": None, "lastTransitionTime": now}
    out["observedGeneration"] = 1
    if reason:
        out |= {"reason": reason, "message": message}
    return out


def _conditions(now: str, *, ready: bool) -> list[Doc]:
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return [_condition(kind, ready or kind not in ("Ready", "ContainersReady"), now) for kind in kinds]


def _state(container: Doc, state: Doc, *, ready: bool, started: bool) -> Doc:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": ready,
        "started": started,
        "restartCount": 0,
        "lastState": {},
        "state": state,
    }


def _waiting(container: Doc) -> Doc:
    return _state(container, {"waiting": {"reason": "ContainerCreating"}}, ready=False, started=False)


def _running(container: Doc, now: str, ready: bool = True) -> Doc:
    return _state(container, {"running": {"startedAt": now}}, ready=ready, started=True)


def _ended(container: Doc, began: str, now: str) -> Doc:
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": began, "finishedAt": now}
    return _state(container, {"terminated": ended}, ready=True, started=False)
