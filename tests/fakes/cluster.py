"""A Kubernetes API in memory, which counts, refuses and dies as a test tells it to."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from meshguard.model.change import Change, FieldConflict, apply_changes
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref, Resource
from meshguard.model.snapshot import ClusterIdentity, Snapshot, resource_of
from meshguard.ports import Gone, Rejected, WriteConflict

_T = TypeVar("_T")
Hook = Callable[[str, Ref], None]


def _nothing(verb: str, ref: Ref) -> None:
    """The hook of a cluster that is well."""


class FakeCluster:
    """Implements `ports.Cluster`. Hooks run around every write (dry runs excepted) and may raise."""

    def __init__(self, *docs: Mapping[str, Any], uid: str = "cluster-1") -> None:
        self.uid = uid
        self.docs: dict[Ref, dict[str, Any]] = {}
        self.before_write: Hook = _nothing
        self.after_write: Hook = _nothing
        self.before_call: Callable[[], None] = lambda: None
        self.effects: list[tuple[str, Ref]] = []
        """Writes that changed something, meshguard's own records excepted."""
        self.record_writes: list[Ref] = []
        self.in_flight = self.most_in_flight = 0
        self.ends_in: float | None = None
        self._version = 0
        for doc in docs:
            self.put(doc)

    def put(self, doc: Mapping[str, Any]) -> Resource:
        """Make an object exist, as another actor would; its UID is kept when it has one."""
        new = copy.deepcopy(dict(doc))
        ref = resource_of(new, new["kind"]).ref
        new["metadata"].setdefault("uid", f"uid-{len(self.docs) + self._version + 1}")
        return self._store(ref, new)

    def edit(self, ref: Ref, *changes: Change) -> None:
        """Change an object as another actor would."""
        self._store(ref, apply_changes(self.docs[ref], changes))

    def contents(self) -> dict[Ref, dict[str, Any]]:
        """Everything but meshguard's own records, without the versions."""
        kept = {r: copy.deepcopy(d) for r, d in self.docs.items() if r.namespace != "meshguard-system"}
        for doc in kept.values():
            del doc["metadata"]["resourceVersion"]
        return kept

    def end_in(self, seconds: float) -> None:
        self.ends_in = seconds

    async def identity(self) -> ClusterIdentity:
        self.before_call()
        return ClusterIdentity(self.uid, "context", "https://server")

    async def snapshot(self) -> Snapshot:
        self.before_call()
        resources = {ref: resource_of(doc, ref.kind) for ref, doc in self.docs.items()}
        return Snapshot(await self.identity(), "2026-03-01T03:00:00Z", resources)

    async def list(self, kind: str, namespaces: Collection[str] = ()) -> Sequence[Resource]:
        self.before_call()
        return [
            resource_of(doc, kind)
            for ref, doc in sorted(self.docs.items())
            if ref.kind == kind and (not namespaces or ref.namespace in namespaces)
        ]

    async def get(self, ref: Ref) -> Resource | None:
        self.before_call()
        doc = self.docs.get(ref)
        return resource_of(copy.deepcopy(doc), ref.kind) if doc else None

    async def change(self, ref: Ref, uid: str, changes: Sequence[Change], *, dry_run: bool = False) -> Resource:
        async def effect() -> Resource:
            doc = self.docs.get(ref)
            if doc is None or doc["metadata"]["uid"] != uid:
                raise Gone(f"{ref} is gone")
            try:
                new = apply_changes(doc, changes)
            except FieldConflict as error:
                raise WriteConflict(ref, error.path, error.expected, error.found) from error
            if dry_run or new == doc:
                return resource_of(new, ref.kind)
            self._count("change", ref)
            return self._store(ref, new)

        return await self._written("change", ref, effect, dry_run=dry_run)

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
        ref = resource_of(manifest, manifest["kind"]).ref

        async def effect() -> Resource:
            if ref in self.docs:
                raise Rejected(f"{ref} already exists")
            if dry_run:
                return resource_of(copy.deepcopy(dict(manifest)), ref.kind)
            self._count("create", ref)
            return self.put(manifest)

        return await self._written("create", ref, effect, dry_run=dry_run)

    async def delete(self, ref: Ref, uid: str) -> None:
        async def effect() -> None:
            doc = self.docs.get(ref)
            if doc is None:
                return
            if doc["metadata"]["uid"] != uid:
                raise WriteConflict(ref, ("metadata", "uid"), uid, doc["metadata"]["uid"])
            self.effects.append(("delete", ref))
            del self.docs[ref]

        await self._written("delete", ref, effect)

    async def put_config_map(self, ref: Ref, data: Mapping[str, str], labels: Mapping[str, str]) -> None:
        async def effect() -> None:
            metadata = {"namespace": ref.namespace, "name": ref.name, "labels": dict(labels)}
            self.put({"kind": ref.kind, "apiVersion": "v1", "metadata": metadata, "data": dict(data)})
            self.record_writes.append(ref)

        await self._written("record", ref, effect)

    async def admit_pod(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        return pod

    async def missing_rights(self, wanted: Collection[tuple[str, str, str]]) -> Sequence[str]:
        return []

    def _count(self, verb: str, ref: Ref) -> None:
        if ref.namespace != "meshguard-system":
            self.effects.append((verb, ref))

    async def _written(self, verb: str, ref: Ref, effect: Callable[[], Awaitable[_T]], *, dry_run: bool = False) -> _T:
        self.before_call()
        assert ref.kind in KINDS
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            if dry_run:
                return await effect()
            self.before_write(verb, ref)
            result = await effect()
            self.after_write(verb, ref)
            return result
        finally:
            self.in_flight -= 1

    def _store(self, ref: Ref, doc: dict[str, Any]) -> Resource:
        self._version += 1
        new = {**doc, "metadata": {**doc["metadata"], "resourceVersion": str(self._version)}}
        self.docs[ref] = new
        return resource_of(copy.deepcopy(new), ref.kind)
