"""The tables of hazards: every rule is called, and every row of the smaller lists finds what it is there for."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar import hazards, sharing
from meshguard.mesh.istio_sidecar.control_plane import deaf_validators, istiods
from meshguard.mesh.istio_sidecar.hazards import HAZARDS, HAZARDS_OF_RESTART, callers, policies, workloads, world
from meshguard.mesh.istio_sidecar.peer_authentication import EffectiveMode, Mode
from meshguard.mesh.istio_sidecar.proofs import inbound_differences
from meshguard.mesh.istio_sidecar.relax import server_first_ports
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.traffic import Watch
from meshguard.mesh.protocol import Consents
from meshguard.model.change import ABSENT, Change
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.proxy import InboundPort, ProxyFacts
from meshguard.model.snapshot import OpenRun
from tests.builders import World, obj, policy, shop

CART = Ref("Deployment", "shop-core", "cart")


def found(rule: hazards.Rule, made: World, blind: Mapping[str, str] | None = None) -> list[Finding]:
    snapshot = replace(made.snapshot(), blind=blind or {})
    return list(rule(Scope(snapshot, frozenset({"shop-core"})), Consents()))


def test_every_rule_of_every_module_is_called_on_the_way_out() -> None:
    modules = [import_module(f"{hazards.__name__}.{m.name}") for m in pkgutil.iter_modules(hazards.__path__)]
    written = {
        function
        for module in modules
        for function in vars(module).values()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and function.__annotations__.get("return") == "Iterator[Finding]"
    }
    assert written - set(HAZARDS) == set()


def test_a_restart_alone_has_fewer_things_to_fear() -> None:
    names = ["is_down", "unsupported", "skew", "gitops", "blind", "interruptions", "cannot_restart", "held_back"]
    names += ["waits_for_a_person", "bound", "disruption_budgets", "no_room", "unseen_nodes"]
    assert [rule.__name__ for rule in HAZARDS_OF_RESTART] == names


@pytest.mark.parametrize(
    "kind",
    [
        *("Namespace", "Pod", "Service", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ConfigMap"),
        *("MutatingWebhookConfiguration", "PeerAuthentication", "DestinationRule", "AuthorizationPolicy"),
        *("RequestAuthentication", "Sidecar", "ServiceEntry", "VirtualService", "EnvoyFilter", "WasmPlugin"),
    ],
)
def test_a_kind_that_decides_and_could_not_be_read_blocks(kind: str) -> None:
    assert [f.blocks for f in found(world.blind, shop(), {kind: "forbidden"})] == [True]


def test_an_older_argo_marks_its_objects_by_a_label() -> None:
    mark = {"argocd.argoproj.io/instance": "shop"}
    own = policy("PeerAuthentication", "shop-core", "own", {"mtls": {"mode": "STRICT"}}, labels=mark)
    assert "argocd app set shop" in found(world.gitops, shop().add(own))[0].detail


@pytest.mark.parametrize(
    "word", ["quitquitquit", "linkerd-await", ":15000", ":15020", ":15021", ":15090", "pilot-agent"]
)
def test_each_word_by_which_an_application_talks_to_its_proxy(word: str) -> None:
    made = shop().deployment("shop-core", "odd", container={"command": ["sh", "-c", f"run {word} now"]})
    assert [f.detail for f in found(workloads.talks_to_its_proxy, made)] == [
        f"its template mentions {word.removeprefix(':')}"
    ]


@pytest.mark.parametrize("port", [15000, 15020, 15021, 15090])
def test_each_port_of_the_proxy_that_a_probe_may_ask(port: int) -> None:
    made = shop().deployment("shop-core", "odd", container={"livenessProbe": {"tcpSocket": {"port": port}}})
    assert [f.detail for f in found(workloads.talks_to_its_proxy, made)] == [f"its template mentions {port}"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"replicas": 1}, "one replica"),
        ({"spec": {"strategy": {"type": "Recreate"}}}, "Recreate"),
        ({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}}}}, "no room to surge"),
        ({"kind": "DaemonSet"}, "a DaemonSet that stops"),
        ({"container": {"ports": [{"containerPort": 8080, "hostPort": 80}]}}, "a port of the node"),
    ],
)
def test_each_reason_for_an_interruption_is_said(parts: Mapping[str, Any], words: str) -> None:
    details = [f.detail for f in found(workloads.interruptions, shop().deployment("shop-core", "odd", **parts))]
    assert any(words in detail for detail in details)


@pytest.mark.parametrize(
    ("match", "lost"),
    [
        ({"context": "SIDECAR_INBOUND"}, True),
        ({"context": "ANY"}, True),
        ({}, True),
        ({"context": "SIDECAR_OUTBOUND"}, False),
        ({"context": "GATEWAY"}, False),
    ],
)
def test_an_envoy_filter_on_what_a_server_receives_goes_with_it(match: Mapping[str, str], lost: bool) -> None:
    limit = policy("EnvoyFilter", "shop-core", "limit", {"configPatches": [{"match": match}]})
    assert bool(found(policies.fails_open, shop().add(limit))) is lost


@pytest.mark.parametrize("setting", ["connectionPool", "outlierDetection", "loadBalancer"])
def test_each_setting_that_a_callers_proxy_lives_by(setting: str) -> None:
    rule = policy("DestinationRule", "shop-pay", "care", {"host": "payments", "trafficPolicy": {setting: {"a": 1}}})
    assert [f.detail for f in found(callers.connection_care_lost, shop().add(rule))] == [
        f"callers that leave do without its {setting}"
    ]


@pytest.mark.parametrize("group", ["security.istio.io", "networking.istio.io"])
def test_a_deaf_validator_of_either_group_of_policies_is_found(group: str) -> None:
    webhook = {
        "clientConfig": {"service": {"namespace": "istio-system", "name": "gone"}},
        "rules": [{"apiGroups": [group]}],
    }
    made = shop().add(obj("ValidatingWebhookConfiguration", "", "validator", webhooks=[webhook]))
    assert [v.ref.name for v in deaf_validators(made.snapshot())] == ["validator"]


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_an_istiod_may_be_of_either_kind(kind: str) -> None:
    made = shop().deployment("istio-system", "istiod", kind=kind, meshed=False)
    assert Ref(kind, "istio-system", "istiod") in {w.ref for w in istiods(made.snapshot())}


@pytest.mark.parametrize(("protocol", "asked"), [("tcp", True), ("mysql", True), ("http", False), ("grpc", False)])
def test_protocols_whose_server_may_speak_first(protocol: str, asked: bool) -> None:
    made = shop().deployment("shop-pay", "books", port=9999, port_name=protocol)
    ports = server_first_ports(Scope(made.snapshot(), frozenset({"shop-core"})), frozenset())
    assert (9999 in {p.port for p in ports}) is asked


@pytest.mark.parametrize("kind", ["PeerAuthentication", "DestinationRule", "AuthorizationPolicy"])
def test_edits_of_open_runs_are_thought_away_for_each_kind_of_policy(kind: str) -> None:
    ref = Ref(kind, "shop-core", "own")
    change = Change(("spec", "mark"), ABSENT, "by the run")
    run = OpenRun("R1", "ann", "OOM", "2026-11-01T03:00:00Z", ("shop-core",), {ref: (change,)})
    snapshot = shop().add(policy(kind, "shop-core", "own", {"mark": "by the run"})).snapshot([run])
    assert sharing.without_open_runs(snapshot).resources[ref].spec == {}


@pytest.mark.parametrize(
    "counter",
    ["upstream_cx_connect_fail", "upstream_cx_connect_timeout", "ssl.fail_verify_error", "ssl.connection_error"],
)
def test_each_counter_that_shows_a_caller_was_not_served(counter: str) -> None:
    watch = Watch(frozenset({"cart.shop-core"}), 10.0, 0.0)
    name = f"cluster.outbound|80||cart.shop-core.{counter}"
    watch.observe([ProxyFacts(CART, counters={name: 1})], 1.0)
    assert watch.observe([ProxyFacts(CART, counters={name: 3})], 2.0) == (f"cart: {name} rose by 2",)


@pytest.mark.parametrize(
    ("mode", "accepted"),
    [
        (Mode.STRICT, InboundPort(False, True)),
        (Mode.PERMISSIVE, InboundPort(True, True)),
        (Mode.DISABLE, InboundPort(True, False)),
    ],
)
def test_what_a_server_accepts_in_each_mode(mode: Mode, accepted: InboundPort) -> None:
    effective = EffectiveMode(mode, {})
    assert inbound_differences(ProxyFacts(CART, inbound={0: accepted}), effective) == ()
    other = InboundPort(not accepted.plaintext, True)
    assert inbound_differences(ProxyFacts(CART, inbound={0: other}), effective) != ()
