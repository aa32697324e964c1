"""What callers lose with their proxies, each a finding with the object named."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.hazards.policies import RULES
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.findings import Finding
from meshguard.model.objects import Resource
from tests.builders import World, obj, policy, shop

PAYMENTS = "payments.shop-pay.svc.cluster.local"


def found(world: World, *namespaces: str, consents: Consents | None = None) -> dict[str, list[Finding]]:
    scope = Scope(world.snapshot(), frozenset(namespaces))
    codes: dict[str, list[Finding]] = {}
    for rule in RULES:
        for finding in rule(scope, consents or Consents()):
            codes.setdefault(finding.code.id, []).append(finding)
    return codes


def bank(**entry: Any) -> Resource:
    spec = {"hosts": ["bank.example.com"], "resolution": "DNS", "ports": [{"number": 80, "protocol": "HTTP"}], **entry}
    return policy("ServiceEntry", "shop-pay", "bank", spec)


def rule(namespace: str, host: str, **spec: Any) -> Resource:
    return policy("DestinationRule", namespace, "rule", {"host": host, **spec})


def mesh(**settings: Any) -> Resource:
    return obj("ConfigMap", "istio-system", "istio", mesh=settings)


@pytest.mark.parametrize("mode", ["SIMPLE", "MUTUAL"])
def test_tls_that_the_proxy_originates_leaks_until_it_is_accepted(mode: str) -> None:
    tls = {"mode": mode}
    for policy_of in (
        {"trafficPolicy": {"tls": tls}},
        {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": tls}]}},
        {"subsets": [{"name": "v1", "trafficPolicy": {"tls": tls}}]},
    ):
        world = shop().add(bank(), rule("shop-pay", "bank.example.com", **policy_of))
        (leak,) = found(world, "shop-pay")["MG210"]
        assert leak.blocks
        assert "bank.example.com" in leak.detail
        accepted = Consents(egress_plaintext=True)
        assert not found(world, "shop-pay", consents=accepted)["MG210"][0].blocks


def test_tls_for_hosts_that_the_leaving_namespace_does_not_see_leaks_nothing() -> None:
    tls = {"trafficPolicy": {"tls": {"mode": "SIMPLE"}}}
    hidden = shop().add(bank(exportTo=["."]), rule("shop-pay", "bank.example.com", **tls))
    assert "MG210" not in found(hidden, "shop-web")
    private = shop().add(bank(), rule("shop-pay", "bank.example.com", exportTo=["."], **tls))
    assert "MG210" not in found(private, "shop-web")


def virtual_service(*routes: dict[str, Any], **spec: Any) -> Resource:
    return policy("VirtualService", "shop-pay", "routes", {"hosts": ["payments"], "http": list(routes), **spec})


def to(host: str, **destination: str) -> dict[str, Any]:
    return {"route": [{"destination": {"host": host, **destination}}]}


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ({**to("payments"), "rewrite": {"uri": "/"}}, "MG211"),
        ({"redirect": {"uri": "/x"}}, "MG211"),
        ({**to("payments"), "fault": {"abort": {"httpStatus": 500}}}, "MG211"),
        (to("bank.example.com"), "MG211"),
        (to("payments", subset="v1"), "MG213"),
        ({**to("payments"), "retries": {"attempts": 3}}, "MG212"),
        ({**to(PAYMENTS), "timeout": "1s"}, "MG212"),
    ],
)
def test_what_a_virtual_service_did_is_lost(route: dict[str, Any], code: str) -> None:
    codes = found(shop().add(virtual_service(route)), "shop-web")
    assert {c for c in codes if c in ("MG211", "MG212", "MG213")} == {code}


def test_a_virtual_service_that_sidecars_do_not_see_changes_nothing() -> None:
    redirect = {"redirect": {"uri": "/x"}}
    for spec in ({"gateways": ["ingress"]}, {"exportTo": ["."]}, {"hosts": ["shop.example.com"]}):
        assert "MG211" not in found(shop().add(virtual_service(redirect, **spec)), "shop-web")


def test_routes_may_be_lost_with_consent() -> None:
    world = shop().add(virtual_service({"redirect": {"uri": "/x"}}))
    assert not found(world, "shop-web", consents=Consents(routing_loss=True))["MG211"][0].blocks


def test_own_certificates_towards_the_scope_are_named() -> None:
    world = shop().add(rule("load", PAYMENTS, trafficPolicy={"tls": {"mode": "MUTUAL"}}))
    assert [str(f.object) for f in found(world, "shop-pay")["MG216"]] == ["DestinationRule load/rule"]
    assert "MG216" not in found(world, "shop-core")


def test_rules_that_stand_fast_block_without_any_consent() -> None:
    subsets = [{"name": "v1", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}]
    world = shop().add(rule("shop-pay", PAYMENTS, trafficPolicy={"tls": {"mode": "DISABLE"}}, subsets=subsets))
    (finding,) = found(world, "shop-pay")["MG209"]
    assert finding.blocks
    assert not finding.code.consent


def test_without_auto_mtls_an_explicit_rule_cannot_go() -> None:
    world = shop().add(mesh(enableAutoMtls=False))
    assert [str(f.object) for f in found(world, "shop-core")["MG206"]] == ["DestinationRule shop-core/cart"]


def test_egress_control_and_names_that_proxies_give_out() -> None:
    settings = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
    dns = {"defaultConfig": {"proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}}
    codes = found(shop().add(mesh(**settings, **dns), bank()), "shop-pay")
    assert str(codes["MG221"][0].object) == "Namespace shop-pay"
    assert str(codes["MG220"][0].object) == "ServiceEntry shop-pay/bank"
    assert not {"MG220", "MG221"} & set(found(shop().add(bank()), "shop-pay"))
    assert "MG220" not in found(shop().add(mesh(**dns), bank(addresses=["192.0.2.1"])), "shop-pay")


@pytest.mark.parametrize(
    ("context", "code"), [("SIDECAR_OUTBOUND", "MG222"), ("SIDECAR_INBOUND", "MG203"), ("ANY", "MG203")]
)
def test_envoy_filters_by_what_they_act_on(context: str, code: str) -> None:
    spec = {"configPatches": [{"applyTo": "HTTP_FILTER", "match": {"context": context}}]}
    codes = found(shop().add(policy("EnvoyFilter", "shop-web", "own", spec)), "shop-web")
    assert {c for c in codes if c in ("MG203", "MG222")} == {code}


@pytest.mark.parametrize("kind", ["RequestAuthentication", "WasmPlugin", "AuthorizationPolicy"])
def test_leaving_servers_fail_open(kind: str) -> None:
    own = policy(kind, "shop-web", "own", {"selector": {"matchLabels": {"app": "storefront"}}})
    assert found(shop().add(own), "shop-web")["MG203"][0].blocks
    other = policy(kind, "shop-web", "own", {"selector": {"matchLabels": {"app": "other"}}})
    assert "MG203" not in found(shop().add(other), "shop-web")
    gateway = policy(kind, "shop-web", "own", {"targetRefs": [{"kind": "Gateway", "name": "g"}]})
    assert "MG203" not in found(shop().add(gateway), "shop-web")


def test_policies_that_only_observe_guard_nothing() -> None:
    audit = policy("AuthorizationPolicy", "shop-web", "own", {"action": "AUDIT", "rules": [{}]})
    assert "MG203" not in found(shop().add(audit), "shop-web")


def test_a_strict_server_in_the_root_namespace_is_named_and_the_mesh_policy_left_alone() -> None:
    world = shop().deployment("istio-system", "auth")
    (finding,) = found(world, "shop-web")["MG223"]
    assert str(finding.object) == "Deployment istio-system/auth"


def test_limits_ejection_and_affinity_are_told() -> None:
    settings = {"loadBalancer": {"consistentHash": {"useSourceIp": True}}, "outlierDetection": {}}
    codes = found(shop().add(rule("shop-pay", PAYMENTS, trafficPolicy=settings)), "shop-web")
    assert "loadBalancer, outlierDetection" in codes["MG218"][0].detail
