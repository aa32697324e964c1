"""The Cluster port on the official Kubernetes client."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from meshguard.cluster.reading import Reader
from meshguard.cluster.requests import Query, Requests
from meshguard.cluster.rights import missing_rights
from meshguard.cluster.tunnel import Tunnel, open_tunnel
from meshguard.cluster.writing import Writer
from meshguard.model.change import Change
from meshguard.model.objects import Ref, Resource
from meshguard.model.snapshot import ClusterIdentity, Snapshot


class KubernetesCluster:
    """One cluster, as one person, perhaps for one run. Use it as an asynchronous context manager, or close it."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._reader = Reader(requests)
        self._writer = Writer(requests, self._reader)
        self._identity: ClusterIdentity | None = None

    async def __aenter__(self) -> KubernetesCluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._requests.close()

    @property
    def context(self) -> str:
        """The name of the kubeconfig's context, `in-cluster` without one."""
        return self._requests.access.context

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._requests.server

    @property
    def requests_sent(self) -> int:
        """HTTP requests sent so far, repetitions included."""
        return self._requests.sent

    def end_in(self, seconds: float) -> None:
        """Let no call take longer than until so many seconds from now and a short grace, however patient it is."""
        self._requests.end_in(seconds)

    async def identity(self) -> ClusterIdentity:
        """Say which cluster this is. Raises Unreachable or Forbidden."""
        if self._identity is None:
            self._identity = await self._reader.identity(self.context)
        return self._identity

    async def snapshot(self) -> Snapshot:
        """Read everything the rules need, in a constant number of LIST calls; what is not readable is `blind`."""
        return await self._reader.snapshot(await self.identity())

    async def list(self, kind: str, namespaces: Collection[str] = ()) -> Sequence[Resource]:
        """List a kind in all namespaces or (by one call each) in some. Raises ClusterError."""
        return await self._reader.list_in(kind, namespaces)

    async def get(self, ref: Ref) -> Resource | None:
        """Read one object; None when it is not there."""
        return await self._reader.get(ref)

    async def change(self, ref: Ref, uid: str, changes: Sequence[Change], *, dry_run: bool = False) -> Resource:
        """Make changes, each guarded by the value it expects; fields that have the wanted value already are left.

        Raises WriteConflict, Gone, Rejected, Forbidden or Unreachable.
        """
        return await self._writer.change(ref, uid, changes, dry_run=dry_run)

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
        """Create an object. Raises Rejected when it exists already."""
        return await self._writer.create(manifest, dry_run=dry_run)

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object with this UID; one that is gone already is fine. Raises WriteConflict for another UID."""
        await self._writer.delete(ref, uid)

    async def put_config_map(self, ref: Ref, data: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """Create or replace one of meshguard's own records, its namespace included."""
        await self._writer.put_config_map(ref, data, labels)

    async def admit_pod(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a pod by dry run and return what admission made of it. Raises Rejected, Forbidden, Unreachable."""
        return await self._writer.admit_pod(pod)

    async def missing_rights(self, wanted: Collection[tuple[str, str, str]]) -> Sequence[str]:
        """Return those of (verb, resource, namespace) that this person lacks, by one rules review per namespace."""
        return await missing_rights(self._requests, wanted)

    async def read_service(self, namespace: str, service: str, path: str) -> Any:
        """GET a JSON document from a service (`name:port`) through the API server's proxy. Raises ClusterError."""
        return await self._requests.read(f"/api/v1/namespaces/{namespace}/services/{service}/proxy{path}")

    def tunnel(self, path: str, query: Query, protocols: Sequence[str]) -> AbstractAsyncContextManager[Tunnel]:
        """Open a WebSocket through the API server; the caller sets the deadline. Raises ClusterError."""
        return open_tunnel(self._requests, path, query, protocols)
