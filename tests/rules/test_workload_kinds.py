"""What a restart does to each kind of workload: obstacles, lifts of update strategies, room, and what is stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.change import Change, net
from meshguard.model.objects import Ref, Workload
from meshguard.model.plan import Action, Check, Plan
from meshguard.model.quantities import amount, in_words, rounded
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_restore
from tests.builders import World, obj, shop

MESH = IstioSidecar()
ODD = Consents(interruptions=frozenset({"shop-web/odd"}))


def exit_of(world: World, consents: Consents = ODD) -> Plan:
    return plan_exit(world.snapshot(), MESH, LeaveRequest(frozenset({"shop-web"}), consents))


def blockers(plan: Plan) -> set[str]:
    return {f.code.id for f in plan.blockers}


def codes(plan: Plan) -> set[str]:
    return {f.code.id for f in plan.findings}


def odd(world: World | None = None, **parts: Any) -> World:
    return (world or shop()).deployment("shop-web", "odd", **parts)


def step_of(plan: Plan, prefix: str) -> list[tuple[str, Any]]:
    """What the steps whose id begins so set, as (path, value)."""
    return [
        (".".join(c.path[-2:]), c.after)
        for s in plan.phase("restart").steps
        if s.id.startswith(prefix) and s.target.name == "odd"
        for c in s.changes
        if c.path[-1] != "meshguard.dev/restart"
    ]


def partition(value: int) -> Mapping[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": value}}}


def test_a_partition_is_lifted_for_the_restart_and_put_back() -> None:
    plan = exit_of(odd(kind="StatefulSet", spec=partition(1)))
    assert plan.blockers == ()
    assert step_of(plan, "restart-") == [("rollingUpdate.partition", 0)]
    assert step_of(plan, "strategy-") == [("rollingUpdate.partition", 1)]
    waves = plan.phase("restart").waves
    assert [s.id[:8] for s in waves[0].steps] == ["restart-", "restart-"]
    assert Check.ROLLED_OUT in {a.check for a in waves[0].awaits}
    assert [s.id[:9] for s in waves[-1].steps] == ["strategy-"]


def test_a_lifted_partition_leaves_no_trace_in_the_record_and_is_lifted_on_the_way_back_too() -> None:
    world = odd(kind="StatefulSet", spec=partition(1))
    plan = exit_of(world)
    after = apply_plan(plan, world.snapshot(), "R1")
    record = open_run_of(plan, after, "R1")
    ref = Ref("StatefulSet", "shop-web", "odd")
    assert [c.path[-1] for c in record.changes[ref]] == ["meshguard.dev/restart"]
    back = plan_restore(after, MESH, record, Settings())
    assert step_of(back, "restart-") == [("rollingUpdate.partition", 0)]
    assert step_of(back, "strategy-") == [("rollingUpdate.partition", 1)]


def test_a_run_that_died_before_it_gave_the_strategy_back_gives_it_back_after_the_way_back() -> None:
    world = odd(kind="StatefulSet", spec=partition(1))
    plan = exit_of(world)
    died = plan.phase("restart").waves[0].steps
    snapshot = world.snapshot()
    short = Plan(
        plan.direction, plan.mesh, plan.cluster_uid, plan.context, plan.namespaces, (plan.phases[2], plan.phases[3])
    )
    after = apply_plan(short, snapshot, "R1")
    held = odd(kind="StatefulSet", spec=partition(0)).snapshot().resources[Ref("StatefulSet", "shop-web", "odd")]
    marked = after.resources[held.ref]
    lifted = type(held)(held.ref, {**marked.doc, "spec": {**marked.doc["spec"], **partition(0)}})
    after = after.replace([lifted])
    record = open_run_of(short, after, "R1")
    record.changes[held.ref] = net(  # type: ignore[index]
        [c for s in died if s.target == held.ref for c in s.for_run("R1").changes]
    )
    back = plan_restore(after, MESH, record, Settings())
    assert step_of(back, "restart-") == []
    assert step_of(back, "strategy-") == [("rollingUpdate.partition", 1)]


def test_an_on_delete_set_is_renewed_pod_by_pod() -> None:
    plan = exit_of(odd(kind="StatefulSet", replicas=3, spec={"updateStrategy": {"type": "OnDelete"}}))
    assert plan.blockers == ()
    deletions = [w for w in plan.phase("restart").waves if any(s.action is Action.RENEW for s in w.steps)]
    assert [[s.target.name for s in w.steps] for w in deletions] == [["odd-2"], ["odd-1"], ["odd-0"]]
    assert next(w.awaits[0].expect for w in deletions) == {"gone": ["uid-Pod-shop-web-odd-2"]}
    assert any("1 of 3 pods at a time" in note for note in plan.notes)


def test_a_bare_replica_set_is_renewed_in_waves_and_comes_back_the_same_way() -> None:
    world = odd(kind="ReplicaSet", replicas=3)
    plan = exit_of(world)
    assert plan.blockers == ()
    waves = plan.phase("restart").waves
    assert [s.target.kind for s in waves[0].steps] == ["Deployment", "ReplicaSet"]
    assert [[s.target.name for s in w.steps if s.action is Action.RENEW] for w in waves[1:4]] == [
        ["odd-2"],
        ["odd-1"],
        ["odd-0"],
    ]
    ref = Ref("ReplicaSet", "shop-web", "odd")
    seen = [a for a in waves[4].awaits if a.subject == (str(ref),)]
    assert [a.check for a in seen] == [Check.ROLLED_OUT, Check.MEMBERSHIP]
    after = apply_plan(plan, world.snapshot(), "R1")
    record = open_run_of(plan, after, "R1")
    back = plan_restore(replace(after, open_runs=(record,)), MESH, record, Settings())
    renewed = [s for s in back.phase("restart").steps if s.action is Action.RENEW]
    assert len(renewed) == 3
    restored = apply_plan(back, after, "R2").resources[ref]
    assert isinstance(restored, Workload)
    assert restored.template_annotations == {}


def test_a_bare_replica_set_needs_consent_and_says_why() -> None:
    request = LeaveRequest(frozenset({"shop-web"}), Consents(authz_loss=True))
    plan = plan_exit(odd(kind="ReplicaSet", replicas=3).snapshot(), MESH, request)
    ((object_, detail),) = [(str(f.object), f.detail) for f in plan.blockers]
    assert object_ == "ReplicaSet shop-web/odd"
    assert detail == "it replaces no pods by itself: the plan deletes its pods, a tenth at a time"


def test_a_bare_replica_set_whose_template_is_ahead_of_its_pods_is_not_restarted() -> None:
    world = odd(kind="ReplicaSet")
    newer = next(r for r in world.objects if r.ref == Ref("ReplicaSet", "shop-web", "odd"))
    newer.doc["spec"]["template"]["spec"]["containers"][0] = {"name": "app", "image": "shop:next"}
    found = [f for f in exit_of(world).blockers if f.code.id == "MG303"]
    assert "would let them loose" in found[0].detail


def test_the_replica_set_of_a_deployment_is_no_workload_of_its_own() -> None:
    owned = obj(
        "ReplicaSet",
        "shop-web",
        "storefront-1",
        ownerReferences=[{"kind": "Deployment", "name": "storefront", "controller": True}],
        spec={"replicas": 2, "template": {"metadata": {}, "spec": {"containers": []}}},
    )
    assert owned.ref not in {w.ref for w in shop().add(owned).snapshot().workloads}


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ({"spec": {"paused": True}}, "paused"),
        (
            {
                "kind": "StatefulSet",
                "spec": partition(2),
                "status": {"currentRevision": "a", "updateRevision": "b"},
            },
            "holds a change back",
        ),
        ({"kind": "Rollout", "spec": {"workloadRef": {"name": "odd"}}}, "workloadRef"),
    ],
)
def test_what_cannot_be_restarted_blocks_and_cannot_be_accepted(parts: Mapping[str, Any], detail: str) -> None:
    found = [f for f in exit_of(odd(**parts)).blockers if f.code.id == "MG303"]
    assert detail in found[0].detail


@pytest.mark.parametrize(
    "strategy",
    [
        {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}},
        {"blueGreen": {"autoPromotionEnabled": False}},
    ],
)
def test_a_rollout_that_waits_for_a_person_blocks(strategy: Mapping[str, Any]) -> None:
    assert blockers(exit_of(odd(kind="Rollout", spec={"strategy": strategy}))) == {"MG307"}


def test_a_rollout_is_restarted_by_its_template() -> None:
    plan = exit_of(odd(kind="Rollout", spec={"strategy": {"canary": {"steps": [{"pause": {"duration": 5}}]}}}))
    assert plan.blockers == ()
    assert "Rollout shop-web/odd" in {str(s.target) for s in plan.phase("restart").steps}


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"replicas": 1}, "MG301"),
        ({"kind": "DaemonSet"}, "MG301"),
        ({"container": {"readinessProbe": None, "ports": []}}, ""),
    ],
)
def test_interruptions_are_accepted_by_name(parts: Mapping[str, Any], code: str) -> None:
    world = odd(**parts)
    assert exit_of(world).blockers == ()
    if code:
        assert blockers(exit_of(world, Consents())) == {code}


def nodes(world: World, cpu: str = "4", **spec: Any) -> World:
    return world.add(
        obj(
            "Node",
            "",
            "node1",
            spec=spec,
            status={
                "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        )
    )


HUNGRY = {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}


@pytest.mark.parametrize(
    ("world", "code"),
    [
        (nodes(odd(container=HUNGRY), cpu="500m"), "MG502"),
        (nodes(odd(container=HUNGRY), unschedulable=True), "MG502"),
        (nodes(odd(container=HUNGRY), taints=[{"key": "gpu", "effect": "NoSchedule"}]), "MG502"),
        (nodes(odd(container=HUNGRY, pod_spec={"nodeSelector": {"zone": "b"}})), "MG502"),
        (
            nodes(odd(container=HUNGRY)).add(
                obj("ResourceQuota", "shop-web", "team", status={"hard": {"pods": "5"}, "used": {"pods": "5"}})
            ),
            "MG503",
        ),
    ],
)
def test_without_room_the_plan_stops_old_pods_first(world: World, code: str) -> None:
    world = shop() if world is None else world
    plan = exit_of(world, Consents(interruptions=frozenset({"shop-web/odd", "shop-web/storefront"})))
    assert code in codes(plan)
    assert code in blockers(exit_of(world, Consents()))
    assert ("rollingUpdate.maxSurge", 0) in step_of(plan, "restart-")
    assert ("rollingUpdate.maxUnavailable", 1) in step_of(plan, "restart-")
    assert step_of(plan, "strategy-")
    assert any("1 of 2 pods at a time" in note for note in plan.notes)


def test_with_room_nothing_is_lifted_and_the_headroom_is_stated() -> None:
    world = nodes(odd(container=HUNGRY, pod_spec={"tolerations": [{"operator": "Exists"}]}), taints=[])
    plan = exit_of(world)
    assert not codes(plan) & {"MG502", "MG503", "MG504"}
    assert step_of(plan, "restart-") == []
    assert any(note.startswith("Node node1: 8.0 GiB of memory") for note in plan.notes)


def test_unseen_nodes_are_told() -> None:
    assert "MG504" in codes(exit_of(shop()))


def test_a_volume_that_one_node_can_mount_makes_the_old_pod_go_first() -> None:
    volume = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    claim = obj("PersistentVolumeClaim", "shop-web", "data", spec={"accessModes": ["ReadWriteOnce"]})
    world = odd(pod_spec=volume).add(claim)
    assert blockers(exit_of(world, Consents())) == {"MG313"}
    plan = exit_of(world)
    assert plan.blockers == ()
    assert ("rollingUpdate.maxSurge", 0) in step_of(plan, "restart-")


@pytest.mark.parametrize(
    "world",
    [
        odd(pod_spec={"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}).add(
            obj("PersistentVolumeClaim", "shop-web", "data", spec={"accessModes": ["ReadWriteOncePod"]})
        ),
        odd(container={"ports": [{"containerPort": 8080, "hostPort": 8080}]}),
        nodes(odd(container=HUNGRY), cpu="500m"),
    ],
)
def test_what_makes_the_old_pod_go_first_does_so_on_the_way_back_too(world: World) -> None:
    plan = exit_of(world, Consents(interruptions=frozenset({"shop-web/odd", "shop-web/storefront"})))
    assert plan.blockers == ()
    after = apply_plan(plan, world.snapshot(), "R1")
    back = plan_restore(after, MESH, open_run_of(plan, after, "R1"), Settings())
    assert ("rollingUpdate.maxSurge", 0) in step_of(back, "restart-")
    assert [path for path, _ in step_of(back, "strategy-")] == [
        "rollingUpdate.maxUnavailable",
        "rollingUpdate.maxSurge",
    ]
    assert any("pods at a time" in note and "Deployment shop-web/odd" in note for note in back.notes)


def test_what_runs_to_completion_and_what_nobody_restarts_is_reported_and_never_touched() -> None:
    world = odd(kind="Job")
    world.add(
        obj("CronJob", "shop-web", "night", spec={}),
        obj(
            "Pod",
            "shop-web",
            "bare",
            annotations={"sidecar.istio.io/status": "{}"},
            spec={"containers": [{"name": "istio-proxy"}]},
            status={"phase": "Running"},
        ),
        obj(
            "Pod",
            "shop-web",
            "of-an-operator",
            ownerReferences=[{"kind": "Database", "name": "db", "controller": True}],
            spec={"containers": [{"name": "istio-proxy"}]},
            status={"phase": "Running"},
        ),
        obj(
            "Pod",
            "shop-web",
            "of-a-set",
            ownerReferences=[{"kind": "ReplicaSet", "name": "alone", "controller": True}],
            spec={"containers": [{"name": "istio-proxy"}]},
            status={"phase": "Running"},
        ),
    ).deployment("shop-web", "zero", replicas=0)
    plan = exit_of(world)
    found = {(f.code.id, str(f.object)) for f in plan.findings}
    assert ("MG304", "Job shop-web/odd") in found
    assert {r for c, r in found if c == "MG305"} == {
        "Pod shop-web/bare",
        "Database shop-web/db",
        "ReplicaSet shop-web/alone",
    }
    assert {r for c, r in found if c == "MG308"} == {"CronJob shop-web/night", "Deployment shop-web/zero"}
    assert {str(s.target) for s in plan.phase("restart").steps} == {"Deployment shop-web/storefront"}


def scaler(*metrics: Mapping[str, Any]) -> Any:
    target = {"kind": "Deployment", "name": "storefront"}
    return obj("HorizontalPodAutoscaler", "shop-web", "s", spec={"scaleTargetRef": target, "metrics": list(metrics)})


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (
            scaler({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}),
            "MG310",
        ),
        (
            scaler({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "istio-proxy"}}),
            "MG311",
        ),
        (
            obj("PodDisruptionBudget", "shop-web", "b", spec={"selector": {"matchLabels": {"app": "storefront"}}}),
            "MG309",
        ),
    ],
)
def test_objects_around_a_workload_are_told(extra: Any, code: str) -> None:
    assert code in codes(exit_of(shop().add(extra)))


@pytest.mark.parametrize(
    "parts",
    [
        {"container": {"args": ["curl -X POST localhost:15020/quitquitquit"]}},
        {"container": {"readinessProbe": {"httpGet": {"port": 15021}}}},
        {"template_annotations": {"prometheus.io/port": "15020"}},
    ],
)
def test_an_application_that_talks_to_its_proxy_is_told(parts: Mapping[str, Any]) -> None:
    assert "MG312" in codes(exit_of(odd(**parts)))


def test_a_sidecar_that_keeps_its_pod_from_being_ready_is_told() -> None:
    world = shop()
    pod = next(p for p in world.objects if p.ref == Ref("Pod", "shop-web", "storefront-0"))
    status = {**pod.doc["status"], "containerStatuses": [{"name": "istio-proxy", "ready": False}]}
    world.add(type(pod)(pod.ref, {**pod.doc, "status": status}))
    found = next(f for f in exit_of(world).findings if f.code.id == "MG314")
    assert found.detail == "the sidecar of 1 of 2 pods is not ready"


def test_the_duration_counts_probes_replicas_and_grace() -> None:
    slow = {"readinessProbe": {"httpGet": {"port": 8080}, "initialDelaySeconds": 40}}
    plan = exit_of(odd(replicas=4, container=slow, spec={"minReadySeconds": 10}))
    note = next(n for n in plan.notes if n.startswith("Expected duration"))
    assert "restarts 106-220 s" in note, "two rounds of 2 s start, 40 s delay and 10 s minReady, and 2 s to stop"


def test_an_interruption_is_stated_in_seconds() -> None:
    grace = {"terminationGracePeriodSeconds": 20}
    plan = exit_of(odd(kind="StatefulSet", replicas=1, pod_spec=grace))
    assert any("StatefulSet shop-web/odd has no ready pod for 4-65 s" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("text", "value"), [("500m", 0.5), ("1Gi", 2.0**30), ("2", 2.0), ("1e3", 1000.0), ("128974848", 128974848.0)]
)
def test_quantities(text: str, value: float) -> None:
    assert amount(text) == value


def test_no_quantity() -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        amount("much")


def test_percentages_round_up_for_surge_and_down_for_what_may_be_missing() -> None:
    assert (rounded("25%", 2, up=True), rounded("25%", 2, up=False), rounded(3, 9, up=True)) == (1, 0, 3)
    assert (in_words(2.0**20 * 320), in_words(2.0**30 * 1.5)) == ("320 MiB", "1.5 GiB")


def test_changes_come_to_their_net_effect() -> None:
    there, back = Change(("a",), 1, 0), Change(("a",), 0, 1)
    assert net([there, Change(("b",), 1, 2), back]) == (Change(("b",), 1, 2),)
    assert net([Change(("b",), 1, 2), Change(("b",), 2, 3)]) == (Change(("b",), 1, 3),)
