"""What makes a run stand still: a person's wish, its own deadline, or the loss of its claim on the cluster.

Heeded between waves and while waiting, never within a write; so the run stands at a safe point.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshguard.engine.outcome import Cause, Outcome, Result, refused
from meshguard.engine.progress import seconds_between
from meshguard.engine.stop import StopSignal
from meshguard.journal.errors import LeaseLost
from meshguard.journal.lease import Hold
from meshguard.journal.state import RunState, Tally
from meshguard.ports import Clock, Cluster, ClusterError, Unreachable


@dataclass(frozen=True, slots=True)
class Brakes:
    """Everything that may stop one run."""

    stop: StopSignal
    hold: Hold
    clock: Clock
    tally: Tally

    @property
    def drawn(self) -> bool:
        """Whether the run must stand still now."""
        return bool(self.hold.lost) or self.stop.requested or self._late(self.tally.state)

    def require_hold(self) -> None:
        """Raise LeaseLost when the cluster was taken over."""
        if self.hold.lost:
            raise LeaseLost(self.hold.lost)

    def outcome(self, doing: str, missing: tuple[str, ...] = ()) -> Outcome:
        """Say why the run stands still, and how far it came. Raises LeaseLost when the cluster was taken over."""
        self.require_hold()
        if not self._late(self.tally.state):
            return Outcome(Result.STOPPED, f"{doing}: stopped at a safe point, as asked", missing=missing)
        sentence = f"{doing}: stopped at a safe point, because the run's deadline has passed; {self._so_far()}"
        return Outcome(Result.PARTIAL, sentence, missing=missing)

    def refused(self, error: ClusterError, doing: str) -> Outcome:
        """Make the outcome of something that the cluster did not let us do: silence at the deadline is no failure."""
        if not isinstance(error, Unreachable) or not self._late(self.tally.state):
            return refused(error, doing)
        sentence = f"{doing}: stopped, because the run's deadline has passed; {self._so_far()}; at the end {error}"
        return Outcome(Result.PARTIAL, sentence, cause=Cause.UNREACHABLE)

    def hasten(self, cluster: Cluster) -> None:
        """Let no call to the cluster go on for long after the run's deadline."""
        if deadline_at := self.tally.state.deadline_at:
            cluster.end_in(seconds_between(self.clock.wall(), deadline_at))

    def _so_far(self) -> str:
        state, shapes = self.tally.state, self.tally.state.opened.phases
        steps = f"{sum(mark.state.settled for mark in state.steps.values())} of {sum(s.steps for s in shapes)} steps"
        return f"{steps} are done, {len(state.phases)} of {len(shapes)} phases are over"

    def _late(self, state: RunState) -> bool:
        """Times of day in one form compare as text."""
        return bool(state.deadline_at) and self.clock.wall() >= state.deadline_at
