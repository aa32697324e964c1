"""Carries plans out for experiments: guard, plan, begin, execute, in this process and through the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaoslib.exceptions import ActivityFailed, InterruptExecution

from meshguard import app, execution, rehearsal
from meshguard.chaos.settings import reason_for, target_of
from meshguard.consent import ConsentError, settle
from meshguard.engine.outcome import Outcome, Result
from meshguard.execution import Terms
from meshguard.journal.rundir import RunDir
from meshguard.mesh.istio_sidecar.faults import FAULTS
from meshguard.mesh.protocol import Settings
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.fault import plan_fault, targets_of


def fault_plan(snapshot: Snapshot, settings: Settings, name: str, arguments: Mapping[str, Any]) -> Plan:
    """Plan a fault on a snapshot. Raises FaultError, PlanError."""
    draft = FAULTS[name].plan(snapshot, settings, **arguments)
    return plan_fault(snapshot, app.mesh_of(snapshot), name, draft)


async def inflict(name: str, arguments: Mapping[str, Any], configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Make a fault, in a rehearsal only; return the run and what it touched.

    Raises NotARehearsal, FaultError, PlanError, ConsentError, JournalError, ClusterError, and ActivityFailed when the
    engine could not finish it; what it has made is journalled and can be undone.
    """
    target = target_of(configuration)
    async with app.session(target) as opened:
        await rehearsal.require(opened.cluster, opened.clock)
        plan = fault_plan(await opened.snapshot(), target.settings, name, arguments)
        folder = await begin(opened, plan, Terms(reason_for(name)))
        told(await carry_out(opened, folder), name)
    targets = [str(ref) for ref in targets_of(plan)]
    return {"run": folder.run, "fault": name, "targets": targets, "predicted": list(plan.notes)}


async def begin(opened: app.Session, plan: Plan, terms: Terms) -> RunDir:
    """Open the run of a plan whose blockers are accepted and for which this person has the rights.

    Raises ConsentError, LeaseHeld, JournalError or ClusterError.
    """
    settle(plan)
    lacking = await app.missing_rights(opened, plan)
    if lacking:
        raise ConsentError(f"nothing was changed; rights are missing: {'; '.join(lacking)}")
    return await execution.begin(opened, plan, terms)


async def carry_out(opened: app.Session, folder: RunDir) -> Outcome:
    """Execute all phases of an open run in this process; an interrupt stops it at the next safe point.

    Raises JournalError or ClusterError.
    """
    for phase in folder.read_plan().phases:
        outcome = await execution.run_phase(opened.target, folder.run, phase.name)
        if not outcome.goes_on:
            break
    return outcome


def told(outcome: Outcome, name: str) -> None:
    """Raise ActivityFailed unless the run is finished, InterruptExecution when a person stopped it."""
    if outcome.result is Result.STOPPED:
        raise InterruptExecution(f"{name}: {outcome.sentence}")
    if outcome.result is not Result.DONE:
        raise ActivityFailed("; ".join([f"{name}: {outcome.sentence}", *outcome.conflicts, *outcome.missing[:5]]))
