"""Who is in the mesh: the webhooks' rules, the injector's steps, and what they make of a pod together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.injector import Candidate, InjectorConfig, injector_config
from meshguard.mesh.istio_sidecar.membership import (
    Due,
    DueAnswer,
    Memberships,
    ProxyKind,
    due,
    injectors,
    proxy_kind,
    revision_of,
)
from meshguard.mesh.istio_sidecar.webhooks import WEBHOOK_RULES, injector_webhooks
from meshguard.model.objects import Pod, Ref, Resource, Workload
from meshguard.model.snapshot import Snapshot
from tests.builders import World, injector, obj

INJECT, REV, NS = "sidecar.istio.io/inject", "istio.io/rev", "istio-injection"
Labels = Mapping[str, str]


def revision_webhook(revision: str, *, tag: str = "", service: str = "istiod", name: str = "", **more: Any) -> Resource:
    """The webhooks of a further revision or of a tag: the two `rev.` rules only."""
    whole = injector(tag or revision)
    webhooks = [dict(w, **more) for w in whole.doc["webhooks"][:2]]
    for webhook in webhooks:
        webhook["clientConfig"] = {"service": {"namespace": "istio-system", "name": service, "path": "/inject"}}
    labels = {REV: revision, **({"istio.io/tag": tag} if tag else {})}
    return obj("MutatingWebhookConfiguration", "", name or f"istio-{tag or revision}", labels=labels, webhooks=webhooks)


def auto_webhook() -> Resource:
    whole = injector()
    webhook = dict(whole.doc["webhooks"][0], name="auto.sidecar-injector.istio.io")
    systems = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"]
    absent = [{"key": key, "operator": "DoesNotExist"} for key in (NS, REV)]
    named = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": systems}
    webhook["namespaceSelector"] = {"matchExpressions": [*absent, named]}
    webhook["objectSelector"] = {"matchExpressions": [{"key": k, "operator": "DoesNotExist"} for k in (INJECT, REV)]}
    return obj("MutatingWebhookConfiguration", "", "istio-auto", labels={REV: "default"}, webhooks=[webhook])


def settings(**config: Any) -> Resource:
    return obj("ConfigMap", "istio-system", "istio-sidecar-injector", injector={"policy": "enabled", **config})


def cluster(*objects: Resource, alive: bool = True) -> World:
    world = World().namespace("istio-system").add(injector(), *objects)
    return world.deployment("istio-system", "istiod", port=15017, meshed=False, replicas=2 if alive else 0)


def answer(world: World, namespace: Labels, pod: Labels, annotations: Labels | None = None, **more: Any) -> DueAnswer:
    name = more.pop("name", "shop")
    labels = {"kubernetes.io/metadata.name": name, **namespace}
    return due(Candidate(name, labels, pod, annotations or {}, **more), injectors(world.snapshot()))


@pytest.mark.parametrize(
    ("namespace", "pod", "rule"),
    [
        ({REV: "default"}, {}, "rev.namespace"),
        ({}, {REV: "default"}, "rev.object"),
        ({NS: "enabled"}, {}, "namespace"),
        ({NS: "enabled", REV: "elsewhere"}, {REV: "elsewhere"}, "namespace"),
        ({}, {INJECT: "true"}, "object"),
        ({}, {}, "auto"),
    ],
)
def test_each_rule_of_the_webhooks_injects_and_is_named(namespace: Labels, pod: Labels, rule: str) -> None:
    said = answer(cluster(auto_webhook()), namespace, pod)
    assert (said.due, said.rows[0]) == (Due.INJECTED, rule)
    words = next(r.words for r in WEBHOOK_RULES if r.name == rule).replace("<revision or tag>", "istio.io/rev=default")
    assert said.reason.startswith(words)


@pytest.mark.parametrize("namespace", [{NS: "disabled"}, {NS: "disabled", REV: "default"}, {NS: ""}])
@pytest.mark.parametrize("pod", [{}, {INJECT: "true"}, {REV: "default"}, {INJECT: "true", REV: "default"}])
def test_the_switch_of_the_namespace_defeats_every_rule(namespace: Labels, pod: Labels) -> None:
    assert answer(cluster(auto_webhook()), namespace, pod).due is Due.NOT_INJECTED


@pytest.mark.parametrize("namespace", [{REV: "default"}, {NS: "enabled"}, {}])
def test_the_pod_label_false_is_judged_by_the_api_server(namespace: Labels) -> None:
    said = answer(cluster(auto_webhook(), alive=False), namespace, {INJECT: "false", REV: "default"})
    assert said == DueAnswer(Due.NOT_INJECTED, "no webhook selects the pod")


def test_the_annotation_false_needs_a_living_istiod() -> None:
    annotation = {INJECT: "false"}
    assert answer(cluster(), {NS: "enabled"}, {}, annotation).due is Due.NOT_INJECTED
    assert answer(cluster(alive=False), {NS: "enabled"}, {}, annotation).due is Due.REFUSED


def test_the_namespaces_revision_beats_the_pods() -> None:
    world = cluster(revision_webhook("canary"))
    assert answer(world, {REV: "canary"}, {REV: "default"}).revision == "canary"
    assert answer(world, {}, {REV: "canary"}).revision == "canary"
    assert answer(world, {NS: "enabled"}, {REV: "canary"}).revision == "default"


def test_a_tag_injects_by_the_revision_behind_it() -> None:
    said = answer(cluster(revision_webhook("1-28", tag="prod")), {REV: "prod"}, {})
    assert (said.due, said.revision) == (Due.INJECTED, "1-28")
    assert "istio.io/rev=prod" in said.reason


def test_a_revision_that_nobody_serves_is_silently_left_out() -> None:
    said = answer(cluster(), {REV: "gone"}, {})
    assert said == DueAnswer(Due.NOT_INJECTED, "no webhook serves istio.io/rev=gone")
    assert answer(cluster(), {}, {REV: "gone"}).reason == "no webhook serves istio.io/rev=gone"
    assert answer(cluster(), {NS: "disabled"}, {REV: "gone"}).reason == "no webhook selects the pod"


def test_a_leftover_of_a_deleted_istiod_refuses_pods() -> None:
    said = answer(cluster(revision_webhook("1-26", tag="old", service="istiod-1-26")), {REV: "old"}, {})
    assert (said.due, said.revision) == (Due.REFUSED, "1-26")
    assert "istio-old fails closed and nobody answers behind it" in said.reason


def test_a_leftover_that_fails_open_lets_pods_pass() -> None:
    leftover = revision_webhook("1-26", tag="old", service="istiod-1-26", failurePolicy="Ignore")
    assert answer(cluster(leftover), {REV: "old"}, {}).due is Due.NOT_INJECTED


def test_a_dead_webhook_refuses_what_a_living_one_has_injected() -> None:
    second = revision_webhook("1-26", tag="default", service="istiod-1-26", name="z-last")
    assert answer(cluster(second), {REV: "default"}, {}).due is Due.REFUSED


@pytest.mark.parametrize("name", ["a-first", "z-last"])
def test_of_two_injectors_the_last_by_name_leaves_its_mark(name: str) -> None:
    said = answer(cluster(revision_webhook("1-28", tag="default", name=name)), {REV: "default"}, {})
    assert said.revision == ("1-28" if name == "z-last" else "default")


@pytest.mark.parametrize("answers", ["selectorless", "url"])
def test_an_istiod_outside_the_cluster_counts_as_answering(answers: str) -> None:
    made = revision_webhook("far", service="istiod-far")
    if answers == "url":
        for webhook in made.doc["webhooks"]:
            webhook["clientConfig"] = {"url": "https://istiod.example.org:15017/inject"}
    world = cluster(made, obj("Service", "istio-system", "istiod-far", spec={"ports": [{"port": 443}]}))
    assert answer(world, {REV: "far"}, {}).due is Due.INJECTED


def test_match_conditions_make_it_unknown_unless_they_change_nothing() -> None:
    conditional = revision_webhook("canary", matchConditions=[{"name": "x", "expression": "false"}])
    assert answer(cluster(conditional), {REV: "canary"}, {}).due is Due.UNKNOWN
    assert answer(cluster(conditional), {REV: "canary"}, {INJECT: "false"}).due is Due.NOT_INJECTED
    assert answer(cluster(conditional), {REV: "canary"}, {}, {INJECT: "false"}).due is Due.NOT_INJECTED
    both = cluster(revision_webhook("default", name="z", matchConditions=[{"name": "x", "expression": "false"}]))
    assert answer(both, {REV: "default"}, {}).due is Due.INJECTED


NEVER, ALWAYS = [{"matchLabels": {"job": "batch"}}], [{"matchLabels": {"tier": "web"}}]


@pytest.mark.parametrize(
    ("step", "outcome", "pod", "annotations", "config", "more"),
    [
        ("host network", False, {INJECT: "true"}, {}, {}, {"host_network": True}),
        ("system namespace", False, {INJECT: "true"}, {}, {}, {"name": "kube-system"}),
        ("illegal policy", False, {INJECT: "true"}, {}, {"policy": "on"}, {}),
        ("label", True, {INJECT: "true"}, {INJECT: "false"}, {"policy": "disabled"}, {}),
        ("annotation", True, {"job": "batch"}, {INJECT: "true"}, {"policy": "disabled"}, {}),
        ("annotation", False, {"tier": "web"}, {INJECT: "false"}, {}, {}),
        ("never", False, {"job": "batch", "tier": "web"}, {}, {}, {}),
        ("always", True, {"tier": "web"}, {}, {"policy": "disabled"}, {}),
        ("policy", True, {}, {}, {}, {}),
        ("policy", False, {}, {}, {"policy": "disabled"}, {}),
        ("policy", True, {INJECT: "yes"}, {INJECT: "false"}, {}, {}),
        ("policy", True, {INJECT: ""}, {INJECT: "false"}, {}, {}),
        ("policy", True, {}, {INJECT: "no"}, {}, {}),
    ],
)
def test_the_first_step_of_istiod_with_an_answer_decides(
    step: str,
    outcome: bool,
    pod: Labels,
    annotations: Labels,
    config: Mapping[str, Any],
    more: Mapping[str, Any],
) -> None:
    world = cluster(settings(neverInjectSelector=[{}, *NEVER], alwaysInjectSelector=[{}, *ALWAYS], **config))
    said = answer(world, {NS: "enabled"}, pod, annotations, **more)
    assert said.rows == ("namespace", step)
    assert said.due is (Due.INJECTED if outcome else Due.NOT_INJECTED)


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [("sidecar", Due.INJECTED), ("sidecar, mine", Due.INJECTED), ("missing", Due.REFUSED), ("", Due.REFUSED)],
)
def test_istiod_refuses_a_pod_that_asks_for_a_template_it_does_not_have(asked: str, outcome: Due) -> None:
    world = cluster(settings(templates={"sidecar": 1, "mine": 0}))
    said = answer(world, {NS: "enabled"}, {}, {"inject.istio.io/templates": asked})
    assert said.due is outcome
    if outcome is Due.REFUSED:
        assert said.rows == ("namespace", "unknown template")


def test_two_templates_with_a_proxy_each_work_with_classic_sidecars_only() -> None:
    world = cluster(settings(templates={"sidecar": 1, "grpc-agent": 1}))
    asked = {"inject.istio.io/templates": "sidecar, grpc-agent"}
    assert answer(world, {NS: "enabled"}, {}, asked).due is Due.UNKNOWN
    assert answer(world, {NS: "enabled"}, {INJECT: "false"}, asked).due is Due.NOT_INJECTED


def test_settings_that_cannot_be_read_are_those_of_the_charts() -> None:
    snapshot = cluster(revision_webhook("canary")).snapshot()
    default, *_, canary = injector_webhooks(snapshot)
    assert injector_config(snapshot, canary) == injector_config(snapshot, default) == InjectorConfig()


def test_each_revision_has_settings_of_its_own() -> None:
    own = obj("ConfigMap", "istio-system", "istio-sidecar-injector-canary", injector={"policy": "disabled"})
    world = cluster(revision_webhook("canary"), settings(), own)
    assert answer(world, {REV: "canary"}, {}).due is Due.NOT_INJECTED
    assert answer(world, {REV: "default"}, {}).due is Due.INJECTED


def test_webhooks_of_others_are_not_injectors() -> None:
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "resources": ["pods"]}]
    service = {"namespace": "linkerd", "name": "linkerd-proxy-injector", "path": "/"}
    linkerd = {"name": "linkerd-proxy-injector.linkerd.io", "clientConfig": {"service": service}, "rules": rules}
    other = obj("MutatingWebhookConfiguration", "", "linkerd", webhooks=[linkerd])
    assert {w.configuration for w in injector_webhooks(cluster(other).snapshot())} == {"istio-sidecar-injector"}


def test_a_webhook_that_was_narrowed_is_still_known_by_its_rule_and_an_own_one_is_not() -> None:
    narrowed = revision_webhook("canary")
    narrowed.doc["webhooks"][0]["namespaceSelector"]["matchExpressions"].append({"key": "team", "operator": "Exists"})
    assert answer(cluster(narrowed), {REV: "canary"}, {}).due is Due.NOT_INJECTED
    assert answer(cluster(narrowed), {REV: "canary", "team": "a"}, {}).rows[0] == "rev.namespace"
    own = revision_webhook("canary", namespaceSelector={"matchLabels": {"team": "a"}}, objectSelector={})
    said = answer(cluster(own), {NS: "disabled", "team": "a"}, {})
    assert (said.due, said.rows[0]) == (Due.INJECTED, "own selectors")
    assert said.reason.startswith("selectors of its own in istio-canary")


def three_answers(world: World) -> Memberships:
    return Memberships(world.snapshot())


def workload(snapshot: Snapshot, name: str) -> Workload:
    found = snapshot.resources[Ref("Deployment", "shop", name)]
    assert isinstance(found, Workload)
    return found


def test_the_three_answers_of_a_workload() -> None:
    world = cluster().namespace("shop", **{NS: "enabled"}).deployment("shop", "cart", template_labels={INJECT: "true"})
    said = three_answers(world).of(workload(world.snapshot(), "cart"))
    assert said.declared == f"{NS}=enabled, pod {INJECT}=true"
    assert (said.due.due, said.due_istiod_dead.due, said.actual) == (Due.INJECTED, Due.REFUSED, "in")
    assert said.consistent
    assert (said.revision, said.proxy) == ("default", ProxyKind.CLASSIC)


def test_declared_names_the_annotation_too() -> None:
    world = cluster().namespace("shop", **{REV: "canary"})
    world.deployment("shop", "cart", template_labels={REV: "x"}, template_annotations={INJECT: "false"})
    said = three_answers(world).of(workload(world.snapshot(), "cart"))
    assert said.declared == f"{REV}=canary, pod {REV}=x, pod annotation {INJECT}=false"


def test_pods_that_differ_from_what_is_due_are_inconsistent() -> None:
    world = cluster().namespace("shop", **{NS: "enabled"}).deployment("shop", "cart", meshed=False)
    assert not three_answers(world).of(workload(world.snapshot(), "cart")).consistent
    world = cluster().namespace("shop", **{NS: "enabled"}).deployment("shop", "cart", replicas=0)
    said = three_answers(world).of(workload(world.snapshot(), "cart"))
    assert (said.actual, said.consistent) == ("no pods", True)


def test_a_native_sidecar_is_seen_among_the_init_containers() -> None:
    spec = {"containers": [{"name": "app"}], "initContainers": [{"name": "istio-proxy"}]}
    pod = obj("Pod", "shop", "cart", spec=spec, annotations={"sidecar.istio.io/status": "broken {"})
    assert isinstance(pod, Pod)
    assert (proxy_kind(pod), revision_of(pod)) == (ProxyKind.NATIVE, "")
