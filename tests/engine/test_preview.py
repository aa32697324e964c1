"""`--check --diff`: what would be written, asked of the server, with nothing written."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meshguard.engine.preview import ObjectDiff, preview
from meshguard.model.change import Change
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Phase, Step, Wave
from tests.fakes.cluster import FakeCluster
from tests.fakes.world import INJECTION, LEDGER, OWNED, PAY, RELAXED, World, document, exit_plan, restore_plan

RUN = "20260301-030000-0000"


def look(world: World, phase: str) -> tuple[ObjectDiff, ...]:
    return asyncio.run(preview(world.cluster, exit_plan().phase(phase), RUN))


def test_it_shows_the_fields_before_and_after_and_writes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    before = world.cluster.contents()
    create, loosen = look(world, "relax")
    assert (create.object, create.before, create.after) == (RELAXED, {}, {"spec": {"mtls": {"mode": "PERMISSIVE"}}})
    assert (loosen.object, loosen.after) == (OWNED, {})
    assert loosen.before == {"spec": {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}}
    assert all(diff.changed and not diff.problem for diff in (create, loosen))
    assert world.cluster.contents() == before
    assert world.cluster.effects == []


def test_a_restart_shows_the_name_that_the_run_might_get(tmp_path: Path) -> None:
    ledger, _ = look(World(tmp_path), "restart")
    annotations = {"meshguard.dev/restart": RUN}
    assert ledger.after == {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def test_what_is_so_already_would_not_be_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cluster.edit(PAY, Change(INJECTION, "enabled", "disabled"))
    (label,) = look(world, "un-enrol")
    assert not label.changed
    assert label.to_json()["after"] == {"metadata": {"labels": {"istio-injection": "disabled"}}}


def test_a_write_that_would_be_refused_says_why(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cluster.edit(PAY, Change(INJECTION, "enabled", "other"))
    del world.cluster.docs[LEDGER]
    (label,) = look(world, "un-enrol")
    assert not label.changed
    assert label.problem.startswith("Namespace shop-pay: metadata.labels.istio-injection is 'other'")
    assert [diff.problem for diff in look(world, "restart")] == ["Deployment shop-pay/ledger is gone", ""]


def test_a_deletion_shows_what_goes(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.run(folder, plan)
    uid = world.cluster.docs[RELAXED]["metadata"]["uid"]
    back = restore_plan(plan, folder.run, uid).phase("relax")
    diffs = asyncio.run(preview(world.cluster, back, RUN))
    assert [(d.before, d.after) for d in diffs if d.object == RELAXED] == [
        ({"spec": {"mtls": {"mode": "PERMISSIVE"}}}, {})
    ]


def test_a_pod_that_would_be_renewed_is_shown_by_its_identity() -> None:
    ref = Ref("Pod", "shop-pay", "ledger-0")
    step = Step("1", Action.RENEW, ref, "uid-ledger-0", "Renew it.", "OnDelete")
    cluster = FakeCluster(document(ref, spec={"containers": []}))
    (diff,) = asyncio.run(preview(cluster, Phase("restart", "Restart", (Wave((step,)),)), RUN))
    assert (diff.before, diff.after) == ({"metadata": {"uid": "uid-ledger-0"}}, {})
