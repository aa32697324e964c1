"""Findings about membership: each with the object it names, and silence where nothing is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.hazards import membership as hazards
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents, Selection
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Resource
from meshguard.model.snapshot import OpenRun
from tests.builders import World, injector, obj
from tests.rules.test_membership import INJECT, NS, REV, revision_webhook, settings

AMBIENT = {"istio.io/dataplane-mode": "ambient"}


def world(*objects: Resource, alive: bool = True, labels: Mapping[str, str] | None = None) -> World:
    made = World().namespace("istio-system").add(injector(), settings(templates={"sidecar": 1}), *objects)
    made.deployment("istio-system", "istiod", port=15017, meshed=False, replicas=2 if alive else 0)
    return made.namespace("shop", **({NS: "enabled"} if labels is None else labels))


def found(made: World, *runs: OpenRun) -> list[Finding]:
    scope = Scope(made.snapshot(runs), frozenset({"shop"}))
    return [finding for rule in hazards.RULES for finding in rule(scope, Consents())]


def codes(made: World) -> list[tuple[str, str]]:
    return sorted((f.code.id, str(f.object)) for f in found(made))


CART, SHOP = "Deployment shop/cart", "Namespace shop"


def test_a_plain_meshed_workload_has_no_finding() -> None:
    assert codes(world().deployment("shop", "cart")) == []


@pytest.mark.parametrize(
    ("expected", "parts"),
    [
        ("MG102", {"container": {"image": "auto"}}),
        ("MG103", {"container": {"name": "istio-proxy"}}),
        ("MG105", {"template_labels": {"security.istio.io/tlsMode": "istio"}}),
        ("MG106", {"template_labels": AMBIENT}),
    ],
)
def test_templates_that_make_a_restart_come_out_otherwise(expected: str, parts: Mapping[str, Any]) -> None:
    assert (expected, CART) in codes(world().deployment("shop", "cart", **parts))


def test_a_namespace_that_falls_into_ambient() -> None:
    assert codes(world(labels={NS: "enabled", **AMBIENT}).deployment("shop", "cart")) == [("MG106", SHOP)]


def test_pods_that_the_next_restart_would_change() -> None:
    without = world().deployment("shop", "cart", meshed=False)
    assert codes(without) == [("MG101", CART), ("MG104", CART)]


def test_pods_that_would_not_get_their_sidecar_back() -> None:
    assert codes(world(labels={}).deployment("shop", "cart")) == [("MG101", CART), ("MG402", CART)]


def test_pods_that_are_refused_at_present() -> None:
    assert codes(world(alive=False).deployment("shop", "cart")) == [("MG108", CART)]
    template = {"inject.istio.io/templates": "sidecar, missing"}
    assert ("MG108", CART) in codes(world().deployment("shop", "cart", template_annotations=template))


def test_a_revision_that_nobody_serves_is_named_with_those_that_are() -> None:
    finding = next(
        f for f in found(world(labels={REV: "1-26"}).deployment("shop", "cart", meshed=False)) if f.code.id == "MG107"
    )
    assert (str(finding.object), finding.detail) == (CART, "it asks for istio.io/rev=1-26; served: default")


def test_an_injector_that_does_not_heed_the_switch_blocks() -> None:
    greedy = revision_webhook("greedy", namespaceSelector={}, objectSelector={})
    finding = next(f for f in found(world(greedy).deployment("shop", "cart")) if f.code.id == "MG109")
    assert finding.blocks
    assert str(finding.object) == CART


def test_a_workload_that_leaves_by_its_own_label_needs_an_injector_that_heeds_that() -> None:
    chosen = Selection(chosen=frozenset({Ref("Deployment", "shop", "cart")}))
    by_namespace = {"matchExpressions": [{"key": NS, "operator": "NotIn", "values": ["disabled"]}]}
    greedy = revision_webhook("greedy", service="deleted", namespaceSelector=by_namespace, objectSelector={})
    made = world(greedy).deployment("shop", "cart")
    assert "MG109" not in {f.code.id for f in found(made)}
    scope = Scope(made.snapshot(), frozenset({"shop"}), chosen)
    assert [f.code.id for f in hazards.switch_without_effect(scope, Consents())] == ["MG109"]


def test_match_conditions_are_reported() -> None:
    conditional = revision_webhook("canary", matchConditions=[{"name": "x", "expression": "false"}])
    assert ("MG110", CART) in codes(world(conditional, labels={REV: "canary"}).deployment("shop", "cart"))


def test_two_injectors_on_one_pod_are_reported() -> None:
    second = revision_webhook("1-28", tag="default", name="z-last")
    made = world(second, labels={REV: "default"}).deployment("shop", "cart")
    finding = next(f for f in found(made) if f.code.id == "MG111")
    assert finding.detail == "it is selected by istio-sidecar-injector, z-last"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, True),
        ({"rules": [{"operations": ["*"], "apiGroups": ["*"], "resources": ["*/*"]}]}, True),
        ({"rules": [{"operations": ["DELETE"], "apiGroups": [""], "resources": ["pods"]}]}, False),
        ({"rules": [{"operations": ["CREATE"], "apiGroups": ["apps"], "resources": ["pods"]}]}, False),
        ({"namespaceSelector": {"matchLabels": {NS: "disabled"}}}, False),
        ({"objectSelector": {"matchLabels": {"app": "other"}}}, False),
    ],
)
def test_webhooks_of_others_that_see_the_pods(more: Mapping[str, Any], told: bool) -> None:
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "resources": ["pods"]}]
    webhook = {"name": "mutate.kyverno.svc", "clientConfig": {}, "rules": rules, **more}
    made = world(obj("MutatingWebhookConfiguration", "", "kyverno", webhooks=[webhook])).deployment("shop", "cart")
    assert [f.detail for f in found(made) if f.code.id == "MG112"] == ["kyverno/mutate.kyverno.svc"] * told


def test_native_sidecars_are_told_once_for_the_namespace() -> None:
    made = world().deployment("shop", "cart").deployment("shop", "stock")
    for pod in (o for o in made.objects if o.ref.kind == "Pod" and o.ref.name.startswith("cart-")):
        spec = pod.doc["spec"]
        spec["initContainers"] = [spec["containers"].pop()]
    finding = next(f for f in found(made) if f.code.id == "MG113")
    assert (str(finding.object), finding.detail) == (SHOP, "2 of 4 sidecars are init containers")


def test_an_annotation_that_keeps_a_workload_out() -> None:
    made = world().deployment("shop", "cart", meshed=False, template_annotations={INJECT: "false"})
    assert codes(made) == [("MG104", CART), ("MG114", CART)]


def test_a_namespace_label_that_is_ignored() -> None:
    assert codes(world(labels={NS: "enabled", REV: "canary"}).deployment("shop", "cart")) == [("MG115", SHOP)]


def test_an_injector_whose_settings_nobody_can_read() -> None:
    made = world(revision_webhook("far"), labels={REV: "far"}).deployment("shop", "cart")
    assert codes(made) == [("MG116", "MutatingWebhookConfiguration istio-far")]


def test_a_workload_that_a_run_took_out_names_the_run() -> None:
    cart = Ref("Deployment", "shop", "cart")
    run = OpenRun("20261101-030000-abcd", "me", "storm", "2026-11-01T03:00:00Z", ("shop",), {cart: ()})
    made = world(labels={NS: "disabled"}).deployment("shop", "cart", meshed=False)
    assert [f.detail for f in found(made, run)] == ["already out of the mesh by run 20261101-030000-abcd"]
