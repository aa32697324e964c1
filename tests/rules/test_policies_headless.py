"""Callers of headless services: told to send plaintext before the first restart, where istiod would not tell them."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.headless import plaintext_edits
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.objects import Resource
from meshguard.model.plan import Check, Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_restore
from tests.builders import World, policy, shop

MESH = IstioSidecar()
BOOKS = "books.shop-pay.svc.cluster.local"
PLAIN = {"tls": {"mode": "DISABLE"}}
MUTUAL = {"tls": {"mode": "ISTIO_MUTUAL"}}
POOL = {"connectionPool": {"tcp": {"maxConnections": 7}}}


def with_books(port_name: str = "http", *more: Resource, headless: bool = True) -> World:
    return shop().deployment("shop-pay", "books", headless=headless, port_name=port_name).add(*more)


def rule(namespace: str, host: str, **spec: Any) -> Resource:
    return policy("DestinationRule", namespace, "rule", {"host": host, **spec})


def edits(world: World, *namespaces: str) -> dict[str, Any]:
    made = plaintext_edits(Scope(world.snapshot(), frozenset(namespaces)))
    return {
        str(edit.target): edit.manifest["spec"] if edit.manifest else {c.path[1]: c.after for c in edit.changes}
        for edit in made
    }


def exit_plan(snapshot: Snapshot) -> Plan:
    consents = Consents(authz_loss=True, fail_open=True)
    return plan_exit(snapshot, MESH, LeaveRequest(frozenset({"shop-pay"}), consents))


def test_http_alone_gets_a_rule_and_a_tcp_port_none() -> None:
    name = f"DestinationRule shop-pay/meshguard-{BOOKS}"
    assert edits(with_books("http"), "shop-pay") == {name: {"host": BOOKS, "trafficPolicy": PLAIN}}
    assert edits(with_books("tcp"), "shop-pay") == {}
    assert edits(with_books(""), "shop-pay") == {}, "istiod takes a port without a protocol for one that is not HTTP"
    assert edits(with_books("http", headless=False), "shop-pay") == {}
    assert edits(with_books("http"), "shop-web") == {}


def test_passthrough_holds_on_like_a_headless_service_whatever_its_ports() -> None:
    through = rule("shop-pay", BOOKS, trafficPolicy={"loadBalancer": {"simple": "PASSTHROUGH"}})
    assert edits(with_books("tcp", through, headless=False), "shop-pay") == {
        "DestinationRule shop-pay/rule": {"trafficPolicy": {"loadBalancer": {"simple": "PASSTHROUGH"}, **PLAIN}}
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"trafficPolicy": MUTUAL}, {"trafficPolicy": PLAIN}),
        ({"trafficPolicy": POOL}, {"trafficPolicy": {**POOL, **PLAIN}}),
        ({"subsets": [{"name": "v1"}]}, {"trafficPolicy": PLAIN}),
        (
            {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, **POOL}]}},
            {"trafficPolicy": {**PLAIN, "portLevelSettings": [{"port": {"number": 80}, **POOL, **PLAIN}]}},
        ),
        (
            {"subsets": [{"name": "v1", "trafficPolicy": {**POOL, **MUTUAL}}]},
            {"trafficPolicy": PLAIN, "subsets": [{"name": "v1", "trafficPolicy": {**POOL, **PLAIN}}]},
        ),
    ],
)
def test_an_existing_rule_says_it_itself(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert edits(with_books("http", rule("shop-pay", "books", **before)), "shop-pay") == {
        "DestinationRule shop-pay/rule": after
    }


def test_a_wildcard_rule_is_copied_for_the_host_and_left_alone() -> None:
    subsets = [{"name": "v1", "labels": {"v": "1"}, "trafficPolicy": MUTUAL}]
    wide = rule("load", "*.local", trafficPolicy={**POOL, **MUTUAL}, subsets=subsets, exportTo=["."])
    found = edits(with_books("http", wide), "shop-pay")
    assert found[f"DestinationRule load/meshguard-{BOOKS}"] == {
        "host": BOOKS,
        "trafficPolicy": {**POOL, **PLAIN},
        "subsets": [{"name": "v1", "labels": {"v": "1"}, "trafficPolicy": PLAIN}],
        "exportTo": ["."],
    }
    assert "DestinationRule load/rule" not in found
    assert f"DestinationRule shop-pay/meshguard-{BOOKS}" in found, "for everybody else"


def test_plaintext_is_sent_once_servers_take_it_and_before_any_restart() -> None:
    plan = exit_plan(with_books("http").snapshot())
    converged, let_go = plan.phase("converge").waves
    assert [str(s.target) for s in let_go.steps] == [f"DestinationRule shop-pay/meshguard-{BOOKS}"]
    assert Check.INBOUND in {a.check for a in converged.awaits}
    (await_plaintext,) = let_go.awaits
    assert (await_plaintext.check, await_plaintext.subject) == (Check.OUTBOUND, (BOOKS,))


def test_callers_are_looked_at_after_the_restart_where_istiod_tells_them() -> None:
    plan = exit_plan(with_books("tcp").snapshot())
    checks = [(a.check, a.subject) for w in plan.phase("restart").waves for a in w.awaits]
    assert (Check.OUTBOUND, (BOOKS,)) in checks


def test_rules_on_callers_identity_go_for_everybody_who_is_told_to_send_plaintext() -> None:
    own = policy(
        "AuthorizationPolicy",
        "shop-pay",
        "books",
        {
            "selector": {"matchLabels": {"app": "books"}},
            "rules": [{"from": [{"source": {"namespaces": ["load"]}}]}],
        },
    )
    consents = Consents(fail_open=True)
    plan = plan_exit(with_books("http", own).snapshot(), MESH, LeaveRequest(frozenset({"shop-pay"}), consents))
    assert ("MG201", own.ref) in {(f.code.id, f.object) for f in plan.blockers}
    plan = plan_exit(with_books("tcp", own).snapshot(), MESH, LeaveRequest(frozenset({"shop-pay"}), consents))
    # clusters that are built anew lose TLS with the first pod without a proxy, while the other pods still judge
    assert ("MG201", own.ref) in {(f.code.id, f.object) for f in plan.blockers}


def test_the_way_back_gives_mutual_tls_before_identities_are_judged_and_strict_comes_last() -> None:
    before = with_books("http").snapshot()
    plan = exit_plan(before)
    assert plan.blockers == ()
    after = apply_plan(plan, before, "R1")
    run = open_run_of(plan, after, "R1")
    opened = Snapshot(after.cluster, after.taken_at, after.resources, (run,))
    back = plan_restore(opened, MESH, run, Settings())
    rules, _judging, *strict = back.phase("tighten").waves
    assert f"DestinationRule shop-pay/meshguard-{BOOKS}" in {str(s.target) for s in rules.steps}
    assert BOOKS in rules.awaits[0].subject
    assert {s.target.kind for wave in strict for s in wave.steps} == {"PeerAuthentication"}
    assert set(apply_plan(back, opened, "R1").resources) == set(before.resources)
