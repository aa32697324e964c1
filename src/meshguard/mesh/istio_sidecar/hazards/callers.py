"""Policy hazards of callers: what their proxies do on the way out, and what is missing when they are gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshguard.mesh.istio_sidecar import headless, hosts, virtual_services
from meshguard.mesh.istio_sidecar.client_tls import Client, distinct
from meshguard.mesh.istio_sidecar.destination_rules import rule_host
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.traffic_policy import OWN_TLS, modes_named
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Resource, Workload, dig

#: Settings of a DestinationRule that the caller's proxy lives by.
CONNECTION_CARE = ("connectionPool", "outlierDetection", "loadBalancer")


def _known_hosts(scope: Scope, patterns: Iterable[str] = ("*",)) -> Iterator[tuple[Client, hosts.MeshHost]]:
    """The callers that leave, each with the hosts of these patterns that its proxy knows."""
    concerned = hosts.among(hosts.mesh_hosts(scope.snapshot), patterns)
    leaving = (Client(w.ref.namespace, w.template_labels) for w in scope.leaving)
    for client in distinct(scope.snapshot, leaving):
        for host in concerned:
            if scope.reach.knows(client.namespace, client.labels, host):
                yield client, host


def _patterns_of(rules: Iterable[Resource]) -> frozenset[str]:
    return frozenset(map(rule_host, rules))


def egress_plaintext(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Rules by which a leaving caller's proxy encrypts for a server that terminates TLS: the application does not."""
    found: dict[Ref, set[str]] = {}
    originating = (r for r in scope.snapshot.of_kind("DestinationRule") if modes_named(r.spec) & set(OWN_TLS))
    for client, host in _known_hosts(scope, _patterns_of(originating)):
        if any(tls.originates for tls in scope.client_side.towards(client, host).values()):
            rule = scope.client_side.rules.for_client(client.namespace, client.labels, host)
            for source in rule.in_effect() if rule else ():
                if modes_named(source.spec) & set(OWN_TLS):
                    found.setdefault(source.ref, set()).add(host.name)
    for ref, named in sorted(found.items()):
        detail = f"TLS to {', '.join(sorted(named))} is added by the proxies that leave; what they send is plaintext"
        yield Finding(CODES["MG210"], ref, detail, accepted=consents.egress_plaintext)


