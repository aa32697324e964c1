"""Every fault has a way back that leaves the objects as they were, and refuses what it cannot mean."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.chaos.hand import fault_plan
from meshguard.mesh.istio_sidecar.faults import FAULTS, FaultError, admitted
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Settings
from meshguard.model.change import ABSENT, read, write
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Check, Direction, Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.fault import check_fault_cap, targets_of
from meshguard.plan.scopes import OverCap
from meshguard.plan.undo import plan_undo
from tests.builders import World, injector, obj, shop

RUN, UNDO = "20261101-030000-cafe", "20261101-031000-beef"
WEB = {"namespace": "shop-web", "workloads": ["storefront"]}
JOB = {"namespace": "load", "image": "local/hey:dev", "command": ["hey", "http://storefront.shop-web:8080/"]}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "limit_sidecars": {**WEB, "memory_limit": "90Mi"},
    "use_proxy_image": {**WEB, "image": "local/proxyv2-old:dev"},
    "move_to_revision": {**WEB, "revision": "skew"},
    "strip_label": WEB,
    "evict": WEB,
    "istiod_down": {},
    "istiod_starved": {"cpu": "50m"},
    "injector_without_endpoints": {},
    "run_job": JOB,
    "run_workload": {**JOB, "sidecar_memory_limit": "120Mi"},
    "mtls_mode": {"namespace": "shop-pay", "mode": "PERMISSIVE"},
    "retry_posts": {"namespace": "shop-pay", "host": "payments"},
    "churn_hosts": {"namespace": "load", "hosts": 3},
}


def world() -> World:
    made = shop()
    for name, revision in (("istiod", "default"), ("istiod-skew", "skew")):
        template = {"metadata": {"labels": {"app": "istiod", "istio.io/rev": revision}}, "spec": {"containers": [{}]}}
        labels = {"app": "istiod", "istio.io/rev": revision}
        made.add(obj("Deployment", "istio-system", name, labels=labels, spec={"replicas": 1, "template": template}))
        made.add(obj("Service", "istio-system", name, spec={"selector": {"app": "istiod"}, "ports": [{"port": 443}]}))
    skew = injector("skew")
    return made.add(obj(skew.ref.kind, "", "skew", labels={"istio.io/rev": "skew"}, webhooks=skew.doc["webhooks"][:2]))


def planned(name: str, snapshot: Snapshot, **arguments: Any) -> Plan:
    return fault_plan(snapshot, Settings(), name, arguments)


def contents(snapshot: Snapshot) -> dict[Ref, Any]:
    """All documents; of a template without annotations the API server keeps no empty mapping either."""
    docs = {ref: dict(resource.doc) for ref, resource in snapshot.resources.items()}
    empty = ("spec", "template", "metadata", "annotations")
    return {ref: write(doc, empty, ABSENT) if read(doc, empty) == {} else doc for ref, doc in docs.items()}


def test_every_fault_is_tested() -> None:
    assert set(ARGUMENTS) == set(FAULTS)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_undone_leaves_every_object_as_it_was(name: str) -> None:
    before = world().snapshot()
    fault = planned(name, before, **ARGUMENTS[name])
    assert fault.direction is Direction.FAULT
    during = apply_plan(fault, before, RUN)
    renewed = {step.target for step in fault.steps if step.action is Action.RENEW}
    assert during.resources != before.resources or renewed
    undo = plan_undo(during, IstioSidecar(), open_run_of(fault, during, RUN), Settings(), admitted)
    after = apply_plan(undo, during, UNDO)
    assert contents(after) == contents(before)


def test_what_somebody_else_changed_since_stays_and_is_told() -> None:
    before = world().snapshot()
    fault = planned("istiod_down", before)
    during = apply_plan(fault, before, RUN)
    run = open_run_of(fault, during, RUN)
    ref = Ref("Deployment", "istio-system", "istiod")
    theirs = during.resources[ref].doc
    during = during.replace([obj(ref.kind, ref.namespace, ref.name, spec={**theirs["spec"], "replicas": 5})])
    undo = plan_undo(during, IstioSidecar(), run, Settings(), admitted)
    assert [finding.code.id for finding in undo.findings] == ["MG207"]
    assert undo.steps == ()


def test_pods_that_came_on_another_revision_come_anew_once_the_labels_are_back() -> None:
    before = world().snapshot()
    fault = planned("move_to_revision", before, **ARGUMENTS["move_to_revision"])
    during = apply_plan(fault, before, RUN)
    came = [obj("Pod", p.ref.namespace, p.ref.name, created="2026-11-01T03:00:05Z",
                ownerReferences=p.doc["metadata"]["ownerReferences"])
            for p in before.pods if p.ref.namespace == "shop-web"]  # fmt: skip
    during = during.replace(came)
    undo = plan_undo(during, IstioSidecar(), open_run_of(fault, during, RUN), Settings(), admitted)
    first, renewed = undo.phase("undo").waves[0], undo.phase("renew").waves[0]
    (seen,) = [a for a in first.awaits if a.check is Check.INJECTION]
    assert (seen.subject, seen.expect["revision"]) == (("Deployment shop-web/storefront",), "default")
    assert {step.target for step in renewed.steps} == {pod.ref for pod in came}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("limit_sidecars", {"namespace": "shop-wep"}, "no namespace 'shop-wep'; did you mean 'shop-web'"),
        ("limit_sidecars", {"workloads": ["storefornt"]}, "did you mean 'storefront'"),
        ("limit_sidecars", {"workloads": []}, "name the workloads"),
        ("limit_sidecars", {"memory_limit": "much"}, "not a quantity"),
        ("limit_sidecars", {"namespace": "kube-system", "workloads": ["*"]}, "no workload in kube-system"),
        ("use_proxy_image", {"image": ""}, "must name a proxy image"),
        ("move_to_revision", {"revision": "skeww"}, "did you mean 'skew'"),
        ("istiod_down", {"revision": "canary"}, "no revision of istiod 'canary'"),
        ("run_job", {"seconds": 1e9}, "at most 3600"),
        ("run_job", {"pods": 0}, "must be above 0"),
        ("run_job", {"sidecar": "natve"}, "did you mean 'native'"),
        ("mtls_mode", {"mode": "STRIKT"}, "did you mean 'STRICT'"),
        ("churn_hosts", {"hosts": 10_000}, "at most 500"),
        ("retry_posts", {"attempts": 100}, "at most 10"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_nearest_name(name: str, change: dict[str, Any], says: str) -> None:
    with pytest.raises(FaultError, match=says):
        planned(name, world().snapshot(), **{**ARGUMENTS[name], **change})


def test_all_workloads_must_be_asked_for_in_so_many_words() -> None:
    plan = planned("limit_sidecars", world().snapshot(), namespace="shop-core", workloads=["*"], memory_limit="90Mi")
    assert [ref.name for ref in targets_of(plan)] == ["cart", "catalogue"]
    with pytest.raises(OverCap, match="would touch 2 objects, the cap is 1"):
        check_fault_cap(targets_of(plan), 1)


def test_the_mesh_wide_policy_is_nobody_s_fault() -> None:
    plan = planned("mtls_mode", world().snapshot(), namespace="shop-pay", mode="DISABLE")
    assert {ref.namespace for ref in targets_of(plan)} == {"shop-pay"}


def test_whoever_cannot_call_a_strict_server_is_predicted_by_name() -> None:
    made = world().deployment("load", "legacy", meshed=False)
    plan = planned("mtls_mode", made.snapshot(), namespace="shop-core", mode="STRICT")
    assert plan.notes == ("Deployment load/legacy has no proxy: a STRICT server resets its calls",)
    assert planned("mtls_mode", made.snapshot(), namespace="shop-core", mode="PERMISSIVE").notes == ()


def test_churned_hosts_can_be_kept_from_everybody_but_their_own_namespace() -> None:
    plan = planned("churn_hosts", world().snapshot(), namespace="load", hosts=1, exported_to=".")
    (step,) = plan.steps
    assert step.manifest is not None
    assert step.manifest["spec"]["exportTo"] == ["."]
    with pytest.raises(FaultError, match="no scope of an export 'load'"):
        planned("churn_hosts", world().snapshot(), namespace="load", exported_to="load")
