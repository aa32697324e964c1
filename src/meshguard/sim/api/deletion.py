"""Deletion: at once, gracefully, or when the last finalizer has gone.

Source: `k8s.io/apiserver/pkg/registry/rest/delete.go` and `registry/generic/registry/store.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from meshguard.sim.api.admission.chain import Attributes, Operation
from meshguard.sim.api.objects import Objects, Write
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import Doc, FieldError, conflict, invalid, unsupported
from meshguard.sim.api.store import Entry

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_POLICIES = ("Foreground", "Background", "Orphan")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How an object shall be deleted."""

    grace_s: int | None = None
    propagation: str = ""
    uid: str = ""
    version: str = ""

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> DeleteOptions:
        """Read a DeleteOptions document. Raises ApiError (422)."""
        propagation = doc.get("propagationPolicy") or ""
        if "orphanDependents" in doc and not propagation:
            propagation = "Orphan" if doc["orphanDependents"] else "Background"
        if propagation and propagation not in _POLICIES:
            words = [*_POLICIES, "nil"]
            wrong: list[FieldError] = [unsupported("propagationPolicy", propagation, words)]
            raise invalid("meta.k8s.io", "DeleteOptions", "", wrong)
        preconditions = doc.get("preconditions") or {}
        return cls(
            doc.get("gracePeriodSeconds"),
            propagation,
            preconditions.get("uid") or "",
            preconditions.get("resourceVersion") or "",
        )


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion has done."""

    entry: Entry
    gone: bool
    """False: it is on its way, waiting for a kubelet or for a finalizer."""


def delete(
    objects: Objects, resource: Resource, namespace: str, name: str, options: DeleteOptions, how: Write
) -> Deleted:
    """Delete an object. Raises ApiError: it is not there, it is another one, admission refuses."""
    entry = objects.get(resource, namespace, name)
    _check(resource, name, entry.doc["metadata"], options)
    attributes = Attributes(
        Operation.DELETE, resource, "", namespace, name, entry.doc, entry.doc, how.user, how.dry_run
    )
    objects.chain.validate(attributes)
    metadata = dict(entry.doc["metadata"])
    finalizers = _finalizers(resource, metadata.get("finalizers") or [], options.propagation)
    grace = _grace(resource, entry.doc, options.grace_s)
    if not grace and not finalizers and resource.storage != "namespaces":
        if resource.storage == "pods" and not metadata.get("deletionTimestamp"):
            shown = {**metadata, "deletionTimestamp": objects.now(), "deletionGracePeriodSeconds": 0}
            entry = Entry(entry.key, {**entry.doc, "metadata": {**shown, "generation": metadata["generation"] + 1}}, 0)
        if not how.dry_run:
            objects.store.delete(resource.storage, entry.key)
        return Deleted(entry, True)
    if metadata.get("deletionTimestamp") and not _sooner(metadata, grace):
        return Deleted(entry, False)
    if finalizers:
        metadata["finalizers"] = finalizers
    if not metadata.get("deletionTimestamp") or _sooner(metadata, grace):
        metadata["deletionTimestamp"] = _later(objects.now(), grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata:
            metadata["generation"] += 1
    doc: Doc = {**entry.doc, "metadata": metadata}
    if resource.storage == "namespaces":
        metadata.pop("deletionGracePeriodSeconds")
        doc["status"] = {**doc["status"], "phase": "Terminating"}
    if how.dry_run:
        return Deleted(Entry(entry.key, doc, entry.version), False)
    if doc == entry.doc:
        return Deleted(entry, False)
    return Deleted(objects.store.put(resource.storage, entry.key, doc), False)


def delete_collection(
    objects: Objects,
    resource: Resource,
    namespace: str,
    wanted: Callable[[Doc], bool],
    options: DeleteOptions,
    how: Write,
) -> list[Entry]:
    """Delete everything that is wanted and return what it was. Raises ApiError."""
    found = [entry for entry in objects.store.all(resource.storage, namespace) if wanted(entry.doc)]
    return [delete(objects, resource, entry.key[0], entry.key[1], options, how).entry for entry in found]


def _check(resource: Resource, name: str, metadata: Mapping[str, Any], options: DeleteOptions) -> None:
    for wanted, found, word, happened in (
        (options.uid, metadata["uid"], "UID", "deleted and then recreated"),
        (options.version, metadata["resourceVersion"], "ResourceVersion", "modified"),
    ):
        if wanted and wanted != found:
            why = f"the {word} in the precondition ({wanted}) does not match the {word} in record ({found})."
            raise conflict(resource.group, resource.kind, name, f"{why} The object might have been {happened}")


def _finalizers(resource: Resource, there: list[str], propagation: str) -> list[str]:
    kept = [finalizer for finalizer in there if finalizer not in (ORPHAN, FOREGROUND)]
    if not propagation:
        return list(there)
    added = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(propagation, [])
    return [*kept, *added]


def _grace(resource: Resource, doc: Doc, wanted: int | None) -> int:
    """How many seconds the object is given; only pods that run somewhere are given any."""
    if resource.storage != "pods":
        return 0
    if not doc["spec"].get("nodeName") or doc["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    if wanted is not None and wanted < 0:
        wanted = 1
    return int(doc["spec"].get("terminationGracePeriodSeconds", 30)) if wanted is None else wanted


def _sooner(metadata: Mapping[str, Any], grace: int) -> bool:
    return grace < int(metadata.get("deletionGracePeriodSeconds") or 0)


def _later(now: str, seconds: int) -> str:
    moment = datetime.fromisoformat(now.replace("Z", "+00:00")) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
