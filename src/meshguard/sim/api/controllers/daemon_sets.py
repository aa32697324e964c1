"""DaemonSets: one pod on each node. Source: `pkg/controller/daemon` of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.model.quantities import rounded
from meshguard.sim.api.controllers.hands import Hands, is_ready, key_of, owner_of, owner_reference, pod_of
from meshguard.sim.api.controllers.revisions import HASH, Revisions
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Event, Key

STORAGE = "daemonsets.apps"
_GENERATION = "deprecated.daemonset.template.generation"


class DaemonSets:
    """Creates and replaces the pods of DaemonSets."""

    def __init__(self, objects: Objects) -> None:
        self._hands = Hands(objects, "daemon-set-controller")
        self._revisions = Revisions(self._hands, STORAGE)

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The set itself, the owner of a pod, or all sets when a node comes or goes."""
        if storage == STORAGE:
            yield event.new.key
        elif storage == "pods":
            owner = owner_of(event.new.doc)
            if owner and owner["kind"] == "DaemonSet":
                yield event.new.key[0], owner["name"]
        elif storage == "nodes":
            yield from (entry.key for entry in self._hands.store.all(STORAGE))

    def reconcile(self, key: Key) -> float | None:
        """Take the next step, and tell how far it is."""
        doc = self._hands.get(STORAGE, key)
        if doc is None or doc["metadata"].get("deletionTimestamp"):
            return None
        digest = self._revisions.current(doc).rpartition("-")[2]
        wanted = doc["spec"]["template"]["spec"].get("nodeSelector", {})
        nodes = [
            entry.key[1]
            for entry in self._hands.store.all("nodes")
            if wanted.items() <= entry.doc["metadata"].get("labels", {}).items()
        ]
        pods = self._pods(doc)
        for node in nodes:
            if not pods.get(node):
                self._create(doc, node, digest)
        for node, found in pods.items():
            if node not in nodes:
                for pod in found:
                    self._hands.delete("pods", key_of(pod))
        if doc["spec"]["updateStrategy"].get("type") == "RollingUpdate":
            self._replace(doc, nodes, digest)
        self._tell(key, nodes, digest)
        return None

    def _pods(self, doc: Doc) -> dict[str, list[Doc]]:
        out: dict[str, list[Doc]] = {}
        for pod in self._hands.owned("pods", doc["metadata"]["namespace"], doc["metadata"]["uid"]):
            out.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
        return out

    def _create(self, doc: Doc, node: str, digest: str) -> None:
        owner = owner_reference(self._hands.resource(STORAGE), doc)
        pod = pod_of(doc["spec"]["template"], owner, {HASH: digest, "pod-template-generation": _generation(doc)})
        pod["metadata"]["generateName"] = f"{doc['metadata']['name']}-"
        pod["spec"]["nodeName"] = node
        self._hands.create("pods", doc["metadata"]["namespace"], pod)

    def _replace(self, doc: Doc, nodes: list[str], digest: str) -> None:
        rolling = doc["spec"]["updateStrategy"].get("rollingUpdate", {})
        spare = max(1, rounded(rolling.get("maxUnavailable", 1), len(nodes), up=True))
        pods = self._pods(doc)
        missing = sum(not any(is_ready(p) and not _going(p) for p in pods.get(node, ())) for node in nodes)
        spare -= missing
        for node in nodes:
            for pod in pods.get(node, ()):
                if pod["metadata"]["labels"].get(HASH) != digest and not _going(pod):
                    if is_ready(pod):
                        if spare <= 0:
                            continue
                        spare -= 1
                    self._hands.delete("pods", key_of(pod))

    def _tell(self, key: Key, nodes: list[str], digest: str) -> None:
        doc = self._hands.get(STORAGE, key)
        if doc is None:
            return
        pods = {node: next((p for p in found if not _going(p)), None) for node, found in self._pods(doc).items()}
        here = [pod for node in nodes if (pod := pods.get(node)) is not None]
        ready = sum(is_ready(pod) for pod in here)
        optional = {
            "observedGeneration": doc["metadata"]["generation"],
            "updatedNumberScheduled": sum(pod["metadata"]["labels"].get(HASH) == digest for pod in here),
            "numberAvailable": ready,
            "numberUnavailable": len(nodes) - ready,
        }
        status = {
            "currentNumberScheduled": len(here),
            "numberMisscheduled": 0,
            "desiredNumberScheduled": len(nodes),
            "numberReady": ready,
            **{name: value for name, value in optional.items() if value},
        }
        if status != doc.get("status"):
            self._hands.update(STORAGE, key, {"status": status}, "status")


def _going(pod: Doc) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _generation(doc: Doc) -> str:
    return str(doc["metadata"].get("annotations", {}).get(_GENERATION, doc["metadata"]["generation"]))
