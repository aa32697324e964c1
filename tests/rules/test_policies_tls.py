"""Effective TLS by Istio's own merge rules, and edits in which TLS alone differs; compared with istiod by the proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar import hosts
from meshguard.mesh.istio_sidecar.client_tls import Client, ClientSide, ClientTls
from meshguard.mesh.istio_sidecar.mesh_config import MeshConfig
from meshguard.mesh.istio_sidecar.peer_authentication import Mode, PeerPolicies
from meshguard.mesh.istio_sidecar.reach import Reach
from meshguard.mesh.istio_sidecar.tls_relaxation import PLACEHOLDER, relax
from meshguard.model.change import ABSENT
from meshguard.model.objects import Resource
from meshguard.model.proxy import UpstreamTls
from tests.builders import World, policy, shop

MUTUAL = {"tls": {"mode": "ISTIO_MUTUAL"}}
OFF = {"tls": {"mode": "DISABLE"}}
POOL = {"connectionPool": {"tcp": {"maxConnections": 7}}}
CART = "cart.shop-core.svc.cluster.local"
PAYMENTS = "payments.shop-pay.svc.cluster.local"
OLDER, YOUNGER = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"


def rule(namespace: str, name: str, host: str, **parts: Any) -> Resource:
    created = parts.pop("created", OLDER)
    return policy("DestinationRule", namespace, name, {"host": host, **parts}, created=created)


def at_port(number: int, **settings: Any) -> dict[str, Any]:
    return {"port": {"number": number}, **settings}


def towards(
    world: World,
    namespace: str = "shop-web",
    host: str = PAYMENTS,
    mesh: MeshConfig | None = None,
    labels: Mapping[str, str] | None = None,
) -> Mapping[str, ClientTls]:
    snapshot = world.snapshot()
    known = next(h for h in hosts.mesh_hosts(snapshot) if h.name == host)
    return ClientSide(snapshot, mesh or MeshConfig()).towards(Client(namespace, labels or {}), known)


def mode(world: World, namespace: str = "shop-web", host: str = PAYMENTS, **labels: str) -> str:
    return towards(world, namespace, host, labels=labels)[f"{host}:80"].mode


# Which rule is in effect.


def test_the_callers_namespace_comes_before_the_services_and_that_before_the_root() -> None:
    world = shop().add(rule("istio-system", "all", "*.local", trafficPolicy=OFF))
    assert mode(world) == "DISABLE"
    world.add(rule("shop-pay", "own", "payments", trafficPolicy=MUTUAL))
    assert mode(world) == "ISTIO_MUTUAL"
    world.add(rule("shop-web", "mine", "*.local", trafficPolicy={"tls": {"mode": "SIMPLE"}}))
    assert mode(world) == "SIMPLE"
    assert mode(world, "shop-core") == "ISTIO_MUTUAL"


def test_a_rule_of_a_third_namespace_is_nobodys() -> None:
    assert mode(shop().add(rule("load", "far", PAYMENTS, trafficPolicy=MUTUAL)), "shop-web") == ""


@pytest.mark.parametrize(
    ("export_to", "expected"),
    [([], "DISABLE"), (["*"], "DISABLE"), (["."], ""), (["shop-web"], "DISABLE"), (["x"], "")],
)
def test_rules_are_seen_by_whom_they_are_exported_to(export_to: list[str], expected: str) -> None:
    assert mode(shop().add(rule("shop-pay", "own", PAYMENTS, trafficPolicy=OFF, exportTo=export_to))) == expected


def test_a_more_specific_host_that_is_not_exported_hides_the_wildcard_behind_it() -> None:
    world = shop().add(
        rule("shop-pay", "wide", "*.shop-pay.svc.cluster.local", trafficPolicy=MUTUAL),
        rule("shop-pay", "exact", PAYMENTS, trafficPolicy=OFF, exportTo=["load"]),
    )
    assert (mode(world), mode(world, "load")) == ("", "DISABLE")


def test_a_short_name_is_completed_and_a_dotted_one_is_not() -> None:
    assert mode(shop().add(rule("shop-pay", "own", "payments", trafficPolicy=OFF))) == "DISABLE"
    assert mode(shop().add(rule("shop-pay", "own", "payments.shop-pay", trafficPolicy=OFF))) == ""


def test_rules_for_one_host_merge_and_the_oldest_host_level_counts() -> None:
    world = shop().add(
        rule("shop-pay", "b", PAYMENTS, trafficPolicy=OFF, created=OLDER),
        rule(
            "shop-pay",
            "a",
            PAYMENTS,
            trafficPolicy=MUTUAL,
            created=YOUNGER,
            subsets=[{"name": "v1", "trafficPolicy": MUTUAL}],
        ),
    )
    found = towards(world)
    assert (found[f"{PAYMENTS}:80"].mode, found[f"{PAYMENTS}:80/v1"].mode) == ("DISABLE", "ISTIO_MUTUAL")


def test_a_younger_rule_gives_the_host_level_where_the_older_has_none() -> None:
    world = shop().add(
        rule("shop-pay", "a", PAYMENTS, subsets=[{"name": "v1"}], created=OLDER),
        rule("shop-pay", "b", PAYMENTS, trafficPolicy=OFF, created=YOUNGER),
    )
    assert {tls.mode for tls in towards(world).values()} == {"DISABLE"}


def test_a_rule_for_chosen_workloads_wins_for_them_alone() -> None:
    chosen = rule("shop-web", "few", PAYMENTS, trafficPolicy=OFF, workloadSelector={"matchLabels": {"app": "x"}})
    world = shop().add(chosen, rule("shop-web", "rest", PAYMENTS, trafficPolicy=MUTUAL))
    assert (mode(world, app="x"), mode(world, app="y")) == ("DISABLE", "ISTIO_MUTUAL")


# What it says.


@pytest.mark.parametrize(
    ("top", "subset", "expected"),
    [
        (MUTUAL, {}, "ISTIO_MUTUAL"),
        (MUTUAL, POOL, "ISTIO_MUTUAL"),
        (MUTUAL, OFF, "DISABLE"),
        (MUTUAL, {"portLevelSettings": [at_port(80, **POOL)]}, ""),
        (MUTUAL, {"portLevelSettings": [at_port(81, **POOL)]}, "ISTIO_MUTUAL"),
        ({**OFF, "portLevelSettings": [at_port(80, **MUTUAL)]}, {}, "ISTIO_MUTUAL"),
        ({**MUTUAL, "portLevelSettings": [at_port(80, **POOL)]}, {}, ""),
        ({**POOL, "tls": {}}, {}, "DISABLE"),
    ],
)
def test_subsets_inherit_setting_by_setting_and_port_entries_not_at_all(
    top: dict[str, Any], subset: dict[str, Any], expected: str
) -> None:
    subsets = [{"name": "v1", **({"trafficPolicy": subset} if subset else {})}]
    world = shop().add(rule("shop-pay", "own", PAYMENTS, trafficPolicy=top, subsets=subsets))
    assert towards(world)[f"{PAYMENTS}:80/v1"].mode == expected


def test_the_mark_of_endpoints_is_inherited_where_the_cluster_is_not() -> None:
    top = {**OFF, "portLevelSettings": [at_port(80, **POOL)]}
    tls = towards(shop().add(rule("shop-pay", "own", PAYMENTS, trafficPolicy=top)))[f"{PAYMENTS}:80"]
    assert (tls.cluster, tls.mode, tls.marked) == (UpstreamTls.PER_ENDPOINT, "", "DISABLE")
    assert not tls.marks(proxied=True, mode=Mode.STRICT)


def test_auto_mtls_keeps_away_where_it_is_off_or_the_namespace_is_disabled() -> None:
    key = f"{PAYMENTS}:80"
    assert towards(shop())[key].cluster is UpstreamTls.PER_ENDPOINT
    assert towards(shop(), mesh=MeshConfig(auto_mtls=False))[key].cluster is UpstreamTls.NEVER
    disabled = shop().add(policy("PeerAuthentication", "shop-pay", "off", {"mtls": {"mode": "DISABLE"}}))
    assert towards(disabled)[key].cluster is UpstreamTls.NEVER


def test_a_headless_service_is_all_or_nothing() -> None:
    def world(*, bare: bool) -> World:
        made = shop().deployment("shop-pay", "books", headless=True)
        if bare:
            made.deployment("shop-pay", "books", headless=True, meshed=False, replicas=3)
        return made

    host = "books.shop-pay.svc.cluster.local"
    assert towards(world(bare=False), host=host)[f"{host}:80"].cluster is UpstreamTls.ALWAYS
    assert towards(world(bare=True), host=host)[f"{host}:80"].cluster is UpstreamTls.NEVER


def test_a_credential_by_name_is_for_chosen_workloads_only() -> None:
    tls = {"tls": {"mode": "SIMPLE", "credentialName": "bank"}}
    assert towards(shop().add(rule("shop-web", "x", PAYMENTS, trafficPolicy=tls)))[f"{PAYMENTS}:80"].cluster is (
        UpstreamTls.NEVER
    )


def test_hosts_of_service_entries_count_and_those_outside_get_no_mesh_tls() -> None:
    def entry(name: str, location: str) -> Resource:
        spec = {"hosts": [f"{name}.example"], "location": location, "resolution": "STATIC"}
        return policy("ServiceEntry", "shop-pay", name, {**spec, "ports": [{"number": 80, "protocol": "HTTP"}]})

    world = shop().add(entry("in", "MESH_INTERNAL"), entry("out", "MESH_EXTERNAL"))
    assert towards(world, host="in.example")["in.example:80"].cluster is UpstreamTls.PER_ENDPOINT
    assert towards(world, host="out.example")["out.example:80"].cluster is UpstreamTls.NEVER


# Who sees a host at all.


@pytest.mark.parametrize(
    ("entries", "seen"),
    [
        (["*/*"], True),
        (["./*"], False),
        (["shop-pay/*"], True),
        (["shop-pay/cart.x"], False),
        (["*/*.shop-pay.svc.cluster.local"], True),
        (["~/*"], False),
        (["*/*", "~shop-pay/*"], False),
    ],
)
def test_a_sidecar_object_narrows_what_a_caller_knows(entries: list[str], seen: bool) -> None:
    snapshot = shop().add(policy("Sidecar", "shop-web", "own", {"egress": [{"hosts": entries}]})).snapshot()
    host = next(h for h in hosts.mesh_hosts(snapshot) if h.name == PAYMENTS)
    assert Reach(snapshot, MeshConfig()).knows("shop-web", {}, host) is seen
    assert Reach(snapshot, MeshConfig()).knows("load", {}, host)


# PeerAuthentication.


def test_a_selector_in_the_root_namespace_selects_nobody() -> None:
    spec = {"selector": {"matchLabels": {"app": "x"}}, "mtls": {"mode": "DISABLE"}}
    snapshot = shop().add(policy("PeerAuthentication", "istio-system", "few", spec)).snapshot()
    peers = PeerPolicies(snapshot, "istio-system")
    for namespace in ("istio-system", "shop-pay"):
        assert peers.effective(namespace, {"app": "x"}).mode is Mode.STRICT


def test_ports_count_only_in_the_oldest_policy_that_matches() -> None:
    def own(name: str, created: str, port: str) -> Resource:
        spec = {"selector": {"matchLabels": {"app": "x"}}, "portLevelMtls": {port: {"mode": "DISABLE"}}}
        return policy("PeerAuthentication", "shop-pay", name, spec, created=created)

    snapshot = shop().add(own("a", YOUNGER, "1"), own("b", OLDER, "2")).snapshot()
    assert PeerPolicies(snapshot, "istio-system").effective("shop-pay", {"app": "x"}).ports == {2: Mode.DISABLE}


# The edits.


def relaxed(*rules: Resource) -> dict[str, dict[str, Any]]:
    snapshot = shop().add(*rules).snapshot()
    made = relax(snapshot, MeshConfig(), rules)
    assert not made.stuck
    return {ref.name: {c.path[1]: c.after for c in changes} for ref, changes in made.changes.items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (MUTUAL, ABSENT),
        ({**MUTUAL, **POOL}, POOL),
        ({**MUTUAL, "portLevelSettings": [at_port(80, **MUTUAL)]}, ABSENT),
        # Without its entry the port would take the host level's connection pool.
        (
            {**POOL, "portLevelSettings": [at_port(80, **MUTUAL)]},
            {**POOL, "portLevelSettings": [at_port(80, **PLACEHOLDER)]},
        ),
        (
            {**MUTUAL, "portLevelSettings": [at_port(80, **MUTUAL, **POOL), at_port(81, **OFF)]},
            {"portLevelSettings": [at_port(80, **POOL), at_port(81, **OFF)]},
        ),
    ],
)
def test_only_tls_goes(before: dict[str, Any], after: object) -> None:
    assert relaxed(rule("shop-pay", "own", PAYMENTS, trafficPolicy=before)) == {"own": {"trafficPolicy": after}}


def test_a_host_level_is_kept_alive_where_a_younger_rules_would_move_in() -> None:
    older = rule("shop-pay", "a", PAYMENTS, trafficPolicy=MUTUAL, created=OLDER)
    younger = rule("shop-pay", "b", PAYMENTS, trafficPolicy=POOL, created=YOUNGER)
    snapshot = shop().add(older, younger).snapshot()
    made = relax(snapshot, MeshConfig(), [older])
    assert {c.path[1]: c.after for c in made.changes[older.ref]} == {"trafficPolicy": PLACEHOLDER}


@pytest.mark.parametrize(
    "spec",
    [
        {"trafficPolicy": OFF, "subsets": [{"name": "v1", "trafficPolicy": MUTUAL}]},
        {"trafficPolicy": {**OFF, "portLevelSettings": [at_port(80, **MUTUAL)]}},
    ],
)
def test_what_would_fall_to_another_levels_mode_is_stuck_and_not_edited(spec: dict[str, Any]) -> None:
    own = rule("shop-pay", "own", PAYMENTS, **spec)
    made = relax(shop().add(own).snapshot(), MeshConfig(), [own])
    assert (dict(made.changes), set(made.stuck)) == ({}, {own.ref})


def test_a_rule_without_mesh_tls_needs_no_edit() -> None:
    assert relaxed(rule("shop-pay", "own", PAYMENTS, trafficPolicy={**OFF, **POOL})) == {}
