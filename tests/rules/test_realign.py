"""Realignment: only proxies that do not fit their control plane restart, and nobody leaves the mesh."""

from __future__ import annotations

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import RealignRequest, Selection
from meshguard.model.objects import Ref, Workload
from meshguard.model.plan import Check, Direction, Plan
from meshguard.model.snapshot import Snapshot, resource_of
from meshguard.plan.apply import apply_plan
from meshguard.plan.build import NotInMesh, plan_realign
from tests.builders import World, injector, shop
from tests.rules.test_world_hazards import with_istiod, without_istiod

MESH = IstioSidecar()


def two_revisions() -> World:
    """The shop with a second control plane, 1-29, whose webhook serves namespaces that name it."""
    webhooks = injector("1-29")
    renamed = {**webhooks.doc["metadata"], "name": "istio-sidecar-injector-1-29"}
    named = [w for w in webhooks.doc["webhooks"] if w["name"].startswith("rev.")]
    return shop().add(resource_of({**webhooks.doc, "metadata": renamed, "webhooks": named}, webhooks.ref.kind))


def realign(snapshot: Snapshot, to_revision: str = "", selection: Selection | None = None) -> Plan:
    request = RealignRequest(frozenset({"shop-web"}), to_revision, selection=selection or Selection())
    return plan_realign(snapshot, MESH, request)


def restarted(plan: Plan) -> list[str]:
    return [s.target.name for s in plan.phase("restart").steps]


def test_only_proxies_of_another_revision_restart() -> None:
    plan = realign(two_revisions().deployment("shop-web", "stale", revision="1-29").snapshot())
    assert plan.direction is Direction.REALIGN
    assert [p.name for p in plan.phases] == ["enrol", "restart", "verify"]
    assert restarted(plan) == ["stale"]
    assert {s.target.kind for s in plan.steps} == {"Deployment"}
    assert plan.excluded == {"Deployment shop-web/storefront": "its proxies fit their control plane"}
    assert any("its proxies come from revision 1-29, its next ones would come from default" in n for n in plan.notes)


def test_only_proxies_of_another_version_restart() -> None:
    world = with_istiod("1.28.0").deployment("shop-web", "ahead", proxy="istio/proxyv2:1.29.0")
    world.deployment("shop-web", "level", proxy="istio/proxyv2:1.28.0-distroless")
    plan = realign(world.snapshot())
    assert restarted(plan) == ["ahead"]
    assert any("1.29.0" in note and "1.28.0" in note for note in plan.notes)


def test_what_fits_is_left_alone() -> None:
    plan = realign(shop().snapshot())
    assert plan.steps == ()
    assert plan.notes == ("Every proxy of the scope fits its control plane; nothing to do.",)


def test_moving_to_a_revision_changes_the_label_that_would_beat_it() -> None:
    plan = realign(two_revisions().snapshot(), "1-29")
    assert plan.blockers == ()
    described = [c.describe() for c in plan.phase("enrol").steps[0].changes]
    assert described == [
        "metadata.labels[istio-injection]: 'enabled' -> (absent)",
        "metadata.labels[istio.io/rev]: (absent) -> '1-29'",
    ]
    assert restarted(plan) == ["storefront"]
    expected = {a.check: a.expect for p in plan.phases for w in p.waves for a in w.awaits}
    assert expected[Check.INJECTION] == {"injected": True, "revision": "1-29"}
    assert expected[Check.MEMBERSHIP] == {"meshed": True, "revision": "1-29"}
    assert plan.scope == ("--to-revision 1-29",)
    after = apply_plan(plan, two_revisions().snapshot(), "R1")
    assert after.namespaces["shop-web"].labels == {"istio.io/rev": "1-29"}


def test_a_revision_that_nobody_serves_is_refused() -> None:
    plan = realign(shop().snapshot(), "1-99")
    assert {f.code.id for f in plan.blockers} == {"MG402"}
    assert restarted(plan) == []


def test_single_workloads_cannot_move_their_namespace() -> None:
    chosen = Selection(chosen=frozenset({Ref("Deployment", "shop-web", "storefront")}))
    plan = realign(two_revisions().deployment("shop-web", "other").snapshot(), "1-29", chosen)
    assert plan.phase("enrol").steps == ()
    assert "MG402" in {f.code.id for f in plan.blockers}


def test_a_restart_that_interrupts_blocks_as_on_an_exit() -> None:
    world = two_revisions().deployment("shop-web", "stale", revision="1-29", replicas=1)
    assert {f.code.id for f in realign(world.snapshot()).blockers} == {"MG301"}


def test_without_an_istiod_nothing_can_be_realigned() -> None:
    assert "MG401" in {f.code.id for f in realign(without_istiod()).blockers}


def test_a_namespace_without_a_mesh_is_refused() -> None:
    snapshot, request = shop().namespace("lonely").snapshot(), RealignRequest(frozenset({"lonely"}))
    with pytest.raises(NotInMesh):
        plan_realign(snapshot, MESH, request)


def test_proxies_stay_in_the_mesh() -> None:
    snapshot = two_revisions().deployment("shop-web", "stale", revision="1-29").snapshot()
    after = apply_plan(realign(snapshot), snapshot, "R1")
    template = after.resources[Ref("Deployment", "shop-web", "stale")]
    assert isinstance(template, Workload)
    assert "sidecar.istio.io/inject" not in template.template_labels
    assert template.template_annotations["meshguard.dev/restart"] == "R1"
