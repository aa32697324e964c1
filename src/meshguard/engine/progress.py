"""How far a run has come, told by its journal alone; so it can be watched from another process or another machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from meshguard.journal.entries import Entry
from meshguard.journal.events import Failed
from meshguard.journal.journal import Follower
from meshguard.journal.state import RunState, add, state_of
from meshguard.model.verdict import Truth


@dataclass(frozen=True, slots=True)
class AwaitProgress:
    """A condition that is awaited now."""

    sentence: str
    truth: Truth
    done: int
    total: int
    missing: tuple[str, ...]
    waiting_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment. Counts of waves begin at 1; 0 means that none has begun."""

    run: str
    phase: str
    title: str
    phase_number: int
    phases: int
    wave: int
    waves: int
    phase_done: int
    phase_steps: int
    done: int
    steps: int
    conflicts: int
    awaiting: tuple[AwaitProgress, ...]
    elapsed_s: float
    remaining_s: float | None
    """For this phase, by the pace of its waves so far; None while that is unknown. Nobody knows it for later ones."""
    ended: str
    """`done`, `partial`, `verification-failed`, `stopped` or `failed`; "" while it goes on."""
    sentence: str
    """Why it ended."""
    cause: str = ""
    """Of what sort a failure was."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "run": self.run,
            "phase": {"name": self.phase, "title": self.title, "number": self.phase_number, "of": self.phases},
            "wave": {"number": self.wave, "of": self.waves},
            "steps": {
                "phaseDone": self.phase_done,
                "phaseTotal": self.phase_steps,
                "done": self.done,
                "total": self.steps,
                "conflicts": self.conflicts,
            },
            "awaiting": [
                {
                    "sentence": a.sentence,
                    "truth": a.truth.value,
                    "done": a.done,
                    "total": a.total,
                    "missing": list(a.missing),
                    "waitingSeconds": a.waiting_s,
                    "deadlineSeconds": a.deadline_s,
                }
                for a in self.awaiting
            ],
            "elapsedSeconds": self.elapsed_s,
            "remainingSeconds": self.remaining_s,
            "ended": self.ended,
            "sentence": self.sentence,
        }


class Watcher:
    """Watches a run whose journal is being written; reads and verifies each entry once."""

    def __init__(self, journal: Path) -> None:
        """Raises JournalError when the file cannot be read or does not begin with the opening of a run."""
        self._follower = Follower(journal)
        self._state = state_of(self._follower.more())

    def look(self, wall: str) -> Progress:
        """Tell how far the run has come at the time of day `wall` (RFC 3339). Raises JournalError."""
        add(self._state, self._follower.more())
        return _progress(self._state, wall)


def progress_of(entries: Iterable[Entry], wall: str) -> Progress:
    """Tell how far the run has come at the time of day `wall` (RFC 3339). Raises JournalError for another journal."""
    return _progress(state_of(entries), wall)


def _progress(state: RunState, wall: str) -> Progress:
    shapes = state.opened.phases
    names = [shape.phase for shape in shapes]
    number = names.index(state.phase) + 1 if state.phase in names else 0
    shape = shapes[number - 1] if number else None
    settled = [mark.phase for mark in state.steps.values() if mark.state.settled]
    now = state.latest_at if state.ending else wall
    return Progress(
        run=state.opened.run,
        phase=state.phase,
        title=shape.title if shape else "",
        phase_number=number,
        phases=len(shapes),
        wave=state.waves[state.phase] + 1 if state.phase in state.waves else 0,
        waves=shape.waves if shape else 0,
        phase_done=settled.count(state.phase),
        phase_steps=shape.steps if shape else 0,
        done=len(settled),
        steps=sum(shape.steps for shape in shapes),
        conflicts=len(state.conflicts),
        awaiting=_awaited(state, now),
        elapsed_s=seconds_between(state.opened_at, now),
        remaining_s=_remaining(state, shape.waves if shape else 0, now),
        ended=state.ending.outcome if state.ending else "",
        sentence=state.ending.sentence if state.ending else "",
        cause=state.ending.cause if isinstance(state.ending, Failed) else "",
    )


def _remaining(state: RunState, waves: int, now: str) -> float | None:
    """A wave takes as long as those before it took on the average; before the first is over nobody can tell."""
    over = state.waves.get(state.phase, 0)
    if state.ending or not over or not state.wave_at:
        return None
    each = seconds_between(state.phase_at, state.wave_at) / over
    return round(max(0.0, each * (waves - over) - seconds_between(state.wave_at, now)), 1)


def _awaited(state: RunState, now: str) -> tuple[AwaitProgress, ...]:
    return tuple(
        AwaitProgress(
            mark.latest.sentence,
            mark.latest.truth,
            mark.latest.done,
            mark.latest.total,
            mark.latest.missing,
            seconds_between(mark.since, now),
            mark.latest.deadline_s,
        )
        for mark in state.awaits.values()
        if mark.phase == state.phase and not mark.over
    )


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one time of day to another, both RFC 3339."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
