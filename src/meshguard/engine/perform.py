"""One step, done to one object, so that doing it twice is the same as doing it once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshguard.journal.events import Conflicted, Done, Skipped
from meshguard.journal.records import RUN_LABEL
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Resource, dig
from meshguard.model.plan import Action, Step
from meshguard.ports import Cluster, Gone, Rejected, WriteConflict

Effect = Done | Skipped | Conflicted

CHURNED_LABEL = "meshguard.dev/churned"
"""On an object that its own run goes on changing: what it holds when it is deleted says nothing of others."""


async def perform(cluster: Cluster, step: Step, run: str, *, undoing: bool) -> Effect:
    """Do the step for the run. Raises ClusterError when the cluster refuses or does not answer.

    When `undoing`, an object that somebody has deleted since needs nothing any more; otherwise its absence is a
    conflict, because the plan was made for it.
    """
    match step.action:
        case Action.CHANGE:
            return await _change(cluster, step, undoing=undoing)
        case Action.CREATE:
            return await _create(cluster, step, run)
        case Action.DELETE:
            return await _delete(cluster, step)
        case Action.HOLD | Action.RELEASE:
            return Done(step.id)
        case Action.RENEW:
            return await _renew(cluster, step)


async def _change(cluster: Cluster, step: Step, *, undoing: bool) -> Effect:
    try:
        resource = await cluster.change(step.target, step.uid, step.changes)
    except WriteConflict as error:
        return Conflicted(step.id, step.target, str(error), error.path, error.expected, error.found)
    except Gone as error:
        if undoing and await cluster.get(step.target) is None:
            return Skipped(step.id, f"{step.target} was deleted since; nothing is left to undo")
        return Conflicted(step.id, step.target, str(error))
    return Done(step.id, resource.resource_version)


async def _create(cluster: Cluster, step: Step, run: str) -> Effect:
    """Create the object, unless an earlier attempt has: then it carries the run's name and the same spec."""
    manifest = labelled(_manifest_of(step), run)
    try:
        found = await cluster.create(manifest)
    except Rejected:
        there = await cluster.get(step.target)
        if there is None:
            raise
        found = there
    if found.labels.get(RUN_LABEL) != run or not same_spec(found, manifest):
        return Conflicted(step.id, step.target, f"{step.target} exists already, and this run has not made it as it is")
    return Done(step.id, found.resource_version, found.uid)


async def _delete(cluster: Cluster, step: Step) -> Effect:
    """Delete what a run has created, unless somebody has replaced or edited it."""
    found = await cluster.get(step.target)
    if found is None:
        return Skipped(step.id, f"{step.target} is gone already")
    ours = found.uid == step.uid if step.uid else RUN_LABEL in found.labels
    if not ours:
        return Conflicted(step.id, step.target, f"{step.target} is another object of the same name; it stays")
    manifest = _manifest_of(step)
    if not same_spec(found, manifest):
        return Conflicted(
            step.id,
            step.target,
            f"{step.target} was edited after meshguard had created it; it stays",
            ("spec",),
            manifest.get("spec"),
            found.spec,
        )
    try:
        await cluster.delete(step.target, found.uid)
    except WriteConflict as error:
        return Conflicted(step.id, step.target, str(error), error.path, error.expected, error.found)
    return Done(step.id)


async def _renew(cluster: Cluster, step: Step) -> Effect:
    """Delete one pod; its controller makes another, which for a StatefulSet has the same name."""
    try:
        await cluster.delete(step.target, step.uid)
    except WriteConflict:
        return Skipped(step.id, f"{step.target} is a new pod already")
    return Done(step.id)


def labelled(manifest: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Return the manifest with the label that says which run created the object."""
    metadata = dict(manifest["metadata"])
    metadata["labels"] = {**metadata.get("labels", {}), RUN_LABEL: run}
    return {**manifest, "metadata": metadata}


def same_spec(found: Resource, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the object is still what the manifest says; to built-in kinds the server adds its defaults."""
    wanted = dig(manifest, "spec", default={})
    if CHURNED_LABEL in found.labels:
        return True
    return bool(found.spec == wanted) if KINDS[found.ref.kind].optional else _holds(found.spec, wanted)


def _holds(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(found) == len(wanted)
            and all(_holds(inner, value) for inner, value in zip(found, wanted, strict=True))
        )
    return bool(found == wanted)


def _manifest_of(step: Step) -> Mapping[str, Any]:
    if step.manifest is None:
        raise ValueError(f"step {step.id} {step.action.value}s {step.target} but has no manifest")
    return step.manifest
