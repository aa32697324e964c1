"""What holds of every plan, whatever the mesh: order of reading, protection, caps."""

from __future__ import annotations

import json
from random import Random

from hypothesis import assume, event, given
from hypothesis import strategies as st

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Caps, Consents, LeaveRequest, Settings
from meshguard.model.plan import Plan
from meshguard.model.scopes import Asked
from meshguard.model.snapshot import Snapshot
from meshguard.plan.build import plan_exit
from meshguard.plan.scopes import NotInMesh, OverCap, PlanError, ProtectedScope, resolve
from tests.properties.meshes import NAMESPACES, Generated, meshes, scopes

MESH = IstioSidecar()
ALL = Consents(authz_loss=True, fail_open=True)


def planned(snapshot: Snapshot, asked: Asked, settings: Settings) -> Plan:
    """Plan as the command line does."""
    scope = resolve(snapshot, MESH, asked, settings)
    return plan_exit(snapshot, MESH, LeaveRequest(scope.namespaces, ALL, settings, scope.selection))


@given(meshes(), scopes, st.integers(0, 2**16))
def test_the_order_in_which_objects_are_listed_decides_nothing(mesh: Generated, scope: set[str], seed: int) -> None:
    snapshot, asked = mesh.snapshot, Asked(mesh.named(scope))
    items = list(snapshot.resources.items())
    Random(seed).shuffle(items)
    shuffled = Snapshot(snapshot.cluster, snapshot.taken_at, dict(items))
    try:
        first = planned(snapshot, asked, Settings())
    except NotInMesh:
        assume(False)
    assert json.dumps(planned(shuffled, asked, Settings()).document()) == json.dumps(first.document())


@given(meshes(), scopes, st.sets(st.sampled_from(NAMESPACES), max_size=2), st.booleans())
def test_no_protected_object_is_ever_in_a_plan(
    mesh: Generated, scope: set[str], protected: set[str], whole: bool
) -> None:
    settings = Settings(
        protected_namespaces=frozenset({*protected, "kube-system", "istio-system"}), caps=Caps(20, 500, 100)
    )
    asked = Asked(frozenset() if whole else mesh.named(scope), whole_mesh=whole)
    try:
        plan = planned(mesh.snapshot, asked, settings)
    except ProtectedScope:
        event("refused")
        assert asked.namespaces & settings.protected_namespaces
        return
    except PlanError:
        event("nothing to do")
        return
    event("planned")
    assert not asked.namespaces & settings.protected_namespaces
    spaces = {s.target.name if s.target.kind == "Namespace" else s.target.namespace for s in plan.steps}
    assert not spaces & settings.protected_namespaces


@given(meshes(), scopes, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_caps_hold(mesh: Generated, scope: set[str], workloads: int, namespaces: int, whole: bool) -> None:
    settings = Settings(caps=Caps(namespaces, workloads, 100.0, 0))
    asked = Asked(frozenset() if whole else mesh.named(scope), whole_mesh=whole)
    try:
        plan = planned(mesh.snapshot, asked, settings)
    except OverCap:
        event("over the cap")
        return
    except PlanError:
        event("nothing to do")
        return
    event("planned")
    assert len({s.target for s in plan.steps if s.restarts}) <= workloads
    assert len({s.target for s in plan.steps if s.target.kind == "Namespace"}) <= namespaces
