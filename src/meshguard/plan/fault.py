"""A fault as a plan: previewed, capped and hashed like any other. No target means refusal, never everything."""

from __future__ import annotations

from collections.abc import Collection

from meshguard.mesh.protocol import Draft, Mesh
from meshguard.model.objects import Ref
from meshguard.model.plan import Direction, Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.scopes import OverCap, UnknownScope


def plan_fault(snapshot: Snapshot, mesh: Mesh, name: str, draft: Draft) -> Plan:
    """Make the plan of a fault. Raises UnknownScope when it would touch nothing."""
    plan = Plan(
        Direction.FAULT,
        mesh.name,
        snapshot.cluster.uid,
        snapshot.cluster.context,
        tuple(sorted({_space(step.target) for phase in draft.phases for step in phase.steps} - {""})),
        draft.phases,
        draft.findings,
        draft.notes,
        scope=(name,),
    )
    if not plan.steps:
        raise UnknownScope(f"the fault {name} has no target; nothing was changed")
    return plan


def targets_of(plan: Plan) -> tuple[Ref, ...]:
    """Return the objects that a plan writes to, each once, in order."""
    return tuple(sorted({step.target for step in plan.writes}))


def check_fault_cap(targets: Collection[Ref], most: int) -> None:
    """Raise OverCap when faults would touch more objects than allowed."""
    if len(targets) > most:
        raise OverCap(f"the faults would touch {len(targets)} objects, the cap is {most}; nothing was changed")


def _space(ref: Ref) -> str:
    return ref.name if ref.kind == "Namespace" else ref.namespace
