"""Reads: single objects, paged and concurrent lists, and the snapshot made of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from meshguard.cluster.concurrency import all_of
from meshguard.cluster.errors import Expired, NotFound
from meshguard.cluster.requests import JSON, Requests
from meshguard.cluster.rights import lacking_rights
from meshguard.cluster.trimming import trimmed
from meshguard.model.kinds import KINDS, Kind
from meshguard.model.objects import Ref, Resource, Workload, dig
from meshguard.model.rights import MESH_NAMESPACE, OWN_NAMESPACE
from meshguard.model.snapshot import ClusterIdentity, Snapshot, is_bare, resource_of
from meshguard.ports import ClusterError, Forbidden, Unreachable

PAGE_SIZE = 500
_RESTARTS = 3
"""How often a list is begun anew when its continue token has expired."""
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," + JSON

#: ConfigMaps are read in two namespaces only; a cluster's other ones are nobody's business.
_CONFIG_MAP_NAMESPACES = (MESH_NAMESPACE, OWN_NAMESPACE)
_NOT_IN_SNAPSHOT = ("Lease", "LimitRange", "ConfigMap")


class Reader:
    """Reads objects and remembers the last seen form of those that meshguard may change."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._seen: dict[Ref, Resource] = {}
        self._shared: dict[str, list[Any]] = {}

    def seen(self, ref: Ref) -> Resource | None:
        """The object as it was when it was read last, perhaps long ago."""
        return self._seen.get(ref)

    def saw(self, doc: dict[str, Any], kind: str) -> Resource:
        """Trim a document of the API server, remember it, and return its view."""
        resource = resource_of(trimmed(kind, doc), kind)
        if kind == "Pod":
            self._share(doc)
        if kind != "Pod" and (kind != "ReplicaSet" or isinstance(resource, Workload)):
            self._seen[resource.ref] = resource
        return resource

    def _share(self, pod: dict[str, Any]) -> None:
        """Let pods of one template hold the same containers, which are most of what is kept of them."""
        spec = pod.get("spec") or {}
        for part in ("containers", "initContainers"):
            if part in spec:
                spec[part] = self._shared.setdefault(json.dumps(spec[part]), spec[part])

    def forget(self, ref: Ref) -> None:
        """Drop what is remembered of an object."""
        self._seen.pop(ref, None)

    async def get(self, ref: Ref, until: float | None = None) -> Resource | None:
        """Read one object, by `until` where several calls share their time; None when it is not there.

        Raises ClusterError.
        """
        try:
            doc = await self._requests.read(KINDS[ref.kind].path(ref.namespace, ref.name), until=until)
        except NotFound:
            self.forget(ref)
            return None
        return self.saw(doc, ref.kind)

    async def list_all(self, kind: Kind, namespace: str = "") -> list[Resource]:
        """List a kind, page by page. Raises ClusterError; NotFound when the cluster does not have the kind.

        Of ReplicaSets the metadata will do, which is a tenth; but those that stand alone are workloads, and come
        whole, by one more list for each namespace that has such.
        """
        if kind.name != "ReplicaSet":
            return await self._list(kind, namespace, JSON)
        links = await self._list(kind, namespace, _METADATA_ONLY)
        spaces = sorted({link.ref.namespace for link in links if is_bare(link.doc)})
        whole = await all_of(self._list(kind, space, JSON) for space in spaces)
        alone = {r.ref: r for resources in whole for r in resources if isinstance(r, Workload)}
        return [alone.get(link.ref, link) for link in links]

    async def _list(self, kind: Kind, namespace: str, accept: str) -> list[Resource]:
        for _ in range(_RESTARTS):
            try:
                return [self.saw(doc, kind.name) async for doc in self._pages(kind, namespace, accept)]
            except Expired:
                continue
        raise Unreachable(f"the list of {kind.resource} expired {_RESTARTS} times before its last page")

    async def _pages(self, kind: Kind, namespace: str, accept: str) -> Any:
        token = ""
        while True:
            query = [("limit", str(PAGE_SIZE))] + ([("continue", token)] if token else [])
            page = await self._requests.read(kind.path(namespace), query, accept=accept)
            for doc in page.get("items") or ():
                yield doc
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    async def list_in(self, kind: str, namespaces: Collection[str]) -> Sequence[Resource]:
        """List a kind everywhere, or by one call each in some namespaces; an absent optional kind is empty."""
        table_row = KINDS[kind]
        try:
            lists = await all_of(self.list_all(table_row, space) for space in sorted(namespaces) or ("",))
        except NotFound:
            if table_row.optional:
                return ()
            raise
        return [resource for resources in lists for resource in resources]

    async def identity(self, context: str) -> ClusterIdentity:
        """Say which cluster this is. Raises Unreachable or Forbidden."""
        namespace, version = await all_of(
            self._requests.read(path) for path in (KINDS["Namespace"].path(name="kube-system"), "/version")
        )
        return ClusterIdentity(
            namespace["metadata"]["uid"], context, self._requests.server, str(version.get("gitVersion", ""))
        )

    async def snapshot(self, identity: ClusterIdentity) -> Snapshot:
        """Read everything the rules need with all lists at once. Raises Unreachable; what is forbidden is `blind`.

        Only somebody who may not list a kind in the whole cluster costs more: what may be listed of it in single
        namespaces is.
        """
        before = self._requests.sent
        taken_at = self._requests.clock.wall()
        resources, blind = await self._read(list(snapshot_lists()))
        parts, blind = await self._read_in_parts(resources, blind)
        resources |= parts
        # An istiod outside istio-system keeps its settings beside itself; only its webhook says where that is.
        elsewhere = _injector_namespaces(resources) - set(_CONFIG_MAP_NAMESPACES)
        more, more_blind = await self._read([(KINDS["ConfigMap"], namespace) for namespace in sorted(elsewhere)])
        requests = self._requests.sent - before
        return Snapshot(identity, taken_at, resources | more, blind=blind | more_blind, requests=requests)

    async def _read(self, wanted: list[tuple[Kind, str]]) -> tuple[dict[Ref, Resource], dict[str, str]]:
        """Read these lists at once: the objects, and what was not readable with the reason."""
        results = await all_of(self._list_or_reason(kind, namespace) for kind, namespace in wanted)
        resources: dict[Ref, Resource] = {}
        blind: dict[str, str] = {}
        for (kind, namespace), result in zip(wanted, results, strict=True):
            if isinstance(result, str):
                blind[f"{kind.name} in {namespace}" if namespace else kind.name] = result
                continue
            for resource in result:
                if kind.name != "ConfigMap" or _wanted_config_map(resource.ref):
                    resources[resource.ref] = resource
        return resources, blind

    async def _read_in_parts(
        self, resources: Mapping[Ref, Resource], blind: dict[str, str]
    ) -> tuple[dict[Ref, Resource], dict[str, str]]:
        """Read refused kinds in those namespaces where this person may; what stays blind is named by namespace."""
        refused = [KINDS[name] for name in blind if name in KINDS and KINDS[name].namespaced]
        spaces = sorted(ref.name for ref in resources if ref.kind == "Namespace")
        wanted = {("list", kind.resource, space): (kind, space) for kind in refused for space in spaces}
        lacking = await lacking_rights(self._requests, wanted) if wanted else frozenset()
        found, unread = await self._read([place for right, place in wanted.items() if right not in lacking])
        partly = {kind.name for right, (kind, _) in wanted.items() if right not in lacking}
        for right in sorted(lacking):
            kind, space = wanted[right]
            if kind.name in partly:
                unread[f"{kind.name} in {space}"] = f"list {kind.resource} is not allowed"
        return found, {name: why for name, why in blind.items() if name not in partly} | unread

    async def _list_or_reason(self, kind: Kind, namespace: str) -> list[Resource] | str:
        try:
            return await self.list_all(kind, namespace)
        except NotFound as error:
            return [] if kind.optional else str(error)
        except Unreachable:
            raise
        except Forbidden as error:
            return str(error)
        except ClusterError as error:
            return f"{type(error).__name__}: {error}"


def snapshot_lists() -> Iterator[tuple[Kind, str]]:
    """Return what a snapshot is made of: kinds, each in a namespace or (with "") in all."""
    for kind in KINDS.values():
        if kind.name not in _NOT_IN_SNAPSHOT:
            yield kind, ""
    for namespace in _CONFIG_MAP_NAMESPACES:
        yield KINDS["ConfigMap"], namespace


def _injector_namespaces(resources: Mapping[Ref, Resource]) -> set[str]:
    """Return where the services are that Istio's injection webhooks call."""
    services = (
        dig(webhook, "clientConfig", "service", default={})
        for resource in resources.values()
        if resource.ref.kind == "MutatingWebhookConfiguration"
        for webhook in dig(resource.doc, "webhooks", default=[])
    )
    return {service["namespace"] for service in services if str(service.get("path", "")).startswith("/inject")}


def _wanted_config_map(ref: Ref) -> bool:
    return ref.namespace == OWN_NAMESPACE or ref.name == "istio" or ref.name.startswith("istio-")
