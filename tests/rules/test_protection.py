"""Protected namespaces: nothing in them is edited; what needs that is got around, or blocks and is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Selection, Settings
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Action, Plan
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_restore
from tests.builders import World, policy, shop

MESH = IstioSidecar()
CART = "cart.shop-core.svc.cluster.local"
MUTUAL = {"tls": {"mode": "ISTIO_MUTUAL"}}
POOL = {"connectionPool": {"tcp": {"maxConnections": 7}}}
CONSENTS = Consents(authz_loss=True, fail_open=True)


def settings(*protected: str) -> Settings:
    return Settings(protected_namespaces=frozenset({"kube-system", "istio-system", *protected}))


def exit_of(world: World, *protected: str, scope: str = "shop-core", selection: Selection | None = None) -> Plan:
    request = LeaveRequest(frozenset({scope}), CONSENTS, settings(*protected), selection or Selection())
    return plan_exit(world.snapshot(), MESH, request)


def in_the_way(plan: Plan) -> list[tuple[str, str]]:
    return [(str(f.object), f.detail) for f in plan.blockers if f.code.id == "MG224"]


def written_in(plan: Plan, namespace: str) -> list[Ref]:
    return [s.target for s in plan.steps if s.target.namespace == namespace]


def rule(namespace: str, name: str, host: str, **spec: Any) -> Resource:
    return policy("DestinationRule", namespace, name, {"host": host, **spec})


def without_rules() -> World:
    world = shop()
    world.objects[:] = [o for o in world.objects if o.ref.kind != "DestinationRule"]
    return world


def test_a_strict_server_in_a_protected_namespace_blocks_by_its_name() -> None:
    plan = exit_of(shop(), "load")
    assert in_the_way(plan) == [
        (
            "Deployment load/openload",
            "it demands mutual TLS, the scope may call it, and namespace load is protected",
        )
    ]
    assert written_in(plan, "load") == []


def test_one_that_takes_plaintext_already_is_in_nobodys_way() -> None:
    open_already = policy("PeerAuthentication", "load", "open", {"mtls": {"mode": "PERMISSIVE"}})
    plan = exit_of(shop().add(open_already), "load")
    assert in_the_way(plan) == []


def test_one_that_a_sidecar_object_keeps_the_scope_from_calling_is_in_nobodys_way() -> None:
    narrow = policy("Sidecar", "shop-core", "default", {"egress": [{"hosts": ["./*", "shop-pay/*"]}]})
    plan = exit_of(shop().add(narrow), "load")
    assert in_the_way(plan) == []


def test_a_policy_of_its_own_in_a_protected_namespace_is_left_alone_too() -> None:
    own = policy("PeerAuthentication", "load", "own", {"mtls": {"mode": "STRICT"}})
    plan = exit_of(shop().add(own), "load")
    assert [object_ for object_, _ in in_the_way(plan)] == ["Deployment load/openload"]
    assert written_in(plan, "load") == []


def test_a_rule_by_identity_in_a_protected_namespace_blocks() -> None:
    blocked = {object_ for object_, _ in in_the_way(exit_of(shop(), "shop-pay"))}
    assert blocked == {"AuthorizationPolicy shop-pay/payments", "Deployment shop-pay/payments"}


def test_a_rule_of_the_root_namespace_is_hidden_by_one_that_says_the_same_but_for_tls() -> None:
    subset = {"name": "v1", "labels": {"app": "cart"}, "trafficPolicy": MUTUAL}
    world = without_rules().add(rule("istio-system", "all", CART, trafficPolicy={**MUTUAL, **POOL}, subsets=[subset]))
    plan = exit_of(world)
    assert in_the_way(plan) == []
    assert written_in(plan, "istio-system") == []
    (made,) = [s for s in plan.steps if s.target.kind == "DestinationRule"]
    assert (made.action, made.target.namespace) == (Action.CREATE, "shop-core")
    assert made.manifest is not None
    assert made.manifest["spec"] == {
        "host": CART,
        "trafficPolicy": POOL,
        "subsets": [{"name": "v1", "labels": {"app": "cart"}}],
    }
    assert "hides it for" in made.sentence


def test_the_rule_that_hides_goes_on_the_way_back() -> None:
    snapshot = without_rules().add(rule("istio-system", "all", "*.local", trafficPolicy=MUTUAL)).snapshot()
    plan = plan_exit(snapshot, MESH, LeaveRequest(frozenset({"shop-core"}), CONSENTS, settings()))
    after = apply_plan(plan, snapshot, "R1")
    run = open_run_of(plan, after, "R1")
    back = plan_restore(replace(after, open_runs=(run,)), MESH, run, settings())
    gone = [s.target.name for s in back.steps if s.action is Action.DELETE and s.target.kind == "DestinationRule"]
    assert sorted(gone) == [f"meshguard-auto-{name}.shop-core.svc.cluster.local" for name in ("cart", "catalogue")]
    assert apply_plan(back, after, "R2").resources.keys() == snapshot.resources.keys()


def test_a_rule_that_is_exported_to_some_is_hidden_for_these_only() -> None:
    world = without_rules()
    world.add(rule("istio-system", "all", CART, trafficPolicy=MUTUAL, exportTo=["shop-web", "shop-core"]))
    (made,) = [s for s in exit_of(world).steps if s.target.kind == "DestinationRule"]
    assert made.manifest is not None
    assert made.manifest["spec"]["exportTo"] == ["shop-core", "shop-web"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ([rule("shop-core", "beside", CART, exportTo=["elsewhere"])], "a new rule would become one with it"),
        ([rule("istio-system", "odd", CART, trafficPolicy=POOL, exportTo=["shop-web"])], "two answers for two callers"),
    ],
)
def test_what_a_new_rule_cannot_hide_blocks(more: list[Resource], why: str) -> None:
    world = without_rules().add(rule("istio-system", "all", CART, trafficPolicy=MUTUAL), *more)
    blocked = [object_ for object_, _ in in_the_way(exit_of(world))]
    assert blocked == ["DestinationRule istio-system/all"], why


def test_callers_beside_a_rule_of_the_root_namespace_cannot_be_kept_from_it() -> None:
    world = without_rules().add(rule("istio-system", "all", CART, trafficPolicy=MUTUAL))
    world.deployment("istio-system", "console")
    assert ("DestinationRule istio-system/all") in [object_ for object_, _ in in_the_way(exit_of(world))]


def test_a_protected_caller_that_insists_on_tls_blocks() -> None:
    world = shop().add(rule("load", "own", CART, trafficPolicy=MUTUAL))
    permissive = policy("PeerAuthentication", "load", "open", {"mtls": {"mode": "PERMISSIVE"}})
    ((object_, detail),) = in_the_way(exit_of(world.add(permissive), "load"))
    assert object_ == "DestinationRule load/own"
    assert f"namespace load is protected; not done for {CART}" in detail


def test_the_whole_mesh_leaves_without_an_edit_of_a_protected_root_namespace() -> None:
    everything = Selection(whole_mesh=True)
    names = frozenset({"shop-web", "shop-core", "shop-pay", "load"})
    plan = plan_exit(shop().snapshot(), MESH, LeaveRequest(names, CONSENTS, settings(), everything))
    assert written_in(plan, "istio-system") == []
    opened = {s.target.namespace for s in plan.phase("relax").steps if s.target.kind == "PeerAuthentication"}
    assert opened == names
    assert "MG802" not in {f.code.id for f in plan.findings}
