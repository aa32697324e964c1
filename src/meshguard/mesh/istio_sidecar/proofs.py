"""What the data plane must show, as comparisons of what should be with what a proxy has. Empty means proven.

The expectation comes from the cluster's objects as they are now, so the same comparison proves a relaxation and its
way back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshguard.mesh.istio_sidecar import authorization, hosts, membership, names
from meshguard.mesh.istio_sidecar.client_tls import ClientTls
from meshguard.mesh.istio_sidecar.peer_authentication import EffectiveMode, Mode
from meshguard.model.objects import Pod, Resource, Workload, dig
from meshguard.model.proxy import Endpoint, InboundPort, ProxyFacts

#: (accepts plaintext, accepts mutual TLS) for each mode that can be effective.
ACCEPTS: Mapping[Mode, tuple[bool, bool]] = {
    Mode.STRICT: (False, True),
    Mode.PERMISSIVE: (True, True),
    Mode.DISABLE: (True, False),
}


def inbound_differences(facts: ProxyFacts, effective: EffectiveMode) -> tuple[str, ...]:
    """Compare what a server's proxy accepts, port by port, with what the policies say."""
    ports = facts.inbound or {}
    if not ports:
        return (f"{facts.pod.name} has no inbound listener yet",)
    wrong = []
    for number, port in sorted(ports.items()):
        mode = effective.of(number)
        if (port.plaintext, port.mutual_tls) != ACCEPTS[mode]:
            where = f"port {number}" if number else "its other ports"
            wrong.append(f"{facts.pod.name} does not have {mode.value} on {where} yet ({_accepts(port)})")
    missing = [number for number in effective.ports if number not in ports]
    wrong += [f"{facts.pod.name} has no chain of its own for port {number} yet" for number in missing]
    return tuple(wrong)


def _accepts(port: InboundPort) -> str:
    taken = [word for word, yes in (("plaintext", port.plaintext), ("mutual TLS", port.mutual_tls)) if yes]
    return f"takes {' and '.join(taken) or 'nothing'}"


def outbound_differences(
    facts: ProxyFacts, expected: Mapping[str, ClientTls], *, auto: bool = False
) -> tuple[str, ...]:
    """Compare how a caller's proxy encrypts towards a host with what the rules say; `auto` wants no decree as well.

    A host that the proxy does not know is not its business.
    """
    known = facts.clusters or {}
    wrong = []
    for key, tls in sorted(expected.items()):
        if auto and tls.demands_mesh_tls:
            wrong.append(f"{facts.pod.name} is under a rule that demands mutual TLS for {key}")
        elif key in known and known[key] is not tls.cluster:
            wrong.append(f"{facts.pod.name} has {known[key].value} for {key}, not {tls.cluster.value} yet")
        elif key not in known and key.split("/", 1)[0] in known:
            wrong.append(f"{facts.pod.name} does not have {key} yet")
    return tuple(wrong)


def expected_endpoints(
    service: Resource, pods: Iterable[Pod], modes: Mapping[str, EffectiveMode]
) -> dict[str, frozenset[tuple[str, bool]]]:
    """For each port of a service, as `host:port`: the addresses that callers must have, and whether by mutual TLS.

    `modes` holds the effective mode of each pod, by name.
    """
    serving = [p for p in pods if p.ready and not p.terminating and hosts.selects(service, p.ref.namespace, p.labels)]
    out = {}
    for port in hosts.ports(service):
        members = set()
        for pod in serving:
            number = hosts.container_port(dig(pod.doc, "spec", default={}), port.target)
            if number is not None:
                tls = membership.is_meshed(pod) and modes[pod.ref.name].of(number) is not Mode.DISABLE
                members.add((f"{pod.ip}:{number}", tls))
        out[f"{hosts.fqdn(service)}:{port.number}"] = frozenset(members)
    return out


