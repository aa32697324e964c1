"""Plans in files: written for a second pair of eyes, read back when they are approved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from meshguard.model.plan import Plan, Step


class UnreadablePlan(Exception):
    """The file holds no complete plan."""


class ForeignPlan(Exception):
    """The plan was made for another cluster."""


class StalePlan(Exception):
    """The cluster has moved since the plan was made."""


def write(plan: Plan, path: Path) -> None:
    """Write the plan with its hash. Raises UnreadablePlan when the file cannot be written."""
    try:
        path.write_text(json.dumps(plan.document(), indent=2) + "\n")
    except OSError as error:
        raise UnreadablePlan(f"cannot write {path}: {error.strerror}") from error


def read(path: Path) -> Plan:
    """Read a plan back. Raises UnreadablePlan when the file is missing, truncated or changed."""
    try:
        return Plan.from_json(json.loads(path.read_text()))
    except OSError as error:
        raise UnreadablePlan(f"cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadablePlan(f"{path} is not a complete plan: {error}") from error


def check_fresh(approved: Plan, current: Plan) -> None:
    """Raise StalePlan, naming what moved, when a plan made now would do something else than the approved one."""
    if approved.hash == current.hash:
        return
    moved = list(_moved(approved, current)) or ["its findings or consents"]
    raise StalePlan(f"the plan is stale, nothing was changed; since it was made this moved: {'; '.join(moved[:5])}")


def check_cluster(plan: Plan, uid: str, context: str) -> None:
    """Raise ForeignPlan when the plan was made for another cluster."""
    if plan.cluster_uid != uid:
        raise ForeignPlan(f"the plan was made for another cluster ({plan.context}) than context {context}")


def _moved(approved: Plan, current: Plan) -> Iterator[str]:
    before, now = ({_key(step): step for step in plan.steps} for plan in (approved, current))
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old is None:
            yield f"new: {key}"
        elif new is None:
            yield f"no longer needed: {key}"
        elif old.uid != new.uid:
            yield f"{key} was re-created"
        elif (old.action, old.changes, old.manifest) != (new.action, new.changes, new.manifest):
            yield f"{key} has other values now"


def _key(step: Step) -> str:
    return str(step.target)
