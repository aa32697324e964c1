"""Walks a person (or a drill) through a runbook: one step after the other, each written down before the next.

Nothing is known here of terminals and clusters: `Hands` does what a step asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from meshguard.hypotheses.schema import Comparison
from meshguard.ports import Clock
from meshguard.runbook.advise import Evidence
from meshguard.runbook.schema import Check, Confirm, Decide, Playbook, Runbook, Step, Symptom, Wait
from meshguard.runbook.session import Mark, Session

STOP = "stop"
_LOOK_S = 2.0


class Ending(StrEnum):
    """How a walk came out."""

    DONE = "done"
    STOPPED = "stopped"
    """A person decided so; it is not taken up again."""
    PAUSED = "paused"
    """A person did not confirm; it goes on from there."""
    NOT_SO = "not so"
    """A check did not see what the runbook is about."""
    LATE = "late"
    """What was waited for did not come in time."""
    FAILED = "failed"
    """A playbook did not end as it should."""
    UNHEALTHY = "unhealthy"
    """All steps are done, and the verification does not hold."""


@dataclass(frozen=True)
class Played:
    """What came of a playbook."""

    run: str
    done: bool
    said: str


class Hands(Protocol):
    """What carries steps out."""

    def begins(self, number: int, total: int, step: Step) -> None:
        """Tell that a step begins."""
        ...

    def look(self, symptom: Symptom) -> Evidence:
        """Hold a symptom against what is measured now."""
        ...

    def decide(self, step: Decide) -> str:
        """Return one of the answers."""
        ...

    def confirm(self, step: Confirm) -> str:
        """Return what was said when it is done; "" when it is not."""
        ...

    def play(self, step: Playbook, of_run: str) -> Played:
        """Run a playbook to its end; `of_run` is what a restore brings back."""
        ...

    def healthy(self, hypothesis: str) -> str:
        """Return "" when a hypothesis is healthy, else what is wrong."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True)
class Walked:
    """How a walk came out, and why."""

    ending: Ending
    sentence: str


def walk(runbook: Runbook, session: Session, hands: Hands, clock: Clock, *, back: bool = True) -> Walked:
    """Carry out what is not over yet: the steps, the verification and, with `back`, the way back.

    Raises what the hands raise; what was over before stays written down. Raises RunbookError when it cannot be written.
    """
    total = len(runbook.steps) + 1 + (len(runbook.way_back) if back else 0)
    halted = _steps(runbook.steps, 1, total, session, hands, clock)
    if halted is None:
        halted = _verified(runbook, len(runbook.steps) + 1, total, session, hands, clock)
    if halted is None and back:
        halted = _steps(runbook.way_back, len(runbook.steps) + 2, total, session, hands, clock)
    return halted or Walked(Ending.DONE, f"{runbook.name}: every step is done")


def verification_title(runbook: Runbook) -> str:
    """The title under which the verification is written down."""
    return f"Verify {runbook.verification}"


def _steps(
    steps: Iterable[Step], first: int, total: int, session: Session, hands: Hands, clock: Clock
) -> Walked | None:
    """Carry steps out; None when all are over."""
    for number, step in enumerate(steps, start=first):
        if session.stopped:
            return Walked(Ending.STOPPED, f"it was ended by a decision: {session.marks[-1].title}")
        if step.title in session.over:
            continue
        hands.begins(number, total, step)
        began = clock.now()
        came = _carried_out(step, session, hands, clock)
        if isinstance(came, Walked):
            return came
        session.mark(Mark(step.title, clock.wall(), round(clock.now() - began, 1), *came))
        if session.stopped:
            return Walked(Ending.STOPPED, f"{step.title}: {STOP}")
    return None


def _carried_out(step: Step, session: Session, hands: Hands, clock: Clock) -> Walked | tuple[str, str, bool]:
    """Return what to write down (what was said, a run, whether it ends here), or how the walk halts."""
    match step:
        case Check():
            seen = hands.look(step.symptom)
            why = "; ".join(seen.unknown) or "not seen"
            return (_where(seen), "", False) if seen.present else Walked(Ending.NOT_SO, f"{step.title}: {why}")
        case Decide():
            answer = hands.decide(step)
            return answer, "", answer == STOP
        case Confirm():
            said = hands.confirm(step)
            return (said, "", False) if said else Walked(Ending.PAUSED, f"{step.title}: not confirmed")
        case Wait():
            return _awaited(step, hands, clock)
        case Playbook():
            played = hands.play(step, _open_run(session))
            return (played.said, played.run, False) if played.done else Walked(Ending.FAILED, played.said)


def _awaited(step: Wait, hands: Hands, clock: Clock) -> Walked | tuple[str, str, bool]:
    began = clock.now()
    while True:
        seen = hands.look(step.until)
        waited = clock.now() - began
        if seen.present or _nobody_left(step, seen):
            return f"after {waited:.0f} s", "", False
        if waited >= step.at_most:
            return Walked(Ending.LATE, f"{step.title}: not within {step.at_most:g} s (last: {_last(seen)})")
        hands.pause(_LOOK_S)


def _nobody_left(step: Wait, seen: Evidence) -> bool:
    """Where there is nothing to measure, there is none of what shall be few."""
    return seen.value is None and not seen.unknown and step.until.comparison is Comparison.AT_MOST


def _verified(runbook: Runbook, number: int, total: int, session: Session, hands: Hands, clock: Clock) -> Walked | None:
    title = verification_title(runbook)
    if title in session.over:
        return None
    began = clock.now()
    wrong = hands.healthy(runbook.verification)
    if wrong:
        return Walked(Ending.UNHEALTHY, wrong)
    session.mark(Mark(title, clock.wall(), round(clock.now() - began, 1), "healthy"))
    return None


def _open_run(session: Session) -> str:
    """The last run of the session; a restore is about it."""
    return next((mark.run for mark in reversed(session.marks) if mark.run), "")


def _where(seen: Evidence) -> str:
    return "; ".join(seen.subjects) or "seen"


def _last(seen: Evidence) -> str:
    if seen.unknown:
        return "; ".join(seen.unknown[:3])
    return "nothing to measure" if seen.value is None else f"{seen.value:g}"
