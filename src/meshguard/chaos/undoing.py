"""The rollback of every experiment: `chaos undo` from inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaoslib.exceptions import ActivityFailed

from meshguard import app
from meshguard.chaos.settings import reason_for, target_of
from meshguard.chaos.undo import runs_of, undo
from meshguard.engine.outcome import Result
from meshguard.execution import Terms


async def undo_all(fault: str, configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Undo all open runs of experiments, or those of one fault. Raises ActivityFailed unless all is as it was."""
    async with app.session(target_of(configuration)) as opened:
        runs = runs_of(await opened.snapshot(), fault=fault)
        if not runs:
            return {"undone": [], "left": []}
        done = await undo(opened, runs, Terms(reason_for("undo")))
    if not done.complete:
        failed = [f"{run.run}: {o.sentence}" for run, o in done.outcomes if o.result is not Result.DONE]
        raise ActivityFailed("; ".join(["not everything could be undone", *failed, *done.left]))
    return {"undone": [run.run for run, _ in done.outcomes], "left": []}
