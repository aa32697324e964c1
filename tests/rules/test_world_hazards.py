"""Hazards of the world around a scope: control plane, readers of the label, reconcilers, rights, other networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit
from tests.builders import World, obj, shop

MESH = IstioSidecar()


def exit_of(snapshot: Snapshot, consents: Consents | None = None) -> Plan:
    return plan_exit(snapshot, MESH, LeaveRequest(frozenset({"shop-web"}), consents or Consents()))


def found(plan: Plan, code: str) -> list[tuple[str, str]]:
    return [(str(f.object), f.detail) for f in plan.findings if f.code.id == code]


def blocks(plan: Plan, code: str) -> bool:
    return code in {f.code.id for f in plan.blockers}


def mesh_config(**mesh: Any) -> Resource:
    return obj("ConfigMap", "istio-system", "istio", mesh=mesh)


ENABLED = {"matchLabels": {"istio-injection": "enabled"}}
NOT_DISABLED = {"matchExpressions": [{"key": "istio-injection", "operator": "NotIn", "values": ["disabled"]}]}
BY_NAME = {"matchLabels": {"kubernetes.io/metadata.name": "shop-web"}}


@pytest.mark.parametrize(("selector", "expected"), [(ENABLED, True), (NOT_DISABLED, True), (BY_NAME, False)])
def test_a_namespace_that_discovery_would_drop_blocks(selector: dict[str, Any], expected: bool) -> None:
    plan = exit_of(shop().add(mesh_config(discoverySelectors=[selector])).snapshot())
    assert blocks(plan, "MG404") is expected


def test_a_second_discovery_selector_keeps_the_namespace() -> None:
    plan = exit_of(shop().add(mesh_config(discoverySelectors=[ENABLED, BY_NAME])).snapshot())
    assert not found(plan, "MG404")


def network_policy(selector: dict[str, Any]) -> Resource:
    ingress = [{"from": [{"namespaceSelector": selector}]}]
    return obj("NetworkPolicy", "shop-core", "from-mesh", spec={"ingress": ingress})


def gateway(selector: dict[str, Any]) -> Resource:
    allowed = {"namespaces": {"from": "Selector", "selector": selector}}
    return obj("Gateway", "shop-core", "edge", spec={"listeners": [{"name": "http", "allowedRoutes": allowed}]})


def webhook(selector: dict[str, Any]) -> Resource:
    webhooks = [{"name": "check.example.com", "namespaceSelector": selector}]
    return obj("ValidatingWebhookConfiguration", "", "guard", webhooks=webhooks)


@pytest.mark.parametrize("reader", [network_policy, gateway, webhook])
@pytest.mark.parametrize(
    ("selector", "expected"), [(ENABLED, True), (NOT_DISABLED, True), (BY_NAME, False), ({}, False)]
)
def test_whoever_else_reads_the_label_blocks(reader: Any, selector: dict[str, Any], expected: bool) -> None:
    plan = exit_of(shop().add(reader(selector)).snapshot())
    assert blocks(plan, "MG405") is expected


def test_a_webhook_that_would_newly_select_the_namespace_blocks_too() -> None:
    only_out = {"matchLabels": {"istio-injection": "disabled"}}
    assert "newly select" in found(exit_of(shop().add(webhook(only_out)).snapshot()), "MG405")[0][1]


@pytest.mark.parametrize(
    ("parts", "owner", "pause"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop-web/odd"}},
            "Argo CD",
            "argocd app set shop --sync-policy none",
        ),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}},
            "Flux",
            "flux suspend kustomization shop -n flux-system",
        ),
        (
            {"labels": {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "ops"}},
            "Flux",
            "flux suspend helmrelease shop -n ops",
        ),
        ({"annotations": {"configmanagement.gke.io/managed": "enabled"}}, "Config Sync", "managed=disabled"),
        ({"annotations": {"objectset.rio.cattle.io/owner-name": "shop"}}, "Rancher Fleet", "bundle shop"),
    ],
)
def test_reconcilers_are_named_with_the_way_to_pause_them(parts: dict[str, Any], owner: str, pause: str) -> None:
    policy = obj("PeerAuthentication", "shop-core", "own", spec={"mtls": {"mode": "STRICT"}}, **parts)
    (ref, detail), *_ = found(exit_of(shop().add(policy).snapshot()), "MG601")
    assert ref == "PeerAuthentication shop-core/own"
    assert detail.startswith(owner)
    assert pause in detail


def test_services_that_other_networks_call_block() -> None:
    east_west = obj("Service", "istio-system", "eastwest", labels={"topology.istio.io/network": "n1"}, spec={})
    assert blocks(exit_of(shop().add(east_west).snapshot()), "MG406")


def with_istiod(tag: str) -> World:
    return shop().deployment(
        "istio-system",
        "istiod",
        port=15017,
        port_name="https-webhook",
        meshed=False,
        container={"image": f"docker.io/istio/pilot:{tag}"},
        template_labels={"istio.io/rev": "default"},
    )


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("proxyv2:1.29.0", "ahead of"),
        ("proxyv2:1.25.4", "3 minor versions behind"),
        ("proxyv2:1.26.1", ""),
        ("proxyv2:1.28.2-distroless", ""),
        ("proxyv2:dev", ""),
    ],
)
def test_proxies_that_do_not_fit_their_control_plane_are_told(proxy: str, words: str) -> None:
    world = with_istiod("1.28.0").deployment("shop-web", "old", proxy=proxy)
    details = [d for ref, d in found(exit_of(world.snapshot()), "MG407") if ref.endswith("/old")]
    assert [words in d for d in details] == ([True] if words else [])


@pytest.mark.parametrize(
    ("kind", "code", "blocking"), [("PeerAuthentication", "MG702", True), ("PodDisruptionBudget", "MG703", False)]
)
def test_what_could_not_be_read_blocks_only_if_it_decides(kind: str, code: str, blocking: bool) -> None:
    plan = exit_of(replace(shop().snapshot(), blind={kind: "forbidden"}))
    assert found(plan, code)
    assert blocks(plan, code) is blocking


def test_namespaces_that_could_not_be_read_are_named_each_with_what_is_missing() -> None:
    unread = {"Pod in shop-pay": "no", "Service in shop-pay": "no", "Job in shop-pay": "no", "Job in load": "no"}
    plan = exit_of(replace(shop().snapshot(), blind=unread))
    assert found(plan, "MG702") == [("Namespace shop-pay", "these of its objects could not be read: Pod, Service (no)")]
    assert found(plan, "MG703") == [
        ("Namespace load", "these of its objects could not be read: Job (no)"),
        ("Namespace shop-pay", "these of its objects could not be read: Job (no)"),
    ]
    assert blocks(plan, "MG702")


@pytest.mark.parametrize("space", ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"])
def test_a_blind_namespace_that_nobody_injects_does_not_block(space: str) -> None:
    plan = exit_of(replace(shop().snapshot(), blind={f"Pod in {space}": "no"}))
    assert not blocks(plan, "MG702")
    assert found(plan, "MG703")


def test_a_part_that_another_run_has_is_told() -> None:
    snapshot = shop().snapshot()
    plan = exit_of(snapshot)
    left = apply_plan(plan, snapshot, "R1")
    after = replace(left, open_runs=(open_run_of(plan, left, "R1", owner="ann", reason="OOM"),))
    assert ("Deployment shop-web/storefront", "run R1 by ann has changed it: OOM") in found(exit_of(after), "MG501")


def validator(service: str, policy: str = "Fail") -> Resource:
    return obj(
        "ValidatingWebhookConfiguration",
        "",
        "istio-validator",
        webhooks=[
            {
                "name": "validation.istio.io",
                "failurePolicy": policy,
                "clientConfig": {"service": {"namespace": "istio-system", "name": service}},
                "rules": [{"apiGroups": ["security.istio.io", "networking.istio.io"]}],
            }
        ],
    )


@pytest.mark.parametrize(
    ("service", "policy", "expected"), [("istiod", "Fail", False), ("gone", "Fail", True), ("gone", "Ignore", False)]
)
def test_a_validation_webhook_that_nobody_answers_blocks(service: str, policy: str, expected: bool) -> None:
    assert blocks(exit_of(shop().add(validator(service, policy)).snapshot()), "MG403") is expected


def without_istiod(world: World | None = None, **istiod: Any) -> Snapshot:
    """The shop after its only istiod's pods have died."""
    snapshot = (world or shop()).snapshot()
    snapshot = snapshot.replace([], [p.ref for p in snapshot.pods if p.ref.namespace == "istio-system"])
    ref = Ref("Deployment", "istio-system", "istiod")
    workload = snapshot.resources[ref]
    return snapshot.replace([type(workload)(ref, {**workload.doc, "spec": {**workload.spec, **istiod}})])


