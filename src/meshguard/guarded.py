"""Phases with what their gates ask for: a wave that has breached one goes back before anybody is told of the breach."""

from __future__ import annotations

from dataclasses import dataclass

from meshguard import app, execution
from meshguard.app import Target
from meshguard.consent import settle
from meshguard.engine.outcome import Outcome
from meshguard.journal import events as ev
from meshguard.journal import rundir
from meshguard.journal.journal import Journal
from meshguard.journal.local import is_local
from meshguard.mesh.protocol import Consents
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.rollback import Rules, roll_back


async def run_phase(target: Target, run: str, phase: str) -> Outcome:
    """Carry out one phase of a run, and roll back the wave before a gate that does not hold.

    Raises what `execution.run_phase` raises, and JournalError when what came of the roll back cannot be written down.
    """
    outcome = await execution.run_phase(target, run, phase)
    if not outcome.undo:
        return outcome
    plan = execution.plan_of(target, run)
    mesh = next(mesh for mesh in app.MESHES if mesh.name == plan.mesh)

    async def read() -> Snapshot:
        async with app.session(target, run) as opened:
            return await opened.snapshot()

    runs = _Runs(target, Consents(local_journal_only=is_local(plan)))
    told = await roll_back(outcome, run, Rules(mesh, target.settings), read, runs, plan.of_run)
    _write_down(target, run, phase, told)
    return told


def _write_down(target: Target, run: str, phase: str, told: Outcome) -> None:
    """Let the run's own journal end with what became of its wave: that is what whoever follows the run is told."""
    with Journal.open(rundir.find(target.runs, run).journal, app.time_of(target)) as journal:
        journal.append([ev.Failed(phase, told.result, told.sentence, told.cause, ev.shortened(told.missing))])


@dataclass(frozen=True)
class _Runs:
    """Opens and carries out runs on the target; implements `rollback.Runs`."""

    target: Target
    consents: Consents
    """What was accepted for the run that goes back."""

    async def begin(self, plan: Plan, reason: str) -> str:
        async with app.session(self.target) as opened:
            whole = await app.with_mirror(opened, plan, self.consents)
            settle(whole)
            return (await execution.begin(opened, whole, execution.Terms(reason))).run

    async def phase(self, run: str, phase: str) -> Outcome:
        return await execution.run_phase(self.target, run, phase)
