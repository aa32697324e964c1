"""StatefulSets: pods with a name of their own, one after the other. Source: `pkg/controller/statefulset`."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.sim.api.controllers.hands import Hands, is_ready, key_of, owner_of, owner_reference, pod_of
from meshguard.sim.api.controllers.revisions import HASH, Revisions
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Event, Key

STORAGE = "statefulsets.apps"


class StatefulSets:
    """Creates, replaces and removes the pods of StatefulSets."""

    def __init__(self, objects: Objects) -> None:
        self._hands = Hands(objects, "statefulset-controller")
        self._revisions = Revisions(self._hands, STORAGE)

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The set itself, or the owner of a pod."""
        if storage == STORAGE:
            yield event.new.key
        elif storage == "pods":
            owner = owner_of(event.new.doc)
            if owner and owner["kind"] == "StatefulSet":
                yield event.new.key[0], owner["name"]

    def reconcile(self, key: Key) -> float | None:
        """Take the next step, and tell how far it is."""
        doc = self._hands.get(STORAGE, key)
        if doc is None or doc["metadata"].get("deletionTimestamp"):
            return None
        update = self._revisions.current(doc)
        status = doc.get("status", {})
        pods = {_ordinal(pod): pod for pod in self._hands.owned("pods", key[0], doc["metadata"]["uid"])}
        current = status.get("currentRevision") or update
        self._step(doc, pods, current, update)
        self._tell(key, current, update)
        return None

    def _step(self, doc: Doc, pods: dict[int, Doc], current: str, update: str) -> None:
        spec = doc["spec"]
        first = spec.get("ordinals", {}).get("start", 0)
        wanted = range(first, first + spec.get("replicas", 1))
        one_by_one = spec.get("podManagementPolicy") != "Parallel"
        partition = spec["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
        on_delete = spec["updateStrategy"].get("type") == "OnDelete"
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is None:
                old = (ordinal < partition or on_delete) and current != update
                self._create(doc, ordinal, current if old else update)
                if one_by_one:
                    return
            elif one_by_one and (not is_ready(pod) or pod["metadata"].get("deletionTimestamp")):
                return
        for ordinal in sorted((o for o in pods if o not in wanted), reverse=True):
            if not pods[ordinal]["metadata"].get("deletionTimestamp"):
                self._hands.delete("pods", key_of(pods[ordinal]))
            if one_by_one:
                return
        if not on_delete:
            self._replace(pods, [o for o in wanted if o >= partition], update)

    def _replace(self, pods: dict[int, Doc], ordinals: list[int], update: str) -> None:
        """Replace the last pod that is of an old revision, when all behind it are ready."""
        for ordinal in reversed(ordinals):
            pod = pods.get(ordinal)
            if pod is None or pod["metadata"].get("deletionTimestamp"):
                return
            if pod["metadata"]["labels"].get(HASH) != update:
                self._hands.delete("pods", key_of(pod))
                return
            if not is_ready(pod):
                return

    def _create(self, doc: Doc, ordinal: int, revision: str) -> None:
        name, namespace = f"{doc['metadata']['name']}-{ordinal}", doc["metadata"]["namespace"]
        labels = {
            HASH: revision,
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        owner = owner_reference(self._hands.resource(STORAGE), doc)
        pod = pod_of(self._revisions.template(doc, revision), owner, labels)
        pod["metadata"]["name"] = name
        pod["spec"] |= {"hostname": name, "subdomain": doc["spec"].get("serviceName", "")}
        if not pod["spec"]["subdomain"]:
            del pod["spec"]["subdomain"]
        self._claim(doc, pod, name, namespace)
        self._hands.create("pods", namespace, pod)

    def _claim(self, doc: Doc, pod: Doc, name: str, namespace: str) -> None:
        volumes = []
        for template in doc["spec"].get("volumeClaimTemplates", ()):
            volume, claim = template["metadata"]["name"], f"{template['metadata']['name']}-{name}"
            volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
            if self._hands.get("persistentvolumeclaims", (namespace, claim)) is None:
                labels = dict(doc["spec"]["selector"].get("matchLabels", {}))
                body = {"metadata": {"name": claim, "labels": labels}, "spec": dict(template["spec"])}
                self._hands.create("persistentvolumeclaims", namespace, body)
        if volumes:
            names = {volume["name"] for volume in volumes}
            others = [volume for volume in pod["spec"].get("volumes", ()) if volume["name"] not in names]
            pod["spec"]["volumes"] = [*volumes, *others]

    def _tell(self, key: Key, current: str, update: str) -> None:
        doc = self._hands.get(STORAGE, key)
        if doc is None:
            return
        pods = [
            pod
            for pod in self._hands.owned("pods", key[0], doc["metadata"]["uid"])
            if not pod["metadata"].get("deletionTimestamp")
        ]
        updated = sum(pod["metadata"]["labels"].get(HASH) == update for pod in pods)
        ready = sum(is_ready(pod) for pod in pods)
        wanted = doc["spec"].get("replicas", 1)
        if current != update and updated == wanted == ready == len(pods):
            current = update
        counts = {
            "currentReplicas": sum(pod["metadata"]["labels"].get(HASH) == current for pod in pods),
            "updatedReplicas": updated,
            "readyReplicas": ready,
        }
        status = {
            "observedGeneration": doc["metadata"]["generation"],
            "replicas": len(pods),
            "availableReplicas": ready,
            **{name: value for name, value in counts.items() if value},
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        if status != doc.get("status"):
            self._hands.update(STORAGE, key, {"status": status}, "status")


def _ordinal(pod: Doc) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])
