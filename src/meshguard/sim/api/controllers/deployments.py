"""Deployments: one ReplicaSet for each template, and the pods moved from the old ones to the new one.

Source: `pkg/controller/deployment` of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshguard.model.quantities import rounded
from meshguard.sim.api.controllers.hands import Hands, condition, key_of, owner_of, owner_reference, template_hash
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Change, Event, Key
from meshguard.sim.api.tables.ages import seconds_between

STORAGE, SETS = "deployments.apps", "replicasets.apps"
REVISION = "deployment.kubernetes.io/revision"
_DESIRED, _MOST = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
_NOT_COPIED = (REVISION, _DESIRED, _MOST, "kubectl.kubernetes.io/last-applied-configuration")


class Deployments:
    """Rolls out."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._hands = objects, Hands(objects, "deployment-controller")

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The Deployment itself, the owner of a ReplicaSet, or that of a pod that has gone: Recreate waits for it."""
        if storage == STORAGE:
            yield event.new.key
        elif storage == SETS:
            owner = owner_of(event.new.doc)
            if owner and owner["kind"] == "Deployment":
                yield event.new.key[0], owner["name"]

        elif storage == "pods" and event.change is Change.DELETED:
            owner = owner_of(event.new.doc)
            found = self._hands.get(SETS, (event.new.key[0], owner["name"])) if owner else None
            above = owner_of(found) if found else None
            if above and above["kind"] == "Deployment":
                yield event.new.key[0], above["name"]

    def reconcile(self, key: Key) -> float | None:
        """Take the next step of the rollout, and tell how far it is."""
        doc = self._hands.get(STORAGE, key)
        if doc is None or doc["metadata"].get("deletionTimestamp"):
            return None
        sets = self._sets(doc)
        new = next((s for s in sets if _template(s) == _bare(doc["spec"]["template"])), None)
        paused = doc["spec"].get("paused")
        if new is None and not paused:
            new = self._create_set(doc, sets)
        elif new is not None and not paused:
            self._keep_revision(doc, new, sets)
        if paused:
            self._scale_paused(doc, self._sets(doc))
        elif doc["spec"]["strategy"].get("type") == "Recreate":
            self._recreate(doc, new)
        else:
            self._roll(doc, new)
        self._forget_old(doc)
        return self._tell(key)

    def _sets(self, doc: Doc) -> list[Doc]:
        namespace, uid = doc["metadata"]["namespace"], doc["metadata"]["uid"]
        return sorted(self._hands.owned(SETS, namespace, uid), key=_revision)

    def _create_set(self, doc: Doc, sets: list[Doc]) -> Doc | None:
        template, spec = doc["spec"]["template"], doc["spec"]
        name = template_hash({"template": template, "collisions": doc.get("status", {}).get("collisionCount", 0)})
        labels = {**template.get("metadata", {}).get("labels", {}), HASH: name}
        revision = str(max([_revision(s) for s in sets], default=0) + 1)
        selector = spec["selector"]
        body: Doc = {
            "metadata": {
                "name": f"{doc['metadata']['name']}-{name}",
                "labels": labels,
                "annotations": {**self._annotations(doc), REVISION: revision},
                "ownerReferences": [owner_reference(self._hands.resource(STORAGE), doc)],
            },
            "spec": {
                "replicas": self._first_size(doc, sets),
                "selector": {**selector, "matchLabels": {**selector.get("matchLabels", {}), HASH: name}},
                "template": {**template, "metadata": {**template.get("metadata", {}), "labels": labels}},
            },
        }
        if spec.get("minReadySeconds"):
            body["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        entry = self._hands.create(SETS, doc["metadata"]["namespace"], body)
        self._set_revision(doc, revision)
        return entry.doc if entry else None

    @staticmethod
    def _first_size(doc: Doc, sets: list[Doc]) -> int:
        """How many pods the new ReplicaSet begins with: as many as the surge allows."""
        wanted = int(doc["spec"].get("replicas", 1))
        total = sum(s["spec"].get("replicas", 0) for s in sets)
        if doc["spec"]["strategy"].get("type") == "Recreate":
            return wanted if not sets else 0
        return max(0, min(wanted, wanted + _bounds(doc)[0] - int(total)))

    def _annotations(self, doc: Doc) -> Doc:
        given = {k: v for k, v in doc["metadata"].get("annotations", {}).items() if k not in _NOT_COPIED}
        replicas = doc["spec"].get("replicas", 1)
        most = replicas if doc["spec"]["strategy"].get("type") == "Recreate" else replicas + _bounds(doc)[0]
        return {**given, _DESIRED: str(replicas), _MOST: str(most)}

    def _keep_revision(self, doc: Doc, new: Doc, sets: list[Doc]) -> None:
        """A template that comes back gets a new revision; its ReplicaSet is used again."""
        highest = max((_revision(s) for s in sets if s is not new), default=0)
        revision = str(max(_revision(new), highest + 1))
        wanted = {**new["metadata"].get("annotations", {}), **self._annotations(doc), REVISION: revision}
        if wanted != new["metadata"].get("annotations", {}):
            self._hands.update(SETS, key_of(new), {"metadata": {**new["metadata"], "annotations": wanted}})
        self._set_revision(doc, revision)

    def _set_revision(self, doc: Doc, revision: str) -> None:
        found = self._hands.get(STORAGE, key_of(doc)) or doc
        annotations = found["metadata"].get("annotations", {})
        if annotations.get(REVISION) != revision:
            metadata = {**found["metadata"], "annotations": {**annotations, REVISION: revision}}
            self._hands.update(STORAGE, key_of(doc), {"metadata": metadata})

    def _scale(self, found: Doc, replicas: int) -> None:
        if found["spec"].get("replicas", 1) != replicas:
            self._hands.update(SETS, key_of(found), {"spec": {**found["spec"], "replicas": replicas}})

    def _scale_paused(self, doc: Doc, sets: list[Doc]) -> None:
        alive = [s for s in sets if s["spec"].get("replicas")]
        newest = alive[-1:] or sets[-1:]
        for found in newest:
            others = sum(s["spec"].get("replicas", 0) for s in sets if s is not found)
            self._scale(found, max(0, doc["spec"].get("replicas", 1) - others))

    def _recreate(self, doc: Doc, new: Doc | None) -> None:
        sets = self._sets(doc)
        old = [s for s in sets if new is None or key_of(s) != key_of(new)]
        for found in old:
            self._scale(found, 0)
        uids = {found["metadata"]["uid"] for found in old}
        pods = self._hands.store.all("pods", doc["metadata"]["namespace"])
        if new is not None and not any((owner_of(pod.doc) or {}).get("uid") in uids for pod in pods):
            self._scale(self._hands.get(SETS, key_of(new)) or new, doc["spec"].get("replicas", 1))

    def _roll(self, doc: Doc, new: Doc | None) -> None:
        if new is None:
            return
        wanted, (surge, unavailable) = doc["spec"].get("replicas", 1), _bounds(doc)
        sets = self._sets(doc)
        new = next(s for s in sets if key_of(s) == key_of(new))
        old = [s for s in sets if s is not new]
        total = sum(s["spec"].get("replicas", 0) for s in sets)
        now = new["spec"].get("replicas", 0)
        if now > wanted:
            self._scale(new, wanted)
        elif now < wanted:
            self._scale(new, min(wanted, now + max(0, wanted + surge - total)))
        self._scale_down(doc, old, new, wanted - unavailable)

    def _scale_down(self, doc: Doc, old: list[Doc], new: Doc, least: int) -> None:
        """Take away old pods: those that are not available first, then as many as may be missing."""
        new = self._hands.get(SETS, key_of(new)) or new
        new_available = new.get("status", {}).get("availableReplicas", 0)
        total = sum(s["spec"].get("replicas", 0) for s in (*old, new))
        spare = total - least - (new["spec"].get("replicas", 0) - new_available)
        if spare <= 0:
            return
        for found in old:
            replicas, available = found["spec"].get("replicas", 0), found.get("status", {}).get("availableReplicas", 0)
            broken = min(max(0, spare), max(0, replicas - available))
            if broken:
                self._scale(found, replicas - broken)
                spare -= broken
        old = [self._hands.get(SETS, key_of(s)) or s for s in old]
        available = new_available + sum(s.get("status", {}).get("availableReplicas", 0) for s in old)
        spare = available - least
        for found in old:
            replicas = found["spec"].get("replicas", 0)
            step = min(max(0, spare), replicas)
            if step:
                self._scale(found, replicas - step)
                spare -= step

    def _forget_old(self, doc: Doc) -> None:
        limit = doc["spec"].get("revisionHistoryLimit", 10)
        current = _bare(doc["spec"]["template"])
        empty = [
            s
            for s in self._sets(doc)
            if not s["spec"].get("replicas") and not s.get("status", {}).get("replicas") and _template(s) != current
        ]
        for found in empty[: max(0, len(empty) - limit)]:
            self._hands.delete(SETS, key_of(found))

    def _tell(self, key: Key) -> float | None:
        doc = self._hands.get(STORAGE, key)
        if doc is None:
            return None
        sets = self._sets(doc)
        new = next((s for s in sets if _template(s) == _bare(doc["spec"]["template"])), None)
        wanted, (_, unavailable) = doc["spec"].get("replicas", 1), _bounds(doc)
        replicas = sum(s.get("status", {}).get("replicas", 0) for s in sets)
        available = sum(s.get("status", {}).get("availableReplicas", 0) for s in sets)
        updated = new.get("status", {}).get("replicas", 0) if new else 0
        status: dict[str, Any] = {
            "observedGeneration": doc["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": sum(s.get("status", {}).get("readyReplicas", 0) for s in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(0, sum(s["spec"].get("replicas", 0) for s in sets) - available),
        }
        done = new is not None and updated == wanted == replicas and available >= wanted
        progress, again = self._progress(doc, new, status, done)
        before, now = doc.get("status", {}).get("conditions", []), self._objects.now()
        enough = available >= wanted - unavailable
        status["conditions"] = [
            condition(
                "Available",
                "True" if enough else "False",
                "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                f"Deployment {'has' if enough else 'does not have'} minimum availability.",
                now,
                before,
            ),
            progress,
        ]
        status["collisionCount"] = doc.get("status", {}).get("collisionCount")
        self._hands.set_status(STORAGE, doc, status)
        return again

    def _progress(self, doc: Doc, new: Doc | None, status: Doc, done: bool) -> tuple[Doc, float | None]:
        before, now = doc.get("status", {}).get("conditions", []), self._objects.now()
        old = next((c for c in before if c["type"] == "Progressing"), None)
        name = new["metadata"]["name"] if new else ""
        if doc["spec"].get("paused"):
            return condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now, before), None
        if done:
            words = f'ReplicaSet "{name}" has successfully progressed.'
            return condition("Progressing", "True", "NewReplicaSetAvailable", words, now, before), None
        counts = ("updatedReplicas", "readyReplicas", "availableReplicas", "replicas")
        moved = any(status[n] != doc.get("status", {}).get(n, 0) for n in counts)
        limit = doc["spec"].get("progressDeadlineSeconds", 600)
        words = f'ReplicaSet "{name}" is progressing.'
        fresh = condition("Progressing", "True", "ReplicaSetUpdated", words, now, [] if moved else before)
        if moved or old is None or old["reason"] == "NewReplicaSetAvailable":
            return {**fresh, "lastUpdateTime": now}, float(limit)
        waited = seconds_between(old["lastUpdateTime"], now)
        if waited < limit and old["reason"] != "ProgressDeadlineExceeded":
            return old, limit - waited
        words = f'ReplicaSet "{name}" has timed out progressing.'
        return condition("Progressing", "False", "ProgressDeadlineExceeded", words, now, before), None


def _bounds(doc: Doc) -> tuple[int, int]:
    """How many pods may be too many, and how many may be missing."""
    if doc["spec"]["strategy"].get("type") == "Recreate":
        return 0, doc["spec"].get("replicas", 1)
    rolling, wanted = doc["spec"]["strategy"].get("rollingUpdate", {}), doc["spec"].get("replicas", 1)
    surge = rounded(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = rounded(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return (surge, unavailable) if surge or unavailable else (surge, 1)


def _revision(found: Doc) -> int:
    return int(found["metadata"].get("annotations", {}).get(REVISION, "0"))


def _bare(template: Doc) -> Doc:
    metadata = template.get("metadata", {})
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _template(found: Doc) -> Doc:
    return _bare(found["spec"]["template"])
