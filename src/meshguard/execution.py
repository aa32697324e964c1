"""Runs from their opening to their end: the folder on this machine, the mirror and the claim in the cluster.

Whoever has the cluster can take a run up, on any machine: what the mirror knows is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshguard import app
from meshguard.app import Session, Target, UnknownRun, person, preview_policies, session
from meshguard.consent import EditsRefused
from meshguard.engine.execute import Executor, Limits
from meshguard.engine.identity import fingerprints_of
from meshguard.engine.outcome import Outcome
from meshguard.engine.start import Opening, open_run, require_resumable, resume_run
from meshguard.engine.stop import StopSignal
from meshguard.journal import rundir
from meshguard.journal.adopt import TakenUp, mirrored, take_up
from meshguard.journal.entries import Entry
from meshguard.journal.errors import JournalError
from meshguard.journal.journal import Journal
from meshguard.journal.lease import ClusterLease, Hold, NoHold
from meshguard.journal.local import is_local, local_record
from meshguard.journal.mirror import ClusterRecords, NoRecords, Records, still_open
from meshguard.journal.records import RecordStatus, RunRecord
from meshguard.journal.rundir import RunDir, new_token
from meshguard.journal.state import StepState
from meshguard.model.plan import Plan, Step
from meshguard.ports import ClusterError


@dataclass(frozen=True)
class Terms:
    """What a person adds to a plan when it is carried out."""

    reason: str
    deadline_s: float = 0.0
    """0 for as long as the plan's waits allow."""
    take_over: bool = False
    """Take the cluster from a run that is at work on it."""


async def begin(opened: Session, plan: Plan, terms: Terms) -> RunDir:
    """Open a run: its claim on the cluster, its folder, its journal and its record in the cluster.

    Before that every policy edit of the plan is shown to the API server and the webhooks behind it, as a dry run: an
    edit that istiod's validation rejects must not be met halfway. Raises EditsRefused, LeaseHeld, JournalError or
    ClusterError.
    """
    refused = [(diff.object, diff.problem) for diff in await preview_policies(opened, plan) if diff.problem]
    if refused:
        raise EditsRefused(refused)
    opening = _opening(opened, terms, fingerprints_of(plan, await opened.recent_snapshot()))
    records = _records(opened, plan)

    def hold_of(folder: RunDir) -> Hold:
        return _hold(opened, folder, plan)

    return await open_run(plan, opening, opened.target.runs, records, opened.clock, hold_of)


@dataclass(frozen=True)
class Remainder:
    """What is left of a run, as its mirror knows it."""

    record: RunRecord

    @property
    def finished(self) -> bool:
        """Every phase is over; there is nothing to resume."""
        return all(phase.name in self.record.phases for phase in self.record.plan.phases)

    def steps(self, *states: StepState) -> tuple[Step, ...]:
        """Return the steps that stand like this, in the plan's order."""
        known = self.record.states
        return tuple(s for s in self.record.plan.steps if known.get(s.id, StepState.PLANNED) in states)


async def remainder(opened: Session, run: str) -> Remainder:
    """Say what is left of a run. Raises UnknownRun, JournalError for one that must not go on, or ClusterError."""
    record = _kept_here(opened, run) or await ClusterRecords(opened.cluster).load(run)
    if record is None:
        raise UnknownRun(f"no run {run!r} is recorded in this cluster")
    identity = await opened.cluster.identity()
    if record.plan.cluster_uid != identity.uid:
        raise JournalError(f"the run {run} is about another cluster than {identity.context}")
    records = [] if is_local(record.plan) else await ClusterRecords(opened.cluster).all()
    require_resumable(record, still_open(records))
    undoing = _restores(records, run)
    if undoing:
        raise JournalError(f"the run {run} is being restored by {undoing[0].run}; resume that one instead")
    return Remainder(record)


def _restores(records: Iterable[RunRecord], run: str) -> list[RunRecord]:
    return [
        record
        for record in records
        if record.plan.direction.undoes and record.plan.of_run == run and record.status is RecordStatus.OPEN
    ]


async def resume(opened: Session, run: str, terms: Terms) -> TakenUp:
    """Take an unfinished run up on this machine, from its journal here or from the mirror.

    Raises LeaseHeld while another process or machine is at work on the cluster, UnknownRun, JournalError, ClusterError.
    """
    folder, kept_here = RunDir(opened.target.runs / run), _kept_here(opened, run)
    token = folder.token() or new_token()
    hold = _hold(opened, folder, kept_here.plan if kept_here else None, token)
    before = await hold.acquire(take_over=terms.take_over)
    try:
        record = (await remainder(opened, run)).record
        heard = before.head if before.run == run else None
        taken_up = TakenUp(folder, False, 0) if kept_here else take_up(opened.target.runs, record, heard, token)
        await resume_run(taken_up, _opening(opened, terms), opened.clock, hold, before, record.taken_over)
    except (JournalError, ClusterError, UnknownRun):
        await hold.release()
        raise
    return taken_up


async def watched(opened: Session, run: str) -> tuple[tuple[Entry, ...], bool]:
    """Return a run's journal as the mirror has it, and whether its holder is alive.

    The mirror is written once a wave. Raises UnknownRun, RecordError or ClusterError.
    """
    record = await ClusterRecords(opened.cluster).load(run)
    if record is None:
        raise UnknownRun(f"no run {run!r} is recorded in this cluster, and this machine has no journal of it")
    held = await ClusterLease(opened.cluster, opened.clock, "", run).look()
    return mirrored(record), held.run == run and bool(held.holder) and not held.expired


async def run_phase(target: Target, run: str, phase: str) -> Outcome:
    """Execute one phase of a run, and close the run after its last one.

    Raises JournalError, ClusterError, or KeyError for a phase that the plan does not have.
    """
    folder = rundir.find(target.runs, run)
    plan = folder.read_plan()
    async with session(target, run) as opened:
        stop, hold = StopSignal(folder.stop), _hold(opened, folder, plan)
        stop.heed_interrupts()
        with Journal.open(folder.journal, opened.clock) as journal:
            judge = app.judge_of(opened, await app.config_of(opened))
            records = _records(opened, plan)
            executor = Executor(opened.cluster, judge, opened.clock_of_waits, journal, records, Limits(), stop, hold)
            async with hold.kept(lambda: journal.head):
                outcome = await executor.run_phase(plan, phase)
                last = outcome.goes_on and phase == plan.phases[-1].name
                if last:
                    outcome = await executor.finish(plan)
            if last or not outcome.goes_on:
                await hold.release()
            return outcome


def plan_of(target: Target, run: str) -> Plan:
    """Read the plan of a run on this machine. Raises JournalError."""
    return rundir.find(target.runs, run).read_plan()


def _opening(opened: Session, terms: Terms, fingerprints: Mapping[str, str] | None = None) -> Opening:
    return Opening(person(opened.target), terms.reason, fingerprints or {}, terms.deadline_s, terms.take_over)


def _kept_here(opened: Session, run: str) -> RunRecord | None:
    """The record of a run that only this machine knows; None for one that the cluster knows too."""
    folder = RunDir(opened.target.runs / run)
    return local_record(folder) if folder.plan.exists() else None


def _records(opened: Session, plan: Plan) -> Records:
    return NoRecords() if is_local(plan) else ClusterRecords(opened.cluster)


def _hold(opened: Session, folder: RunDir, plan: Plan | None, token: str = "") -> Hold:
    if plan is not None and is_local(plan):
        return NoHold()
    holder = f"{person(opened.target)} ({token or folder.token()})"
    return ClusterLease(opened.cluster, opened.clock, holder, folder.run)
