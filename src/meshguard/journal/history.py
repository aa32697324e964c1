"""Runs as this machine remembers them, for `runs` and `runs show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from meshguard.journal.entries import Entry
from meshguard.journal.errors import JournalError
from meshguard.journal.journal import in_use, read_entries
from meshguard.journal.rundir import RunDir, all_runs
from meshguard.journal.state import AwaitMark, RunState, StepMark, state_of
from meshguard.model.plan import Direction


class RunStatus(StrEnum):
    """Where a run stands, as far as this machine knows."""

    ACTIVE = "active"
    """A process is executing it now."""
    UNFINISHED = "unfinished"
    """It stopped, failed or was killed; it can be resumed or restored."""
    OPEN = "open"
    """It is finished and not restored."""
    FINISHED = "finished"
    """A restore or a realignment that is finished."""
    RESTORED = "restored"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one line."""

    run: str
    status: RunStatus
    direction: str = ""
    of_run: str = ""
    outcome: str = ""
    """The last outcome that it wrote down; "" while it goes on or when it was killed."""
    sentence: str = ""
    """Why it does not go on, or why its journal cannot be read."""
    person: str = ""
    reason: str = ""
    context: str = ""
    cluster_uid: str = ""
    namespaces: tuple[str, ...] = ()
    started: str = ""
    latest: str = ""
    done: int = 0
    steps: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class RunHistory:
    """A run step by step; both in the order in which they happened."""

    summary: RunSummary
    steps: tuple[StepMark, ...]
    awaits: tuple[AwaitMark, ...]
    entries: tuple[Entry, ...]


def summaries(runs: Path) -> tuple[RunSummary, ...]:
    """Return all runs, oldest first. Raises JournalError when the folder itself cannot be read.

    A run whose journal cannot be trusted is listed as such; it must not hide the others.
    """
    found = [_summary(folder) for folder in all_runs(runs)]
    restored = {s.of_run for s in found if s.status is RunStatus.FINISHED and s.outcome == "done"}
    return tuple(
        replace(s, status=RunStatus.RESTORED) if s.run in restored and s.status is not RunStatus.UNREADABLE else s
        for s in found
    )


def history(folder: RunDir) -> RunHistory:
    """Return one run in full. Raises JournalError when its journal cannot be read or trusted."""
    entries = read_entries(folder.journal)
    state = state_of(entries)
    summary = next(s for s in summaries(folder.path.parent) if s.run == folder.run)
    return RunHistory(summary, tuple(state.steps.values()), tuple(state.awaits.values()), tuple(entries))


def _summary(folder: RunDir) -> RunSummary:
    try:
        entries: Sequence[Entry] = read_entries(folder.journal)
        state, active = state_of(entries), in_use(folder.journal)
    except JournalError as error:
        return RunSummary(folder.run, RunStatus.UNREADABLE, sentence=str(error))
    opened = state.opened
    return RunSummary(
        run=folder.run,
        status=RunStatus.ACTIVE if active else _status(state),
        direction=opened.direction,
        of_run=opened.of_run,
        outcome=state.ending.outcome if state.ending else "",
        sentence=state.ending.sentence if state.ending else "",
        person=opened.person,
        reason=opened.reason,
        context=opened.context,
        cluster_uid=opened.cluster_uid,
        namespaces=opened.namespaces,
        started=state.opened_at,
        latest=state.latest_at,
        done=sum(mark.state.settled for mark in state.steps.values()),
        steps=sum(shape.steps for shape in opened.phases),
        conflicts=len(state.conflicts),
    )


def _status(state: RunState) -> RunStatus:
    if not state.finished:
        return RunStatus.UNFINISHED
    return RunStatus.OPEN if Direction(state.opened.direction).holds else RunStatus.FINISHED
