"""Relaxations that several open runs need: the first makes them, the others hold them, the last one takes them back.

A new plan is computed on the cluster as it would be without any open run's policy edits. What it then needs and
finds in place already is held; a value that is neither the original nor the wanted one blocks the plan.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.mesh.istio_sidecar.edits import Edit
from meshguard.model.change import Change, FieldConflict, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Step
from meshguard.model.snapshot import OpenRun, Snapshot, changed_resource

SHARED_KINDS = frozenset({"PeerAuthentication", "DestinationRule", "AuthorizationPolicy"})


def without_open_runs(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot as it would be if no open run had edited a policy."""
    for run in snapshot.open_runs:
        restored = []
        for ref, changes in run.changes.items():
            resource = snapshot.resources.get(ref)
            if ref.kind not in SHARED_KINDS or resource is None:
                continue
            try:
                restored.append(changed_resource(resource, [c.inverse() for c in changes]))
            except FieldConflict:
                continue  # somebody has edited it since: their value is the one to plan on
        snapshot = snapshot.replace(restored, [ref for ref in run.created if ref.kind in SHARED_KINDS])
    return snapshot


def steps_of(snapshot: Snapshot, phase: str, edits: Iterable[Edit]) -> tuple[tuple[Step, ...], tuple[Finding, ...]]:
    """Turn edits into numbered steps: to make, or to hold where another open run has made them."""
    steps: list[Step] = []
    findings: list[Finding] = []
    for edit in edits:
        for action, changes in _split(snapshot, edit, findings):
            resource = snapshot.resources.get(edit.target)
            steps.append(
                Step(
                    f"{phase}-{len(steps) + 1:03d}",
                    action,
                    edit.target,
                    resource.uid if resource else "",
                    edit.sentence if action is not Action.HOLD else f"{edit.sentence}: in place by another open run",
                    edit.why,
                    changes,
                    edit.manifest,
                )
            )
    return tuple(steps), tuple(findings)


def _split(snapshot: Snapshot, edit: Edit, findings: list[Finding]) -> list[tuple[Action, tuple[Change, ...]]]:
    resource = snapshot.resources.get(edit.target)
    if edit.manifest is not None:
        return [(Action.CREATE if resource is None else Action.HOLD, ())]
    if resource is None:
        raise AssertionError(f"an edit of {edit.target}, which the snapshot does not have")
    made, wanted = [], []
    for change in edit.changes:
        found = read(resource.doc, change.path)
        if found == change.after:
            made.append(change)
        elif found == change.before:
            wanted.append(change)
        else:
            runs = ", ".join(r.run for r in holders(snapshot.open_runs, edit.target, change.path))
            findings.append(
                Finding(CODES["MG205"], edit.target, f"{'.'.join(change.path)} was set otherwise by run {runs}")
            )
    parts = [(Action.HOLD, tuple(made)), (Action.CHANGE, tuple(wanted))]
    return [(action, changes) for action, changes in parts if changes]


def holders(runs: Iterable[OpenRun], ref: Ref, path: tuple[str, ...] | None = None) -> tuple[OpenRun, ...]:
    """Return the open runs that need the object's change at `path`, or, without a path, the object itself."""
    return tuple(run for run in runs if run.holds(ref, path))
