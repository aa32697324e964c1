"""The way out of a small shop and back again, planned and applied without a server."""

from __future__ import annotations

from itertools import permutations

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Check, Plan
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import NotInMesh, ProtectedScope, UnknownScope, plan_exit, plan_restore
from tests.builders import policy, shop

MESH = IstioSidecar()
ALL_CONSENTS = Consents(authz_loss=True, fail_open=True)


def exit_plan(snapshot: Snapshot, *namespaces: str, consents: Consents = ALL_CONSENTS) -> Plan:
    return plan_exit(snapshot, MESH, LeaveRequest(frozenset(namespaces), consents))


def codes(plan: Plan) -> set[str]:
    return {f.code.id for f in plan.blockers}


def targets(plan: Plan, phase: str) -> list[str]:
    return [str(s.target) for s in plan.phase(phase).steps]


def test_client_leaves_after_its_servers_take_plaintext() -> None:
    plan = exit_plan(shop().snapshot(), "shop-web")
    assert [p.name for p in plan.phases] == ["relax", "converge", "un-enrol", "restart", "verify"]
    assert targets(plan, "relax") == [
        f"PeerAuthentication {ns}/meshguard-permissive" for ns in ("load", "shop-core", "shop-pay", "shop-web")
    ]
    assert targets(plan, "un-enrol") == ["Namespace shop-web"]
    assert targets(plan, "restart") == ["Deployment shop-web/storefront"]
    assert plan.blockers == ()


def test_mesh_policy_is_never_edited_for_a_namespace() -> None:
    plan = exit_plan(shop().snapshot(), "shop-web", "shop-core", "shop-pay")
    assert Ref("PeerAuthentication", "istio-system", "default") not in {s.target for s in plan.steps}


def test_existing_namespace_policy_is_edited_in_place() -> None:
    world = shop().add(policy("PeerAuthentication", "shop-pay", "own", {"mtls": {"mode": "STRICT"}}))
    step = next(s for s in exit_plan(world.snapshot(), "shop-web").steps if s.target.namespace == "shop-pay")
    assert (step.action, step.target.name) == (Action.CHANGE, "own")
    assert step.changes[0].describe() == "spec.mtls.mode: 'STRICT' -> 'PERMISSIVE'"


def test_the_oldest_policy_of_a_scope_is_the_one_edited() -> None:
    strict = {"mtls": {"mode": "STRICT"}}
    world = shop().add(
        policy("PeerAuthentication", "shop-pay", "a-younger", strict, created="2026-02-02T00:00:00Z"),
        policy("PeerAuthentication", "shop-pay", "z-older", strict, created="2026-01-01T00:00:00Z"),
    )
    step = next(s for s in exit_plan(world.snapshot(), "shop-web").steps if s.target.namespace == "shop-pay")
    assert step.target.name == "z-older"


