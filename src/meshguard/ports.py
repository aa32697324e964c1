"""What the inside of meshguard needs of the outside. Adapters implement these; the engine knows nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from meshguard.model.change import Change
from meshguard.model.measurement import Measurement
from meshguard.model.objects import Pod, Ref, Resource
from meshguard.model.proxy import Connected, ProxyFacts, ProxyUnreachable
from meshguard.model.snapshot import ClusterIdentity, Snapshot


class ClusterError(Exception):
    """The API server's answer, or its silence, in one sentence for a person."""


class Unreachable(ClusterError):
    """The API server did not answer within the deadline."""


class NobodyThere(Unreachable):
    """The API server answered at once that there is nobody to pass a question on to, as on a node without kubelet."""


class Forbidden(ClusterError):
    """The API server knows who asks, and refuses."""


class Gone(ClusterError):
    """The object is not there, or another one has taken its name (its UID differs)."""


class Rejected(ClusterError):
    """The API server or an admission webhook refused the object; the message says why."""


class WriteConflict(ClusterError):
    """A field holds neither what the plan expected nor what it wanted."""

    def __init__(self, ref: Ref, path: tuple[str, ...], expected: Any, found: Any) -> None:
        super().__init__(f"{ref}: {'.'.join(path)} is {found!r}, expected {expected!r}; somebody else changed it")
        self.ref, self.path, self.expected, self.found = ref, path, expected, found


class Clock(Protocol):
    """Time. Every wait and every deadline comes from here, so that a simulator can run the same engine."""

    def now(self) -> float:
        """Seconds on a monotonic scale."""
        ...

    def wall(self) -> str:
        """The time of day, RFC 3339 in UTC with milliseconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Cluster(Protocol):
    """The Kubernetes API, as far as meshguard uses it. Every call has a timeout."""

    def end_in(self, seconds: float) -> None:
        """Let no call take longer than until so many seconds from now and a short grace, however patient it is.

        Seconds, not a moment: the run may live by a simulator's clock, patience with a server by this machine's.
        """
        ...

    async def identity(self) -> ClusterIdentity:
        """Say which cluster this is. Raises Unreachable or Forbidden."""
        ...

    async def snapshot(self) -> Snapshot:
        """Read everything the rules need, in a constant number of LIST calls; what is not readable is `blind`."""
        ...

    async def list(self, kind: str, namespaces: Collection[str] = ()) -> Sequence[Resource]:
        """List a kind in all namespaces or (by one call each) in some. Raises ClusterError."""
        ...

    async def get(self, ref: Ref) -> Resource | None:
        """Read one object; None when it is not there."""
        ...

    async def change(self, ref: Ref, uid: str, changes: Sequence[Change], *, dry_run: bool = False) -> Resource:
        """Make changes, each guarded by the value it expects; fields that have the wanted value already are left.

        Raises WriteConflict, Gone, Rejected, Forbidden or Unreachable.
        """
        ...

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
        """Create an object. Raises Rejected when it exists already."""
        ...

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object with this UID; one that is gone already is fine. Raises WriteConflict for another UID."""
        ...

    async def put_config_map(self, ref: Ref, data: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """Create or replace one of meshguard's own records, its namespace included."""
        ...

    async def admit_pod(self, pod: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a pod by dry run and return what admission made of it. Raises Rejected, Forbidden, Unreachable."""
        ...

    async def missing_rights(self, wanted: Collection[tuple[str, str, str]]) -> Sequence[str]:
        """Return those of (verb, resource, namespace) that this person lacks, by one rules review per namespace."""
        ...


class Signals(Protocol):
    """What the data plane says of itself."""

    async def proxies(
        self, pods: Sequence[Pod], parts: Collection[str], *, hosts: Collection[str] = ()
    ) -> Mapping[Ref, ProxyFacts | ProxyUnreachable]:
        """Read these parts (`inbound`, `clusters`, `endpoints`, `authz`, `counters`) of each pod's proxy.

        Bounded concurrency and one deadline per proxy; `hosts` narrows clusters and endpoints to these services.
        """
        ...


class DataPlane(Signals, Protocol):
    """What the data plane says of itself, and what control planes say of it."""

    async def connected(self, istiods: Sequence[Pod]) -> Connected:
        """Ask each of these pods which proxies are connected to it. Raises nothing: silence is an answer."""
        ...


class Measurements(Protocol):
    """Numbers about the mesh, by the names of the catalogue of signals."""

    async def measure(self, signal: str, args: Mapping[str, Any]) -> Measurement:
        """Measure once; `args` are complete, defaults included. What does not answer is `unseen`.

        Raises ClusterError when the cluster cannot be asked, KeyError for a signal that does not exist.
        """
        ...
