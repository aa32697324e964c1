"""Executes a plan phase by phase; everything that must survive a crash is in the journal, nothing in here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from meshguard.engine import endings
from meshguard.engine.brakes import Brakes
from meshguard.engine.judge import Judge
from meshguard.engine.others import Others
from meshguard.engine.outcome import Cause, Outcome, Result, refused
from meshguard.engine.perform import Effect, perform
from meshguard.engine.start import room_for
from meshguard.engine.stop import StopSignal
from meshguard.engine.wait import Waited, await_until
from meshguard.journal import events as ev
from meshguard.journal.errors import JournalError, LeaseLost
from meshguard.journal.journal import Journal
from meshguard.journal.lease import Hold, NoHold
from meshguard.journal.mirror import Records
from meshguard.journal.records import RecordStatus, RunRecord, record_of
from meshguard.journal.scribe import Scribe
from meshguard.journal.state import RunState, Tally
from meshguard.model.plan import Await, Check, Direction, Phase, Plan, Step, Wave
from meshguard.model.verdict import Verdict
from meshguard.ports import Clock, Cluster, ClusterError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard the engine leans on the API server."""

    concurrent_writes: int = 32
    poll_s: float = 0.5
    """Seconds between two looks at an awaited condition."""


class _Halt(Exception):
    """Ends a phase early; carries how."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.sentence)
        self.outcome = outcome


class Executor:
    """Executes the phases of one run; each may be executed by another process.

    A phase that was interrupted is taken up where its journal ends: what is done is not done again, and what was
    intended is compared with the object.
    """

    def __init__(
        self,
        cluster: Cluster,
        judge: Judge,
        clock: Clock,
        journal: Journal,
        records: Records,
        limits: Limits | None = None,
        stop: StopSignal | None = None,
        hold: Hold | None = None,
    ) -> None:
        self._cluster, self._judge, self._clock = cluster, judge, clock
        self._journal, self._records = journal, records
        self._limits, self._hold = limits or Limits(), hold or NoHold()
        self._scribe, self._tally = Scribe(journal), Tally(journal)
        self._others = Others(cluster, clock, self._tally)
        self._brakes = Brakes(stop or StopSignal(), self._hold, clock, self._tally)

    async def run_phase(self, plan: Plan, name: str) -> Outcome:
        """Execute one phase of the run's plan, or the rest of it.

        Raises KeyError for a phase that the plan does not have, and JournalError when the journal belongs to
        another plan or cannot be written; then no further change was begun.
        """
        self._require(plan)
        phase, state = plan.phase(name), self._tally.state
        if state.phases.get(name) == Result.DONE:
            return Outcome(Result.DONE, f"{phase.title}: done before", goes_on=True)
        unready = [before.name for before in plan.phases[: plan.phases.index(phase)] if before.name not in state.phases]
        if unready:
            return Outcome(Result.FAILED, f"{name} comes after {', '.join(unready)}", cause=Cause.ORDER)
        self._brakes.hasten(self._cluster)
        self._journal.reserve(room_for([phase]))
        await self._scribe.record(ev.PhaseStarted(name))
        try:
            outcome = await self._mirrored(plan, await self._attempt(plan, phase))
        except LeaseLost as lost:
            return await self._taken_over(name, phase.title, lost)
        await self._scribe.record(endings.event_of(name, outcome))
        if not outcome.goes_on and outcome.cause is not Cause.UNREACHABLE:
            await self._last_words(plan, RecordStatus.OPEN)
        return outcome

    async def _attempt(self, plan: Plan, phase: Phase) -> Outcome:
        try:
            return await self._execute(plan, phase)
        except _Halt as halt:
            return halt.outcome
        except ClusterError as error:
            return self._brakes.refused(error, phase.title)
        except JournalError:
            raise
        except Exception as error:
            sentence = f"{phase.title}: {type(error).__name__}: {error}"
            await self._scribe.record(ev.Failed(phase.name, Result.FAILED, sentence, Cause.DEFECT))
            raise

    async def _taken_over(self, phase: str, doing: str, lost: LeaseLost) -> Outcome:
        """Write down that somebody else goes on from here; the record in the cluster is theirs now."""
        sentence = f"{doing}: nothing further was begun, because {lost}"
        outcome = Outcome(Result.STOPPED, sentence, cause=Cause.TAKEN_OVER)
        await self._scribe.record(ev.LeaseLost(str(lost)), endings.event_of(phase, outcome))
        return outcome

    async def finish(self, plan: Plan) -> Outcome:
        """Close the run once all its phases are over, and say in the cluster what is still held.

        Raises JournalError or RecordError. After a failure it can be called again; a run that is closed stays so.
        """
        self._require(plan)
        state = self._tally.state
        if unfinished := [phase.name for phase in plan.phases if phase.name not in state.phases]:
            return Outcome(Result.FAILED, f"these phases have not run: {', '.join(unfinished)}", cause=Cause.ORDER)
        if state.finished:
            return endings.of_run(state, plan)
        try:
            await self._hold.renew(self._journal.head)
            await self._settle_undone_run(plan, state)
            status = RecordStatus.OPEN if plan.direction.holds else RecordStatus.CLOSED
            await self._records.put(self._record(plan, status))
        except LeaseLost as lost:
            return await self._taken_over("", "all phases are over", lost)
        except ClusterError as error:
            outcome = refused(error, "all phases are over, but the record in the cluster could not be closed")
            await self._scribe.record(endings.event_of("", outcome))
            return outcome
        outcome = endings.of_run(state, plan)
        await self._scribe.record(ev.RunFinished(outcome.result, outcome.sentence))
        await self._last_words(plan, status)
        return outcome

    async def _last_words(self, plan: Plan, status: RecordStatus) -> None:
        """Let the mirror have the end of the journal too, for those who watch; all that counts it has already."""
        with suppress(ClusterError):
            await self._records.put(self._record(plan, status))

    def _require(self, plan: Plan) -> None:
        opened = self._tally.state.opened
        if opened.plan_hash != plan.hash:
            raise JournalError(f"the run {opened.run} was opened for another plan")

    def _record(self, plan: Plan, status: RecordStatus = RecordStatus.OPEN) -> RunRecord:
        return record_of(plan, self._tally.state, self._journal.entries, status)

    async def _execute(self, plan: Plan, phase: Phase) -> Outcome:
        identity = await self._cluster.identity()
        if identity.uid != plan.cluster_uid:
            return Outcome(Result.FAILED, f"the context {identity.context} is another cluster than the plan's")
        for index, wave in enumerate(phase.waves):
            if not self._is_history(phase, index, wave):
                await self._wave(plan, phase, index, wave)
        if phase is plan.phases[-1] and _is_watched(plan):
            await self._require_standing(phase)
        return endings.of_phase(self._tally.state, phase)

    def _is_history(self, phase: Phase, index: int, wave: Wave) -> bool:
        """A wave that is settled and was followed by another; the conditions it waited for may hold no longer."""
        state = self._tally.state
        return state.waves.get(phase.name, 0) > index and all(state.state_of(s.id).settled for s in wave.steps)

    async def _wave(self, plan: Plan, phase: Phase, index: int, wave: Wave) -> None:
        if self._brakes.drawn:
            raise _Halt(self._brakes.outcome(phase.title))
        state = self._tally.state
        pending = [step for step in wave.steps if not state.state_of(step.id).settled]
        await self._hold.renew(self._journal.head)
        if pending:
            await self._records.put(self._record(plan).starting(step.id for step in pending))
        await self._scribe.record(ev.WaveStarted(phase.name, index))
        undoing = plan.direction.undoes
        effects = await self._write(pending, state.opened.run, undoing=undoing)
        conflicts = tuple(effect.sentence for effect in effects if isinstance(effect, ev.Conflicted))
        if conflicts and not undoing:
            sentence = (
                f"{phase.title}: stopped before the next wave, because somebody else changed what the plan is for"
            )
            raise _Halt(Outcome(Result.PARTIAL, sentence, conflicts=conflicts))
        left = {str(conflict.object) for conflict in self._tally.state.conflicts.values()}
        left |= {str(ref) for ref in self._tally.state.gone}
        watched = _is_watched(plan)
        await self._see(phase, index, tuple(_of_the_rest(awaited, left) for awaited in wave.awaits), watched=watched)

    async def _write(self, steps: Iterable[Step], run: str, *, undoing: bool) -> list[Effect]:
        """Do the steps concurrently; after a failure those that have begun are ended, and no other is begun."""
        slots = asyncio.Semaphore(self._limits.concurrent_writes)
        failed = asyncio.Event()

        async def write(planned: Step) -> Effect | None:
            step = planned.for_run(run)
            async with slots:
                if failed.is_set() or self._hold.lost:
                    return None
                try:
                    await self._scribe.record(ev.Intent(step))
                    effect = await perform(self._cluster, step, run, undoing=undoing)
                except BaseException:
                    failed.set()
                    raise
            await self._scribe.record(effect)
            return effect

        effects = await _all(write(step) for step in steps)
        self._brakes.require_hold()
        return [effect for effect in effects if effect is not None]

    async def _see(self, phase: Phase, index: int, awaits: tuple[Await, ...], *, watched: bool) -> None:
        ids = [f"{phase.name}/{index}/{number}" for number in range(len(awaits))]
        waits = await _all(
            self._wait(await_id, each, watched=watched) for await_id, each in zip(ids, awaits, strict=True)
        )
        unmet = [(awaited, w) for awaited, w in zip(awaits, waits, strict=True) if not w.verdict.is_all_there_is]
        if unmet and watched:
            await self._require_standing(phase)
        if any(waited.interrupted for _, waited in unmet):
            unseen = tuple(f"not seen yet: {awaited.sentence}" for awaited, _ in unmet)
            raise _Halt(self._brakes.outcome(phase.title, unseen))
        if unmet:
            named = "; ".join(f"{awaited.sentence} (waited {waited.seconds:.0f} s)" for awaited, waited in unmet)
            missing = tuple(name for _, waited in unmet for name in waited.verdict.missing)
            undo = tuple(sorted({ref for awaited, _ in unmet for ref in awaited.undoes}))
            sentence = f"{phase.title}: not seen: {named}"
            raise _Halt(Outcome(Result.VERIFICATION_FAILED, sentence, missing=missing, undo=undo))

    async def _require_standing(self, phase: Phase) -> None:
        """End the phase where somebody else has taken back what the run has done."""
        if not self._others.taken_back:
            await self._others.look()
        if self._others.taken_back:
            raise _Halt(self._others.outcome(phase.title))

    async def _wait(self, await_id: str, awaited: Await, *, watched: bool) -> Waited:
        async def judged() -> Verdict:
            if watched:
                await self._others.look_now_and_then()
            return await self._judge.judge(awaited)

        async def changed(verdict: Verdict) -> None:
            await self._scribe.record(ev.awaiting(await_id, awaited.sentence, verdict, awaited.deadline_s))

        waited = await await_until(
            judged,
            self._clock,
            deadline_s=awaited.deadline_s,
            poll_s=self._limits.poll_s,
            changed=changed,
            interrupted=lambda: self._brakes.drawn or bool(self._others.taken_back),
        )
        seconds, verdict = round(waited.seconds, 3), waited.verdict
        if verdict.holds:
            await self._scribe.record(ev.Seen(await_id, seconds))
        elif verdict.is_all_there_is:
            left = ev.Unverified(await_id, seconds, verdict.done, verdict.total, verdict.unreachable)
            await self._scribe.record(left)
        return waited

    async def _mirrored(self, plan: Plan, outcome: Outcome) -> Outcome:
        """Bring the record in the cluster up to date; a phase whose record is behind is not done.

        It was up to date when the wave began, so an API server that is gone anyway is not asked again; and whoever
        has taken the cluster over writes the record from then on.
        """
        if outcome.cause in (Cause.UNREACHABLE, Cause.TAKEN_OVER):
            return outcome
        try:
            await self._hold.renew(self._journal.head)
            await self._records.put(self._record(plan))
        except ClusterError as error:
            behind = refused(error, "the record in the cluster could not be brought up to date")
            if outcome.goes_on:
                return behind
            return replace(outcome, sentence=f"{outcome.sentence}; {behind.sentence}")
        return outcome

    async def _settle_undone_run(self, plan: Plan, state: RunState) -> None:
        """Say in the record of the run that this restore undoes what it still holds: what was left alone."""
        record = await self._records.load(plan.of_run) if plan.of_run else None
        if record is not None:
            undone = [step for step in plan.steps if step.id not in state.conflicts]
            left = {step.target for step in plan.steps if step.id in state.conflicts}
            left |= {finding.object for finding in endings.left_by_plan(plan)}
            if plan.scope:  # of a part of the run only
                left |= {step.target for step in record.holding} - {step.target for step in plan.steps}
            await self._records.put(record.restored(undone, left))


def _is_watched(plan: Plan) -> bool:
    """A way back compares field by field anyway, and a fault lives on what comes of it."""
    return plan.direction in (Direction.EXIT, Direction.REALIGN)


def _of_the_rest(awaited: Await, left: Collection[str]) -> Await:
    """The condition without objects that were left alone, or are gone: that is said already."""
    if awaited.check is not Check.IDENTICAL:
        return awaited
    return replace(awaited, subject=tuple(ref for ref in awaited.subject if ref not in left))


async def _all(tasks: Iterable[Awaitable[_T]]) -> list[_T]:
    """Let all end, then raise the first error; cancelling one in the middle of a write would lose its answer."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
