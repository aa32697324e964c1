"""What a phase would do, asked of the API server itself: every write as a dry run, for `--check --diff`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from meshguard.engine.perform import labelled
from meshguard.model.change import ABSENT, read, write
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Phase, Step
from meshguard.ports import Cluster, Gone, Rejected, WriteConflict


@dataclass(frozen=True)
class ObjectDiff:
    """One step's object before and after, reduced to the fields that the step is about."""

    step_id: str
    object: Ref
    sentence: str
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    """Why the write would not succeed now; a step may also need what an earlier phase makes first."""

    @property
    def changed(self) -> bool:
        """Whether the step would write anything."""
        return self.before != self.after

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "step": self.step_id,
            "object": str(self.object),
            "sentence": self.sentence,
            "before": self.before,
            "after": self.after,
            "problem": self.problem,
        }


async def preview(cluster: Cluster, phase: Phase, run: str, concurrent: int = 32) -> tuple[ObjectDiff, ...]:
    """Return what the phase would write, in the plan's order; nothing is written and nothing is awaited.

    `run` is a name that the run might get. Raises Unreachable or Forbidden.
    """
    slots = asyncio.Semaphore(concurrent)

    async def look(step: Step) -> ObjectDiff:
        async with slots:
            return await _diff(cluster, step.for_run(run), run)

    writing = [step for step in phase.steps if step.action not in (Action.HOLD, Action.RELEASE)]
    return tuple(await asyncio.gather(*(look(step) for step in writing)))


async def _diff(cluster: Cluster, step: Step, run: str) -> ObjectDiff:
    found = await cluster.get(step.target)
    doc = found.doc if found else {}
    before, after, problem = _fields(step, doc), dict[str, Any](), ""
    try:
        match step.action:
            case Action.CHANGE:
                after = _fields(step, (await cluster.change(step.target, step.uid, step.changes, dry_run=True)).doc)
            case Action.CREATE if step.manifest is not None:
                made = await cluster.create(labelled(step.manifest, run), dry_run=True)
                after = _fields(step, made.doc)
    except (WriteConflict, Gone, Rejected) as error:
        after, problem = before, str(error)
    return ObjectDiff(step.id, step.target, step.sentence, before, after, problem)


def _fields(step: Step, doc: Any) -> dict[str, Any]:
    """Reduce a document to what the step is about; of a pod that is renewed, its identity."""
    paths: list[tuple[str, ...]] = [("spec",)]
    if step.action is Action.CHANGE:
        paths = [change.path for change in step.changes]
    elif step.action is Action.RENEW:
        paths = [("metadata", "uid")]
    out: dict[str, Any] = {}
    for path in paths:
        if (value := read(doc, path)) is not ABSENT:
            out = write(out, path, value)
    return out
