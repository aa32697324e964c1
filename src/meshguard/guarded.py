"""Phases with what their gates ask for: a wave that has breached one goes back before anybody is told of the breach."""

from __future__ import annotations

from dataclasses import dataclass

from meshguard import app
from meshguard.app import Target
from meshguard.clock import WallClock
from meshguard.engine.outcome import Outcome
from meshguard.journal import events as ev
from meshguard.journal import rundir
from meshguard.journal.journal import Journal
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.rollback import Rules, roll_back


async def run_phase(target: Target, run: str, phase: str) -> Outcome:
    """Carry out one phase of a run, and roll back the wave before a gate that does not hold.

    Raises what `app.run_phase` raises, and JournalError when what came of the roll back cannot be written down.
    """
    outcome = await app.run_phase(target, run, phase)
    if not outcome.undo:
        return outcome
    mesh = next(mesh for mesh in app.MESHES if mesh.name == app.plan_of(target, run).mesh)

    async def read() -> Snapshot:
        async with app.session(target, run) as opened:
            return await opened.snapshot()

    told = await roll_back(outcome, run, Rules(mesh, target.settings), read, _Runs(target))
    _write_down(target, run, phase, told)
    return told


def _write_down(target: Target, run: str, phase: str, told: Outcome) -> None:
    """Let the run's own journal end with what became of its wave: that is what whoever follows the run is told."""
    with Journal.open(rundir.find(target.runs, run).journal, WallClock()) as journal:
        journal.append([ev.Failed(phase, told.result, told.sentence, told.cause, ev.shortened(told.missing))])


@dataclass(frozen=True)
class _Runs:
    """Opens and carries out runs on the target; implements `rollback.Runs`."""

    target: Target

    async def begin(self, plan: Plan, reason: str) -> str:
        async with app.session(self.target) as opened:
            return (await app.begin(opened, plan, reason)).run

    async def phase(self, run: str, phase: str) -> Outcome:
        return await app.run_phase(self.target, run, phase)
