"""What the entries of a journal add up to: where every step, every wait and the run itself stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from meshguard.journal import events as ev
from meshguard.journal.entries import Entry
from meshguard.journal.errors import JournalError
from meshguard.journal.journal import Journal
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Step


class StepState(StrEnum):
    """Where a step stands."""

    PLANNED = "planned"
    INTENDED = "intended"
    """Its request may have left; only the object itself can tell."""
    DONE = "done"
    SKIPPED = "skipped"
    CONFLICT = "conflict"

    @property
    def settled(self) -> bool:
        """Nothing is left to do; a conflict is not settled, because a person may clear it and resume."""
        return self in (StepState.DONE, StepState.SKIPPED)


@dataclass(frozen=True, slots=True)
class StepMark:
    """A step's state and what is known of its effect; times are RFC 3339."""

    state: StepState
    phase: str = ""
    step: Step | None = None
    created_uid: str = ""
    note: str = ""
    intended_at: str = ""
    ended_at: str = ""


@dataclass(frozen=True, slots=True)
class AwaitMark:
    """A wait: how far it came, and when; `seen_at` is "" while it has not been seen to hold."""

    phase: str
    latest: ev.Awaiting
    since: str
    seen_at: str = ""
    after_s: float = 0.0
    unverified: ev.Unverified | None = None
    """What of it could not be seen and was awaited no longer."""

    @property
    def over(self) -> bool:
        """Nobody waits for it any more."""
        return bool(self.seen_at) or self.unverified is not None


@dataclass
class RunState:
    """The sum of a journal."""

    opened: ev.RunOpened
    opened_at: str
    latest_at: str
    steps: dict[str, StepMark] = field(default_factory=dict)
    awaits: dict[str, AwaitMark] = field(default_factory=dict)
    conflicts: dict[str, ev.Conflicted] = field(default_factory=dict)
    """By step; one that was cleared and done on a later attempt is gone from here."""
    phases: dict[str, str] = field(default_factory=dict)
    """The outcome of each finished phase."""
    waves: dict[str, int] = field(default_factory=dict)
    """For each phase the highest wave that was started, counted from 0."""
    phase: str = ""
    """The phase that was started last."""
    phase_at: str = ""
    """When that was, RFC 3339."""
    wave_at: str = ""
    """When its latest wave was started; "" before the first."""
    deadline_at: str = ""
    """When the run is to stand still whatever it has done, RFC 3339; "" for never."""
    ending: ev.Failed | ev.Stopped | ev.RunFinished | None = None
    """Why the run does not go on by itself; None while it does, or when it was killed."""

    @property
    def finished(self) -> bool:
        """Every phase is over, and that was written down."""
        return isinstance(self.ending, ev.RunFinished)

    @property
    def gone(self) -> frozenset[Ref]:
        """Objects that were to be changed and had been deleted by somebody else."""
        marks = (m for m in self.steps.values() if m.state is StepState.SKIPPED and m.step is not None)
        return frozenset(m.step.target for m in marks if m.step is not None and m.step.action is Action.CHANGE)

    def state_of(self, step_id: str) -> StepState:
        """Where the step stands."""
        mark = self.steps.get(step_id)
        return mark.state if mark else StepState.PLANNED


def state_of(entries: Iterable[Entry]) -> RunState:
    """Add the entries up. Raises JournalError when they do not begin with the opening of a run."""
    rest = iter(entries)
    first = next(rest, None)
    if first is None or not isinstance(first.event, ev.RunOpened):
        raise JournalError("the journal does not begin with the opening of a run")
    state = RunState(first.event, first.at, first.at, deadline_at=_later(first.at, first.event.deadline_s))
    add(state, rest)
    return state


def add(state: RunState, entries: Iterable[Entry]) -> None:
    """Add what came later."""
    for entry in entries:
        _take(state, entry)


class Tally:
    """The sum of a journal that is being written; each entry is added once, whatever the run's size."""

    def __init__(self, journal: Journal) -> None:
        """Raises JournalError when the journal does not begin with the opening of a run."""
        self._journal = journal
        self._state, self._seq = state_of(journal.entries), journal.head.seq

    @property
    def state(self) -> RunState:
        """Where the run stands now."""
        new = self._journal.after(self._seq)
        add(self._state, new)
        self._seq += len(new)
        return self._state


def _take(state: RunState, entry: Entry) -> None:
    state.latest_at = entry.at
    match entry.event:
        case ev.PhaseStarted(phase):
            state.phase, state.ending = phase, None
            state.phase_at, state.wave_at = entry.at, ""
            state.phases.pop(phase, None)
        case ev.WaveStarted(phase, wave):
            state.waves[phase] = max(wave, state.waves.get(phase, 0))
            state.wave_at = entry.at
        case ev.Intent(step):
            state.steps[step.id] = StepMark(StepState.INTENDED, state.phase, step, intended_at=entry.at)
        case ev.Done(step_id, created_uid=uid):
            state.conflicts.pop(step_id, None)
            _end(state, step_id, StepState.DONE, entry.at, uid=uid)
        case ev.Skipped(step_id, why):
            state.conflicts.pop(step_id, None)
            _end(state, step_id, StepState.SKIPPED, entry.at, why)
        case ev.Conflicted(step_id=step_id, sentence=sentence) as conflict:
            state.conflicts[step_id] = conflict
            _end(state, step_id, StepState.CONFLICT, entry.at, sentence)
        case ev.Awaiting(await_id=await_id) as latest:
            known = state.awaits.get(await_id)
            since = known.since if known and not known.over else entry.at
            state.awaits[await_id] = AwaitMark(state.phase, latest, since)
        case ev.Seen(await_id, after_s):
            state.awaits[await_id] = replace(state.awaits[await_id], seen_at=entry.at, after_s=after_s)
        case ev.Unverified(await_id=await_id, after_s=after_s) as left:
            state.awaits[await_id] = replace(state.awaits[await_id], after_s=after_s, unverified=left)
        case ev.PhaseFinished(phase, outcome):
            state.phases[phase] = outcome
        case ev.RunResumed(deadline_s=deadline_s):
            state.ending, state.deadline_at = None, _later(entry.at, deadline_s)
        case ev.Failed() | ev.Stopped() | ev.RunFinished() as ending:
            state.ending = ending


def _later(at: str, seconds: float) -> str:
    """The time of day so many seconds after another, in the form of the Clock port; "" for 0 seconds."""
    if not seconds:
        return ""
    moment = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _end(state: RunState, step_id: str, new: StepState, at: str, note: str = "", uid: str = "") -> None:
    mark = state.steps[step_id]
    state.steps[step_id] = replace(mark, state=new, ended_at=at, note=note, created_uid=uid or mark.created_uid)
