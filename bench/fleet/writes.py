"""The writes of a plan, for those who send them without meshguard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.fleet.api import Write
from meshguard.model.change import ABSENT
from meshguard.model.kinds import KINDS
from meshguard.model.plan import Action, Plan, Step

MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Stage:
    """The steps of one phase; without their order new pods would come with sidecars again."""

    steps: tuple[Step, ...]

    def raw(self, run: str) -> Iterator[Write]:
        """As requests."""
        for step in self.steps:
            named = step.for_run(run)
            kind = KINDS[step.target.kind]
            if named.action is Action.CREATE:
                yield Write("POST", kind.path(step.target.namespace), named.manifest)
            else:
                yield Write("PATCH", kind.path(step.target.namespace, step.target.name), merge_patch(named), MERGE)

    def objects(self, run: str) -> Iterator[Mapping[str, Any]]:
        """As what a playbook patches or creates."""
        for step in self.steps:
            named = step.for_run(run)
            metadata = {"name": step.target.name}
            if step.target.namespace:
                metadata["namespace"] = step.target.namespace
            yield named.manifest or _with(merge_patch(named), _api_version(step), step.target.kind, metadata)


def stages(plan: Plan) -> tuple[Stage, ...]:
    """Return what a plan writes, phase by phase; whoever writes what this bench does not know is a mistake of it."""
    found = [Stage(tuple(step for step in phase.steps if _is_write(step))) for phase in plan.phases]
    return tuple(stage for stage in found if stage.steps)


def count(parts: Iterable[Stage]) -> int:
    """Return how many writes these are."""
    return sum(len(stage.steps) for stage in parts)


def subset(parts: Sequence[Stage], share: int) -> tuple[Stage, ...]:
    """Return every `share`th step of each stage."""
    return tuple(Stage(stage.steps[::share]) for stage in parts)


def _is_write(step: Step) -> bool:
    if step.action in (Action.HOLD, Action.RELEASE):
        return False
    if step.action not in (Action.CHANGE, Action.CREATE):
        raise ValueError(f"{step.id}: {step.action.value} is not a write of an exit of this fleet")
    return True


def merge_patch(step: Step) -> dict[str, Any]:
    """Return the changes of a step as a JSON merge patch."""
    patch: dict[str, Any] = {}
    for change in step.changes:
        place = patch
        for key in change.path[:-1]:
            place = place.setdefault(key, {})
        place[change.path[-1]] = None if change.after is ABSENT else change.after
    return patch


def _api_version(step: Step) -> str:
    group_and_version = KINDS[step.target.kind].path().split("/")
    return group_and_version[2] if group_and_version[1] == "api" else "/".join(group_and_version[2:4])


def _with(patch: dict[str, Any], api_version: str, kind: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, **patch, "metadata": {**patch.get("metadata", {}), **metadata}}
