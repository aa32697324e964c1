"""A wave that has breached its gate goes back: the way back of its workloads, as a run of its own.

It is an ordinary restore of a part: journalled, mirrored, verified, resumable. What the run holds besides stays as it
is, for a person to restore, or to take out anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from meshguard.consent import ConsentError
from meshguard.engine.outcome import Outcome
from meshguard.journal.errors import JournalError
from meshguard.mesh.protocol import Mesh, Settings
from meshguard.model.objects import Ref
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.build import plan_roll_back
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
    breach: Outcome, run: str, rules: Rules, read: Callable[[], Awaitable[Snapshot]], runs: Runs
) -> Outcome:
    """Put back what `breach` names, and return it with what came of that; raises nothing, for the breach is the news.

    Parameters:
        run: the run whose gate was breached; nobody carries it out any more.
        read: reads the cluster as it is now, open runs included.
    """
    try:
        said = await _put_back(breach, run, rules, await read(), runs)
    except (ClusterError, ConsentError, JournalError) as error:
        said = f"not rolled back: {error}"
    return replace(breach, sentence=f"{breach.sentence}; {said}")


async def _put_back(breach: Outcome, run: str, rules: Rules, now: Snapshot, runs: Runs) -> str:
    held = next((known for known in now.open_runs if known.run == run), None)
    if held is None:
        return f"nothing to roll back: run {run} holds nothing"
    members = [ref for ref in map(Ref.parse, breach.undo) if ref in held.changes]
    if not members:
        return "nothing to roll back: the wave has changed nothing"
    plan = plan_roll_back(now, rules.mesh, held, rules.settings, members)
    if plan.blockers:
        listed = "; ".join(f"{f.code.id} {f.object}: {f.detail}" for f in plan.blockers)
        return f"not rolled back, the way back is blocked: {listed}"
    name = await runs.begin(plan, f"the gate of run {run} was breached")
    for phase in plan.phases:
        outcome = await runs.phase(name, phase.name)
        if not outcome.goes_on:
            return f"the roll back by run {name} did not end: {outcome.sentence}"
    return f"rolled back by run {name}: {', '.join(map(str, members))} are as they were, seen"
