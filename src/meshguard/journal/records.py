"""What the cluster must know of a run, so that another person on another machine can restore or resume it.

A step that may have been begun counts as held: only the object itself can tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from meshguard.journal.entries import Entry, Head
from meshguard.journal.state import RunState, StepState
from meshguard.model.change import Change, net
from meshguard.model.objects import Ref
from meshguard.model.plan import Plan, Step
from meshguard.model.snapshot import OpenRun

NAMESPACE = "meshguard-system"
RECORD_LABEL = "meshguard.dev/record"
RUN_LABEL = "meshguard.dev/run"
STATUS_LABEL = "meshguard.dev/status"

TAKEN_OVER = ("data", "takenOver")
"""Where whoever takes the cluster from a run says so, in the record of that run."""

_CREATED: tuple[str, ...] = ()
"""The path of an object as a whole: it was created, not changed."""


class RecordStatus(StrEnum):
    """What the record says of the run."""

    OPEN = "open"
    """It holds something that is not restored."""
    PARTIAL = "partial"
    """A restore gave back a part; the rest was left because somebody else had changed it."""
    RESTORED = "restored"
    CLOSED = "closed"
    """A restore or a realignment that is finished; it holds nothing."""


@dataclass(frozen=True)
class RunRecord:
    """What the cluster must know of a run to restore or to resume it."""

    run: str
    plan: Plan
    person: str
    reason: str
    started: str
    status: RecordStatus
    head: Head
    """Where the journal stood; an older journal that ends before it has been cut."""
    states: Mapping[str, StepState] = field(default_factory=dict)
    """By step; a step that is not named was not begun."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """The outcome of each phase that is over."""
    uids: Mapping[str, str] = field(default_factory=dict)
    """By step the UID of the object that it created."""
    undone: frozenset[tuple[Ref, tuple[str, ...]]] = frozenset()
    """Fields that a restore has given back."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    journal: bytes = field(default=b"", repr=False)
    """The journal's lines up to `head`; b"" where only what is held was asked for."""
    taken_over: str = ""
    """Who took the cluster from this run, when; "" where nobody did."""

    def starting(self, steps: Iterable[str]) -> RunRecord:
        """The record with these steps about to be done."""
        return replace(self, states={**dict.fromkeys(steps, StepState.INTENDED), **self.states})

    def restored(self, undone: Iterable[Step], left: Collection[Ref]) -> RunRecord:
        """The record after a restore that has done the steps `undone` (its own) and has left some objects alone.

        Of an object that was left, only what those steps have given back is not held any more.
        """
        given = {(step.target, path) for step in undone for path in _paths(step)}
        given |= {(step.target, path) for step in self.holding for path in _paths(step) if step.target not in left}
        after = replace(self, undone=self.undone | given)
        rest = after.to_open_run()
        return replace(after, status=RecordStatus.PARTIAL if rest.changes or rest.created else RecordStatus.RESTORED)

    @property
    def holding(self) -> tuple[Step, ...]:
        """The steps that the run has made, or may have made, with its own name in the values."""
        held = (StepState.INTENDED, StepState.DONE)
        return tuple(s.for_run(self.run) for s in self.plan.steps if self.states.get(s.id) in held)

    def to_open_run(self) -> OpenRun:
        """What the run still holds."""
        changes: dict[Ref, list[Change]] = defaultdict(list)
        created: dict[Ref, str] = {}
        manifests: dict[Ref, Mapping[str, Any]] = {}
        for step in self.holding:
            if step.manifest is not None and (step.target, _CREATED) not in self.undone:
                created[step.target] = self.uids.get(step.id) or step.uid
                manifests[step.target] = step.manifest
            kept = [change for change in step.changes if (step.target, change.path) not in self.undone]
            if self.states[step.id] is StepState.INTENDED:
                kept = [change for change in kept if not _takes_back(change, changes[step.target])]
            changes[step.target] += kept
        return OpenRun(
            run=self.run,
            owner=self.person,
            reason=self.reason,
            started=self.started,
            namespaces=self.plan.namespaces,
            changes={ref: left for ref, made in changes.items() if (left := net(made))},
            created=created,
            manifests=manifests,
            fingerprints={Ref.parse(text): digest for text, digest in self.fingerprints.items()},
            consents=self.plan.consents,
        )


def _takes_back(change: Change, made: Iterable[Change]) -> bool:
    """True for a change that ends what the run itself began; while it is uncertain, the field counts as held."""
    first = next((earlier for earlier in made if earlier.path == change.path), None)
    return first is not None and first.before == change.after


def _paths(step: Step) -> tuple[tuple[str, ...], ...]:
    return (*(change.path for change in step.changes), *([_CREATED] if step.manifest is not None else []))


def record_of(
    plan: Plan, state: RunState, entries: Sequence[Entry], status: RecordStatus = RecordStatus.OPEN
) -> RunRecord:
    """Make the record of a run from its plan, from where it stands, and from its journal, which is not empty."""
    return RunRecord(
        run=state.opened.run,
        plan=plan,
        person=state.opened.person,
        reason=state.opened.reason,
        started=state.opened_at,
        status=status,
        head=entries[-1].head,
        states={step_id: mark.state for step_id, mark in state.steps.items()},
        phases=dict(state.phases),
        uids={step_id: mark.created_uid for step_id, mark in state.steps.items() if mark.created_uid},
        fingerprints=state.opened.fingerprints,
        journal=b"".join(entry.line for entry in entries),
    )


def record_ref(run: str) -> Ref:
    """Where the record of a run lies."""
    return Ref("ConfigMap", NAMESPACE, f"run-{run}")
