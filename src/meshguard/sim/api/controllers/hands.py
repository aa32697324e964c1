"""What controllers do to objects, each under the name of its own service account."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from meshguard.sim.api import deletion
from meshguard.sim.api.identity import controller
from meshguard.sim.api.objects import Objects, Write
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import ApiError, Doc
from meshguard.sim.api.store import Entry, Key

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Hands:
    """Reads and writes as one controller."""

    def __init__(self, objects: Objects, name: str) -> None:
        self.objects, self._write = objects, Write(controller(name), manager="kube-controller-manager")
        self.store = objects.store

    def resource(self, storage: str) -> Resource:
        """The resource of a storage. Raises KeyError."""
        plural, _, group = storage.partition(".")
        found = self.objects.registry.stored(group, plural)
        if found is None:
            raise KeyError(storage)
        return found

    def get(self, storage: str, key: Key) -> Doc | None:
        """An object as it is now."""
        entry = self.store.get(storage, *key)
        return entry.doc if entry else None

    def owned(self, storage: str, namespace: str, uid: str) -> list[Doc]:
        """The objects that an owner controls."""
        return [e.doc for e in self.store.all(storage, namespace) if (owner_of(e.doc) or {}).get("uid") == uid]

    def create(self, storage: str, namespace: str, doc: Doc) -> Entry | None:
        """Create an object; None when the API refuses it."""
        try:
            return self.objects.create(self.resource(storage), namespace, doc, self._write)
        except ApiError:
            return None

    def set_status(self, storage: str, doc: Doc, status: Mapping[str, Any]) -> None:
        """Write the status of an object, unless it is so already; zeros are left out, as Go leaves them out."""
        kept = {name: value for name, value in status.items() if value not in (0, None, [], {})}
        if kept != doc.get("status"):
            self.update(storage, key_of(doc), {"status": kept}, "status")

    def update(self, storage: str, key: Key, parts: Mapping[str, Any], subresource: str = "") -> None:
        """Replace parts of an object; one that is gone is fine."""
        namespace, name = key
        try:
            self.objects.update(
                self.resource(storage), namespace, name, lambda old: {**old, **parts}, self._write, subresource
            )
        except ApiError as error:
            if error.code != 404:
                raise

    def delete(self, storage: str, key: Key, grace_s: int | None = None) -> None:
        """Delete an object; one that is gone is fine."""
        try:
            options = deletion.DeleteOptions(grace_s)
            deletion.delete(self.objects, self.resource(storage), *key, options, self._write)
        except ApiError as error:
            if error.code != 404:
                raise


def key_of(doc: Doc) -> Key:
    """Namespace and name."""
    return doc["metadata"].get("namespace", ""), doc["metadata"]["name"]


def owner_of(doc: Doc) -> Doc | None:
    """The reference to the owner that controls an object."""
    found: Doc | None = next((o for o in doc["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    return found


def owner_reference(resource: Resource, doc: Doc) -> Doc:
    """A reference by which an object belongs to another."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": doc["metadata"]["name"],
        "uid": doc["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def template_hash(template: Doc) -> str:
    """A name for a pod template: the same for the same template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:10])


def pod_of(template: Doc, owner: Doc, labels: Mapping[str, str]) -> Doc:
    """A pod by a template; it shares the template's parts."""
    metadata = template.get("metadata", {})
    merged = {**metadata.get("labels", {}), **labels}
    out: Doc = {"labels": merged, "ownerReferences": [owner]}
    if metadata.get("annotations"):
        out["annotations"] = dict(metadata["annotations"])
    return {"metadata": out, "spec": dict(template["spec"])}


def is_ready(pod: Doc) -> bool:
    """Whether a pod says that it is ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def is_active(pod: Doc) -> bool:
    """Whether a pod is neither going nor has ended."""
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not ended and not pod["metadata"].get("deletionTimestamp")


def condition(kind: str, status: str, reason: str, message: str, now: str, before: list[Doc]) -> Doc:
    """A condition of a status; its times change only with what it says."""
    old = next((c for c in before if c["type"] == kind), None)
    out = {"type": kind, "status": status, "reason": reason, "message": message}
    if old and all(old.get(name) == value for name, value in out.items()):
        return old
    out["lastUpdateTime"] = now
    out["lastTransitionTime"] = old["lastTransitionTime"] if old and old["status"] == status else now
    return out
