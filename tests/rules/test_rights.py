"""The table of rights: what the engine does, and nothing else, with a reason for each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshguard.mesh.istio_sidecar.hazards.world import DECISIVE_KINDS
from meshguard.mesh.istio_sidecar.rights import RIGHTS
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.istio_sidecar.sharing import SHARED_KINDS
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.kinds import KINDS, RESTARTABLE
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Await, Check, Direction, Phase, Plan, Step, Wave
from meshguard.model.rights import Place, Purpose, Right
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_restore
from meshguard.plan.rights import all_for, needed_for, roles
from tests.builders import shop

SPACE = "shop"
NOT_READ = {"Lease", "LimitRange"}


def step(action: Action, kind: str) -> Step:
    return Step("s", action, Ref(kind, SPACE if KINDS[kind].namespaced else "", "x"), "uid", "", "")


EDITS = [step(Action.CHANGE, kind) for kind in ("Namespace", *RESTARTABLE)]
POLICIES = [step(Action.CHANGE, kind) for kind in sorted(SHARED_KINDS)]
RENEWAL = step(Action.RENEW, "Pod")
#: What an exit makes where nothing is that could be edited.
CREATED = ("PeerAuthentication", "DestinationRule")
#: What faults make.
MADE = ("Deployment", "Job", "LimitRange", "VirtualService", "ServiceEntry")
STEPS = {
    Direction.EXIT: [*EDITS, *POLICIES, RENEWAL, *(step(Action.CREATE, kind) for kind in CREATED)],
    Direction.RESTORE: [*EDITS, *POLICIES, RENEWAL, *(step(Action.DELETE, kind) for kind in CREATED)],
    Direction.REJOIN: [*EDITS, *POLICIES, RENEWAL, *(step(Action.DELETE, kind) for kind in CREATED)],
    Direction.REALIGN: [*EDITS, RENEWAL],
    Direction.FAULT: [
        *EDITS,
        step(Action.CHANGE, "Service"),
        RENEWAL,
        *(step(action, kind) for kind in ("PeerAuthentication", *MADE) for action in (Action.CREATE, Action.DELETE)),
        step(Action.CHANGE, "PeerAuthentication"),
        step(Action.CHANGE, "ServiceEntry"),
    ],
}
PURPOSES = {direction: Purpose(direction.value) for direction in Direction if direction is not Direction.FAULT} | {
    Direction.FAULT: Purpose.CHAOS
}
ADMISSION = Await(Check.INJECTION, "", (f"Deployment {SPACE}/x",), {"injected": False})


def plan(direction: Direction, *steps: Step) -> Plan:
    waves = (Wave(steps, (ADMISSION, Await(Check.INBOUND, "", (SPACE,)))),)
    return Plan(direction, "istio-sidecar", "uid", "here", (SPACE,), (Phase("p", "", waves),))


@pytest.mark.parametrize("direction", list(Direction))
def test_what_a_plan_can_need_is_what_is_granted(direction: Direction) -> None:
    needed = needed_for(plan(direction, *STEPS[direction]), RIGHTS)
    granted = all_for(PURPOSES[direction], RIGHTS)
    spaces = {SPACE: "", "": ""}
    assert {(verb, resource, spaces.get(space, space)) for verb, resource, space in needed} == granted


def test_an_exit_of_a_headless_service_and_its_way_back_need_nothing_that_is_not_granted() -> None:
    snapshot = shop().deployment("shop-core", "stock", headless=True).snapshot()
    request = LeaveRequest(frozenset({"shop-core"}), Consents(authz_loss=True, fail_open=True))
    out = plan_exit(snapshot, IstioSidecar(), request)
    assert ("create", "destinationrules.networking.istio.io", "shop-core") in needed_for(out, RIGHTS)
    after = apply_plan(out, snapshot, "R1")
    run = open_run_of(out, after, "R1")
    back = plan_restore(replace(after, open_runs=(run,)), IstioSidecar(), run, Settings())
    assert ("delete", "destinationrules.networking.istio.io", "shop-core") in needed_for(back, RIGHTS)


def test_a_plan_needs_its_own_writes_only_where_they_are() -> None:
    needed = needed_for(plan(Direction.EXIT, step(Action.CHANGE, "StatefulSet")), RIGHTS)
    assert {("get", "statefulsets.apps", SPACE), ("patch", "statefulsets.apps", SPACE)} <= needed
    assert {(verb, space) for verb, resource, space in needed if resource == "deployments.apps"} == {("list", "")}
    assert ("create", "pods", SPACE) in needed
    assert ("create", "configmaps", "meshguard-system") in needed


def test_a_write_that_nobody_was_told_of_is_a_defect() -> None:
    with pytest.raises(ValueError, match=r"not in the table of rights: create services, get services"):
        needed_for(plan(Direction.EXIT, step(Action.CREATE, "Service")), RIGHTS)
    with pytest.raises(ValueError, match=r"get services, patch services"):
        needed_for(plan(Direction.REALIGN, step(Action.CHANGE, "Service")), RIGHTS)
    with pytest.raises(ValueError, match=r"delete peerauthentications\.security\.istio\.io"):
        needed_for(plan(Direction.EXIT, step(Action.DELETE, "PeerAuthentication")), RIGHTS)


def test_a_restore_also_takes_faults_back() -> None:
    needed = needed_for(plan(Direction.RESTORE, step(Action.DELETE, "Job")), RIGHTS)
    assert ("delete", "jobs.batch", SPACE) in needed


def test_everything_that_is_read_is_granted_and_nothing_else() -> None:
    listed = {right.resource for right in RIGHTS if "list" in right.verbs and Purpose.EXIT in right.purposes}
    assert listed == {kind.resource for kind in KINDS.values() if kind.name not in NOT_READ}


@pytest.mark.parametrize("purpose", [Purpose.EXIT, Purpose.REALIGN])
def test_whatever_restarts_is_told_of_the_room_for_it(purpose: Purpose) -> None:
    assert any(right.resource == "nodes" and purpose in right.purposes for right in RIGHTS)


def test_a_restore_must_see_who_owns_the_replicas() -> None:
    assert ("list", "horizontalpodautoscalers.autoscaling", "") in all_for(Purpose.RESTORE, RIGHTS)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_whoever_carries_anything_out_claims_the_cluster(purpose: Purpose) -> None:
    claim = {(verb, "leases.coordination.k8s.io", "meshguard-system") for verb in ("get", "create", "patch")}
    assert claim <= all_for(purpose, RIGHTS)


def test_settings_are_read_where_istiod_keeps_them() -> None:
    places = {right.place: right.verbs for right in RIGHTS if right.resource == "configmaps"}
    assert places == {Place.MESH: ("get", "list"), Place.OWN: ("get", "list", "create", "patch")}


def test_what_only_informs_is_what_a_plan_is_right_without() -> None:
    by_resource = {kind.resource: kind.name for kind in KINDS.values()}
    decisive = {
        by_resource[right.resource]
        for right in RIGHTS
        if "list" in right.verbs and not right.informs and Purpose.EXIT in right.purposes
    }
    assert decisive == DECISIVE_KINDS
    assert all(right.verbs == ("list",) for right in RIGHTS if right.informs)


def test_no_rule_grants_more_than_it_names() -> None:
    for purpose in Purpose:
        for role in roles(purpose, RIGHTS):
            for rule in role.manifest()["rules"]:
                assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    assert not any("secrets" in right.resource for right in RIGHTS)


def test_named_namespaces_narrow_what_is_changed() -> None:
    wide = {role.namespace: role for role in roles(Purpose.EXIT, RIGHTS)}
    assert set(wide) == {"", "istio-system", "meshguard-system"}
    narrow = {role.namespace: role for role in roles(Purpose.EXIT, RIGHTS, ["shop-web", "shop-pay"])}
    assert set(narrow) == {"", "istio-system", "meshguard-system", "shop-pay", "shop-web"}
    assert narrow["shop-web"].rules["deployments.apps"][0]["verbs"] == ["get", "patch"]
    assert narrow[""].rules["deployments.apps"][0]["verbs"] == ["list"]
    assert narrow[""].rules["peerauthentications.security.istio.io"][0]["verbs"] == ["list", "get", "patch", "create"]


def test_a_role_and_its_binding_are_kubernetes_objects() -> None:
    (role,) = roles(Purpose.EXIT, [Right(("get",), "pods/portforward", Place.CLUSTER, "to look")])
    assert role.manifest() == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "meshguard-exit"},
        "rules": [{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get"]}],
    }
    bound = role.binding({"kind": "Group", "name": "sre"})
    assert bound["kind"] == "ClusterRoleBinding"
    assert bound["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "meshguard-exit",
    }
    assert bound["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "sre"}]
