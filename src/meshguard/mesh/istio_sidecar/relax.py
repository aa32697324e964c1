"""The policy edits that let plaintext live while a part of the mesh has no proxies.

Narrowest scope first: a workload's own policy, then the namespace's; the mesh-wide policy is never touched for a
namespace, because that would open every server of the mesh. An existing policy is edited in place, for its age
decides precedence; one is created only at a scope that holds none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar import authorization, destination_rules, hosts, tls_relaxation
from meshguard.mesh.istio_sidecar.edits import Edit, manifest_of
from meshguard.mesh.istio_sidecar.peer_authentication import Mode, mode_of, port_modes
from meshguard.mesh.istio_sidecar.scope import Scope, Server
from meshguard.model.change import change_at
from meshguard.model.objects import Ref, Resource, dig

CREATED_NAME = "meshguard-permissive"
#: Protocols whose server may speak first; `mysql` does, plain `tcp` may.
MAYBE_SERVER_FIRST = ("tcp", "mysql")


@dataclass(frozen=True, order=True)
class ServerFirstPort:
    """A port of a server that stays meshed for a while, whose server may speak first."""

    workload: Ref
    port: int

    @property
    def consent(self) -> str:
        """As `--accept-interruption` takes it."""
        return f"{self.workload.namespace}/{self.workload.name}:{self.port}"


def permissive_edits(scope: Scope) -> tuple[Edit, ...]:
    """Return the PeerAuthentication edits after which every server that the scope may call takes plaintext.

    Servers in the root namespace get none of their own: there is no scope below the mesh's for them.
    """
    mesh_wide = _mesh_edits(scope)
    edits: list[Edit] = list(mesh_wide)
    by_namespace: dict[str, list[Server]] = defaultdict(list)
    for server in scope.called:
        by_namespace[server.namespace].append(server)
    for namespace in sorted(by_namespace.keys() - {scope.mesh.root_namespace}):
        servers = by_namespace[namespace]
        if any(_inherits_strict(scope, server) for server in servers) and not (
            mesh_wide and _says_nothing(scope, namespace)
        ):
            edits.append(_namespace_edit(scope, namespace))
        strict_own = {
            policy.ref: policy
            for server in servers
            if (policy := scope.peers.workload_level(namespace, server.labels)) is not None
            and Mode.STRICT in (mode_of(policy), *port_modes(policy).values())
        }
        edits.extend(_workload_edit(policy) for _, policy in sorted(strict_own.items()))
    return tuple(edits)


def _mesh_edits(scope: Scope) -> list[Edit]:
    """Return the edit of the mesh-wide policy, which only an exit of the whole mesh may make."""
    policy = scope.peers.mesh_level()
    concerned = any(_inherits_strict(scope, s) and _says_nothing(scope, s.namespace) for s in scope.called)
    if not scope.edits_mesh_policy or policy is None or not concerned:
        return []
    return [
        Edit(
            policy.ref,
            policy.uid,
            "Let all servers of the mesh accept plaintext as well",
            "the whole mesh leaves; one policy for all is one push",
            (change_at(policy.doc, ("spec", "mtls", "mode"), Mode.PERMISSIVE.value),),
        )
    ]


def _says_nothing(scope: Scope, namespace: str) -> bool:
    """True for a namespace that leaves its mode to the mesh-wide policy."""
    return mode_of(scope.peers.namespace_level(namespace)) is Mode.UNSET


def _inherits_strict(scope: Scope, server: Server) -> bool:
    own = mode_of(scope.peers.workload_level(server.namespace, server.labels))
    return own is Mode.UNSET and scope.peers.namespace_mode(server.namespace) is Mode.STRICT


def _namespace_edit(scope: Scope, namespace: str) -> Edit:
    why = "a caller without a proxy cannot speak mutual TLS; STRICT would reset its connections"
    policy = scope.peers.namespace_level(namespace)
    if policy is None:
        ref = Ref("PeerAuthentication", namespace, CREATED_NAME)
        return Edit(
            ref,
            "",
            f"Let the servers in {namespace} accept plaintext as well (new PeerAuthentication {CREATED_NAME})",
            why,
            manifest=manifest_of(ref, {"mtls": {"mode": Mode.PERMISSIVE.value}}),
        )
    return Edit(
        policy.ref,
        policy.uid,
        f"Let the servers in {namespace} accept plaintext as well",
        why,
        (change_at(policy.doc, ("spec", "mtls", "mode"), Mode.PERMISSIVE.value),),
    )


def _workload_edit(policy: Resource) -> Edit:
    changes = []
    if mode_of(policy) is Mode.STRICT:
        changes.append(change_at(policy.doc, ("spec", "mtls", "mode"), Mode.PERMISSIVE.value))
    for port, mode in sorted(port_modes(policy).items()):
        if mode is Mode.STRICT:
            changes.append(change_at(policy.doc, ("spec", "portLevelMtls", str(port), "mode"), Mode.PERMISSIVE.value))
    return Edit(
        policy.ref,
        policy.uid,
        f"Let the servers that {policy.ref} selects accept plaintext as well",
        "its own mode overrides the namespace's",
        tuple(changes),
    )


def server_first_ports(scope: Scope, client_first: frozenset[str]) -> tuple[ServerFirstPort, ...]:
    """Return the ports of meshed servers that may speak first; an unmeshed client of such a port would hang."""
    found = set()
    for server in scope.called:
        for service in scope.services_before(server.namespace, server.labels):
            for port in hosts.ports(service):
                number = hosts.container_port(server.pod_spec, port.target)
                if port.protocol in MAYBE_SERVER_FIRST and number is not None:
                    candidate = ServerFirstPort(server.workload, number)
                    mode = scope.peers.effective(server.namespace, server.labels).of(number)
                    if candidate.consent not in client_first and mode is not Mode.DISABLE:
                        found.add(candidate)
    return tuple(sorted(found))


def server_first_edits(scope: Scope, ports: Iterable[ServerFirstPort]) -> tuple[Edit, ...]:
    """Return the edits that take the proxy's sniffing off these ports: DISABLE for the port alone."""
    by_workload: dict[Ref, list[int]] = {}
    for server_port in ports:
        by_workload.setdefault(server_port.workload, []).append(server_port.port)
    return tuple(_port_edit(scope, ref, numbers) for ref, numbers in sorted(by_workload.items()))


