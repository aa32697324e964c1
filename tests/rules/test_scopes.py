"""What a scope means: single workloads, labels, revisions, everything; and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Caps, Consents, LeaveRequest, Settings
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Check, Plan
from meshguard.model.scopes import Asked, asked_from
from meshguard.model.selector_text import parse_selector
from meshguard.model.snapshot import Snapshot
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_restore
from meshguard.plan.scopes import OverCap, ProtectedScope, UnknownScope, resolve
from tests.builders import policy, shop

MESH = IstioSidecar()
CONSENTS = Consents(authz_loss=True, fail_open=True)
PROTECTED = Settings(protected_namespaces=frozenset({"kube-system", "istio-system"}))


def exit_of(snapshot: Snapshot, asked: Asked, settings: Settings = PROTECTED) -> Plan:
    scope = resolve(snapshot, MESH, asked, settings)
    return plan_exit(snapshot, MESH, LeaveRequest(scope.namespaces, CONSENTS, settings, scope.selection))


def restarted(plan: Plan) -> list[str]:
    return [str(s.target) for s in plan.phase("restart").steps]


def told(plan: Plan) -> set[str]:
    return {f.code.id for f in plan.findings}


def test_a_single_workload_leaves_by_the_label_of_its_template() -> None:
    plan = exit_of(shop().snapshot(), Asked(workloads=frozenset({"shop-core/cart"})))
    assert restarted(plan) == ["Deployment shop-core/cart"]
    assert plan.phase("un-enrol").steps == ()
    described = [c.describe() for c in plan.phase("restart").steps[0].changes]
    assert described[0] == "spec.template.metadata.labels[sidecar.istio.io/inject]: (absent) -> 'false'"
    assert "MG801" in told(plan)


def test_a_workload_that_left_by_its_label_comes_back_identical() -> None:
    snapshot = shop().snapshot()
    plan = exit_of(snapshot, Asked(workloads=frozenset({"shop-core/deployment/cart"})))
    left = apply_plan(plan, snapshot, "R1")
    after = replace(left, open_runs=(open_run_of(plan, left, "R1"),))
    way_back = plan_restore(after, MESH, after.open_runs[0], Settings())
    assert way_back.blockers == ()
    assert not [a for w in way_back.phase("enrol").waves for a in w.awaits], "its template still says no by then"
    back = apply_plan(way_back, after, "R2")
    assert {ref: comparable(r.doc) for ref, r in back.resources.items()} == {
        ref: comparable(r.doc) for ref, r in snapshot.resources.items()
    }


def comparable(doc: Any) -> Any:
    """The document without empty mappings, which the API server drops."""
    if isinstance(doc, Mapping):
        return {key: comparable(value) for key, value in doc.items() if value != {}}
    return doc


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=cart", ["Deployment shop-core/cart"]),
        ("app in (cart, payments)", ["Deployment shop-core/cart", "Deployment shop-pay/payments"]),
        (
            "app notin (cart,payments),app!=openload",
            ["Deployment shop-core/catalogue", "Deployment shop-web/storefront"],
        ),
    ],
)
def test_a_selector_chooses_among_what_is_in_the_mesh(selector: str, expected: list[str]) -> None:
    assert restarted(exit_of(shop().snapshot(), Asked(selector=selector))) == expected


def test_a_selector_narrows_named_namespaces() -> None:
    asked = Asked(frozenset({"shop-core"}), selector="app in (cart, payments)")
    assert restarted(exit_of(shop().snapshot(), asked)) == ["Deployment shop-core/cart"]


def test_a_revision_chooses_the_workloads_that_it_injected() -> None:
    snapshot = shop().deployment("shop-web", "canary", revision="1-29").snapshot()
    assert restarted(exit_of(snapshot, Asked(revision="1-29"))) == ["Deployment shop-web/canary"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(), "the scope is empty"),
        (Asked(selector="app=nobody"), "matches no workload that is in the mesh"),
        (Asked(frozenset({"shop-web"}), selector="app=cart"), "matches no workload"),
        (Asked(revision="1-12"), "revisions in use: default"),
        (Asked(selector="a=(b"), "cannot read"),
        (Asked(selector=","), "the selector is empty"),
        (Asked(workloads=frozenset({"cart"})), "NAMESPACE/NAME"),
        (Asked(workloads=frozenset({"shop-core/crat"})), "did you mean shop-core/cart"),
        (Asked(workloads=frozenset({"shop-core/night"})), "is not restarted"),
        (Asked(frozenset({"shop-web"}), exclude=frozenset({"shop-web"})), "everything in the scope is excluded"),
        (Asked(frozenset({"shop-web"}), exclude=frozenset({"shop-web/storefornt"})), "names nothing"),
        (Asked(frozenset({"shop-web"}), cap="many"), "--cap takes"),
    ],
)
def test_a_scope_that_matches_nothing_is_refused(asked: Asked, words: str) -> None:
    snapshot = shop().deployment("shop-core", "night", kind="CronJob", replicas=0).snapshot()
    with pytest.raises(UnknownScope, match=words.replace("(", r"\(")):
        exit_of(snapshot, asked)


def test_a_name_that_two_kinds_share_needs_the_kind() -> None:
    snapshot = shop().deployment("shop-core", "cart", kind="StatefulSet").snapshot()
    with pytest.raises(UnknownScope, match="name the kind as well"):
        exit_of(snapshot, Asked(workloads=frozenset({"shop-core/cart"})))


@pytest.mark.parametrize("asked", [Asked(frozenset({"istio-system"})), Asked(workloads=frozenset({"kube-system/dns"}))])
def test_protected_namespaces_are_refused(asked: Asked) -> None:
    snapshot = shop().deployment("kube-system", "dns").snapshot()
    with pytest.raises(ProtectedScope, match="MG701"):
        exit_of(snapshot, asked)


@pytest.mark.parametrize("asked", [Asked(whole_mesh=True, cap="100%"), Asked(selector="app")])
def test_protected_namespaces_are_in_no_plan_of_everything(asked: Asked) -> None:
    snapshot = shop().deployment("kube-system", "dns").snapshot()
    plan = exit_of(snapshot, asked)
    assert "kube-system" not in {s.target.namespace for s in plan.phase("restart").steps}
    assert "Namespace kube-system" not in {str(s.target) for s in plan.steps}


def test_what_is_excluded_stays_with_its_reason() -> None:
    settings = replace(PROTECTED, exclusions={"shop-core/catalogue": "the auditors want it encrypted"})
    plan = exit_of(shop().snapshot(), Asked(frozenset({"shop-core"})), settings)
    assert restarted(plan) == ["Deployment shop-core/cart"]
    assert plan.excluded["Deployment shop-core/catalogue"] == "the auditors want it encrypted"
    assert "Namespace shop-core" not in {str(s.target) for s in plan.steps}


def test_an_excluded_namespace_is_left_out() -> None:
    asked = Asked(frozenset({"shop-core", "shop-web"}), exclude=frozenset({"shop-core"}))
    assert restarted(exit_of(shop().snapshot(), asked)) == ["Deployment shop-web/storefront"]


def test_a_gateway_stays_and_the_others_of_its_namespace_leave_by_label() -> None:
    world = shop().deployment("shop-web", "gateway", container={"image": "auto"})
    plan = exit_of(world.snapshot(), Asked(frozenset({"shop-web"})))
    assert restarted(plan) == ["Deployment shop-web/storefront"]
    assert "Namespace shop-web" not in {str(s.target) for s in plan.steps}
    assert "needs injection" in plan.excluded["Deployment shop-web/gateway"]
    assert plan.blockers == ()


@pytest.mark.parametrize(
    "change", [{"container": {"image": "auto"}}, {"template_annotations": {"inject.istio.io/templates": "grpc-agent"}}]
)
def test_a_gateway_that_is_asked_for_by_name_blocks(change: dict[str, object]) -> None:
    world = shop().deployment("shop-web", "gateway", **change)  # type: ignore[arg-type]
    plan = exit_of(world.snapshot(), Asked(workloads=frozenset({"shop-web/gateway"})))
    assert "MG102" in {f.code.id for f in plan.blockers}


def test_by_pod_label_leaves_the_namespace_as_it_is() -> None:
    plan = exit_of(shop().snapshot(), Asked(frozenset({"shop-web"}), by_label=True))
    assert "Namespace shop-web" not in {str(s.target) for s in plan.steps}
    assert plan.phase("restart").steps[0].changes[0].after == "false"


def test_the_whole_mesh_edits_the_mesh_wide_policy_in_place() -> None:
    plan = exit_of(shop().snapshot(), Asked(whole_mesh=True, cap="100%"), Settings())
    edited = [s for s in plan.phase("relax").steps if s.target.kind == "PeerAuthentication"]
    assert [(s.action, s.target) for s in edited] == [
        (Action.CHANGE, Ref("PeerAuthentication", "istio-system", "default"))
    ]
    assert "MG802" in told(plan)
    assert plan.namespaces == ("load", "shop-core", "shop-pay", "shop-web")


@pytest.mark.parametrize(
    ("caps", "given", "words"),
    [
        (Caps(workloads=1), "", "the cap is 1"),
        (Caps(share_percent=30, share_from=1), "", "the cap is 30 %"),
        (Caps(namespaces=1), "", "2 namespaces"),
        (Caps(), "2", "the cap is 2"),
        (Caps(), "10%", "the cap is 10 %"),
    ],
)
def test_over_the_cap_is_refused(caps: Caps, given: str, words: str) -> None:
    asked = Asked(frozenset({"shop-core", "shop-web"}), cap=given)
    with pytest.raises(OverCap, match=words):
        exit_of(shop().snapshot(), asked, replace(PROTECTED, caps=caps))


def test_the_whole_of_a_small_mesh_is_over_the_cap_too() -> None:
    with pytest.raises(OverCap, match="100 %"):
        exit_of(shop().snapshot(), Asked(whole_mesh=True))


@pytest.mark.parametrize(("caps", "given"), [(Caps(workloads=1), "3"), (Caps(share_percent=30), ""), (Caps(), "60%")])
def test_within_the_cap_is_planned(caps: Caps, given: str) -> None:
    asked = Asked(frozenset({"shop-core", "shop-web"}), cap=given)
    assert len(restarted(exit_of(shop().snapshot(), asked, replace(PROTECTED, caps=caps)))) == 3


def test_a_sidecar_object_narrows_whose_servers_are_opened() -> None:
    world = shop().add(policy("Sidecar", "shop-web", "default", {"egress": [{"hosts": ["./*", "shop-core/*"]}]}))
    plan = exit_of(world.snapshot(), Asked(frozenset({"shop-web"})))
    opened = {s.target.namespace for s in plan.phase("relax").steps if s.target.kind == "PeerAuthentication"}
    assert opened == {"shop-core", "shop-web"}
    inbound = next(a for w in plan.phase("converge").waves for a in w.awaits if a.check is Check.INBOUND)
    assert inbound.subject == ("shop-core", "shop-web")
    assert any("Sidecar objects" in note for note in plan.notes)


def test_a_scope_is_read_back_from_its_words() -> None:
    asked = Asked(
        frozenset({"a"}), frozenset({"b/c"}), True, "x in (1, 2)", "1-28", frozenset({"d"}), "25%", by_label=True
    )
    assert asked_from((), asked.words()) == asked
    assert Asked(frozenset({"a"})).words() == ()
    with pytest.raises(ValueError, match="no part of a scope"):
        asked_from((), ["--everything"])


@pytest.mark.parametrize(
    ("text", "requirement"),
    [
        ("a=b", {"key": "a", "operator": "In", "values": ["b"]}),
        ("a==b", {"key": "a", "operator": "In", "values": ["b"]}),
        ("a!=b", {"key": "a", "operator": "NotIn", "values": ["b"]}),
        ("a in (b, c)", {"key": "a", "operator": "In", "values": ["b", "c"]}),
        ("example.com/a notin (b)", {"key": "example.com/a", "operator": "NotIn", "values": ["b"]}),
        ("!a", {"key": "a", "operator": "DoesNotExist"}),
        ("a", {"key": "a", "operator": "Exists"}),
    ],
)
def test_selectors_are_read_as_kubectl_reads_them(text: str, requirement: dict[str, object]) -> None:
    assert parse_selector(text) == {"matchExpressions": [requirement]}
