"""What can be done to objects, whoever asks: a person over HTTP, or a controller.

The order of a write is the server's: decode, admission that changes, completion by the server, validation, admission
that refuses, storage. Source: `k8s.io/apiserver/pkg/registry/generic/registry/store.go`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshguard.ports import Clock
from meshguard.sim.api import codec, strategies
from meshguard.sim.api.admission.chain import Attributes, Chain, Operation
from meshguard.sim.api.identity import SYSTEM, User
from meshguard.sim.api.names import immutable_metadata_errors, random_suffix
from meshguard.sim.api.patches.ownership import track
from meshguard.sim.api.resources import Registry, Resource
from meshguard.sim.api.status import (
    ApiError,
    Doc,
    FieldError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
)
from meshguard.sim.api.store import Entry, Store

Change = Callable[[Doc], Doc]
_GENERATED_NAME_LIMIT = 63 - 5


@dataclass(frozen=True, slots=True)
class Write:
    """How somebody writes."""

    user: User = SYSTEM
    dry_run: bool = False
    manager: str = ""
    replaces: bool = False
    """By a whole object, whose UID is a precondition."""
    applies: bool = False
    """By server-side apply, which keeps the owners itself."""


class Objects:
    """Reads and writes objects of any resource."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, chain: Chain) -> None:
        self.store, self.registry, self.clock, self.chain = store, registry, clock, chain

    def now(self) -> str:
        """The time of day as it stands in objects: RFC 3339, whole seconds."""
        return self.clock.wall()[:19] + "Z"

    def get(self, resource: Resource, namespace: str, name: str) -> Entry:
        """Return one object. Raises ApiError (404)."""
        entry = self.store.get(resource.storage, namespace, name)
        if entry is None:
            raise not_found(resource.group, resource.plural, name)
        return entry

    def create(self, resource: Resource, namespace: str, doc: Doc, how: Write) -> Entry:
        """Create an object from a decoded document, which is used up. Raises ApiError."""
        metadata = doc.setdefault("metadata", {})
        self._place(resource, namespace, metadata)
        for gone in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(gone, None)
        if metadata.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        metadata.pop("resourceVersion", None)
        self._name(resource, namespace, metadata)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self.now()
        attributes = Attributes(
            Operation.CREATE, resource, "", namespace, metadata.get("name", ""), doc, None, how.user, how.dry_run
        )
        doc = self.chain.mutate(attributes)
        strategies.prepare_create(resource, doc, self.store)
        doc = self._track(resource, None, doc, how, "")
        name = doc["metadata"].get("name", "")
        self._refuse(resource, name, list(codec.errors(resource, doc)))
        self.chain.validate(attributes.with_object(doc))
        if self.store.get(resource.storage, namespace, name) is not None:
            raise already_exists(resource.group, resource.plural, name)
        if how.dry_run:
            return Entry((namespace, name), doc, self.store.version)
        return self.store.put(resource.storage, (namespace, name), doc)

    def _place(self, resource: Resource, namespace: str, metadata: Doc) -> None:
        if not resource.namespaced:
            if metadata.get("namespace"):
                raise bad_request("namespace is not allowed on this type")
            return
        if metadata.get("namespace") not in (None, "", namespace):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = namespace

    def _name(self, resource: Resource, namespace: str, metadata: Doc) -> None:
        prefix = metadata.get("generateName")
        if prefix and not metadata.get("name"):
            metadata["name"] = prefix[:_GENERATED_NAME_LIMIT] + random_suffix()

    def update(
        self, resource: Resource, namespace: str, name: str, change: Change, how: Write, subresource: str = ""
    ) -> Entry:
        """Replace an object by what `change` makes of it; nothing is written when that is the same.

        `change` returns a new document, which may share parts with the old one.

        Raises ApiError: it is not there, somebody else has changed it, it is refused.
        """
        entry = self.get(resource, namespace, name)
        old = entry.doc
        new = change(old)
        new = {**new, "metadata": dict(new["metadata"])}
        self._check_versions(resource, name, old, new, how.replaces)
        if subresource == "status":
            new = strategies.prepare_status(resource, old, new)
        else:
            self._place(resource, namespace, new["metadata"])
            strategies.prepare_update(resource, old, new)
            if subresource == "binding" and "generation" in old["metadata"]:
                new["metadata"]["generation"] = old["metadata"]["generation"]  # a pod's place is no change of its spec
        errors = list(immutable_metadata_errors(old, new))
        if resource.custom is None:
            errors *= 2  # the strategies of the built-in kinds look at the metadata once more
        _restore_metadata(old, new)
        operation = Operation.UPDATE
        attributes = Attributes(operation, resource, subresource, namespace, name, new, old, how.user, how.dry_run)
        new = self._track(resource, old, self.chain.mutate(attributes), how, subresource)
        if subresource:
            errors = list(codec.errors(resource, new)) if resource.custom else []
        else:
            errors += codec.update_errors(resource, old, new)
        self._refuse(resource, name, errors)
        self.chain.validate(attributes.with_object(new))
        return self._store(resource, entry, new, how)

    def _track(self, resource: Resource, old: Doc | None, new: Doc, how: Write, subresource: str) -> Doc:
        """Write down who owns the fields; the cluster's own controllers are left out, which saves most of the work."""
        if not how.manager or how.user.is_system or how.applies:
            return new
        return track(resource, old, new, how.manager, self.now(), subresource)

    def _store(self, resource: Resource, entry: Entry, new: Doc, how: Write) -> Entry:
        key = entry.key
        metadata = new["metadata"]
        metadata["resourceVersion"] = entry.doc["metadata"]["resourceVersion"]
        finished = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
        finished = finished and not metadata.get("deletionGracePeriodSeconds") and _may_go(resource, new)
        if how.dry_run:
            return Entry(key, new, entry.version)
        if finished:
            self.store.put(resource.storage, key, new)
            return self.store.delete(resource.storage, key)
        if new == entry.doc:
            return entry
        return self.store.put(resource.storage, key, new)

    def _check_versions(self, resource: Resource, name: str, old: Doc, new: Doc, replaces: bool) -> None:
        wanted, found = new["metadata"], old["metadata"]
        if wanted.get("name") not in (None, "", name):
            raise bad_request(f"the name of the object ({wanted['name']}) does not match the name on the URL ({name})")
        if wanted.get("resourceVersion") not in (None, "", "0", found["resourceVersion"]):
            raise conflict(resource.group, resource.plural, name)
        if replaces and wanted.get("uid") not in (None, "", found["uid"]):
            why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {found['uid']}"
            raise conflict(resource.group, resource.plural, name, why)

    @staticmethod
    def _refuse(resource: Resource, name: str, errors: Sequence[FieldError]) -> None:
        if errors:
            raise invalid(resource.group, resource.kind, name, errors)


def _may_go(resource: Resource, doc: Doc) -> bool:
    """A namespace goes only when its content has gone."""
    return resource.storage != "namespaces" or not doc["spec"].get("finalizers")


def _restore_metadata(old: Doc, new: Doc) -> None:
    """The server's own fields of the metadata stay, whatever the request says."""
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "name", "namespace"):
        if name in old["metadata"]:
            new["metadata"][name] = old["metadata"][name]
        else:
            new["metadata"].pop(name, None)
