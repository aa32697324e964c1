"""The workloads of a scope, sorted by what will happen to each, and the world around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from meshguard.mesh.istio_sidecar import hosts, membership
from meshguard.mesh.istio_sidecar.authorization import Identity
from meshguard.mesh.istio_sidecar.client_tls import Client, ClientSide, client_of
from meshguard.mesh.istio_sidecar.membership import Memberships
from meshguard.mesh.istio_sidecar.mesh_config import MeshConfig, mesh_config
from meshguard.mesh.istio_sidecar.peer_authentication import PeerPolicies
from meshguard.mesh.istio_sidecar.reach import Reach
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Pod, Ref, Resource, Workload, dig
from meshguard.model.snapshot import Snapshot


@dataclass(frozen=True)
class Server:
    """A workload whose proxy enforces policies: now, or again when the run that took it out is restored."""

    workload: Ref
    labels: Mapping[str, str]
    pod_spec: Mapping[str, Any]

    @property
    def namespace(self) -> str:
        """The workload's namespace."""
        return self.workload.namespace


@dataclass(frozen=True)
class Scope:
    """Everything that the rules for a way out ask of a snapshot."""

    snapshot: Snapshot
    namespaces: frozenset[str]

    @cached_property
    def mesh(self) -> MeshConfig:
        """The mesh-wide settings."""
        return mesh_config(self.snapshot)

    @cached_property
    def peers(self) -> PeerPolicies:
        """The PeerAuthentications."""
        return PeerPolicies(self.snapshot, self.mesh.root_namespace)

    @cached_property
    def memberships(self) -> Memberships:
        """What every workload is declared, due and seen to be."""
        return Memberships(self.snapshot)

    @cached_property
    def client_side(self) -> ClientSide:
        """The DestinationRules, and what they and the policies make of outbound TLS."""
        return ClientSide(self.snapshot, self.mesh)

    @cached_property
    def reach(self) -> Reach:
        """Which hosts a proxy knows."""
        return Reach(self.snapshot, self.mesh)

    @cached_property
    def meshed_pods(self) -> tuple[Pod, ...]:
        """Every pod of the cluster that carries a sidecar."""
        return tuple(p for p in self.snapshot.pods if membership.is_meshed(p) and not p.terminating)

    @cached_property
    def meshed_workloads(self) -> Mapping[Ref, tuple[Pod, ...]]:
        """Every owner of meshed pods, in scope or not, with those pods."""
        groups: dict[Ref, list[Pod]] = {}
        for pod in self.meshed_pods:
            groups.setdefault(self.snapshot.workload_of_pod[pod.ref], []).append(pod)
        return {ref: tuple(groups[ref]) for ref in sorted(groups)}

    @cached_property
    def meshed_namespaces(self) -> tuple[str, ...]:
        """Namespaces that hold at least one meshed pod."""
        return tuple(sorted({p.ref.namespace for p in self.meshed_pods}))

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        """Whom the scope may call: every meshed workload, and those that open runs will bring back.

        Without the second group a run restored early would put STRICT before callers that another run keeps out.
        """
        servers = {
            ref: Server(ref, pods[0].labels, dig(pods[0].doc, "spec", default={}))
            for ref, pods in self.meshed_workloads.items()
        }
        for run in self.snapshot.open_runs:
            for ref in run.changes:
                workload = self.snapshot.resources.get(ref)
                if isinstance(workload, Workload) and ref not in servers:
                    spec = dig(workload.template, "spec", default={})
                    servers[ref] = Server(ref, workload.template_labels, spec)
        return tuple(servers[ref] for ref in sorted(servers))

    @cached_property
    def candidates(self) -> tuple[Workload, ...]:
        """The workloads of the scope that a restart can take out, meshed or not."""
        return tuple(
            sorted(
                (
                    w
                    for w in self.snapshot.workloads
                    if w.ref.namespace in self.namespaces and w.ref.kind in RESTARTABLE
                ),
                key=lambda w: w.ref,
            )
        )

    @cached_property
    def leaving(self) -> tuple[Workload, ...]:
        """The workloads that will be restarted without a sidecar."""
        return tuple(w for w in self.candidates if w.ref in self.meshed_workloads)

    @cached_property
    def leaving_identities(self) -> tuple[Identity, ...]:
        """The identities that callers from the scope lose."""
        accounts = {
            (p.ref.namespace, str(dig(p.doc, "spec", "serviceAccountName", default="default")))
            for w in self.leaving
            for p in self.meshed_workloads[w.ref]
        }
        return tuple(Identity(self.mesh.trust_domain, ns, sa) for ns, sa in sorted(accounts))

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """One caller for each kind of proxy: those that are meshed, and those that open runs will bring back."""
        now = [client_of(pods[0]) for pods in self.meshed_workloads.values()]
        later = [Client(s.namespace, s.labels) for s in self.servers if s.workload not in self.meshed_workloads]
        return (*now, *later)

    @cached_property
    def hosts(self) -> tuple[hosts.MeshHost, ...]:
        """The names that pods of the scope serve: its services, and ServiceEntries that select its workloads."""
        return tuple(
            host
            for host in hosts.mesh_hosts(self.snapshot)
            if host.namespace in self.namespaces
            and (
                host.origin.kind == "Service"
                or any(host.selects(w.ref.namespace, w.template_labels) for w in self.candidates)
            )
        )

    @cached_property
    def services(self) -> tuple[Resource, ...]:
        """The services that live in the scope."""
        return hosts.services_of(self.snapshot, self.namespaces)

    def services_before(self, namespace: str, labels: Mapping[str, str]) -> tuple[Resource, ...]:
        """The services that select pods with these labels."""
        return tuple(s for s in self.snapshot.of_kind("Service") if hosts.selects(s, namespace, labels))
