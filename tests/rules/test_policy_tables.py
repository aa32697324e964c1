"""The tables of policies: each setting that is inherited, each part of a route that is lost, each field of a lift."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.headless import held_hosts
from meshguard.mesh.istio_sidecar.lifts import LIFTED, lift_of
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.traffic_policy import settings_at
from meshguard.mesh.istio_sidecar.virtual_services import routing
from meshguard.model.objects import Ref, Workload
from tests.builders import World, policy, shop


@pytest.mark.parametrize("setting", ["connectionPool", "loadBalancer", "outlierDetection", "tls"])
def test_each_setting_of_a_subsets_port_entry_replaces_the_hosts_even_by_silence(setting: str) -> None:
    host = {setting: {"of": "host"}}
    own = {"portLevelSettings": [{"port": {"number": 80}, setting: {"of": "port"}}]}
    assert settings_at(host, own, 80) == {setting: {"of": "port"}}
    assert settings_at(host, {"portLevelSettings": [{"port": {"number": 80}}]}, 80) == {}
    assert settings_at(host, {setting: {"of": "subset"}}, 80) == {setting: {"of": "subset"}}


@pytest.mark.parametrize("setting", ["tunnel", "proxyProtocol", "retryBudget"])
def test_each_setting_without_a_port_level_is_overridden_by_the_subset_and_inherited_otherwise(setting: str) -> None:
    host = {setting: {"of": "host"}}
    assert settings_at(host, {setting: {"of": "subset"}}, 80) == {setting: {"of": "subset"}}
    assert settings_at(host, {}, 80) == host


@pytest.mark.parametrize("part", ["rewrite", "redirect", "directResponse", "fault", "corsPolicy", "headers"])
def test_each_part_of_a_route_that_changes_the_answer(part: str) -> None:
    assert routing(policy("VirtualService", "shop-core", "cart", {"http": [{part: {}}]})).elsewhere == (part,)


@pytest.mark.parametrize("part", ["retries", "timeout", "mirror", "mirrors"])
def test_each_part_of_a_route_that_cares_for_the_call(part: str) -> None:
    assert routing(policy("VirtualService", "shop-core", "cart", {"http": [{part: {}}]})).care == (part,)


@pytest.mark.parametrize(
    ("protocol", "held"), [("http", True), ("http2", True), ("grpc", True), ("grpc-web", True), ("tcp", False)]
)
def test_callers_of_a_headless_service_hold_on_where_all_its_ports_are_http(protocol: str, held: bool) -> None:
    made = shop().deployment("shop-pay", "books", headless=True, port_name=protocol)
    hosts = held_hosts(Scope(made.snapshot(), frozenset({"shop-pay"})))
    assert ("books.shop-pay.svc.cluster.local" in {host.name for host in hosts}) is held


def lifted(kind: str, spec: dict[str, Any]) -> set[tuple[str | int, ...]]:
    made = World().namespace("shop").deployment("shop", "odd", kind=kind, spec=spec)
    workload = made.snapshot().resources[Ref(kind, "shop", "odd")]
    assert isinstance(workload, Workload)
    lift = lift_of(workload, room=False)
    return {change.path for change in lift.changes} if lift else set()


def test_every_field_that_a_lift_changes_is_known_to_whoever_undoes_it() -> None:
    partition = {"updateStrategy": {"rollingUpdate": {"partition": 1}}}
    fields = lifted("StatefulSet", partition) | lifted("Deployment", {"strategy": {}})
    assert fields == set(LIFTED)
