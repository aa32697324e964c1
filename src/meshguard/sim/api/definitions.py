"""Custom resource definitions: what they define is served as soon as they are there."""

from __future__ import annotations

from meshguard.sim.api.objects import Objects
from meshguard.sim.api.resources import of_definition
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Change, Event

STORAGE = "customresourcedefinitions.apiextensions.k8s.io"


class Definitions:
    """Keeps the registry in step with the definitions."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def follow(self) -> None:
        """Begin to listen."""
        self._objects.store.listeners.append(self._heard)

    def _heard(self, storage: str, event: Event) -> None:
        if storage != STORAGE:
            return
        spec = event.new.doc["spec"]
        registry, names = self._objects.registry, spec["names"]
        registry.remove(spec["group"], names["plural"])
        if event.change is Change.DELETED:
            for entry in self._objects.store.all(f"{names['plural']}.{spec['group']}"):
                self._objects.store.delete(f"{names['plural']}.{spec['group']}", entry.key)
            return
        for resource in of_definition(event.new.doc):
            registry.add(resource)
        if event.change is Change.ADDED:
            self._establish(event)

    def _establish(self, event: Event) -> None:
        doc, now = event.new.doc, self._objects.now()
        names = {"listKind": f"{doc['spec']['names']['kind']}List", **doc["spec"]["names"]}
        names.setdefault("singular", names["kind"].lower())
        conditions = [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ]
        stored = [version["name"] for version in doc["spec"]["versions"] if version.get("storage")]
        status: Doc = {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}
        spec = {**doc["spec"], "names": names}
        self._objects.store.put(STORAGE, event.new.key, {**doc, "spec": spec, "status": status})


def _condition(kind: str, reason: str, message: str, now: str) -> Doc:
    return {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
