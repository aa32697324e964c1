"""The beginning of a run: everything that can fail on this machine fails here, before the first change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meshguard.engine.stop import StopSignal
from meshguard.journal import rundir
from meshguard.journal.adopt import TakenUp
from meshguard.journal.errors import JournalError
from meshguard.journal.events import LeaseLost, LeaseTaken, PhaseShape, RunOpened, RunResumed
from meshguard.journal.journal import Journal
from meshguard.journal.lease import Hold, Holding, NoHold
from meshguard.journal.mirror import Records
from meshguard.journal.records import RecordStatus, RunRecord, record_of
from meshguard.journal.rundir import RunDir
from meshguard.journal.state import state_of
from meshguard.model.plan import Phase, Plan
from meshguard.model.snapshot import OpenRun
from meshguard.ports import Clock, ClusterError

_STEP_BYTES = 1_024
"""Room for a step's entries besides the step itself: the frame of its intent, its effect or its conflict."""
_AWAIT_BYTES = 16_384
"""Room for the progress of one wait."""
_PHASE_BYTES = 8_192
"""Room for the beginning and the end of a phase, failures included."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Who begins a run, why, and what the objects concerned were before."""

    person: str
    reason: str
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 0.0
    """How long the run may take; 0 for as long as its waits allow."""
    take_over: bool = False
    """Take the cluster from a run that is at work on it."""


async def open_run(
    plan: Plan,
    opening: Opening,
    runs: Path,
    records: Records,
    clock: Clock,
    hold_of: Callable[[RunDir], Hold] = lambda _: NoHold(),
) -> RunDir:
    """Claim the cluster; make the run's folder, its journal with room for all entries, and its record in the cluster.

    Raises LeaseHeld, JournalError (unwritable, full) or ClusterError (the record); nothing is left behind on this
    machine then.
    """
    folder = rundir.create(runs, plan, clock)
    hold = hold_of(folder)
    try:
        with Journal.create(folder.journal, clock) as journal:
            opened = _opened(plan, opening, folder.run)
            journal.reserve(room_for(plan.phases))
            before = await hold.acquire(take_over=opening.take_over)
            journal.append([opened, *_taken(before)])
            await hold.renew(journal.head)
            await records.put(record_of(plan, state_of(journal.entries), journal.entries))
    except (JournalError, ClusterError):
        shutil.rmtree(folder.path)
        await hold.release()
        raise
    return folder


def require_resumable(record: RunRecord | None, open_runs: Iterable[OpenRun] = ()) -> None:
    """Raise JournalError when going on would do harm.

    A run that was restored meanwhile would take its scope out again. A way back would give back what an open run that
    began later needs as it is, STRICT first of all: its plan does not know of that run.
    """
    if record is None:
        return
    if record.status in (RecordStatus.PARTIAL, RecordStatus.RESTORED):
        raise JournalError(f"the run {record.run} was restored meanwhile; begin a new one instead of resuming it")
    if record.plan.direction.undoes and (claim := _claimed(record, open_runs)):
        raise JournalError(
            f"the run {record.run} must not go on: {claim}; plan the way back of {record.plan.of_run} anew"
        )


def _claimed(record: RunRecord, open_runs: Iterable[OpenRun]) -> str:
    """Say which later run needs what this one would write, "" when none does; what earlier ones need it releases."""
    for other in open_runs:
        if other.run in (record.run, record.plan.of_run):
            continue
        for step in record.plan.writes:
            if other.holds(step.target) or any(other.holds(step.target, change.path) for change in step.changes):
                return f"run {other.run} by {other.owner}, which began later, needs {step.target} as it is"
    return ""


async def resume_run(
    taken_up: TakenUp, opening: Opening, clock: Clock, hold: Hold, before: Holding, loss: str = ""
) -> None:
    """Write down who takes the run up again and from whom, and forget an earlier wish to stop.

    `before` is what the claim on the cluster replaced; `loss` says who had taken the cluster from the run, where it
    could not write that down itself. Raises JournalInUse while another process executes the run, LeaseLost or
    ClusterError.
    """
    folder = taken_up.folder
    with Journal.open(folder.journal, clock) as journal:
        journal.append(
            [
                *([LeaseLost(loss)] if loss else []),
                RunResumed(opening.person, opening.reason, taken_up.from_mirror, taken_up.lost, opening.deadline_s),
                *_taken(before),
            ]
        )
        StopSignal(folder.stop).clear()
        await hold.renew(journal.head)


def _taken(before: Holding) -> list[LeaseTaken]:
    return [LeaseTaken(before.holder, before.run, before.expired)] if before.by_another else []


def room_for(phases: Iterable[Phase]) -> int:
    """Return how many bytes the journal of these phases may need."""
    return sum(
        _PHASE_BYTES
        + sum(_STEP_BYTES + 2 * len(json.dumps(step.to_json())) for step in phase.steps)
        + sum(_AWAIT_BYTES for wave in phase.waves for _ in wave.awaits)
        for phase in phases
    )


def _opened(plan: Plan, opening: Opening, run: str) -> RunOpened:
    return RunOpened(
        run=run,
        direction=plan.direction.value,
        mesh=plan.mesh,
        cluster_uid=plan.cluster_uid,
        context=plan.context,
        plan_hash=plan.hash,
        person=opening.person,
        reason=opening.reason,
        namespaces=plan.namespaces,
        phases=tuple(PhaseShape(p.name, p.title, len(p.waves), len(p.steps)) for p in plan.phases),
        of_run=plan.of_run,
        fingerprints=opening.fingerprints,
        deadline_s=opening.deadline_s,
    )
