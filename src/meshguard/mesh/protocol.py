"""What a mesh must be able to answer. Each folder of this room implements it for one mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.observed import Observed
from meshguard.model.plan import Phase
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.model.staging import Staging


@dataclass(frozen=True)
class Consents:
    """What the person has accepted in so many words; everything else blocks."""

    authz_loss: bool = False
    authz_rules: frozenset[str] = frozenset()
    """Rules by name (`NS/POLICY#INDEX`) whose change of meaning is acceptable."""
    fail_open: bool = False
    interruptions: frozenset[str] = frozenset()
    """`NS/WORKLOAD` or `NS/WORKLOAD:PORT`."""
    outage: bool = False
    """No istiod answers, and the outage that an exit then costs is declared."""
    egress_plaintext: bool = False
    """What the proxies encrypt on the way out may leave as plaintext."""
    routing_loss: bool = False
    """VirtualServices that send requests elsewhere may be missing."""
    unknown_version: bool = False
    """Nobody can tell the control plane's version, and the rules may be those of another."""
    local_journal_only: bool = False
    """The run may be known to this machine only, where the cluster cannot hold its mirror."""

    def words(self) -> tuple[str, ...]:
        """The options as the person gave them, sorted."""
        return tuple(
            sorted(
                [
                    *(["--accept-authz-loss"] if self.authz_loss else []),
                    *(["--accept-fail-open"] if self.fail_open else []),
                    *(["--accept-egress-plaintext"] if self.egress_plaintext else []),
                    *(["--accept-routing-loss"] if self.routing_loss else []),
                    *(["--accept-unknown-version"] if self.unknown_version else []),
                    *(["--declare-outage"] if self.outage else []),
                    *(["--local-journal-only"] if self.local_journal_only else []),
                    *(f"--accept-authz-rule {rule}" for rule in self.authz_rules),
                    *(f"--accept-interruption {target}" for target in self.interruptions),
                ]
            )
        )


class Order(StrEnum):
    """In which order the workloads of a scope are restarted on the way out; the way back goes the other way round."""

    TOGETHER = "together"
    """At once, in waves of the configured size: after the relaxation every order keeps traffic alive."""
    CLIENTS_FIRST = "clients-first"
    SERVERS_FIRST = "servers-first"


@dataclass(frozen=True)
class Caps:
    """How much may leave in one run."""

    namespaces: int = 20
    workloads: int = 500
    share_percent: float = 50.0
    """Of the workloads in the mesh."""
    share_from: int = 25
    """A scope of up to this many workloads is never too large a share: shares of small meshes mean little."""


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
    caps: Caps = Caps()
    exclusions: Mapping[str, str] = field(default_factory=dict)
    """What is never taken out although a scope covers it: `NS` or `NS/NAME`, each with its reason."""
    order: Order = Order.TOGETHER


@dataclass(frozen=True)
class Selection:
    """Which workloads of a request's namespaces are meant; by default all."""

    chosen: frozenset[Ref] = frozenset()
    """A namespace that holds one of these is in the scope only with those that it holds."""
    excluded: Mapping[Ref, str] = field(default_factory=dict)
    """Workloads that stay, each with its reason."""
    whole_mesh: bool = False
    by_label: bool = False
    """Leave by the label of each pod template, not by the namespace's."""
    words: tuple[str, ...] = ()
    """The scope as the person gave it, beyond its namespaces."""


@dataclass(frozen=True)
class LeaveRequest:
    """Who shall leave, and under which conditions."""

    namespaces: frozenset[str]
    consents: Consents = Consents()
    settings: Settings = Settings()
    selection: Selection = Selection()
    observed: Observed | None = None
    """What telemetry says of the scope's calls, where the callers shall be narrowed down by it."""


@dataclass(frozen=True)
class RealignRequest:
    """Whose proxies shall fit their control plane again."""

    namespaces: frozenset[str]
    to_revision: str = ""
    """The revision that the namespaces shall move to; "" for the one that their labels name already."""
    consents: Consents = Consents()
    settings: Settings = Settings()
    selection: Selection = Selection()


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


@dataclass(frozen=True)
class Member:
    """A workload that is in the mesh now, seen on its pods."""

    ref: Ref
    labels: Mapping[str, str]
    """Of its pods."""
    revision: str


class Mesh(Protocol):
    """The rules of one mesh. Pure: a Snapshot goes in, values come out."""

    name: str

    def detect(self, snapshot: Snapshot) -> bool:
        """Tell whether the mesh is installed in the cluster."""
        ...

    def in_mesh(self, snapshot: Snapshot, namespace: str) -> bool:
        """Tell whether the namespace has anything to do with the mesh, declared or actual."""
        ...

    def members(self, snapshot: Snapshot) -> tuple[Member, ...]:
        """Return every restartable workload that is in the mesh, in order."""
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

    def realign(self, snapshot: Snapshot, request: RealignRequest) -> Draft:
        """Plan restarts of the proxies that do not fit their control plane, and of nothing else."""
        ...

    def rejoin(self, snapshot: Snapshot, run: OpenRun, settings: Settings, staging: Staging | None = None) -> Draft:
        """Plan the way back of a run, at once or, with a staging, wave by wave."""
        ...
