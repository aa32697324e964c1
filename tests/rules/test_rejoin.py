"""Days later: a run comes back in waves, on a cluster that others have worked on meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.rights import RIGHTS
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.change import ABSENT
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Action, Check, Direction, Plan, Step
from meshguard.model.rights import Purpose
from meshguard.model.snapshot import OpenRun, Snapshot, resource_of
from meshguard.model.staging import ProxyLimits, Staging, WaveSizes
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_out_again, plan_restore
from meshguard.plan.gate import Gate, gated
from meshguard.plan.outside import outside
from meshguard.plan.rights import all_for, needed_for
from tests.builders import World, obj, policy, shop

MESH, SETTINGS = IstioSidecar(), Settings()
CONSENTS = Consents(authz_loss=True, fail_open=True)
SPACES = ("shop-core", "shop-web")
CART, CATALOGUE = Ref("Deployment", "shop-core", "cart"), Ref("Deployment", "shop-core", "catalogue")
STOREFRONT = Ref("Deployment", "shop-web", "storefront")
MEMORY_LIMIT, MEMORY_REQUEST = "sidecar.istio.io/proxyMemoryLimit", "sidecar.istio.io/proxyMemory"
CPU_LIMIT, CPU_REQUEST = "sidecar.istio.io/proxyCPULimit", "sidecar.istio.io/proxyCPU"
LIMITS = ProxyLimits(memory="1Gi")


def left(world: World | None = None, *namespaces: str) -> Snapshot:
    """The shop with two namespaces out, as the exit and the controllers have left it."""
    before = (world or shop()).snapshot()
    plan = plan_exit(before, MESH, LeaveRequest(frozenset(namespaces or SPACES), CONSENTS))
    assert plan.blockers == ()
    after = apply_plan(plan, before, "R1")
    after = after.replace([bare(after, ref) for ref in restarted(after, plan)])
    return replace(after, open_runs=(open_run_of(plan, after, "R1", owner="jane", reason="out of memory"),))


def restarted(snapshot: Snapshot, plan: Plan) -> list[Ref]:
    told = {step.target for step in plan.phase("restart").steps}
    return [pod.ref for pod in snapshot.pods if snapshot.workload_of_pod[pod.ref] in told]


def bare(snapshot: Snapshot, pod: Ref) -> Resource:
    """The pod without its sidecar."""
    doc = snapshot.resources[pod].doc
    spec = {**doc["spec"], "containers": [c for c in doc["spec"]["containers"] if c["name"] != "istio-proxy"]}
    return resource_of({**doc, "spec": spec, "metadata": {**doc["metadata"], "annotations": {}}}, "Pod")


def back(snapshot: Snapshot, waves: str = "1,rest", settings: Settings = SETTINGS, **staging: Any) -> Plan:
    how = Staging(WaveSizes.parse(waves), **staging)
    return plan_restore(snapshot, MESH, snapshot.open_runs[0], settings, how)


def edited(snapshot: Snapshot, ref: Ref, *path: str, value: object = ABSENT) -> Snapshot:
    """The snapshot with one field of an object as somebody else has set it."""

    def within(doc: Any, keys: tuple[str, ...]) -> Any:
        rest = {k: v for k, v in doc.items() if k != keys[0]}
        if len(keys) > 1:
            return {**rest, keys[0]: within(doc.get(keys[0], {}), keys[1:])}
        return rest if value is ABSENT else {**rest, keys[0]: value}

    return snapshot.replace([resource_of(within(snapshot.resources[ref].doc, path), ref.kind)])


def set_by(step: Step) -> dict[str, object]:
    return {change.path[-1]: change.after for change in step.changes}


def step_of(plan: Plan, ref: Ref) -> Step:
    (step,) = [s for s in plan.steps if s.target == ref]
    return step


def batches(plan: Plan) -> list[list[str]]:
    """What each wave with steps writes, in order."""
    return [[s.target.name for s in wave.steps] for wave in plan.phase("restart").waves if wave.steps]


def test_each_namespace_is_enrolled_just_before_its_first_wave() -> None:
    plan = back(left())
    assert plan.direction is Direction.REJOIN
    assert [p.name for p in plan.phases] == ["restart", "tighten", "verify"]
    assert batches(plan) == [["shop-core"], ["cart"], ["shop-web"], ["catalogue", "storefront"]]


def test_a_new_pod_with_a_sidecar_is_seen_in_admission_before_anybody_restarts() -> None:
    waves = back(left()).phase("restart").waves
    assert [[a.check for a in wave.awaits] for wave in waves[:2]] == [
        [Check.INJECTION],
        [Check.ROLLED_OUT, Check.MEMBERSHIP],
    ]


def test_a_wave_is_never_larger_than_the_configuration_allows() -> None:
    plan = back(left(), "rest", Settings(wave_size=1))
    assert batches(plan)[-3:] == [["cart"], ["catalogue"], ["storefront"]]


def test_a_wave_that_is_not_seen_back_goes_out_again() -> None:
    waves = [w for w in back(left()).phase("restart").waves if any(a.check is not Check.INJECTION for a in w.awaits)]
    assert {a.undoes for wave in waves[:2] for a in wave.awaits} == {(str(CART),)}
    assert {a.undoes for wave in waves[2:] for a in wave.awaits} == {(str(CATALOGUE), str(STOREFRONT))}


def test_a_gate_stands_behind_every_wave() -> None:
    plan = gated(back(left()), Gate("steady", {}))
    sentences = [a.sentence for p in plan.phases for w in p.waves for a in w.awaits if a.check is Check.HYPOTHESIS]
    moments = ("before the first change", "after wave 1 of restarts", "after wave 2 of restarts", "at the end")
    assert sentences == [f"hypothesis steady holds {moment}" for moment in moments]


def test_in_one_wave_it_ends_where_a_restore_ends() -> None:
    snapshot = left()
    staged = apply_plan(back(snapshot, "rest"), snapshot, "R2").resources
    restored = apply_plan(plan_restore(snapshot, MESH, snapshot.open_runs[0], SETTINGS), snapshot, "R2").resources
    assert {ref: r.doc for ref, r in staged.items()} == {ref: r.doc for ref, r in restored.items()}


def test_strict_comes_last_and_with_nothing_of_the_run_outside() -> None:
    plan = back(left())
    written = [s.target.kind for s in plan.writes]
    assert written.index("PeerAuthentication") > max(i for i, kind in enumerate(written) if kind == "Deployment")


def test_limits_come_with_the_requests_that_the_injector_would_have_made() -> None:
    changes = set_by(step_of(back(left(), limits=LIMITS), CART))
    assert changes[MEMORY_LIMIT] == "1Gi"
    assert (changes[MEMORY_REQUEST], changes[CPU_REQUEST]) == ("128Mi", "100m")
    assert CPU_LIMIT not in changes


def test_a_limit_of_one_resource_is_enough() -> None:
    changes = set_by(step_of(back(left(), limits=ProxyLimits(cpu="500m")), CART))
    assert changes[CPU_LIMIT] == "500m"
    assert MEMORY_LIMIT not in changes


def test_what_the_injector_gives_by_its_own_settings_is_not_lost_by_the_annotation() -> None:
    own = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
    config = obj(
        "ConfigMap", "istio-system", "istio-sidecar-injector", injector={"policy": "enabled", "resources": own}
    )
    changes = set_by(step_of(back(left(shop().add(config)), limits=LIMITS), CART))
    assert (changes[MEMORY_LIMIT], changes[CPU_LIMIT]) == ("1Gi", "2")
    assert (changes[MEMORY_REQUEST], changes[CPU_REQUEST]) == ("32Mi", "20m")


def test_a_request_is_never_more_than_its_limit() -> None:
    changes = set_by(step_of(back(left(), limits=ProxyLimits("50m", "64Mi")), CART))
    assert (changes[MEMORY_REQUEST], changes[CPU_REQUEST]) == ("64Mi", "50m")


@pytest.mark.parametrize(("replaced", "limit"), [(False, None), (True, "1Gi")])
def test_a_limit_of_the_workloads_own_stays_unless_it_shall_be_replaced(replaced: bool, limit: str | None) -> None:
    world = shop().deployment("shop-core", "big", template_annotations={MEMORY_LIMIT: "3Gi"})
    plan = back(left(world), limits=LIMITS, replace_limits=replaced)
    step = step_of(plan, Ref("Deployment", "shop-core", "big"))
    assert set_by(step).get(MEMORY_LIMIT) == limit
    assert any("Deployment shop-core/big" in note and "imits of their own" in note for note in plan.notes)


def test_the_limits_are_what_the_end_is_compared_with() -> None:
    plan = back(left(), limits=LIMITS)
    (identical,) = [a for w in plan.phase("verify").waves for a in w.awaits if a.check is Check.IDENTICAL]
    fields = {change["path"][-1]: change.get("after") for change in identical.expect["fields"][str(CART)]}
    assert fields[MEMORY_LIMIT] == "1Gi"
    assert fields["meshguard.dev/restart"] is None


def test_a_redeployed_workload_that_has_lost_the_mark_is_restarted_all_the_same() -> None:
    mark = ("spec", "template", "metadata", "annotations")
    snapshot = edited(left(), CART, *mark)
    for plan in (back(snapshot, limits=LIMITS), plan_restore(snapshot, MESH, snapshot.open_runs[0], SETTINGS)):
        step = step_of(plan, CART)
        assert step.restarts
        assert set_by(step)["meshguard.dev/restart"] == "${RUN}"
        assert any(str(CART) in a.subject for p in plan.phases for w in p.waves for a in w.awaits)
        assert len({s.id for s in plan.steps}) == len(plan.steps)


def test_a_redeployed_workload_that_kept_the_mark_loses_just_that() -> None:
    snapshot = edited(left(), CART, "spec", "template", "spec", "terminationGracePeriodSeconds", value=7)
    step = step_of(back(snapshot), CART)
    assert set_by(step) == {"meshguard.dev/restart": ABSENT}


def test_one_that_its_owner_keeps_out_by_now_is_left_alone() -> None:
    opted_out = {"metadata": {"labels": {"app": "cart", "sidecar.istio.io/inject": "false"}}}
    snapshot = left()
    template = {**snapshot.resources[CART].doc["spec"]["template"], **opted_out}
    plan = back(edited(snapshot, CART, "spec", "template", value=template))
    assert CART not in {s.target for s in plan.steps}
    assert plan.blockers == ()


def test_new_workloads_are_listed_and_come_along_only_when_asked() -> None:
    new = World().deployment("shop-core", "recommendations", meshed=False).objects
    new[0] = obj(
        "Deployment", "shop-core", "recommendations", created="2026-11-03T00:00:00Z", spec=dict(new[0].doc["spec"])
    )
    snapshot = left()
    snapshot = snapshot.replace(new)
    listed = back(snapshot)
    assert [(f.object.name, f.blocks) for f in listed.findings if f.code.id == "MG117"] == [("recommendations", False)]
    assert new[0].ref not in {s.target for s in listed.steps}
    along = back(snapshot, with_new=True, limits=LIMITS)
    assert set_by(step_of(along, new[0].ref))[MEMORY_LIMIT] == "1Gi"
    assert [f.accepted for f in along.findings if f.code.id == "MG117"] == [True]


def test_what_was_never_in_the_mesh_is_not_new() -> None:
    world = shop().deployment("shop-core", "always-out", meshed=False)
    plan = back(left(world), with_new=True)
    assert "always-out" not in {s.target.name for s in plan.steps}
    assert [f for f in plan.findings if f.code.id == "MG117"] == []


def test_a_deleted_workload_and_an_edited_policy_are_named_and_left() -> None:
    world = shop().add(policy("PeerAuthentication", "shop-pay", "own", {"mtls": {"mode": "STRICT"}}))
    snapshot = left(world).replace([policy("PeerAuthentication", "shop-pay", "own", {"mtls": {"mode": "DISABLE"}})])
    snapshot = snapshot.replace([], [CATALOGUE])
    plan = back(snapshot)
    assert plan.excluded == {str(CATALOGUE): "it is not there any more"}
    assert [f.object.name for f in plan.findings if f.code.id == "MG207"] == ["own"]
    assert "own" not in {s.target.name for s in plan.writes}
    assert plan.blockers == ()


def test_what_another_open_run_keeps_out_stays_out_and_its_policies_relaxed() -> None:
    snapshot = left()
    other = replace(snapshot.open_runs[0], run="R0", namespaces=("shop-web",))
    kept = {ref: c for ref, c in other.changes.items() if "shop-web" in (ref.namespace, ref.name)}
    snapshot = replace(snapshot, open_runs=(*snapshot.open_runs, replace(other, changes=kept)))
    plan = back(snapshot)
    assert step_of(plan, STOREFRONT).action is Action.RELEASE
    assert {s.action for s in plan.phase("tighten").steps if s.target.kind == "PeerAuthentication"} == {Action.RELEASE}


def brought_back(snapshot: Snapshot, *members: Ref) -> Snapshot:
    """The cluster after the wave of these workloads: label and template are back, and their pods have sidecars."""
    plan = back(snapshot, limits=LIMITS)
    steps = [s for s in plan.phase("restart").steps if s.target in members or s.target.name == "shop-core"]
    wave = replace(
        plan,
        phases=(replace(plan.phase("restart"), waves=(replace(plan.phase("restart").waves[0], steps=tuple(steps)),)),),
    )
    after = apply_plan(wave, snapshot, "R2")
    pods = []
    for pod in after.pods:
        if after.workload_of_pod[pod.ref] in members:
            spec = {**pod.spec, "containers": [*pod.containers, {"name": "istio-proxy", "image": "local/proxyv2:dev"}]}
            pods.append(resource_of({**pod.doc, "spec": spec}, "Pod"))
    return after.replace(pods)


def out_again(snapshot: Snapshot, *members: Ref) -> Plan:
    return plan_out_again(snapshot, MESH, snapshot.open_runs[0], SETTINGS, members, CONSENTS)


def test_a_wave_goes_out_again_by_its_pod_label_and_holds_what_is_relaxed() -> None:
    plan = out_again(brought_back(left(), CART), CART)
    assert plan.blockers == ()
    assert plan.direction is Direction.EXIT
    assert {s.action for s in plan.phase("relax").steps} == {Action.HOLD}
    assert [s.target for s in plan.writes] == [CART]
    assert set_by(step_of(plan, CART))["sidecar.istio.io/inject"] == "false"


def test_whoever_may_bring_a_run_back_may_take_a_wave_of_it_out_again() -> None:
    needed = needed_for(out_again(brought_back(left(), CART), CART), RIGHTS)
    granted = {(verb, resource) for verb, resource, _ in all_for(Purpose.REJOIN, RIGHTS)}
    assert {(verb, resource) for verb, resource, _ in needed} <= granted


def test_after_a_roll_back_both_runs_come_back_and_the_cluster_ends_as_it_was() -> None:
    before = shop().snapshot()
    snapshot = brought_back(left(), CART)
    plan = out_again(snapshot, CART)
    after = apply_plan(plan, snapshot, "X")
    after = after.replace([bare(after, ref) for ref in restarted(after, plan)])
    after = replace(after, open_runs=(*snapshot.open_runs, open_run_of(plan, after, "X")))
    rest = back(after)
    assert step_of(rest, CART).action is Action.RELEASE
    assert {s.action for s in rest.phase("tighten").steps} == {Action.RELEASE}
    assert rest.blockers == ()
    after = replace(apply_plan(rest, after, "R3"), open_runs=after.open_runs[1:])
    last = back(after)
    assert "shop-core" not in {s.target.name for s in last.steps if s.target.kind == "Namespace"}
    after = apply_plan(last, after, "R4")
    for ref, resource in before.resources.items():
        if ref.kind not in ("Pod", "Deployment"):
            assert shape(after.resources[ref].doc) == shape(resource.doc), ref
    limited = after.resources[CART].doc["spec"]["template"]["metadata"]
    assert limited["annotations"][MEMORY_LIMIT] == "1Gi"
    assert "sidecar.istio.io/inject" not in limited["labels"]


def shape(doc: object) -> object:
    """Without empty mappings, which the API server does not keep."""
    return {k: shape(v) for k, v in doc.items() if v != {}} if isinstance(doc, dict) else doc


def test_status_tells_since_when_by_whom_why_and_what_is_plaintext() -> None:
    snapshot = left(None, "shop-web")
    (told,) = outside(snapshot, MESH)
    assert told.to_json() == {
        "run": "R1",
        "by": "jane",
        "since": snapshot.taken_at,
        "reason": "out of memory",
        "namespaces": ["shop-web"],
        "out": [str(STOREFRONT)],
        "back": [],
        "plaintextAccepted": ["load", "shop-core", "shop-pay", "shop-web"],
    }
    assert "accepted in load, shop-core, shop-pay, shop-web" in told.lines()[-1]
    assert snapshot.namespaces["shop-web"].annotations == {"meshguard.dev/run": "R1"}


def test_status_does_not_call_plaintext_what_somebody_has_made_strict_again() -> None:
    strict = {"mtls": {"mode": "STRICT"}}
    own = policy("PeerAuthentication", "shop-pay", "own", strict)
    (told,) = outside(left(shop().add(own), "shop-web").replace([own]), MESH)
    assert told.plaintext == ("load", "shop-core", "shop-web")


def test_a_run_without_anything_left_waits_for_nothing_of_it() -> None:
    """The run was brought back by hand."""
    before = shop().snapshot()
    run = OpenRun("R1", "jane", "x", before.taken_at, ("shop-core",), left().open_runs[0].changes)
    plan = plan_restore(replace(before, open_runs=(run,)), MESH, run, SETTINGS, Staging())
    assert plan.writes == ()
    assert plan.blockers == ()
