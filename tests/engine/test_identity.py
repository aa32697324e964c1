"""Two states of an object are the same when they differ only in what servers and controllers keep for themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshguard.engine.identity import (
    autoscaled,
    differences,
    drift,
    fingerprint,
    fingerprints_of,
    not_as_before,
    not_as_left,
    unlike,
)
from meshguard.journal.mirror import open_runs
from meshguard.model.change import ABSENT, Change, write
from meshguard.model.objects import Ref, Resource
from tests.fakes.world import LEDGER, OWNED, PAY, PAYMENTS, RELAXED, TLS, World, document, exit_plan, restore_plan

BEFORE: dict[str, Any] = document(
    LEDGER,
    metadata={"labels": {"app": "ledger"}, "annotations": {"note": "kept"}},
    spec={"replicas": 2, "ports": [1, 2]},
)
IGNORED: list[tuple[tuple[str, ...], Any]] = [
    (("status",), {"replicas": 2}),
    (("metadata", "uid"), "another"),
    (("metadata", "resourceVersion"), "42"),
    (("metadata", "generation"), 7),
    (("metadata", "managedFields"), [{}]),
    (("metadata", "creationTimestamp"), "2026-03-01T03:00:00Z"),
    (("metadata", "annotations", "deployment.kubernetes.io/revision"), "3"),
    (("metadata", "annotations", "deprecated.daemonset.template.generation"), "3"),
]
COUNTED: list[tuple[tuple[str, ...], Any]] = [
    (("metadata", "labels", "istio-injection"), "disabled"),
    (("metadata", "annotations", "meshguard.dev/restart"), "x"),
    (("metadata", "finalizers"), ["x"]),
    (("spec", "replicas"), 3),
    (("spec", "ports"), [1]),
    (("spec", "paused"), None),
]


def of(doc: dict[str, Any]) -> Resource:
    return Resource(LEDGER, doc)


@pytest.mark.parametrize(("path", "value"), IGNORED, ids=lambda v: ".".join(v) if isinstance(v, tuple) else "")
def test_what_others_keep_is_ignored(path: tuple[str, ...], value: Any) -> None:
    after = write(BEFORE, path, value)
    assert differences(of(BEFORE), of(after)) == ()
    assert fingerprint(BEFORE) == fingerprint(after)


@pytest.mark.parametrize(("path", "value"), COUNTED, ids=lambda v: ".".join(v) if isinstance(v, tuple) else "")
def test_everything_else_counts(path: tuple[str, ...], value: Any) -> None:
    after = write(BEFORE, path, value)
    assert [(d.path, d.found) for d in differences(of(BEFORE), of(after))] == [(path, value)]
    assert fingerprint(BEFORE) != fingerprint(after)


def test_replicas_of_an_autoscaler_are_its_own() -> None:
    after = write(BEFORE, ("spec", "replicas"), 9)
    assert differences(of(BEFORE), of(after), scaled=True) == ()
    assert fingerprint(BEFORE, scaled=True) == fingerprint(after, scaled=True)
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "ledger"}}
    scaler = Resource(Ref("HorizontalPodAutoscaler", "shop-pay", "x"), {"spec": target})
    assert autoscaled([scaler]) == {LEDGER}


def test_the_first_annotation_of_a_controller_makes_no_difference() -> None:
    bare = write(BEFORE, ("metadata", "annotations"), ABSENT)
    after = write(bare, ("metadata", "annotations", "deployment.kubernetes.io/revision"), "1")
    assert differences(of(bare), of(after)) == ()


def test_fields_are_compared_with_what_the_run_found_and_left() -> None:
    made = Change(("spec", "replicas"), 2, 3)
    assert not_as_before(LEDGER, [made], of(BEFORE)) == ()
    (wrong,) = not_as_left(LEDGER, [made], of(BEFORE))
    assert str(wrong) == "Deployment shop-pay/ledger: spec.replicas: 3 -> 2"
    assert not_as_before(LEDGER, [made], None)[0].found is ABSENT


def test_what_others_have_changed_since_the_run_is_found(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    world.run(world.begin(plan), plan)
    (run,) = open_runs(world.snapshot())
    assert drift(run, world.snapshot().resources) == ()
    world.cluster.edit(OWNED, Change(TLS, ABSENT, {"tls": {"mode": "DISABLE"}}))
    world.cluster.edit(RELAXED, Change(("spec", "mtls", "mode"), "PERMISSIVE", "STRICT"))
    world.cluster.docs.pop(PAY)
    assert {d.object for d in drift(run, world.snapshot().resources)} == {OWNED, RELAXED, PAY}
    world.cluster.docs[RELAXED]["metadata"]["uid"] = "another"
    assert ("metadata", "uid") in {d.path for d in drift(run, world.snapshot().resources)}


def test_digests_taken_before_a_run_tell_whether_everything_came_back(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan, fingerprints=fingerprints_of(plan, world.snapshot()))
    world.run(folder, plan)
    (run,) = open_runs(world.snapshot())
    assert set(unlike(run.fingerprints, world.snapshot())) == {OWNED, PAY, LEDGER, PAYMENTS}
    back = restore_plan(plan, folder.run, run.created[RELAXED])
    world.run(world.begin(back), back)
    assert unlike(run.fingerprints, world.snapshot()) == ()
    del world.cluster.docs[LEDGER]
    assert unlike(run.fingerprints, world.snapshot()) == (LEDGER,)
