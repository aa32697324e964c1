"""What leaving servers listen on: seen where a Sidecar object or a probe says it, said to be unknown elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.hazards.listeners import RULES
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from tests.builders import World, policy, shop

EXEC: dict[str, Any] = {"readinessProbe": {"exec": {"command": ["true"]}}}


def found(world: World, namespace: str = "shop-web") -> dict[str, str]:
    scope = Scope(world.snapshot(), frozenset({namespace}))
    return {f.code.id: f.detail for rule in RULES for f in rule(scope, Consents())}


def odd(**parts: Any) -> World:
    return shop().deployment("shop-web", "odd", **parts)


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        ("127.0.0.1:9000", "MG214"),
        ("unix:///run/app.sock", "MG214"),
        ("127.0.0.1:8080", "MG215"),
        ("[::1]:8080", "MG215"),
        ("0.0.0.0:8080", None),
        ("", None),
    ],
)
def test_ports_that_a_sidecar_object_moves(endpoint: str, code: str | None) -> None:
    listener = {"port": {"number": 8080, "protocol": "HTTP"}, "defaultEndpoint": endpoint}
    world = shop().add(policy("Sidecar", "shop-web", "own", {"ingress": [listener]}))
    assert list(found(world)) == ([code] if code else [])


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"port": 8080}},
        {"tcpSocket": {"port": 8080}},
        {"grpc": {"port": 8080}},
        {"tcpSocket": {"port": "http"}},
    ],
)
def test_a_port_that_the_kubelet_probes_is_known(probe: dict[str, Any]) -> None:
    assert found(odd(container={"readinessProbe": probe})) == {}


@pytest.mark.parametrize("container", [EXEC, {"readinessProbe": {"httpGet": {"port": 8081}}}, {"readinessProbe": {}}])
def test_a_port_that_nobody_probes_from_outside_is_said_to_be_unknown(container: dict[str, Any]) -> None:
    assert found(odd(container=container)) == {
        "MG226": "the kubelet does not probe these ports, so it is unknown: Deployment odd (port 8080)"
    }


def test_what_no_service_leads_to_is_nobodys_concern() -> None:
    world = odd(container=EXEC)
    world.objects[:] = [o for o in world.objects if (o.ref.kind, o.ref.name) != ("Service", "odd")]
    assert found(world) == {}


def test_the_switch_by_which_all_proxies_forward_to_the_loopback_is_named() -> None:
    istiod = {"image": "pilot:1.31.0", "env": [{"name": "PILOT_ENABLE_INBOUND_PASSTHROUGH"}]}
    world = odd(container=EXEC).deployment("istio-system", "istiod", port=15017, meshed=False, container=istiod)
    assert found(world)["MG226"].endswith(
        "; Deployment istio-system/istiod sets PILOT_ENABLE_INBOUND_PASSTHROUGH, by which every proxy may forward to "
        "127.0.0.1"
    )
