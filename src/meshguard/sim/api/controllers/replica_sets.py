"""ReplicaSets: as many pods as they say. Source: `pkg/controller/replicaset` of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.sim.api.controllers.hands import Hands, is_active, is_ready, key_of, owner_of, owner_reference, pod_of
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Event, Key

STORAGE = "replicasets.apps"
_RETRY_S = 1.0


class ReplicaSets:
    """Creates and deletes pods."""

    def __init__(self, objects: Objects) -> None:
        self._hands = Hands(objects, "replicaset-controller")

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The set itself, or the owner of a pod."""
        if storage == STORAGE:
            yield event.new.key
        elif storage == "pods":
            owner = owner_of(event.new.doc)
            if owner and owner["kind"] == "ReplicaSet":
                yield event.new.key[0], owner["name"]

    def reconcile(self, key: Key) -> float | None:
        """Make the number of pods right, and tell how many there are."""
        doc = self._hands.get(STORAGE, key)
        if doc is None or doc["metadata"].get("deletionTimestamp"):
            return None
        pods = self._hands.owned("pods", key[0], doc["metadata"]["uid"])
        active = [pod for pod in pods if is_active(pod)]
        wanted, again = doc["spec"].get("replicas", 1), None
        if len(active) < wanted and not self._create(doc, wanted - len(active)):
            again = _RETRY_S
        for pod in sorted(active, key=_first_to_go)[: max(0, len(active) - wanted)]:
            self._hands.delete("pods", key_of(pod))
        self._tell(key)
        return again

    def _create(self, doc: Doc, count: int) -> bool:
        owner = owner_reference(self._hands.resource(STORAGE), doc)
        for _ in range(count):
            pod = pod_of(doc["spec"]["template"], owner, {})
            pod["metadata"]["generateName"] = f"{doc['metadata']['name']}-"
            if self._hands.create("pods", doc["metadata"]["namespace"], pod) is None:
                return False
        return True

    def _tell(self, key: Key) -> None:
        doc = self._hands.get(STORAGE, key)
        if doc is None:
            return
        pods = [pod for pod in self._hands.owned("pods", key[0], doc["metadata"]["uid"]) if is_active(pod)]
        labels = doc["spec"]["template"].get("metadata", {}).get("labels", {})
        ready = sum(is_ready(pod) for pod in pods)
        status = {
            "fullyLabeledReplicas": sum(labels.items() <= pod["metadata"].get("labels", {}).items() for pod in pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": doc["metadata"]["generation"],
        }
        kept = {name: value for name, value in status.items() if value}
        wanted = {"replicas": len(pods), **kept}
        if wanted != doc.get("status"):
            self._hands.update(STORAGE, key, {"status": wanted}, "status")


def _first_to_go(pod: Doc) -> tuple[bool, bool, str, str]:
    """Pods without a node go first, then those that are not ready, then the youngest."""
    created = pod["metadata"]["creationTimestamp"]
    younger_first = "".join(chr(0x10FFFF - ord(letter)) for letter in created)
    return bool(pod["spec"].get("nodeName")), is_ready(pod), younger_first, pod["metadata"]["name"]