def routes_lost(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """VirtualServices that leaving callers do without."""
    for service in scope.snapshot.of_kind("VirtualService"):
        pairs = _known_hosts(scope, virtual_services.patterns(service))
        if not any(virtual_services.concerns(service, client.namespace) for client, _host in pairs):
            continue
        lost = virtual_services.routing(service)
        if lost.elsewhere:
            words = f"callers that leave do without its {', '.join(lost.elsewhere)}"
            yield Finding(CODES["MG211"], service.ref, words, accepted=consents.routing_loss)
        if lost.split:
            yield Finding(
                CODES["MG213"], service.ref, f"callers that leave reach every subset: {', '.join(lost.split)}"
            )
        if lost.care:
            yield Finding(CODES["MG212"], service.ref, f"callers that leave do without its {', '.join(lost.care)}")


def connection_care_lost(scope: Scope, _: Consents) -> Iterator[Finding]:
    """DestinationRules whose limits, ejection and affinity leaving callers do without."""
    found: dict[Ref, set[str]] = {}
    caring = (r for r in scope.snapshot.of_kind("DestinationRule") if set(CONNECTION_CARE) & _host_level(r).keys())
    for client, host in _known_hosts(scope, _patterns_of(caring)):
        rule = scope.client_side.rules.for_client(client.namespace, client.labels, host)
        for source in rule.in_effect() if rule else ():
            named = set(CONNECTION_CARE) & _host_level(source).keys()
            if named:
                found.setdefault(source.ref, set()).update(named)
    for ref, parts in sorted(found.items()):
        yield Finding(CODES["MG218"], ref, f"callers that leave do without its {', '.join(sorted(parts))}")


def _host_level(rule: Resource) -> Mapping[str, Any]:
    return dig(rule.doc, "spec", "trafficPolicy", default={})  # type: ignore[no-any-return]


def own_tls_towards_the_scope(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Rules by which callers encrypt with certificates of their own choice towards hosts of the scope."""
    found: dict[Ref, set[str]] = {}
    originating = (r for r in scope.snapshot.of_kind("DestinationRule") if modes_named(r.spec) & set(OWN_TLS))
    concerned = hosts.among(scope.hosts, _patterns_of(originating))
    for client in scope.clients:
        for host in concerned:
            if any(tls.originates for tls in scope.client_side.towards(client, host).values()):
                rule = scope.client_side.rules.for_client(client.namespace, client.labels, host)
                for source in rule.in_effect() if rule else ():
                    if modes_named(source.spec) & set(OWN_TLS):
                        found.setdefault(source.ref, set()).add(host.name)
    for ref, named in sorted(found.items()):
        yield Finding(CODES["MG216"], ref, f"callers of {', '.join(sorted(named))} encrypt by this rule")


def one_answer_for_all_pods(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Headless services of leaving servers, and others that callers reach without a choice of endpoints."""
    held = headless.held_hosts(scope)
    for host in scope.hosts:
        if host in held:
            yield Finding(CODES["MG219"], host.origin, f"callers of {host.name} get tls DISABLE until the restore")
        elif host.passthrough and not host.external and _served_by(scope.leaving, host):
            yield Finding(CODES["MG219"], host.origin, f"callers of {host.name} follow as its pods change")


def _served_by(workloads: Iterable[Workload], host: hosts.MeshHost) -> bool:
    return any(host.selects(w.ref.namespace, w.template_labels) for w in workloads)


def names_only_the_mesh_knows(scope: Scope, _: Consents) -> Iterator[Finding]:
    """ServiceEntry hosts without an address: leaving callers must find them by DNS."""
    if not scope.mesh.dns_capture:
        return
    pairs = _known_hosts(scope)
    for ref in sorted({host.origin for _client, host in pairs if host.origin.kind == "ServiceEntry"}):
        if not dig(scope.snapshot.resources[ref].doc, "spec", "addresses"):
            yield Finding(CODES["MG220"], ref, "its hosts have an address that only proxies give out")


def egress_control_lost(scope: Scope, _: Consents) -> Iterator[Finding]:
    """REGISTRY_ONLY: what leaves may call everything."""
    first = {w.ref.namespace: w for w in reversed(scope.leaving)}
    for namespace, told in sorted(first.items()):
        sidecar = scope.reach.sidecar_of(namespace, told.template_labels)
        own = dig(sidecar.doc, "spec", "outboundTrafficPolicy", "mode") if sidecar else None
        if own == "REGISTRY_ONLY" or (own is None and scope.mesh.registry_only):
            yield Finding(CODES["MG221"], Ref("Namespace", "", namespace), "its proxies let out what the mesh knows")


def outbound_filters_lost(scope: Scope, _: Consents) -> Iterator[Finding]:
    """EnvoyFilters on what leaving callers send."""
    for envoy_filter in scope.snapshot.of_kind("EnvoyFilter"):
        patches = dig(envoy_filter.doc, "spec", "configPatches", default=[])
        if not any(dig(patch, "match", "context") == "SIDECAR_OUTBOUND" for patch in patches):
            continue
        wanted = dig(envoy_filter.doc, "spec", "workloadSelector", "labels", default={})
        spaces = (envoy_filter.ref.namespace,)
        lost = [
            w
            for w in scope.leaving
            if (w.ref.namespace in spaces or envoy_filter.ref.namespace == scope.mesh.root_namespace)
            and wanted.items() <= w.template_labels.items()
        ]
        if lost:
            listed = ", ".join(str(w.ref) for w in lost)
            yield Finding(CODES["MG222"], envoy_filter.ref, f"it no longer shapes what {listed} sends")


RULES = (
    egress_plaintext,
    routes_lost,
    connection_care_lost,
    own_tls_towards_the_scope,
    one_answer_for_all_pods,
    names_only_the_mesh_knows,
    egress_control_lost,
    outbound_filters_lost,
)