def test_workload_and_port_levels_are_relaxed_where_they_are_strict() -> None:
    spec = {
        "selector": {"matchLabels": {"app": "payments"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"8080": {"mode": "STRICT"}, "9090": {"mode": "DISABLE"}},
    }
    world = shop().add(policy("PeerAuthentication", "shop-pay", "own", spec))
    step = next(s for s in exit_plan(world.snapshot(), "shop-web").steps if s.target.name == "own")
    assert [c.path for c in step.changes] == [("spec", "mtls", "mode"), ("spec", "portLevelMtls", "8080", "mode")]


def test_server_leaves_after_the_destination_rule_lets_go() -> None:
    plan = exit_plan(shop().snapshot(), "shop-core")
    rule = next(s for s in plan.steps if s.target.kind == "DestinationRule")
    assert rule.changes[0].describe() == "spec.trafficPolicy: {'tls': {'mode': 'ISTIO_MUTUAL'}} -> (absent)"


def test_authorization_blocks_until_accepted_and_keeps_the_rest_of_the_rule() -> None:
    snapshot = shop().snapshot()
    assert codes(exit_plan(snapshot, "shop-core", consents=Consents())) == {"MG201"}
    step = next(s for s in exit_plan(snapshot, "shop-core").steps if s.target.kind == "AuthorizationPolicy")
    assert step.changes[0].after == [{"to": [{"operation": {"methods": ["GET", "POST"]}}]}]


def test_callers_that_the_policy_does_not_name_change_nothing() -> None:
    plan = exit_plan(shop().snapshot(), "shop-web", consents=Consents())
    assert not [s for s in plan.steps if s.target.kind == "AuthorizationPolicy"]


def test_deny_rules_are_named_and_never_edited() -> None:
    spec = {
        "action": "DENY",
        "rules": [{"from": [{"source": {"notPrincipals": ["cluster.local/ns/load/sa/openload"]}}]}],
    }
    world = shop().add(policy("AuthorizationPolicy", "shop-pay", "deny", spec))
    snapshot = world.snapshot()
    assert "MG202" in codes(exit_plan(snapshot, "load"))
    accepted = Consents(authz_loss=True, fail_open=True, authz_rules=frozenset({"shop-pay/deny#0"}))
    plan = exit_plan(snapshot, "load", consents=accepted)
    assert plan.blockers == ()
    assert "AuthorizationPolicy shop-pay/deny" not in {str(s.target) for s in plan.steps}


def test_leaving_servers_fail_open_only_with_consent() -> None:
    assert codes(exit_plan(shop().snapshot(), "shop-pay", consents=Consents())) == {"MG203"}
    assert exit_plan(shop().snapshot(), "shop-pay", consents=Consents(fail_open=True)).blockers == ()


def test_server_first_port_needs_a_declared_interruption() -> None:
    world = shop().deployment("shop-pay", "ledger", port=9000, port_name="tcp-ledger")
    assert codes(exit_plan(world.snapshot(), "shop-web")) == {"MG204"}
    accepted = Consents(interruptions=frozenset({"shop-pay/ledger:9000"}))
    plan = exit_plan(world.snapshot(), "shop-web", consents=accepted)
    step = next(s for s in plan.steps if s.target.name == "meshguard-server-first-ledger")
    assert step.manifest is not None
    assert step.manifest["spec"] == {
        "selector": {"matchLabels": {"app": "ledger"}},
        "portLevelMtls": {"9000": {"mode": "DISABLE"}},
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"replicas": 1}, "MG301"),
        ({"spec": {"strategy": {"type": "Recreate"}}}, "MG301"),
        ({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}}}}, "MG301"),
        ({"container": {"ports": [{"containerPort": 8080, "hostPort": 80}]}}, "MG301"),
        ({"spec": {"paused": True}}, "MG303"),
        ({"kind": "StatefulSet", "spec": {"updateStrategy": {"type": "OnDelete"}}}, "MG306"),
        ({"kind": "StatefulSet", "spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}, "MG306"),
        ({"kind": "DaemonSet"}, "MG301"),
        ({"template_labels": {"security.istio.io/tlsMode": "istio"}}, "MG105"),
    ],
)
def test_workload_hazards_block(change: dict[str, object], code: str) -> None:
    world = shop().deployment("shop-web", "odd", **change)  # type: ignore[arg-type]
    found = codes(exit_plan(world.snapshot(), "shop-web"))
    assert found == {code}


def test_scopes_that_are_refused() -> None:
    snapshot = shop().namespace("lonely").snapshot()
    with pytest.raises(UnknownScope, match="did you mean shop-web"):
        exit_plan(snapshot, "shop-wbe")
    with pytest.raises(ProtectedScope):
        exit_plan(snapshot, "kube-system")
    with pytest.raises(NotInMesh):
        exit_plan(snapshot, "lonely")
    with pytest.raises(UnknownScope, match="empty"):
        exit_plan(snapshot)


def test_a_namespace_that_asks_for_sidecars_and_has_none_loses_its_label_only() -> None:
    """Pods that were created while the injector was away: the next ones would come with a sidecar."""
    world = shop().namespace("late", **{"istio-injection": "enabled"}).deployment("late", "web", meshed=False)
    before = world.snapshot()
    plan = exit_plan(before, "late")
    assert plan.blockers == ()
    (step,) = plan.steps
    assert step.changes[0].describe() == "metadata.labels[istio-injection]: 'enabled' -> 'disabled'"
    (awaited,) = [a for w in plan.phase("un-enrol").waves for a in w.awaits]
    assert (awaited.check, awaited.subject) == (Check.INJECTION, ("Deployment late/web",))
    assert any("only the label is changed" in note for note in plan.notes)
    after = apply_plan(plan, before, "R1")
    run = open_run_of(plan, after, "R1")
    back = plan_restore(with_runs(after, (run,)), MESH, run, Settings())
    restored = apply_plan(back, after, "R2").namespaces["late"]
    assert restored.labels == before.namespaces["late"].labels


@pytest.mark.parametrize(
    ("labels", "changed"),
    [
        ({"istio.io/rev": "default"}, True),
        ({"istio-injection": "disabled", "istio.io/rev": "default"}, False),
        ({}, False),
    ],
)
def test_beside_a_namespace_that_leaves_an_idle_one_loses_its_label_where_it_asks_for_sidecars(
    labels: dict[str, str], changed: bool
) -> None:
    world = shop().namespace("late", **labels).deployment("late", "web", meshed=False)
    plan = exit_plan(world.snapshot(), "shop-web", "late")
    assert ("Namespace late" in targets(plan, "un-enrol")) is changed
    assert targets(plan, "restart") == ["Deployment shop-web/storefront"]


