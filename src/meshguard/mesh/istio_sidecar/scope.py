"""The workloads of a scope, sorted by what will happen to each, and the world around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from meshguard.mesh.istio_sidecar import capacity, hosts, membership
from meshguard.mesh.istio_sidecar.authorization import Identity
from meshguard.mesh.istio_sidecar.client_tls import Client, ClientSide, client_of, distinct
from meshguard.mesh.istio_sidecar.membership import Memberships
from meshguard.mesh.istio_sidecar.mesh_config import MeshConfig, mesh_config
from meshguard.mesh.istio_sidecar.peer_authentication import PeerPolicies
from meshguard.mesh.istio_sidecar.reach import Reach
from meshguard.mesh.protocol import Selection
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
    selection: Selection = field(default_factory=Selection)
    protected: frozenset[str] = frozenset()
    """Namespaces of which no object may be edited."""
    spared: frozenset[Ref] = frozenset()
    """Servers that the scope was seen not to call."""

    def covers(self, ref: Ref) -> bool:
        """Tell whether a workload is meant: in the namespaces, chosen where a choice was made, not excluded."""
        chosen = self._chosen.get(ref.namespace)
        return (
            ref.namespace in self.namespaces
            and (chosen is None or ref in chosen)
            and ref not in self.selection.excluded
        )

    @cached_property
    def _chosen(self) -> Mapping[str, frozenset[Ref]]:
        spaces = {ref.namespace for ref in self.selection.chosen}
        return {name: frozenset(r for r in self.selection.chosen if r.namespace == name) for name in spaces}

    @cached_property
    def kept(self) -> Mapping[Ref, str]:
        """Workloads of the scope's namespaces that stay in the mesh, each with its reason."""
        gateways = {
            w.ref: "its template needs injection; the others of its namespace leave by their pod label"
            for w in self._covered
            if self._stays_for_injection(w)
        }
        return {**self.selection.excluded, **gateways}

    def _stays_for_injection(self, workload: Workload) -> bool:
        """A gateway among others is left alone; one that was asked for by name, or that is alone, is a finding."""
        if not membership.needs_injection(workload) or workload.ref in self.selection.chosen:
            return False
        return any(
            w.ref in self.meshed_workloads and not membership.needs_injection(w)
            for w in self._covered
            if w.ref.namespace == workload.ref.namespace
        )

    @cached_property
    def partial(self) -> frozenset[str]:
        """Namespaces whose label must stay as it is: only some of their workloads leave."""
        some = {*self._chosen, *(ref.namespace for ref in self.kept)} & self.namespaces
        return self.namespaces if self.selection.by_label else frozenset(some)

    @cached_property
    def labelled(self) -> tuple[Workload, ...]:
        """The workloads that leave by the label of their pod template."""
        return tuple(w for w in self.leaving if w.ref.namespace in self.partial)

    @cached_property
    def switched(self) -> tuple[str, ...]:
        """The namespaces that leave by their own label."""
        return tuple(sorted({w.ref.namespace for w in self.leaving} - self.partial))

    @cached_property
    def idle(self) -> tuple[str, ...]:
        """Namespaces whose label asks for sidecars although no pod of theirs carries one: the next ones would."""
        busy = {ref.namespace for ref in self.meshed_workloads}
        return tuple(
            name
            for name in sorted(self.namespaces - self.partial - busy)
            if membership.enrolled(self.snapshot.namespaces[name])
        )

    @property
    def edits_mesh_policy(self) -> bool:
        """True when everything leaves and the policy for all may be edited, in one push instead of many."""
        return self.selection.whole_mesh and self.mesh.root_namespace not in self.protected

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
    def _covered(self) -> tuple[Workload, ...]:
        members = (w for w in self.snapshot.workloads if w.ref.kind in RESTARTABLE and self.covers(w.ref))
        return tuple(sorted(members, key=lambda w: w.ref))

    @cached_property
    def candidates(self) -> tuple[Workload, ...]:
        """The workloads of the scope that a restart can take out, meshed or not."""
        return tuple(w for w in self._covered if w.ref not in self.kept)

    @cached_property
    def leaving(self) -> tuple[Workload, ...]:
        """The workloads that will be restarted without a sidecar."""
        return tuple(w for w in self.candidates if w.ref in self.meshed_workloads)

    @cached_property
    def without_room(self) -> Mapping[Ref, str]:
        """Leaving workloads that cannot start a pod before they stop one, each with the reason."""
        return {**self.no_room, **self.bound}

    @cached_property
    def no_room(self) -> Mapping[Ref, str]:
        """Leaving workloads for whose extra pods no node or quota has room, each with the reason."""
        return self.capacity.without_room(self.leaving)

    @cached_property
    def capacity(self) -> capacity.Capacity:
        """The room of the cluster."""
        return capacity.Capacity(self.snapshot)

    @cached_property
    def bound(self) -> Mapping[Ref, str]:
        """Leaving workloads whose next pod may have to wait for a volume or a port of the old one."""
        return capacity.bound(self.snapshot, self.leaving)

    @cached_property
    def called(self) -> tuple[Server, ...]:
        """The servers that must be there for the scope: those that it may call, without those that it does not."""
        return tuple(server for server in self.callable if server.workload not in self.spared)

    @cached_property
    def callable(self) -> tuple[Server, ...]:
        """The servers that a pod of the scope may call: all that its proxies know of.

        A proxy that a Sidecar object keeps from knowing a host sends plaintext there, which STRICT refuses already:
        for such a call there is nothing to keep alive.
        """
        callers = {(w.ref.namespace, frozenset(w.template_labels.items())) for w in self.leaving}
        if any(self.reach.sidecar_of(namespace, dict(labels)) is None for namespace, labels in callers):
            return self.servers
        known = [
            host
            for host in hosts.mesh_hosts(self.snapshot)
            if any(self.reach.knows(namespace, dict(labels), host) for namespace, labels in callers)
        ]
        own = {w.ref for w in self.leaving}
        return tuple(
            s for s in self.servers if s.workload in own or any(h.selects(s.namespace, s.labels) for h in known)
        )

    @cached_property
    def leaving_identities(self) -> tuple[Identity, ...]:
        """The identities that callers from the scope lose."""
        return self._identities_of(pod for w in self.leaving for pod in self.meshed_workloads[w.ref])

    @cached_property
    def identities(self) -> tuple[Identity, ...]:
        """The identities of all callers in the mesh."""
        return self._identities_of(self.meshed_pods)

    def _identities_of(self, pods: Iterable[Pod]) -> tuple[Identity, ...]:
        accounts = {(p.ref.namespace, str(dig(p.doc, "spec", "serviceAccountName", default="default"))) for p in pods}
        mesh = self.mesh
        return tuple(Identity(mesh.trust_domain, ns, sa, mesh.trust_domain_aliases) for ns, sa in sorted(accounts))

    @cached_property
    def clients(self) -> tuple[Client, ...]:
        """One of all callers that rules cannot tell apart, in the mesh now or when open runs are restored."""
        now = [client_of(pods[0]) for pods in self.meshed_workloads.values()]
        later = [Client(s.namespace, s.labels) for s in self.servers if s.workload not in self.meshed_workloads]
        return distinct(self.snapshot, (*now, *later))

    @cached_property
    def hosts(self) -> tuple[hosts.MeshHost, ...]:
        """The names that pods of the scope serve: its services, and ServiceEntries that select its workloads."""
        return tuple(
            host
            for host in hosts.mesh_hosts(self.snapshot)
            if host.namespace in self.namespaces
            and (
                (host.origin.kind == "Service" and host.namespace not in self.partial)
                or any(host.selects(w.ref.namespace, w.template_labels) for w in self.candidates)
            )
        )

    @cached_property
    def services(self) -> tuple[Resource, ...]:
        """The services that live in the scope."""
        return hosts.services_of(self.snapshot, self.namespaces)

    def services_before(self, namespace: str, labels: Mapping[str, str]) -> tuple[Resource, ...]:
        """The services that select pods with these labels."""
        return tuple(s for s in self._services_by_namespace.get(namespace, ()) if hosts.selects(s, namespace, labels))

    @cached_property
    def _services_by_namespace(self) -> Mapping[str, tuple[Resource, ...]]:
        groups: dict[str, list[Resource]] = {}
        for service in self.snapshot.of_kind("Service"):
            groups.setdefault(service.ref.namespace, []).append(service)
        return {name: tuple(members) for name, members in groups.items()}
