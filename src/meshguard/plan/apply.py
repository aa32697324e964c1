"""What a step would make of a snapshot, without a server: for proofs, and for showing the end before the beginning."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.model.change import Change, net
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Plan, Step
from meshguard.model.snapshot import OpenRun, Snapshot, changed_resource, resource_of


def apply(step: Step, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot after the step. Raises FieldConflict when a field is neither as expected nor as wanted."""
    match step.action:
        case Action.CHANGE:
            return snapshot.replace([changed_resource(snapshot.resources[step.target], step.changes)])
        case Action.CREATE:
            if step.manifest is None:
                raise ValueError(f"{step.id} creates {step.target} from nothing")
            metadata = {**step.manifest["metadata"], "uid": f"uid-of-{step.target.name}"}
            return snapshot.replace([resource_of({**step.manifest, "metadata": metadata}, step.target.kind)])
        case Action.DELETE:
            return snapshot.replace([], [step.target])
        case Action.HOLD | Action.RELEASE | Action.RENEW:
            return snapshot


def apply_plan(plan: Plan, snapshot: Snapshot, run: str) -> Snapshot:
    """Return the snapshot after every step of the plan, carried out by the run of that name."""
    for step in plan.steps:
        snapshot = apply(step.for_run(run), snapshot)
    return snapshot


def open_run_of(plan: Plan, snapshot: Snapshot, run: str, *, owner: str = "", reason: str = "") -> OpenRun:
    """Return the record that an exit leaves behind when every step of it was done.

    `snapshot` is the cluster after the exit.
    """
    steps = [step.for_run(run) for step in plan.steps]
    changes = _changes(steps)
    made = {s.target: s for s in steps if s.manifest is not None}
    created = {ref: snapshot.resources[ref].uid for ref in made}
    manifests = {ref: s.manifest for ref, s in made.items() if s.manifest is not None}
    return OpenRun(
        run, owner, reason, snapshot.taken_at, plan.namespaces, changes, created, manifests, consents=plan.consents
    )


def _changes(steps: Iterable[Step]) -> dict[Ref, tuple[Change, ...]]:
    out: dict[Ref, tuple[Change, ...]] = {}
    for step in steps:
        if step.changes:
            out[step.target] = (*out.get(step.target, ()), *step.changes)
    return {ref: kept for ref, changes in out.items() if (kept := net(changes))}
