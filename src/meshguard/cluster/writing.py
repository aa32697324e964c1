"""Writes that look before they repeat themselves, and that never overwrite what somebody else has done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.cluster.errors import Conflict, Invalid, NotFound, Undecided
from meshguard.cluster.patching import Operation, json_patch
from meshguard.cluster.reading import Reader
from meshguard.cluster.requests import APPLY, JSON_PATCH, Requests
from meshguard.cluster.trimming import trimmed
from meshguard.model.change import Change, FieldConflict
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref, Resource
from meshguard.model.snapshot import resource_of
from meshguard.ports import Gone, Rejected, Unreachable, WriteConflict

FIELD_MANAGER = "meshguard"
_ROUNDS = 6
"""How often a write looks again and repeats itself: lost answers, edits of others at the same moment."""


class Writer:
    """Changes, creates and deletes objects."""

    def __init__(self, requests: Requests, reader: Reader) -> None:
        self._requests, self._reader = requests, reader

    async def change(self, ref: Ref, uid: str, changes: Sequence[Change], *, dry_run: bool = False) -> Resource:
        """Make guarded changes, in one request when the object still looks as it did when it was read last.

        Raises WriteConflict, Gone, Rejected, Forbidden or Unreachable.
        """
        known = self._reader.seen(ref)
        fresh = False
        refused: Rejected | None = None
        refused_patch: list[Operation] = []
        for _ in range(_ROUNDS):
            if known is None or (uid and known.uid != uid):
                if fresh:
                    raise Gone(f"{ref} has been deleted and created again: its UID is not {uid}")
                known, fresh = await self._look(ref), True
                continue
            try:
                patch, changed = json_patch(known.doc, changes, uid or known.uid)
            except FieldConflict as conflict:
                if fresh:
                    raise WriteConflict(ref, conflict.path, conflict.expected, conflict.found) from None
                known, fresh = await self._look(ref), True
                continue
            if refused and patch == refused_patch:
                # The object looks as we thought, so it was not a `test` that failed.
                raise Rejected(f"{ref}: {refused}") from refused
            if not changed:
                if fresh:
                    return known
                known, fresh = await self._look(ref), True
                continue
            try:
                return await self._patch(ref, patch, dry_run)
            except NotFound:
                self._reader.forget(ref)
                raise Gone(f"{ref} is not there any more") from None
            except Invalid as error:
                refused, refused_patch = error, patch
            except (Conflict, Undecided):
                refused = None
            known, fresh = await self._look(ref), True
        raise Unreachable(f"{ref} could not be changed in {_ROUNDS} attempts: others change it at the same time")

    async def _look(self, ref: Ref) -> Resource:
        resource = await self._reader.get(ref)
        if resource is None:
            raise Gone(f"{ref} is not there")
        return resource

    async def _patch(self, ref: Ref, patch: list[Operation], dry_run: bool) -> Resource:
        path = KINDS[ref.kind].path(ref.namespace, ref.name)
        doc = await self._requests.write("PATCH", path, patch, query=_query(dry_run), content_type=JSON_PATCH)
        if dry_run:
            return resource_of(trimmed(ref.kind, doc), ref.kind)
        return self._reader.saw(doc, ref.kind)

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
        """Create an object. Raises Rejected when it exists already."""
        kind = KINDS[manifest["kind"]]
        metadata = manifest["metadata"]
        ref = Ref(kind.name, metadata.get("namespace", ""), metadata["name"])
        unsure = False
        for _ in range(_ROUNDS):
            try:
                doc = await self._requests.write(
                    "POST", kind.path(ref.namespace), dict(manifest), query=_query(dry_run)
                )
            except Undecided:
                unsure = True
            except Conflict as conflict:
                there = await self._reader.get(ref) if unsure else None
                if there is not None and _contains(there.doc, manifest):
                    return there
                raise Rejected(f"{ref} exists already") from conflict
            except NotFound as error:
                raise Rejected(f"{ref} cannot be created: {error}") from error
            else:
                return self._reader.saw(doc, kind.name)
        raise Unreachable(f"{ref} could not be created: the answers to {_ROUNDS} attempts were lost")

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object with this UID; one that is gone already is fine. Raises WriteConflict for another UID."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        for _ in range(_ROUNDS):
            try:
                await self._requests.write("DELETE", KINDS[ref.kind].path(ref.namespace, ref.name), options)
            except NotFound:
                break
            except Undecided:
                continue
            except Conflict:
                there = await self._reader.get(ref)
                if there is not None and there.uid != uid:
                    raise WriteConflict(ref, ("metadata", "uid"), uid, there.uid) from None
            else:
                break
        else:
            raise Unreachable(f"{ref} could not be deleted in {_ROUNDS} attempts")
        self._reader.forget(ref)

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """Create or replace one of meshguard's own objects by server-side apply, which may be repeated at will."""
        kind, metadata = KINDS[manifest["kind"]], manifest["metadata"]
        await self._requests.write(
            "PATCH",
            kind.path(metadata.get("namespace", ""), metadata["name"]),
            dict(manifest),
            query=[("fieldManager", FIELD_MANAGER), ("force", "true")],
            content_type=APPLY,
            harmless=True,
        )

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


def _query(dry_run: bool) -> list[tuple[str, str]]:
    return [("fieldManager", FIELD_MANAGER)] + ([("dryRun", "All")] if dry_run else [])


def _contains(found: Any, wanted: Any) -> bool:
    """Tell whether everything wanted is there; the server adds defaults and metadata of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_contains(found.get(key), value) for key, value in wanted.items())
    return bool(found == wanted)