def _port_edit(scope: Scope, workload: Ref, numbers: list[int]) -> Edit:
    labels = next(server.labels for server in scope.servers if server.workload == workload)
    listed = ", ".join(map(str, numbers))
    sentence = f"Serve port {listed} of {workload} without mutual TLS, so that its server can speak first"
    why = "under PERMISSIVE the proxy waits for the client's first bytes for ever; this interrupts the port for seconds"
    levels = {str(number): {"mode": Mode.DISABLE.value} for number in numbers}
    policy = scope.peers.workload_level(workload.namespace, labels)
    if policy is not None:
        changes = tuple(
            change_at(policy.doc, ("spec", "portLevelMtls", number, "mode"), Mode.DISABLE.value) for number in levels
        )
        return Edit(policy.ref, policy.uid, sentence, why, changes)
    owner = scope.snapshot.resources[workload]
    selector = dig(owner.doc, "spec", "selector", "matchLabels", default={})
    ref = Ref("PeerAuthentication", workload.namespace, f"meshguard-server-first-{workload.name}")
    spec = {"selector": {"matchLabels": dict(selector)}, "portLevelMtls": levels}
    return Edit(ref, "", sentence, why, manifest=manifest_of(ref, spec))


def mesh_tls_rules(scope: Scope, ports: Iterable[ServerFirstPort] = ()) -> Mapping[Ref, tuple[str, ...]]:
    """Return the DestinationRules by which a caller sends mutual TLS where it cannot be read any more, with the hosts.

    That is to hosts of the scope, and to servers elsewhere whose `ports` are served without it meanwhile.
    """
    found: dict[Ref, set[str]] = {}
    demanding = filter(destination_rules.demands_mesh_tls, scope.snapshot.of_kind("DestinationRule"))
    spoken_of = frozenset(map(destination_rules.rule_host, demanding))
    concerned = hosts.among((*scope.hosts, *_hosts_of(scope, {port.workload for port in ports})), spoken_of)
    for client in scope.clients:
        for host in concerned:
            rule = scope.client_side.rules.for_client(client.namespace, client.labels, host)
            if rule is None or not scope.reach.knows(client.namespace, client.labels, host):
                continue
            if any(tls.demands_mesh_tls for tls in scope.client_side.towards(client, host).values()):
                for source in rule.in_effect():
                    if destination_rules.demands_mesh_tls(source):
                        found.setdefault(source.ref, set()).add(host.name)
    return {ref: tuple(sorted(found[ref])) for ref in sorted(found)}


def _hosts_of(scope: Scope, workloads: Collection[Ref]) -> list[hosts.MeshHost]:
    servers = [server for server in scope.servers if server.workload in workloads]
    known = frozenset(host.name for host in scope.hosts)
    return [
        host
        for host in hosts.mesh_hosts(scope.snapshot)
        if servers
        and not (host.name in known and host in scope.hosts)
        and any(host.selects(server.namespace, server.labels) for server in servers)
    ]


def relaxed_rules(scope: Scope, ports: Iterable[ServerFirstPort] = ()) -> tls_relaxation.Relaxed:
    """Return the edits of those rules, and which of them have none."""
    rules = [scope.snapshot.resources[ref] for ref in mesh_tls_rules(scope, ports)]
    return tls_relaxation.relax(scope.snapshot, scope.mesh, rules)


def destination_rule_edits(scope: Scope, ports: Iterable[ServerFirstPort] = ()) -> tuple[Edit, ...]:
    """Return the edits that drop ISTIO_MUTUAL from every rule that would encrypt where nobody can read it."""
    interrupted = tuple(ports)
    relaxed, concerned = relaxed_rules(scope, interrupted), mesh_tls_rules(scope, interrupted)
    return tuple(
        Edit(
            ref,
            scope.snapshot.resources[ref].uid,
            f"Let callers of {', '.join(concerned[ref])} choose TLS endpoint by endpoint ({ref})",
            "an explicit ISTIO_MUTUAL would go on encrypting towards pods that have no proxy any more",
            changes,
        )
        for ref, changes in sorted(relaxed.changes.items())
    )


def authorization_edits(lost: Iterable[authorization.LostRule]) -> tuple[Edit, ...]:
    """Return the edits that drop the peer-identity conditions of ALLOW rules that would lose callers."""
    by_policy: dict[Ref, list[authorization.LostRule]] = {}
    for rule in lost:
        if rule.widens:
            by_policy.setdefault(rule.policy.ref, []).append(rule)
    edits = []
    for ref, members in sorted(by_policy.items()):
        policy = members[0].policy
        callers = sorted({c.principal for rule in members for c in rule.callers})
        change = authorization.without_identity(policy, members)
        edits.append(
            Edit(
                ref,
                policy.uid,
                f"Drop the peer-identity conditions of {len(members)} rule(s) of {ref}",
                f"{', '.join(callers)} lose their identity and would get 403",
                (change,),
            )
        )
    return tuple(edits)
