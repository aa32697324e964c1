"""Somebody else takes back what a run has done while it goes on: that is seen, said, and not fought over.

A reconciler that reverts labels or policies would otherwise show only as a wait that never ends. Workloads are not
looked at: whoever scales or deploys them is at work on his own, and the waits judge what came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from meshguard.engine.outcome import Outcome, Result
from meshguard.engine.perform import same_spec
from meshguard.journal.state import RunState, StepState, Tally
from meshguard.model.change import ABSENT, net, read
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Action, Step
from meshguard.ports import Clock, Cluster, ClusterError

_MOST_NAMED = 5
LOOK_S = 5.0
"""Seconds between two looks while a run waits. One look is one LIST for each kind that it has edited."""


class Others:
    """Looks, while a run waits, whether what it has done still stands."""

    def __init__(self, cluster: Cluster, clock: Clock, tally: Tally) -> None:
        self._cluster, self._clock, self._tally = cluster, clock, tally
        self._looked_at = clock.now()
        self.taken_back: tuple[str, ...] = ()
        """One sentence for each field or object that is not as the run left it."""

    def outcome(self, doing: str) -> Outcome:
        """Return how a phase ends whose work was taken back; `doing` is what it was about."""
        named = "; ".join(self.taken_back[:_MOST_NAMED])
        sentence = (
            f"{doing}: stopped, because somebody else takes back what the run has done: {named}; let them pause, "
            "restore this run and begin anew"
        )
        return Outcome(Result.PARTIAL, sentence, missing=self.taken_back)

    async def look_now_and_then(self) -> None:
        """Look, unless the last look was a moment ago."""
        if self._clock.now() - self._looked_at >= LOOK_S:
            await self.look()

    async def look(self) -> None:
        """Look. A cluster that does not answer says nothing about others."""
        self._looked_at = self._clock.now()
        steps = _edits(self._tally.state)
        kinds = sorted({ref.kind for ref in steps})
        try:
            lists: list[Sequence[Resource]] = await asyncio.gather(*(self._cluster.list(kind) for kind in kinds))
        except ClusterError:
            return
        there = {resource.ref: resource for members in lists for resource in members}
        self.taken_back = tuple(_differences(steps, there))


def _edits(state: RunState) -> dict[Ref, list[Step]]:
    """Return by object what the run has done to policies and namespaces."""
    out: dict[Ref, list[Step]] = {}
    for mark in state.steps.values():
        step = mark.step
        if step is None or mark.state is not StepState.DONE or step.target.kind in RESTARTABLE:
            continue
        if step.action in (Action.CHANGE, Action.CREATE):
            out.setdefault(step.target, []).append(step)
    return out


def _differences(steps: Mapping[Ref, Sequence[Step]], there: Mapping[Ref, Resource]) -> Iterator[str]:
    for ref, done in sorted(steps.items()):
        found = there.get(ref)
        if found is None:
            yield f"{ref} is not there any more"
            continue
        for change in net(change for step in done for change in step.changes):
            value = read(found.doc, change.path)
            if value != change.after:
                shown = "absent" if value is ABSENT else repr(value)
                yield f"{ref}: {'.'.join(change.path)} is {shown}, the run left {change.after!r}"
        if any(step.manifest is not None and not same_spec(found, step.manifest) for step in done):
            yield f"{ref} was edited after the run had created it"
