"""Writes that look before they repeat themselves, and that never overwrite what somebody else has done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.cluster.errors import Conflict, Invalid, NotFound, Undecided
from meshguard.cluster.patching import Patch, json_patch
from meshguard.cluster.reading import Reader
from meshguard.cluster.requests import APPLY, JSON_PATCH, Requests
from meshguard.cluster.trimming import trimmed
from meshguard.model.change import Change, FieldConflict
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref, Resource
from meshguard.model.snapshot import resource_of
from meshguard.ports import ClusterError, Gone, Rejected, Unreachable, WriteConflict

FIELD_MANAGER = "meshguard"
_ROUNDS = 6
"""How often a write looks again and repeats itself: lost answers, edits of others at the same moment. All rounds
together have the time of one call."""
_FIRST_PAUSE_S = 0.1
"""The pause before the second attempt; it doubles from attempt to attempt."""


class Writer:
    """Changes, creates and deletes objects."""

    def __init__(self, requests: Requests, reader: Reader) -> None:
        self._requests, self._reader = requests, reader

    async def change(self, ref: Ref, uid: str, changes: Sequence[Change], *, dry_run: bool = False) -> Resource:
        """Make guarded changes, in one request when the object still looks as it did when it was read last.

        Raises WriteConflict, Gone, Rejected, Forbidden or Unreachable.
        """
        view, fresh = self._reader.seen(ref), False
        trouble: ClusterError | None = None
        sent: Patch = []
        until = self._requests.until()
        for attempt in range(_ROUNDS):
            if view is None:
                view, fresh = await self._look(ref, until), True
            try:
                patch = _patch_for(view, uid, changes)
            except (Gone, WriteConflict):
                if fresh:
                    raise
                patch = []
            if not patch:
                if fresh:
                    return view
                view = None  # what we remember may be old
                continue
            if isinstance(trouble, Invalid) and patch == sent:
                # The object looks as we thought, so it was not a `test` that failed.
                raise Rejected(f"{ref}: {trouble}") from trouble
            try:
                return await self._send_patch(ref, patch, dry_run, until)
            except NotFound:
                self._reader.forget(ref)
                raise Gone(f"{ref} is not there any more") from None
            except Invalid as error:
                trouble, sent, view = error, patch, None
            except (Conflict, Undecided) as error:
                trouble, view = error, None
                await self._pause(attempt)
        raise Unreachable(f"{ref} could not be changed in {_ROUNDS} attempts: {trouble}")

    async def _pause(self, attempt: int) -> None:
        await self._requests.clock.sleep(_FIRST_PAUSE_S * 2**attempt)

    async def _look(self, ref: Ref, until: float) -> Resource:
        resource = await self._reader.get(ref, until)
        if resource is None:
            raise Gone(f"{ref} is not there")
        return resource

    async def _send_patch(self, ref: Ref, patch: Patch, dry_run: bool, until: float) -> Resource:
        path = KINDS[ref.kind].path(ref.namespace, ref.name)
        doc = await self._requests.write(
            "PATCH", path, patch, query=_query(dry_run), content_type=JSON_PATCH, until=until
        )
        if dry_run:
            return resource_of(trimmed(ref.kind, doc), ref.kind)
        return self._reader.saw(doc, ref.kind)

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
        """Create an object. Raises Rejected when it exists already."""
        kind = KINDS[manifest["kind"]]
        metadata = manifest["metadata"]
        ref = Ref(kind.name, metadata.get("namespace", ""), metadata["name"])
        lost: Undecided | None = None
        until = self._requests.until()
        for attempt in range(_ROUNDS):
            try:
                doc = await self._requests.write(
                    "POST", kind.path(ref.namespace), dict(manifest), query=_query(dry_run), until=until
                )
            except Undecided as error:
                lost = error
                await self._pause(attempt)
            except Conflict as conflict:
                there = await self._reader.get(ref, until) if lost else None
                if there is not None and _contains(there.doc, manifest):
                    return there
                raise Rejected(f"{ref} exists already") from conflict
            except NotFound as error:
                raise Rejected(f"{ref} cannot be created: {error}") from error
            else:
                return self._reader.saw(doc, kind.name)
        raise Unreachable(f"{ref} could not be created in {_ROUNDS} attempts: {lost}")

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object with this UID; one that is gone already is fine. Raises WriteConflict for another UID."""
        path = KINDS[ref.kind].path(ref.namespace, ref.name)
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",  # the API's default would leave the pods of a Job behind
        }
        trouble: ClusterError | None = None
        until = self._requests.until()
        for attempt in range(_ROUNDS):
            try:
                await self._requests.write("DELETE", path, options, until=until)
                return self._reader.forget(ref)
            except NotFound:
                return self._reader.forget(ref)
            except Conflict as error:
                there = await self._reader.get(ref, until)
                if there is not None and there.uid != uid:
                    raise WriteConflict(ref, ("metadata", "uid"), uid, there.uid) from None
                trouble = error
            except Undecided as error:
                trouble = error
            await self._pause(attempt)
        raise Unreachable(f"{ref} could not be deleted in {_ROUNDS} attempts: {trouble}")

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """Create or replace one of meshguard's own objects by server-side apply, which may be repeated at will."""
        kind, metadata = KINDS[manifest["kind"]], manifest["metadata"]
        path = kind.path(metadata.get("namespace", ""), metadata["name"])
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        until = self._requests.until()
        trouble: ClusterError | None = None
        for attempt in range(_ROUNDS):
            try:
                await self._requests.write(
                    "PATCH", path, dict(manifest), query=query, content_type=APPLY, harmless=True, until=until
                )
                return
            except Conflict as error:  # two writes at the same moment; by force, so it is nobody's field
                trouble = error
                await self._pause(attempt)
        raise Unreachable(f"{metadata['name']} could not be written in {_ROUNDS} attempts: {trouble}")

    async def put_config_map(self, ref: Ref, data: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """Create or replace one of meshguard's own records, its namespace included."""
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": dict(labels)},
            "data": dict(data),
        }
        try:
            await self.apply(manifest)
        except NotFound:
            await self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ref.namespace}})
            await self.apply(manifest)

    async def admit_pod(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a pod by dry run and return what admission made of it. Raises Rejected, Forbidden, Unreachable."""
        path = KINDS["Pod"].path(pod["metadata"]["namespace"])
        admitted = await self._requests.write("POST", path, dict(pod), query=_query(dry_run=True), harmless=True)
        return trimmed("Pod", admitted)


def _patch_for(view: Resource, uid: str, changes: Sequence[Change]) -> Patch:
    """The guarded patch for an object that looks like `view`; empty when everything is as wanted already."""
    if uid and view.uid != uid:
        raise Gone(f"{view.ref} has been deleted and created again: its UID is not {uid}")
    try:
        patch, changed = json_patch(view.doc, changes, uid or view.uid)
    except FieldConflict as conflict:
        raise WriteConflict(view.ref, conflict.path, conflict.expected, conflict.found) from None
    return patch if changed else []


def _query(dry_run: bool) -> list[tuple[str, str]]:
    return [("fieldManager", FIELD_MANAGER)] + ([("dryRun", "All")] if dry_run else [])


def _contains(found: Any, wanted: Any) -> bool:
    """Tell whether everything wanted is there; the server adds defaults and metadata of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_contains(found.get(key), value) for key, value in wanted.items())
    return bool(found == wanted)
