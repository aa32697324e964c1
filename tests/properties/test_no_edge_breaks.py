"""Random meshes leave and come back, pod by pod; an oracle that shares no code with the planner watches every edge."""

from __future__ import annotations

from random import Random

from hypothesis import event, given, settings
from hypothesis import strategies as st

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.apply import open_run_of
from meshguard.plan.build import NotInMesh, ProtectedScope, plan_exit, plan_restore
from tests.properties.exceptions import Excepted, excepted
from tests.properties.meshes import NAMESPACES, Generated, meshes, scopes
from tests.properties.oracle import Edge, Oracle
from tests.properties.walking import Walk

MESH = IstioSidecar()
SYSTEM = frozenset({"kube-system", "istio-system"})
#: Which namespaces are protected besides the system's: seldom one of the applications'.
protections = st.sampled_from([SYSTEM] * 4 + [SYSTEM | {name} for name in NAMESPACES])


def with_all_consents(snapshot: Snapshot, namespaces: frozenset[str], settings: Settings) -> Plan:
    """Plan, and accept whatever the first plan says that a person may accept."""
    first = plan_exit(snapshot, MESH, LeaveRequest(namespaces, Consents(authz_loss=True, fail_open=True), settings))
    consents = Consents(
        authz_loss=True,
        fail_open=True,
        authz_rules=frozenset(named for f in first.findings if (named := _rule_named(f))),
        interruptions=frozenset(place for f in first.findings if (place := _place_named(f))),
    )
    return plan_exit(snapshot, MESH, LeaveRequest(namespaces, consents, settings))


def _rule_named(finding: Finding) -> str:
    return next((word for word in finding.detail.split() if "#" in word), "") if finding.code.id == "MG202" else ""


def _place_named(finding: Finding) -> str:
    if not finding.code.consent.startswith("--accept-interruption"):
        return ""
    if finding.code.consent.endswith(":PORT"):
        return next(word for word in finding.detail.split() if word.count("/") == 1 and ":" in word)
    return f"{finding.object.namespace}/{finding.object.name}"


def watch(walk: Walk, plan: Plan, run: str, worked: set[Edge], spared: Excepted, evictions: Random) -> None:
    """Carry the plan out; every edge that worked goes on working, after every small step."""
    for phase, what in walk.carry_out(plan, run):
        wanted = worked - spared.during(phase)
        _all_work(walk.snapshot, wanted, what)
        if evictions.random() < 0.05:
            for surprise in walk.evict():
                _all_work(walk.snapshot, wanted, f"{surprise}, after {what}")
    _all_work(walk.snapshot, worked - spared.during(""), "everything")


def _all_work(snapshot: Snapshot, wanted: set[Edge], after: str) -> None:
    broken = wanted - Oracle(snapshot).working_edges()
    assert not broken, f"after {after}: broken: {', '.join(sorted(map(str, broken)))}"


@settings(max_examples=80)
@given(meshes(), scopes, protections, st.integers(0, 2**16))
def test_every_edge_that_worked_goes_on_working(
    mesh: Generated, scope: set[str], protected: frozenset[str], seed: int
) -> None:
    snapshot, rules = mesh.snapshot, Settings(protected_namespaces=protected)
    worked = Oracle(snapshot).working_edges()
    try:
        plan = with_all_consents(snapshot, mesh.named(scope), rules)
    except (NotInMesh, ProtectedScope) as refusal:
        event(type(refusal).__name__)
        return
    if plan.blockers:
        event(f"blocked by {', '.join(sorted({f.code.id for f in plan.blockers}))}")
        return
    event("carried out")
    walk = Walk(snapshot, Random(seed))
    spared = excepted(plan, snapshot)
    watch(walk, plan, "R1", worked, spared, Random(seed + 1))
    out = walk.snapshot
    run = open_run_of(plan, out, "R1")
    opened = Snapshot(out.cluster, out.taken_at, out.resources, (run,))
    walk.snapshot = opened
    back = plan_restore(opened, MESH, run, rules)
    assert not back.blockers, [f"{f.code.id} {f.object}: {f.detail}" for f in back.blockers]
    watch(walk, back, "R2", worked, spared, Random(seed + 2))
    assert documents(walk.snapshot) == documents(snapshot), "restore is not the inverse of exit"


def documents(snapshot: Snapshot) -> dict[Ref, object]:
    """Everything but pods, whose names change; without empty mappings, which the API server does not keep."""
    return {ref: _kept(r.doc) for ref, r in snapshot.resources.items() if ref.kind != "Pod"}


def _kept(doc: object) -> object:
    if isinstance(doc, dict):
        return {key: _kept(value) for key, value in doc.items() if value != {}}
    return doc
