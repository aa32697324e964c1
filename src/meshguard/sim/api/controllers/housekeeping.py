"""Namespaces that go, objects without an owner, and what every namespace has.

Source: `pkg/controller/{namespace,garbagecollector,serviceaccount}` of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.sim.api.controllers.hands import Hands, key_of
from meshguard.sim.api.deletion import FOREGROUND, ORPHAN
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Change, Event, Key


class Namespaces:
    """Furnishes namespaces, and empties those that are to go."""

    def __init__(self, objects: Objects, authority: str) -> None:
        self._hands, self._authority = Hands(objects, "namespace-controller"), authority

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The namespace itself, or that of an object that has gone."""
        if storage == "namespaces":
            yield event.new.key
        elif event.change is Change.DELETED and event.new.key[0]:
            yield "", event.new.key[0]

    def reconcile(self, key: Key) -> float | None:
        """Furnish or empty it."""
        doc = self._hands.get("namespaces", key)
        if doc is None:
            return None
        if not doc["metadata"].get("deletionTimestamp"):
            self._furnish(key[1])
            return None
        left = self._empty(key[1])
        if not left:
            self._hands.update("namespaces", key, {"spec": {"finalizers": []}}, "finalize")
        return None

    def _furnish(self, namespace: str) -> None:
        if self._hands.get("serviceaccounts", (namespace, "default")) is None:
            self._hands.create("serviceaccounts", namespace, {"metadata": {"name": "default"}})
        if self._hands.get("configmaps", (namespace, "kube-root-ca.crt")) is None:
            words = (
                "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such "
                "as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
                "distributions of Kubernetes clusters."
            )
            metadata = {"name": "kube-root-ca.crt", "annotations": {"kubernetes.io/description": words}}
            self._hands.create("configmaps", namespace, {"metadata": metadata, "data": {"ca.crt": self._authority}})

    def _empty(self, namespace: str) -> int:
        """Delete everything in a namespace and return how much is still there."""
        left = 0
        for storage in self._hands.store.storages():
            for entry in self._hands.store.all(storage, namespace):
                if not entry.doc["metadata"].get("deletionTimestamp"):
                    self._hands.delete(storage, entry.key)
            left += len(self._hands.store.all(storage, namespace))
        return left


class Garbage:
    """Deletes what has lost its owner, and lets go owners that wait for what they own."""

    def __init__(self, objects: Objects) -> None:
        self._hands = Hands(objects, "generic-garbage-collector")
        self._owned: dict[str, set[tuple[str, Key]]] = {}
        self._where: dict[str, tuple[str, Key]] = {}

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """Owners that have gone or are going, and dependents that have gone."""
        metadata, item = event.new.doc["metadata"], (storage, event.new.key)
        owners = [owner["uid"] for owner in metadata.get("ownerReferences") or ()]
        if event.change is Change.DELETED:
            self._where.pop(metadata["uid"], None)
            for owner in owners:
                self._owned.get(owner, set()).discard(item)
                yield "", owner
            if metadata["uid"] in self._owned:
                yield "", metadata["uid"]
            return
        self._where[metadata["uid"]] = item
        for owner in owners:
            self._owned.setdefault(owner, set()).add(item)
            if owner not in self._where and event.change is Change.ADDED:
                yield "", owner
        if metadata.get("deletionTimestamp") and {FOREGROUND, ORPHAN} & set(metadata.get("finalizers") or ()):
            yield "", metadata["uid"]

    def reconcile(self, key: Key) -> float | None:
        """Look after an owner, by its UID."""
        uid = key[1]
        dependents = sorted(self._owned.get(uid, ()))
        place = self._where.get(uid)
        owner = self._hands.get(*place) if place else None
        if owner is None:
            for storage, item in dependents:
                self._lose(storage, item, uid)
            self._owned.pop(uid, None)
            return None
        finalizers = owner["metadata"].get("finalizers") or []
        if not owner["metadata"].get("deletionTimestamp") or place is None:
            return None
        if ORPHAN in finalizers:
            for storage, item in dependents:
                self._let_go(storage, item, uid)
            self._finish(place, owner, ORPHAN)
        elif FOREGROUND in finalizers:
            for storage, item in dependents:
                self._delete(storage, item)
            if not self._owned.get(uid):
                self._finish(place, owner, FOREGROUND)
        return None

    def _lose(self, storage: str, key: Key, uid: str) -> None:
        """An owner is gone: the last one takes the object with it."""
        doc = self._hands.get(storage, key)
        if doc is None:
            return
        owners = doc["metadata"].get("ownerReferences") or []
        if any(owner["uid"] in self._where for owner in owners if owner["uid"] != uid):
            self._let_go(storage, key, uid)
        elif not doc["metadata"].get("deletionTimestamp"):
            self._hands.delete(storage, key)

    def _delete(self, storage: str, key: Key) -> None:
        doc = self._hands.get(storage, key)
        if doc is not None and not doc["metadata"].get("deletionTimestamp"):
            self._hands.delete(storage, key)

    def _let_go(self, storage: str, key: Key, uid: str) -> None:
        doc = self._hands.get(storage, key)
        if doc is None:
            return
        kept = [owner for owner in doc["metadata"].get("ownerReferences") or () if owner["uid"] != uid]
        metadata = {k: v for k, v in doc["metadata"].items() if k != "ownerReferences"}
        self._hands.update(storage, key, {"metadata": {**metadata, **({"ownerReferences": kept} if kept else {})}})
        self._owned.get(uid, set()).discard((storage, key))

    def _finish(self, place: tuple[str, Key], owner: Doc, finalizer: str) -> None:
        kept = [name for name in owner["metadata"].get("finalizers") or () if name != finalizer]
        metadata = {k: v for k, v in owner["metadata"].items() if k != "finalizers"}
        self._hands.update(
            place[0], key_of(owner), {"metadata": {**metadata, **({"finalizers": kept} if kept else {})}}
        )
