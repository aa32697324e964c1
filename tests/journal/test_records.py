"""The mirror in the cluster holds everything that another machine needs, and fits into the API server's objects."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import Any

import pytest

from meshguard.journal import records
from meshguard.journal.encoding import decode, encode
from meshguard.journal.entries import Head
from meshguard.journal.errors import RecordError
from meshguard.journal.mirror import open_runs, with_open_runs
from meshguard.journal.records import RecordStatus, RunRecord
from meshguard.journal.state import StepState
from meshguard.model.change import ABSENT, Change
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Action, Direction, Plan, Step
from meshguard.model.snapshot import ClusterIdentity, Snapshot
from tests.fakes.world import LEDGER, MARK, OWNED, PAY, RELAXED, TLS, document, exit_plan, manifest, restore_plan

RUN = "20260301-030000-ab12"
DONE = dict.fromkeys("12345", StepState.DONE)


def record(plan: Plan | None = None, **parts: Any) -> RunRecord:
    fields: dict[str, Any] = {"states": DONE, "uids": {"1": "uid-new"}, **parts}
    return RunRecord(
        RUN,
        plan or exit_plan(),
        "sre@laptop",
        "mesh is down",
        "2026-03-01T03:00:00.000Z",
        fields.pop("status", RecordStatus.OPEN),
        Head(42, "e" * 64),
        **fields,
    )


def stored(*kept: RunRecord) -> dict[Ref, Resource]:
    return {
        ref: Resource(ref, {"metadata": {"labels": labels}, "data": data})
        for one in kept
        for ref, data, labels in encode(one)
    }


def snapshot(*kept: RunRecord) -> Snapshot:
    return Snapshot(ClusterIdentity("cluster-1", "context", "server"), "2026-03-01T04:00:00Z", stored(*kept))


def test_a_record_is_read_back_as_it_was_written() -> None:
    whole = record(
        phases={"relax": "done"},
        undone=frozenset({(PAY, ("metadata", "labels", "istio-injection")), (RELAXED, ())}),
        fingerprints={str(PAY): "f" * 64},
    )
    found = stored(whole)
    (ref,) = found
    assert str(ref) == f"ConfigMap meshguard-system/run-{RUN}"
    again = decode(found[ref], found)
    assert again == whole
    assert again.plan.hash == whole.plan.hash


def test_a_person_can_read_who_and_why_with_kubectl() -> None:
    ((_, data, labels),) = encode(record())
    shown = {key: data[key] for key in ("person", "reason", "started", "status", "namespaces", "direction")}
    assert shown == {
        "person": "sre@laptop",
        "reason": "mesh is down",
        "started": "2026-03-01T03:00:00.000Z",
        "status": "open",
        "namespaces": "shop-pay",
        "direction": "exit",
    }
    assert labels == {
        "meshguard.dev/record": "run",
        "meshguard.dev/run": RUN,
        "meshguard.dev/status": "open",
    }


def test_a_large_plan_is_split_and_no_object_is_too_large() -> None:
    noise = random.Random(0)
    steps = [
        Step(f"restart-{n:05d}", Action.CHANGE, Ref("Deployment", f"team-{n}", noise.randbytes(100).hex()), "", "", "")
        for n in range(12_000)
    ]
    plan = exit_plan()
    waves = (replace(plan.phases[0].waves[0], steps=tuple(steps)),)
    large = record(replace(plan, phases=(replace(plan.phases[0], waves=waves),)), states={}, uids={})
    objects = encode(large)
    assert len(objects) > 1
    assert objects[-1][0] == records.record_ref(RUN), "the head comes last, when its parts are there"
    assert max(sum(map(len, data.values())) for _, data, _ in objects) < 1_000_000
    found = stored(large)
    assert decode(found[records.record_ref(RUN)], found) == large
    found.popitem()
    with pytest.raises(RecordError, match="incomplete"):
        decode(stored(large)[records.record_ref(RUN)], {})


def test_an_open_run_holds_what_was_done_or_may_have_been_done() -> None:
    (run,) = open_runs(snapshot(record(states={"1": StepState.INTENDED, "4": StepState.DONE}, uids={})))
    assert run.created == {RELAXED: ""}
    assert run.manifests == {RELAXED: manifest()}
    assert run.changes == {LEDGER: (Change(MARK, ABSENT, {"meshguard.dev/restart": RUN}),)}
    assert (run.owner, run.reason, run.namespaces) == ("sre@laptop", "mesh is down", ("shop-pay",))


@pytest.mark.parametrize(
    ("state", "held"), [(StepState.PLANNED, True), (StepState.INTENDED, True), (StepState.DONE, False)]
)
def test_what_a_run_changes_for_a_while_is_held_until_it_was_surely_taken_back(state: StepState, held: bool) -> None:
    begins = Change(("spec", "strategy"), {"type": "Recreate"}, {"type": "RollingUpdate"})
    plan = exit_plan()
    steps = tuple(
        Step(n, Action.CHANGE, LEDGER, "uid", "", "", (c,)) for n, c in (("1", begins), ("2", begins.inverse()))
    )
    waves = tuple(replace(plan.phases[0].waves[0], steps=(step,)) for step in steps)
    whole = record(replace(plan, phases=(replace(plan.phases[0], waves=waves),)))
    open_now = replace(whole, states={"1": StepState.DONE, "2": state}).to_open_run()
    assert open_now.changes == ({LEDGER: (begins,)} if held else {})


@pytest.mark.parametrize("state", [StepState.PLANNED, StepState.SKIPPED, StepState.CONFLICT])
def test_what_was_not_done_is_not_held(state: StepState) -> None:
    assert open_runs(snapshot(record(states=dict.fromkeys("12345", state)))) == ()


def test_a_run_that_holds_a_change_of_another_run_needs_it_too() -> None:
    steps = (
        Step("1", Action.HOLD, RELAXED, "uid-of-other", "", "", manifest=manifest()),
        Step("2", Action.HOLD, OWNED, "uid-payments", "", "", (Change(TLS, {"tls": {}}, ABSENT),)),
    )
    plan = exit_plan()
    waves = (replace(plan.phases[0].waves[0], steps=steps),)
    (run,) = open_runs(snapshot(record(replace(plan, phases=(replace(plan.phases[0], waves=waves),)), uids={})))
    assert run.created == {RELAXED: "uid-of-other"}
    assert run.changes == {OWNED: (Change(TLS, {"tls": {}}, ABSENT),)}


def test_a_restore_is_not_an_open_run_and_neither_is_what_it_has_given_back() -> None:
    plan = exit_plan()
    back = restore_plan(plan, RUN, "uid-new")
    given = record().restored(back.steps, left=set())
    assert given.status is RecordStatus.RESTORED
    restore = replace(record(back), run="20260301-040000-ab12")
    assert restore.plan.direction is Direction.RESTORE
    assert open_runs(snapshot(given, restore)) == ()


def test_what_a_restore_has_left_is_still_held_field_by_field() -> None:
    plan = exit_plan()
    both = replace(
        plan.phases[1].waves[0].steps[0],
        changes=(Change(("metadata", "labels", "a"), "1", "2"), Change(("metadata", "labels", "b"), "1", "2")),
    )
    waves = (replace(plan.phases[1].waves[0], steps=(both,)),)
    whole = record(replace(plan, phases=(replace(plan.phases[1], waves=waves),)))
    undone = replace(both.inverse(), changes=both.changes[:1])
    given = whole.restored([undone], left={PAY})
    assert given.status is RecordStatus.PARTIAL
    assert given.to_open_run().changes == {PAY: both.changes[1:]}
    assert given.restored([replace(both.inverse(), changes=both.changes[1:])], left={PAY}).status is (
        RecordStatus.RESTORED
    )


def test_a_damaged_record_is_blind_and_hides_no_other() -> None:
    whole = stored(record(), replace(record(), run="20260301-050000-ab12"))
    broken = whole[records.record_ref(RUN)].doc["data"]
    for key, value in (("state", "%%%"), ("plan", base64.b64encode(b"x").decode()), ("status", "odd")):
        doc = document(records.record_ref(RUN), metadata={"labels": {"meshguard.dev/record": "run"}})
        damaged = Resource(records.record_ref(RUN), {**doc, "data": {**broken, key: value}})
        seen = with_open_runs(replace(snapshot(), resources={**whole, damaged.ref: damaged}))
        assert [run.run for run in seen.open_runs] == ["20260301-050000-ab12"]
        assert "cannot be read" in seen.blind[str(damaged.ref)]


def test_config_maps_of_others_are_not_records() -> None:
    mine = stored(record())
    (one,) = mine.values()
    elsewhere = Resource(Ref("ConfigMap", "default", "x"), one.doc)
    unlabelled = Resource(Ref("ConfigMap", "meshguard-system", "rehearsal"), {"metadata": {}, "data": {}})
    seen = with_open_runs(replace(snapshot(), resources={r.ref: r for r in (elsewhere, unlabelled)}))
    assert (seen.open_runs, dict(seen.blind)) == ((), {})