def endpoint_differences(
    facts: ProxyFacts,
    expected: Mapping[str, frozenset[tuple[str, bool]]],
    decreed: Mapping[str, ClientTls] | None = None,
) -> tuple[str, ...]:
    """Compare the endpoints that a caller's proxy has with the pods that serve now.

    Marks do not count where `decreed` says that a rule of the caller decides about TLS, whatever the pods are.
    """
    wrong = []
    for key, wanted in sorted(expected.items()):
        known: tuple[Endpoint, ...] | None = (facts.endpoints or {}).get(key)
        if known is None:
            continue
        rule = (decreed or {}).get(key)
        has = frozenset((e.address, e.tls) for e in known)
        if rule is not None and (rule.mode or rule.marked):
            wanted, has = (frozenset((address, False) for address, _ in side) for side in (wanted, has))
        late = sorted(address for address, _ in wanted - has)
        stale = sorted(address for address, _ in has - wanted)
        if late:
            wrong.append(f"{facts.pod.name} does not have {', '.join(late)} for {key} yet")
        elif stale:
            wrong.append(f"{facts.pod.name} still has {', '.join(stale)} for {key}")
    return tuple(wrong)


def enforces(policy: Resource, pod: Pod, root_namespace: str) -> bool:
    """Tell whether the pod's proxy must enforce the AuthorizationPolicy."""
    return authorization.selects(policy, pod.ref.namespace, pod.labels, root_namespace)


def authz_differences(facts: ProxyFacts, policy: Resource) -> tuple[str, ...]:
    """Compare, rule by rule, whether a server's proxy judges callers by identity with what the policy says now.

    Rules that the proxy does not hold are not compared: istiod leaves out those that do not fit a port's protocol.
    """
    name = f"{policy.ref.namespace}/{policy.ref.name}"
    enforced = (facts.authz or {}).get(name)
    if enforced is None:
        return (f"{facts.pod.name} does not enforce {name} yet",)
    should = authorization.reads_identity(policy)
    return tuple(
        f"{facts.pod.name} {'still judges' if judges else 'does not judge'} callers of {name}#{index} by identity"
        for index, judges in enforced.items()
        if judges is not (index in should)
    )


def membership_difference(pod: Pod, *, meshed: bool, revision: str = "") -> str:
    """Say what is wrong with a pod's membership, "" when nothing is; seen on its containers and the injector's mark.

    `revision` is the one that its proxy must come from, "" for any.
    """
    marked = names.STATUS_ANNOTATION in pod.annotations
    carries = membership.proxy_kind(pod) is not membership.ProxyKind.NONE
    if meshed and carries and revision and membership.revision_of(pod) != revision:
        return f"{pod.ref.name} has a sidecar of revision {membership.revision_of(pod) or 'unknown'}, not {revision}"
    if meshed:
        return "" if carries else f"{pod.ref.name} has no sidecar"
    return f"{pod.ref.name} still has a sidecar" if carries or marked else ""


def probe_pod(workload: Workload) -> dict[str, object]:
    """The next pod of a workload, for a create by dry run."""
    template = workload.template
    metadata = dict(template.get("metadata", {}))
    metadata.pop("creationTimestamp", None)
    metadata |= {"generateName": "meshguard-probe-", "namespace": workload.ref.namespace}
    spec = {key: value for key, value in template.get("spec", {}).items() if key != "nodeName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def representatives(workloads: Iterable[Workload]) -> tuple[Workload, ...]:
    """One workload for each distinct question that admission can be asked about these workloads."""
    chosen: dict[tuple[str, ...], Workload] = {}
    for workload in workloads:
        labels, annotations = workload.template_labels, workload.template_annotations
        key = (
            workload.ref.namespace,
            labels.get(names.POD_INJECT, ""),
            labels.get(names.REVISION, ""),
            annotations.get(names.POD_INJECT, ""),
            annotations.get(names.TEMPLATES_ANNOTATION, ""),
        )
        chosen.setdefault(key, workload)
    return tuple(chosen.values())
