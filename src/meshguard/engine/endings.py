"""What a phase, or a whole run, has come to by its journal, and the event that says so."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.engine.outcome import Outcome, Result
from meshguard.journal import events as ev
from meshguard.journal.state import RunState
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.plan import Phase, Plan

_CHANGED_SINCE = CODES["MG207"]


def of_phase(state: RunState, phase: Phase) -> Outcome:
    """Return how a phase came out all of whose waves are over."""
    conflicts = tuple(state.conflicts[step.id].sentence for step in phase.steps if step.id in state.conflicts)
    return _outcome(phase.title, conflicts, _unverified(state, phase.name))


def of_run(state: RunState, plan: Plan) -> Outcome:
    """Return how a run came out all of whose phases are over."""
    conflicts = (
        *(f"{finding.object}: {finding.detail}" for finding in left_by_plan(plan)),
        *(state.conflicts[step.id].sentence for step in plan.steps if step.id in state.conflicts),
    )
    return _outcome("all phases are over", conflicts, _unverified(state))


def left_by_plan(plan: Plan) -> tuple[Finding, ...]:
    """Return what the planner of a restore left out already, because somebody else has changed it."""
    return tuple(finding for finding in plan.findings if finding.code.id == _CHANGED_SINCE.id)


def event_of(phase: str, outcome: Outcome) -> ev.Event:
    """Return the last entry of a phase that came out like this."""
    if outcome.goes_on:
        return ev.PhaseFinished(phase, outcome.result)
    if outcome.result in (Result.STOPPED, Result.PARTIAL):
        return ev.Stopped(phase, outcome.result, outcome.sentence, ev.shortened(outcome.missing))
    return ev.Failed(phase, outcome.result, outcome.sentence, outcome.cause, ev.shortened(outcome.missing))


def _outcome(title: str, conflicts: tuple[str, ...], unverified: str) -> Outcome:
    reasons = [f"left alone, because somebody else changed them: {len(conflicts)}"] if conflicts else []
    reasons += [unverified] if unverified else []
    if not reasons:
        return Outcome(Result.DONE, title, goes_on=True)
    return Outcome(Result.PARTIAL, "; ".join([title, *reasons]), goes_on=True, conflicts=conflicts)


def _unverified(state: RunState, phase: str = "") -> str:
    """Say what of the data plane nobody could see, in the phase or (with "") at all; "" when all was seen."""
    marks: Iterable[ev.Unverified | None] = (
        mark.unverified for mark in state.awaits.values() if phase in ("", mark.phase)
    )
    found = [mark for mark in marks if mark]
    if not found:
        return ""
    worst = max(found, key=lambda mark: mark.unreachable)
    who = "no proxy" if all(mark.unreachable == mark.total for mark in found) else "not every proxy"
    return f"{who} could be verified: {worst.unreachable} of {worst.total} unreachable, never connected to an istiod"
