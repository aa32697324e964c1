"""What a mesh must be able to answer. Each folder of this room implements it for one mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from meshguard.model.findings import Finding
from meshguard.model.plan import Phase
from meshguard.model.snapshot import OpenRun, Snapshot


@dataclass(frozen=True)
class Consents:
    """What the person has accepted in so many words; everything else blocks."""

    authz_loss: bool = False
    authz_rules: frozenset[str] = frozenset()
    """Rules by name (`NS/POLICY#INDEX`) whose change of meaning is acceptable."""
    fail_open: bool = False
    interruptions: frozenset[str] = frozenset()
    """`NS/WORKLOAD` or `NS/WORKLOAD:PORT`."""

    def words(self) -> tuple[str, ...]:
        """The options as the person gave them, sorted."""
        return tuple(
            sorted(
                [
                    *(["--accept-authz-loss"] if self.authz_loss else []),
                    *(["--accept-fail-open"] if self.fail_open else []),
                    *(f"--accept-authz-rule {rule}" for rule in self.authz_rules),
                    *(f"--accept-interruption {target}" for target in self.interruptions),
                ]
            )
        )


@dataclass(frozen=True)
class Settings:
    """The configuration that rules depend on."""

    protected_namespaces: frozenset[str] = frozenset({"kube-system", "kube-public", "kube-node-lease"})
    client_first_ports: frozenset[str] = frozenset()
    """`NS/WORKLOAD:PORT` of plain TCP ports whose clients speak first, so that PERMISSIVE serves them."""
    wave_size: int = 50
    """How many workloads are restarted at once."""
    rollout_deadline_s: float = 300.0
    converge_deadline_s: float = 60.0


@dataclass(frozen=True)
class LeaveRequest:
    """Who shall leave, and under which conditions."""

    namespaces: frozenset[str]
    consents: Consents = Consents()
    settings: Settings = Settings()


@dataclass(frozen=True)
class Draft:
    """A mesh's answer to a request: the phases in order, and everything a person must know before consenting."""

    phases: tuple[Phase, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkloadStatus:
    """One row of `status`."""

    workload: str
    namespace: str
    declared: str
    due: str
    due_reason: str
    actual: str
    consistent: bool
    revision: str
    proxy_version: str
    tls_mode: str
    source: str


class Mesh(Protocol):
    """The rules of one mesh. Pure: a Snapshot goes in, values come out."""

    name: str

    def detect(self, snapshot: Snapshot) -> bool:
        """Tell whether the mesh is installed in the cluster."""
        ...

    def in_mesh(self, snapshot: Snapshot, namespace: str) -> bool:
        """Tell whether the namespace has anything to do with the mesh, declared or actual."""
        ...

    def status(self, snapshot: Snapshot, namespaces: Sequence[str]) -> tuple[WorkloadStatus, ...]:
        """Return the rows of `status`."""
        ...

    def findings(self, snapshot: Snapshot, namespaces: Sequence[str]) -> tuple[Finding, ...]:
        """Return what is wrong or noteworthy before anybody plans anything."""
        ...

    def leave(self, snapshot: Snapshot, request: LeaveRequest) -> Draft:
        """Plan the way out."""
        ...

    def rejoin(self, snapshot: Snapshot, run: OpenRun, settings: Settings) -> Draft:
        """Plan the way back of a run."""
        ...