def _apply_exit(snapshot: Snapshot, run: str, *namespaces: str) -> Snapshot:
    plan = exit_plan(snapshot, *namespaces)
    assert plan.blockers == ()
    after = apply_plan(plan, snapshot, run)
    opened = open_run_of(plan, after, run)
    return with_runs(_without_sidecars(after, plan), (*snapshot.open_runs, opened))


def _without_sidecars(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """What the controllers do after the restart: the leaving workloads' pods lose their proxy."""
    told = {s.target for s in plan.phase("restart").steps}
    pods = []
    for pod in snapshot.pods:
        if snapshot.workload_of_pod[pod.ref] in told:
            doc = {**pod.doc, "spec": {**pod.spec, "containers": [pod.containers[0]]}}
            doc["metadata"] = {**pod.doc["metadata"], "annotations": {}}
            pods.append(type(pod)(pod.ref, doc))
    return snapshot.replace(pods)


def with_runs(snapshot: Snapshot, runs: tuple[OpenRun, ...]) -> Snapshot:
    return Snapshot(snapshot.cluster, snapshot.taken_at, snapshot.resources, runs)


@pytest.mark.parametrize("order", list(permutations(["R1", "R2", "R3"])))
def test_three_runs_restored_in_any_order_end_where_they_began(order: tuple[str, ...]) -> None:
    before = shop().snapshot()
    snapshot = _apply_exit(before, "R1", "shop-web")
    snapshot = _apply_exit(snapshot, "R2", "shop-pay")
    snapshot = _apply_exit(snapshot, "R3", "shop-web", "shop-core", "shop-pay")
    for position, name in enumerate(order):
        run = next(r for r in snapshot.open_runs if r.run == name)
        plan = plan_restore(snapshot, MESH, run, Settings())
        assert plan.blockers == ()
        tightened = [s for s in plan.writes if s.target.kind == "PeerAuthentication"]
        assert bool(tightened) == (position == 2), "STRICT comes back with the last run, and not before"
        snapshot = apply_plan(plan, snapshot, name)
        snapshot = with_runs(snapshot, tuple(r for r in snapshot.open_runs if r.run != name))
    for ref, resource in before.resources.items():
        if ref.kind != "Pod":
            assert _shape(snapshot.resources[ref].doc) == _shape(resource.doc), ref
    assert set(snapshot.resources) == set(before.resources)


def _shape(doc: object) -> object:
    """Documents without empty mappings, which the API server does not keep for its own kinds."""
    if isinstance(doc, dict):
        return {k: _shape(v) for k, v in doc.items() if v != {}}
    return doc


def test_what_somebody_else_edited_is_reported_and_left() -> None:
    world = shop().add(policy("PeerAuthentication", "shop-pay", "own", {"mtls": {"mode": "STRICT"}}))
    snapshot = _apply_exit(world.snapshot(), "R1", "shop-web")
    edited = policy("PeerAuthentication", "shop-pay", "own", {"mtls": {"mode": "DISABLE"}})
    snapshot = snapshot.replace([edited])
    plan = plan_restore(snapshot, MESH, snapshot.open_runs[0], Settings())
    assert [str(f.object) for f in plan.findings if f.code.id == "MG207"] == ["PeerAuthentication shop-pay/own"]
    assert edited.ref not in {s.target for s in plan.writes}
    assert plan.blockers == ()


def test_policies_stay_relaxed_while_a_namespace_cannot_come_back() -> None:
    snapshot = _apply_exit(shop().snapshot(), "R1", "shop-web")
    namespace = snapshot.namespaces["shop-web"]
    doc = {**namespace.doc, "metadata": {**namespace.doc["metadata"], "labels": {"istio-injection": "mine"}}}
    snapshot = snapshot.replace([type(namespace)(namespace.ref, doc)])
    plan = plan_restore(snapshot, MESH, snapshot.open_runs[0], Settings())
    assert "MG208" in codes(plan)


def test_on_the_way_back_modes_are_written_one_by_one_each_seen_before_the_next() -> None:
    """Two pushes of istiod close together can lose the second one; see the module `pacing`."""
    snapshot = _apply_exit(shop().snapshot(), "R1", "shop-web")
    back = plan_restore(snapshot, MESH, snapshot.open_runs[0], Settings())
    writing = [w for w in back.phase("tighten").waves if any(s.target.kind == "PeerAuthentication" for s in w.steps)]
    assert len(writing) == 4
    assert all(len(w.steps) == 1 and w.awaits[0].subject == (w.steps[0].target.namespace,) for w in writing)
