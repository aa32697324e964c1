"""Undoes what experiments have left: from the records in the cluster, so from any machine, then looks for left-overs.

What the control plane needs comes back first, because nothing else heals without it; then the newest run first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from meshguard import app
from meshguard.chaos.hand import begin, carry_out
from meshguard.chaos.settings import EXPERIMENT
from meshguard.engine.outcome import Outcome, Result
from meshguard.execution import Terms
from meshguard.journal.mirror import open_faults
from meshguard.journal.records import RUN_LABEL
from meshguard.mesh.istio_sidecar.faults import admitted
from meshguard.mesh.istio_sidecar.restart import TEMPLATE_RESTART_MARK
from meshguard.model.change import read
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.plan import Plan
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.plan.build import plan_restore
from meshguard.plan.undo import plan_undo

_PROTECTED_FIRST = ("istio-system",)
_MADE = ("Job", "LimitRange", "PeerAuthentication", "VirtualService", "ServiceEntry", "Pod")
"""Kinds that a fault makes, or that come of what it makes."""
_LEFT_OVER_S = 60.0
_LOOK_S = 1.0


@dataclass(frozen=True)
class Undone:
    """What came of undoing."""

    outcomes: tuple[tuple[OpenRun, Outcome], ...]
    left: tuple[str, ...]
    """What is still there of them, one sentence each."""

    @property
    def complete(self) -> bool:
        """Everything is undone, and nothing is left."""
        return not self.left and all(outcome.result is Result.DONE for _, outcome in self.outcomes)


def runs_of(snapshot: Snapshot, run: str = "", fault: str = "") -> tuple[OpenRun, ...]:
    """Return the open runs of experiments (all, or one, or those of a fault) in the order in which they are undone.

    Raises UnknownRun for a name that is none of them.
    """
    exits = [known for known in snapshot.open_runs if known.reason.startswith(EXPERIMENT)]
    found = sorted([*open_faults(snapshot), *exits], key=lambda known: known.run, reverse=True)
    if run and run not in {known.run for known in found}:
        names = ", ".join(known.run for known in found) or "none"
        raise app.UnknownRun(f"no open run {run!r} of an experiment is recorded in this cluster; open: {names}")
    chosen = [k for k in found if run in ("", k.run) and (not fault or k.reason.endswith(f": {fault}"))]
    return tuple(sorted(chosen, key=lambda known: not set(known.namespaces) & set(_PROTECTED_FIRST)))


def plan_for(opened: app.Session, snapshot: Snapshot, run: OpenRun) -> Plan:
    """Plan the way back of one run of an experiment: a fault, or an exit."""
    mesh, settings = app.mesh_of(snapshot), opened.target.settings
    if run.run in {known.run for known in snapshot.open_runs}:
        return plan_restore(snapshot, mesh, run, settings)
    return plan_undo(snapshot, mesh, run, settings, admitted)


async def undo(
    opened: app.Session, runs: Sequence[OpenRun], terms: Terms, tell: Callable[[Plan], None] = lambda plan: None
) -> Undone:
    """Undo these runs one after the other; one that cannot be undone does not keep the others from it.

    Each is planned on the cluster as the one before has left it. Raises ConsentError, JournalError or ClusterError.
    """
    outcomes = []
    for run in runs:
        plan = plan_for(opened, await opened.snapshot(), run)
        tell(plan)
        folder = await begin(opened, plan, terms)
        outcome = await carry_out(opened, folder)
        outcomes.append((run, outcome))
        if outcome.result is Result.STOPPED:
            break
    return Undone(tuple(outcomes), await left_over(opened, {run.run for run in runs}))


async def left_over(opened: app.Session, runs: Collection[str]) -> tuple[str, ...]:
    """Look for objects, pods and restart marks of these runs, until there is none or a minute is over."""
    deadline = opened.clock.now() + _LEFT_OVER_S
    while True:
        found = await _left_over(opened, runs)
        if not found or opened.clock.now() >= deadline:
            return found
        await opened.clock.sleep(_LOOK_S)


async def _left_over(opened: app.Session, runs: Collection[str]) -> tuple[str, ...]:
    found = []
    for kind in _MADE:
        found += [
            f"{resource.ref} of run {resource.labels[RUN_LABEL]}"
            for resource in await opened.cluster.list(kind)
            if resource.labels.get(RUN_LABEL) in runs
        ]
    for kind in (kind for kind in RESTARTABLE if kind != "Rollout"):
        found += [
            f"{resource.ref} carries the restart mark of run {mark}"
            for resource in await opened.cluster.list(kind)
            if (mark := read(resource.doc, TEMPLATE_RESTART_MARK)) in runs
        ]
    return tuple(found)
