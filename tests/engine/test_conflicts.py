"""Nobody is clobbered: the way out stops before its next wave, the way back leaves the object and does the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshguard.engine.execute import Limits
from meshguard.engine.outcome import Cause, Result
from meshguard.journal.events import Intent
from meshguard.journal.journal import read_entries
from meshguard.journal.mirror import open_runs
from meshguard.journal.rundir import RunDir
from meshguard.journal.state import StepState, state_of
from meshguard.model.change import Change, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.plan import Await, Check, Phase, Plan, Wave
from meshguard.ports import ClusterError, Forbidden, Rejected, Unreachable
from tests.fakes.judge import FakeJudge
from tests.fakes.world import (
    INJECTION,
    LEDGER,
    MARK,
    OWNED,
    PAY,
    PAYMENTS,
    RELAXED,
    TLS,
    World,
    document,
    exit_plan,
    manifest,
    restore_plan,
)


def left(world: World) -> tuple[RunDir, Plan]:
    """Take the scope out, and return the run and the plan of its way back."""
    plan = exit_plan()
    folder = world.begin(plan)
    assert world.run(folder, plan).result is Result.DONE
    return folder, restore_plan(plan, folder.run, world.cluster.docs[RELAXED]["metadata"]["uid"])


def test_on_the_way_out_a_changed_field_stops_the_run_before_the_next_wave(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.cluster.edit(OWNED, Change(TLS, {"tls": {"mode": "ISTIO_MUTUAL"}}, {"tls": {"mode": "SIMPLE"}}))
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False)
    assert (
        "DestinationRule shop-core/payments: spec.trafficPolicy is {'tls': {'mode': 'SIMPLE'}}" in outcome.conflicts[0]
    )
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled"
    assert RELAXED in world.cluster.docs, "the rest of the wave was done"
    assert [run.created for run in open_runs(world.snapshot())] == [
        {RELAXED: world.cluster.docs[RELAXED]["metadata"]["uid"]}
    ]


def test_once_the_conflict_is_cleared_the_run_can_be_resumed(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    there, edited = {"tls": {"mode": "ISTIO_MUTUAL"}}, {"tls": {"mode": "SIMPLE"}}
    world.cluster.edit(OWNED, Change(TLS, there, edited))
    world.run(folder, plan)
    world.cluster.edit(OWNED, Change(TLS, edited, there))
    assert world.run(folder, plan).result is Result.DONE
    assert world.cluster.effects.count(("create", RELAXED)) == 1


def test_on_the_way_out_an_object_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    del world.cluster.docs[LEDGER]
    outcome = world.run(folder, plan)
    assert outcome.result is Result.PARTIAL
    assert outcome.conflicts == ("Deployment shop-pay/ledger is gone",)
    assert read(world.cluster.docs[PAYMENTS], MARK) != {"meshguard.dev/restart": folder.run}


def test_an_object_that_somebody_has_put_in_our_place_is_a_conflict(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.cluster.put(manifest())
    outcome = world.run(folder, plan)
    assert outcome.conflicts == (
        "PeerAuthentication shop-pay/meshguard-permissive exists already, and this run has not made it as it is",
    )


def test_on_the_way_back_what_was_changed_stays_and_the_rest_is_done(tmp_path: Path) -> None:
    world = World(tmp_path)
    before = world.cluster.contents()
    folder, back = left(world)
    world.cluster.edit(PAY, Change(INJECTION, "disabled", "enabled-by-hand"))
    again = world.begin(back)
    outcome = world.run(again, back)
    assert (outcome.result, len(outcome.conflicts)) == (Result.PARTIAL, 1)
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled-by-hand"
    after = world.cluster.contents()
    assert {ref for ref in before if before[ref] != after[ref]} == {PAY}
    assert [(run.run, set(run.changes), run.created) for run in open_runs(world.snapshot())] == [
        (folder.run, {PAY}, {})
    ]


def test_what_the_planner_of_the_way_back_left_out_stays_in_the_record(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder, back = left(world)
    finding = Finding(CODES["MG207"], PAY, "metadata.labels.istio-injection is 'x', the run left 'disabled'")
    phases = tuple(
        replace(p, waves=tuple(replace(w, steps=tuple(s for s in w.steps if s.target != PAY)) for w in p.waves))
        for p in back.phases
    )
    back = replace(back, phases=phases, findings=(finding,))
    outcome = world.run(world.begin(back), back)
    assert outcome.result is Result.PARTIAL
    assert outcome.conflicts[0].startswith("Namespace shop-pay: metadata.labels.istio-injection is 'x'")
    assert [set(run.changes) for run in open_runs(world.snapshot())] == [{PAY}]
    assert folder.run == open_runs(world.snapshot())[0].run


def test_what_was_left_alone_is_not_expected_to_be_as_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    _, back = left(world)
    world.cluster.edit(PAY, Change(INJECTION, "disabled", "enabled-by-hand"))
    refs = (str(LEDGER), str(PAY))
    identical = Await(Check.IDENTICAL, "all is as it was", refs)
    traffic = Await(Check.TRAFFIC, "traffic flows", refs)
    back = replace(back, phases=(*back.phases, Phase("see", "See", (Wave((), (identical, traffic)),))))
    world.judge = judge = FakeJudge()
    assert world.run(world.begin(back), back).result is Result.PARTIAL
    assert [(look.check, look.subject) for look in judge.looks[-2:]] == [
        (Check.IDENTICAL, (str(LEDGER),)),
        (Check.TRAFFIC, refs),
    ]


def test_a_workload_that_was_deleted_since_needs_nothing_any_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    _, back = left(world)
    del world.cluster.docs[LEDGER]
    again = world.begin(back)
    assert world.run(again, back).result is Result.DONE
    steps = state_of(read_entries(again.journal)).steps.values()
    skipped = [(mark.state, mark.note) for mark in steps if mark.step and mark.step.target == LEDGER]
    assert skipped == [(StepState.SKIPPED, "Deployment shop-pay/ledger was deleted since; nothing is left to undo")]


def test_a_workload_that_was_deleted_and_made_anew_is_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    _, back = left(world)
    world.cluster.docs[LEDGER]["metadata"]["uid"] = "another"
    assert world.run(world.begin(back), back).conflicts == ("Deployment shop-pay/ledger is gone",)


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("spec", {"mtls": {"mode": "DISABLE"}}, "was edited after meshguard had created it; it stays"),
        ("uid", "another", "is another object of the same name; it stays"),
    ],
)
def test_what_we_created_is_not_deleted_when_it_is_not_ours_any_more(
    tmp_path: Path, part: str, value: object, sentence: str
) -> None:
    world = World(tmp_path)
    _, back = left(world)
    doc = world.cluster.docs[RELAXED]
    (doc if part == "spec" else doc["metadata"])[part] = value
    outcome = world.run(world.begin(back), back)
    assert outcome.result is Result.PARTIAL
    assert sentence in outcome.conflicts[0]
    assert RELAXED in world.cluster.docs


def test_a_creation_whose_uid_was_never_noted_is_recognised_by_its_label(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder, _ = left(world)
    back = restore_plan(exit_plan(), folder.run, "")
    assert world.run(world.begin(back), back).result is Result.DONE
    assert RELAXED not in world.cluster.docs


def test_without_uid_and_label_nothing_is_deleted(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder, _ = left(world)
    world.cluster.put(document(RELAXED, spec=manifest()["spec"]))
    back = restore_plan(exit_plan(), folder.run, "")
    assert world.run(world.begin(back), back).result is Result.PARTIAL
    assert RELAXED in world.cluster.docs


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Unreachable("the API server did not answer within 10 s"), Cause.UNREACHABLE),
        (Forbidden("sre may not patch destinationrules in shop-core"), Cause.FORBIDDEN),
        (Rejected("the webhook validation.istio.io refused it"), Cause.REJECTED),
    ],
)
def test_a_cluster_that_refuses_fails_the_phase_and_the_run_can_be_resumed(
    tmp_path: Path, error: ClusterError, cause: Cause
) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)

    def refuse(verb: str, ref: Ref) -> None:
        if ref == OWNED:
            raise error

    world.cluster.before_write = refuse
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.cause) == (Result.FAILED, cause)
    assert outcome.sentence == f"Relax: {error}"
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled"
    world.die_at(None)
    assert world.run(folder, plan).result is Result.DONE


def test_after_a_refusal_no_other_write_of_the_wave_is_begun(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    world.limits = Limits(concurrent_writes=1)
    folder = world.begin(plan)

    def refuse(verb: str, ref: Ref) -> None:
        if ref == RELAXED:
            raise Unreachable("the API server did not answer within 10 s")

    world.cluster.before_write = refuse
    assert world.run(folder, plan).cause is Cause.UNREACHABLE
    intents = [e.event.step.target for e in read_entries(folder.journal) if isinstance(e.event, Intent)]
    assert intents == [RELAXED]


def test_a_record_that_cannot_be_written_stops_the_run_before_the_wave(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)

    def refuse(verb: str, ref: Ref) -> None:
        if verb == "record":
            raise Forbidden("sre may not patch configmaps in meshguard-system")

    world.cluster.before_write = refuse
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.cause) == (Result.FAILED, Cause.FORBIDDEN)
    assert outcome.sentence.startswith("Relax: sre may not patch configmaps")
    assert "the record in the cluster could not be brought up to date" in outcome.sentence
    assert world.cluster.effects == []
