"""What the parsers make of Envoy's own words. The fixtures are what an Envoy 1.40 said, with the noise cut out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from meshguard.model.proxy import Endpoint, InboundPort, UpstreamTls
from meshguard.signals.authz import authz_rules
from meshguard.signals.inbound import inbound_listener, inbound_ports
from meshguard.signals.upstream import cluster_tls, cluster_types, endpoints, service_key

PROBE = "probe.signals-try.svc.cluster.local"
HEADLESS = "probe-headless.signals-try.svc.cluster.local"


def said(name: str) -> dict[str, Any]:
    text = (Path(__file__).parent / "fixtures" / f"{name}.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


def test_under_strict_every_port_demands_a_certificate() -> None:
    ports = inbound_ports(inbound_listener(said("inbound_strict")))
    assert ports == {
        0: InboundPort(plaintext=False, mutual_tls=True),
        8080: InboundPort(plaintext=False, mutual_tls=True),
    }


def test_permissive_takes_both_and_a_disabled_port_takes_plaintext_without_sniffing() -> None:
    ports = inbound_ports(inbound_listener(said("inbound_permissive")))
    assert ports == {
        0: InboundPort(plaintext=True, mutual_tls=True, sniffs=True),
        7070: InboundPort(plaintext=True, mutual_tls=False, sniffs=False),
        8080: InboundPort(plaintext=True, mutual_tls=True, sniffs=True),
    }


def test_a_listener_that_only_warms_or_drains_proves_nothing() -> None:
    for state in ("warming_state", "draining_state"):
        dump = said("inbound_strict")
        dump["configs"][0][state] = dump["configs"][0].pop("active_state")
        assert inbound_ports(inbound_listener(dump)) == {}


def test_a_gateway_has_no_inbound_listener() -> None:
    assert inbound_ports(inbound_listener({})) == {}
    assert authz_rules(inbound_listener({})) == {}


def test_tls_that_is_passed_through_is_neither_plaintext_nor_mutual() -> None:
    chain = {"name": "x", "filter_chain_match": {"destination_port": 8443, "transport_protocol": "tls"}}
    assert inbound_ports({"filter_chains": [chain]})[8443] == InboundPort(False, False, sniffs=False)


def test_tls_without_a_demand_for_a_certificate_is_not_mutual() -> None:
    listener = copy.deepcopy(dict(inbound_listener(said("inbound_strict"))))
    for chain in listener["filter_chains"]:
        if "transport_socket" in chain:
            chain["transport_socket"]["typed_config"]["require_client_certificate"] = False
    assert not any(port.mutual_tls for port in inbound_ports(listener).values())


@pytest.mark.parametrize(
    ("disabled", "sniffing"),
    [
        ({"destination_port_range": {"start": 7070, "end": 7071}}, {0, 8080}),
        ({"not_match": {"destination_port_range": {"start": 7070, "end": 7071}}}, {7070}),
        (
            {
                "or_match": {
                    "rules": [
                        {"destination_port_range": {"start": 7070, "end": 7071}},
                        {"destination_port_range": {"start": 8080, "end": 8081}},
                    ]
                }
            },
            {0},
        ),
        (
            {"and_match": {"rules": [{"any_match": True}, {"destination_port_range": {"start": 8080, "end": 8081}}]}},
            {0, 7070},
        ),
        (None, {0, 7070, 8080}),
    ],
)
def test_an_inspector_sniffs_where_it_is_not_disabled(disabled: dict[str, Any] | None, sniffing: set[int]) -> None:
    inspector = {"name": "envoy.filters.listener.tls_inspector"} | ({"filter_disabled": disabled} if disabled else {})
    chains = [
        {"name": "x", "filter_chain_match": {"destination_port": port} if port else {}} for port in (0, 7070, 8080)
    ]
    ports = inbound_ports({"filter_chains": chains, "listener_filters": [inspector]})
    assert {port for port, facts in ports.items() if facts.sniffs} == sniffing


def test_a_predicate_that_we_do_not_know_is_an_error_not_a_guess() -> None:
    inspector = {"name": "envoy.filters.listener.tls_inspector", "filter_disabled": {"moon_phase": "full"}}
    with pytest.raises(ValueError, match="moon_phase"):
        inbound_ports({"filter_chains": [{"name": "x"}], "listener_filters": [inspector]})


def test_policies_say_which_of_their_rules_judge_who_calls() -> None:
    assert authz_rules(inbound_listener(said("inbound_permissive"))) == {
        "signals-try/callers": {0: True, 1: False},
        "signals-try/empty": {},
        "signals-try/nobody-from": {0: True},
    }


def test_a_condition_on_the_server_name_judges_who_calls_too() -> None:
    listener = {
        "filter_chains": [
            {
                "filters": [
                    {
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
                            "rules": {
                                "policies": {
                                    "ns[a]-policy[b]-rule[3]": {
                                        "permissions": [{"requested_server_name": {"exact": "outbound_.80_._.b"}}],
                                        "principals": [{"any": True}],
                                    }
                                }
                            },
                        }
                    }
                ]
            }
        ]
    }
    assert authz_rules(listener) == {"a/b": {3: True}}


def test_dry_run_rules_are_read_like_enforced_ones() -> None:
    listener = inbound_listener(said("inbound_strict"))
    shadowed = json.loads(json.dumps(listener).replace('"rules": {"policies"', '"shadow_rules": {"policies"'))
    assert authz_rules(shadowed) == authz_rules(listener) == {"shop-pay/payments-callers": {0: True}}


def test_how_a_client_encrypts() -> None:
    assert cluster_tls(said("clusters")) == {
        f"{PROBE}:80": UpstreamTls.ALWAYS,
        f"{PROBE}:80/v1": UpstreamTls.ALWAYS,
        f"{PROBE}:80/v2": UpstreamTls.NEVER,
        f"{PROBE}:7070": UpstreamTls.NEVER,
        f"{PROBE}:7070/v1": UpstreamTls.NEVER,
        f"{PROBE}:7070/v2": UpstreamTls.NEVER,
        # One of the two pods has no sidecar: for a headless service that means plaintext to all of them.
        f"{HEADLESS}:8080": UpstreamTls.NEVER,
    }


def socket(name: str, **config: Any) -> dict[str, Any]:
    return {"name": f"envoy.transport_sockets.{name}", "typed_config": config}


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (
            {
                "transport_socket_matches": [
                    {"match": {"tlsMode": "istio"}, "transport_socket": socket("tls")},
                    {"match": {}, "transport_socket": socket("raw_buffer")},
                ]
            },
            UpstreamTls.PER_ENDPOINT,
        ),
        (
            {
                "transport_socket_matches": [
                    {"match": {"tunnel": "http"}, "transport_socket": socket("internal_upstream")},
                    {"match": {}, "transport_socket": socket("tls")},
                ]
            },
            UpstreamTls.ALWAYS,
        ),
        (
            {
                "transport_socket_matches": [
                    {"match": {"tunnel": "http"}, "transport_socket": socket("internal_upstream")},
                    {"match": {}, "transport_socket": socket("raw_buffer")},
                ]
            },
            UpstreamTls.NEVER,
        ),
        (
            {"transport_socket": socket("upstream_proxy_protocol", transport_socket=socket("tls"))},
            UpstreamTls.ALWAYS,
        ),
        ({"transport_socket": socket("raw_buffer")}, UpstreamTls.NEVER),
        ({}, UpstreamTls.NEVER),
    ],
)
def test_every_shape_of_transport_socket(cluster: dict[str, Any], expected: UpstreamTls) -> None:
    dump = {"configs": [{"cluster": {"name": "outbound|80||host", **cluster}}]}
    assert cluster_tls(dump) == {"host:80": expected}


def test_endpoints_carry_the_mark_of_their_pod() -> None:
    known = endpoints(said("endpoints"), cluster_types(said("clusters")))
    tls = [[endpoint.tls for endpoint in known[f"{PROBE}:80{subset}"]] for subset in ("", "/v1", "/v2")]
    assert tls == [[False, True], [True], [False]]
    assert all(endpoint.healthy for found in known.values() for endpoint in found)


def test_a_headless_service_has_no_list_of_endpoints() -> None:
    known = endpoints(said("endpoints"), cluster_types(said("clusters")))
    assert f"{HEADLESS}:8080" not in known


@pytest.mark.parametrize(
    ("status", "healthy"), [("HEALTHY", True), ("UNHEALTHY", False), ("DRAINING", False), (None, True)]
)
def test_an_endpoint_that_drains_is_not_healthy(status: str | None, healthy: bool) -> None:
    member: dict[str, Any] = {"endpoint": {"address": {"socket_address": {"address": "fd00::1", "port_value": 80}}}}
    if status:
        member["health_status"] = status
    dump = {
        "configs": [{"endpoint_config": {"cluster_name": "outbound|80||h", "endpoints": [{"lb_endpoints": [member]}]}}]
    }
    assert endpoints(dump, {"h:80": "EDS"}) == {"h:80": (Endpoint("[fd00::1]:80", False, healthy),)}


def test_clusters_that_are_no_services_have_no_key() -> None:
    assert [service_key(name) for name in ("BlackHoleCluster", "inbound|8080||", "outbound|80|v1|h", "xds-grpc")] == [
        "",
        "",
        "h:80/v1",
        "",
    ]
