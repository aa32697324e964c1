"""A wave that has breached its gate goes back to where it was, as a run of its own.

A wave of an exit comes back into the mesh by an ordinary restore of a part; a wave of a way back goes out again by an
ordinary exit of its workloads. Either is journalled, mirrored, verified and resumable, and what the run is about
besides stays as it is, for a person to decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from meshguard.consent import ConsentError, consents_from
from meshguard.engine.outcome import Outcome
from meshguard.journal.errors import JournalError
from meshguard.mesh.protocol import Mesh, Settings
from meshguard.model.objects import Ref
from meshguard.model.plan import Direction, Plan
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.plan.build import PlanError, plan_out_again, plan_roll_back
from meshguard.ports import ClusterError


class Runs(Protocol):
    """How runs are opened and carried out here."""

    async def begin(self, plan: Plan, reason: str) -> str:
        """Open a run and return its name. Raises ConsentError, JournalError or ClusterError."""
        ...

    async def phase(self, run: str, phase: str) -> Outcome:
        """Carry out one phase of a run, and close the run after its last one. Raises JournalError or ClusterError."""
        ...


@dataclass(frozen=True)
class Rules:
    """Which rules the way back goes by."""

    mesh: Mesh
    settings: Settings


async def roll_back(
    breach: Outcome,
    run: str,
    rules: Rules,
    read: Callable[[], Awaitable[Snapshot]],
    runs: Runs,
    of_run: str = "",
) -> Outcome:
    """Put back what `breach` names, and return it with what came of that; raises nothing, for the breach is the news.

    Parameters:
        run: the run whose gate was breached; nobody carries it out any more.
        read: reads the cluster as it is now, open runs included.
        of_run: the run that `run` undoes, where it is a way back.
    """
    try:
        now = await read()
        plan = _out_again(breach, of_run, rules, now) if of_run else _back_in(breach, run, rules, now)
        said = await _carried_out(plan, run, runs)
    except _NothingToDo as reason:
        said = f"nothing to roll back: {reason}"
    except (ClusterError, ConsentError, JournalError, PlanError) as error:
        said = f"not rolled back: {error}"
    return replace(breach, sentence=f"{breach.sentence}; {said}")


class _NothingToDo(Exception):
    """There is nothing that could go back; says why."""


def _back_in(breach: Outcome, run: str, rules: Rules, now: Snapshot) -> Plan:
    held = _held(now, run)
    members = [ref for ref in map(Ref.parse, breach.undo) if ref in held.changes]
    if not members:
        raise _NothingToDo("the wave has changed nothing")
    return plan_roll_back(now, rules.mesh, held, rules.settings, members)


def _out_again(breach: Outcome, of_run: str, rules: Rules, now: Snapshot) -> Plan:
    """What was accepted for the run that is undone is accepted for its workloads now: they go where they were."""
    held = _held(now, of_run)
    members = [ref for ref in map(Ref.parse, breach.undo) if ref in now.resources]
    if not members:
        raise _NothingToDo("nothing of the wave is there any more")
    plan = plan_out_again(now, rules.mesh, held, rules.settings, members, consents_from(held.consents))
    if not plan.blockers and not any(step.restarts for step in plan.steps):
        raise _NothingToDo("no pod of the wave carries a sidecar")
    return plan


def _held(now: Snapshot, run: str) -> OpenRun:
    held = next((known for known in now.open_runs if known.run == run), None)
    if held is None:
        raise _NothingToDo(f"run {run} holds nothing")
    return held


async def _carried_out(plan: Plan, run: str, runs: Runs) -> str:
    if plan.blockers:
        listed = "; ".join(f"{f.code.id} {f.object}: {f.detail}" for f in plan.blockers)
        return f"not rolled back, the way back is blocked: {listed}"
    name = await runs.begin(plan, f"the gate of run {run} was breached")
    for phase in plan.phases:
        outcome = await runs.phase(name, phase.name)
        if not outcome.goes_on:
            return f"the roll back by run {name} did not end: {outcome.sentence}"
    members = ", ".join(sorted({str(step.target) for step in plan.steps if step.restarts}))
    if plan.direction is Direction.EXIT:
        return f"taken out again by run {name}: {members}, seen; they come back by `rejoin {name}`"
    return f"rolled back by run {name}: {members} are as they were, seen"
