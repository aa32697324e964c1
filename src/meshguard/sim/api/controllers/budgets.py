"""PodDisruptionBudgets: how many pods may be missing now. Source: `pkg/controller/disruption` of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.model.quantities import rounded
from meshguard.sim.api.controllers.hands import Hands, is_active, is_ready, owner_of
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.selectors import selects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Event, Key

STORAGE = "poddisruptionbudgets.policy"


class DisruptionBudgets:
    """Counts."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._hands = objects, Hands(objects, "disruption-controller")

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The budget itself, or all of the namespace of a pod or a ReplicaSet."""
        if storage == STORAGE:
            yield event.new.key
        elif storage in ("pods", "replicasets.apps", "statefulsets.apps"):
            yield from (entry.key for entry in self._hands.store.all(STORAGE, event.new.key[0]))

    def reconcile(self, key: Key) -> float | None:
        """Tell how many disruptions are allowed."""
        doc = self._hands.get(STORAGE, key)
        if doc is None:
            return None
        pods = [
            entry.doc
            for entry in self._hands.store.all("pods", key[0])
            if selects(doc["spec"].get("selector"), entry.doc["metadata"].get("labels", {})) and is_active(entry.doc)
        ]
        expected = self._expected(pods, key[0])
        spec = doc["spec"]
        if "maxUnavailable" in spec:
            desired = max(0, expected - rounded(spec["maxUnavailable"], expected, up=True))
        else:
            least = spec.get("minAvailable", 1)
            desired = rounded(least, expected, up=True)
            if isinstance(least, int):
                expected = len(pods)
        healthy = sum(is_ready(pod) for pod in pods)
        allowed = max(0, healthy - desired) if expected else 0
        now, before = self._objects.now(), doc.get("status", {}).get("conditions", [])
        fresh = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "observedGeneration": doc["metadata"]["generation"],
            "lastTransitionTime": now,
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
        }
        if before and all(before[0].get(n) == fresh[n] for n in ("status", "reason", "observedGeneration")):
            fresh = before[0]
        status = {
            "observedGeneration": doc["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [fresh],
        }
        if status != doc.get("status"):
            self._hands.update(STORAGE, key, {"status": status}, "status")
        return None

    def _expected(self, pods: list[Doc], namespace: str) -> int:
        """How many pods there should be, by what owns them."""
        owners = {(o["kind"], o["name"]) for pod in pods if (o := owner_of(pod))}
        loose = sum(owner_of(pod) is None for pod in pods)
        storages = {"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps"}
        found = [
            self._hands.get(storages[kind], (namespace, name)) for kind, name in sorted(owners) if kind in storages
        ]
        return loose + sum(int(doc["spec"].get("replicas", 1)) for doc in found if doc)
