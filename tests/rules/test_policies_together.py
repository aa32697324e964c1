"""What random meshes have found: policies that meet on one object, and identities that go although nobody leaves."""

from __future__ import annotations

from dataclasses import replace

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest
from meshguard.model.objects import Ref
from meshguard.model.plan import Check, Plan
from meshguard.plan.apply import apply_plan
from meshguard.plan.build import plan_exit
from tests.builders import World, policy, shop

LEDGER_PORT = "shop-pay/ledger:9000"
CART = "cluster.local/ns/shop-core/sa/cart"


def exit_of(world: World, namespace: str, **consents: object) -> Plan:
    given = Consents(authz_loss=True, fail_open=True, interruptions=frozenset({LEDGER_PORT}))
    chosen = replace(given, **consents)  # type: ignore[arg-type]
    return plan_exit(world.snapshot(), IstioSidecar(), LeaveRequest(frozenset({namespace}), chosen))


def with_ledger(**spec: object) -> World:
    world = shop().deployment("shop-pay", "ledger", port=9000, port_name="tcp-ledger")
    if spec:
        world.add(
            policy("PeerAuthentication", "shop-pay", "own", {"selector": {"matchLabels": {"app": "ledger"}}, **spec})
        )
    return world


def test_a_server_first_port_that_is_strict_by_itself_is_edited_once() -> None:
    world = with_ledger(mtls={"mode": "STRICT"}, portLevelMtls={"9000": {"mode": "STRICT"}})
    plan = exit_of(world, "shop-web")
    (step,) = [s for s in plan.steps if s.target == Ref("PeerAuthentication", "shop-pay", "own")]
    assert [c.describe() for c in step.changes] == [
        "spec.mtls.mode: 'STRICT' -> 'PERMISSIVE'",
        "spec.portLevelMtls.9000.mode: 'STRICT' -> 'DISABLE'",
    ]
    assert apply_plan(plan, world.snapshot(), "R1").resources[step.target].spec["portLevelMtls"] == {
        "9000": {"mode": "DISABLE"}
    }


def test_two_workloads_under_one_policy_are_edited_in_one_step() -> None:
    world = with_ledger().deployment("shop-pay", "journal", port=9100, port_name="tcp-journal")
    both = {"selector": {"matchLabels": {"tier": "books"}}, "mtls": {"mode": "STRICT"}}
    labelled = World()
    for resource in world.objects:
        labels = resource.doc["metadata"].get("labels") or {}
        if labels.get("app") in ("ledger", "journal"):
            metadata = {**resource.doc["metadata"], "labels": {**labels, "tier": "books"}}
            resource = type(resource)(resource.ref, {**resource.doc, "metadata": metadata})
        labelled.add(resource)
    labelled.add(policy("PeerAuthentication", "shop-pay", "books", both))
    plan = exit_of(labelled, "shop-web", interruptions=frozenset({LEDGER_PORT, "shop-pay/journal:9100"}))
    (step,) = [s for s in plan.steps if s.target.name == "books"]
    after = apply_plan(plan, labelled.snapshot(), "R1").resources[step.target].spec
    assert after["portLevelMtls"] == {"9000": {"mode": "DISABLE"}, "9100": {"mode": "DISABLE"}}
    assert after["mtls"] == {"mode": "PERMISSIVE"}


def allows_cart(app: str) -> dict[str, object]:
    return {
        "selector": {"matchLabels": {"app": app}},
        "rules": [{"from": [{"source": {"principals": [CART]}}]}],
    }


def test_a_server_first_port_takes_the_identity_of_callers_that_stay() -> None:
    world = with_ledger().add(policy("AuthorizationPolicy", "shop-pay", "books", allows_cart("ledger")))
    plan = exit_of(world, "shop-web", authz_loss=False)
    assert [str(f.object) for f in plan.blockers if f.code.id == "MG201"] == ["AuthorizationPolicy shop-pay/books"]


def test_a_headless_service_takes_the_identity_of_callers_that_stay_with_the_first_pod_that_leaves() -> None:
    world = shop().deployment("shop-pay", "stock", headless=True)
    world.add(policy("AuthorizationPolicy", "shop-pay", "stock", allows_cart("stock")))
    plan = exit_of(world, "shop-pay", authz_loss=False)
    assert [str(f.object) for f in plan.blockers if f.code.id == "MG201"] == ["AuthorizationPolicy shop-pay/stock"]


def test_where_only_the_rule_gave_tls_it_goes_after_the_servers_take_plaintext() -> None:
    world = shop().add(
        policy("PeerAuthentication", "shop-core", "wide", {"mtls": {"mode": "DISABLE"}}),
        policy(
            "PeerAuthentication",
            "shop-core",
            "own",
            {"selector": {"matchLabels": {"app": "cart"}}, "mtls": {"mode": "STRICT"}},
        ),
    )
    plan = exit_of(world, "shop-core")
    rule = Ref("DestinationRule", "shop-core", "cart")
    assert rule not in {s.target for s in plan.phase("relax").steps}
    look, let_go = plan.phase("converge").waves
    assert look.awaits[0].check is Check.INBOUND
    assert [s.target for s in let_go.steps] == [rule]
    assert [(a.check, a.expect) for a in let_go.awaits] == [(Check.OUTBOUND, {"tls": "computed"})]