def test_without_an_istiod_the_exit_blocks_and_says_how_to_bring_one_back() -> None:
    plan = exit_of(without_istiod(replicas=0))
    assert blocks(plan, "MG401")
    assert "kubectl -n istio-system scale deployment/istiod --replicas=1" in found(plan, "MG401")[0][1]


def test_an_istiod_that_runs_out_of_memory_needs_more() -> None:
    snapshot = without_istiod()
    waiting = {"name": "discovery", "ready": False, "lastState": {"terminated": {"reason": "OOMKilled"}}}
    pod = obj(
        "Pod",
        "istio-system",
        "istiod-9",
        ownerReferences=[{"kind": "Deployment", "name": "istiod", "controller": True}],
        status={"phase": "Running", "containerStatuses": [waiting]},
        spec={"containers": []},
    )
    assert "set resources deployment/istiod --limits=memory" in found(exit_of(snapshot.replace([pod])), "MG401")[0][1]


def test_a_declared_outage_restarts_all_at_once_and_waits_for_no_proxy() -> None:
    snapshot = without_istiod(shop().add(validator("istiod")))
    request = LeaveRequest(
        frozenset({"shop-web", "shop-core", "shop-pay", "load"}),
        Consents(outage=True, authz_loss=True, fail_open=True),
    )
    plan = plan_exit(snapshot, MESH, request)
    assert plan.blockers == ()
    assert plan.consents == ("--accept-authz-loss", "--accept-fail-open", "--declare-outage")
    assert plan.phase("relax").steps == (), "the validation webhook would refuse every edit"
    awaited = {a.check.value for p in plan.phases for w in p.waves for a in w.awaits}
    assert awaited == {"injection", "rolled-out", "membership"}
    assert len(plan.phase("restart").waves) == 1
    assert plan.notes[0].startswith("No istiod answers")
    assert "Expected outage between the workloads of the scope: " in plan.notes[0]
    assert not any("fail until an istiod is back" in note for note in plan.notes), "nobody stays"


def test_a_declared_outage_names_whom_it_cuts_off() -> None:
    plan = exit_of(without_istiod(), Consents(outage=True))
    assert any("Deployment shop-pay/payments" in note and "fail until an istiod is back" in note for note in plan.notes)
    assert any(note.startswith("Calls to the scope from proxies that stay") for note in plan.notes)
    assert [s.target.kind for s in plan.phase("relax").steps] == ["PeerAuthentication"] * 4, "nobody refuses edits"


def test_a_record_that_cannot_be_read_blocks_with_the_way_to_set_it_aside() -> None:
    blind = {"ConfigMap meshguard-system/run-20260101-030000-ab12": "the record is incomplete: 'state' is missing"}
    plan = exit_of(replace(shop().snapshot(), blind=blind))
    ((name, detail),) = found(plan, "MG705")
    assert name == "ConfigMap meshguard-system/run-20260101-030000-ab12"
    assert "'state' is missing" in detail
    assert "label configmap run-20260101-030000-ab12 meshguard.dev/record=unreadable --overwrite" in detail
    assert blocks(plan, "MG705")
    assert not blocks(plan, "MG702")
