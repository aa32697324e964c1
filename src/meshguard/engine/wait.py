"""The one place that polls: look, say what changed, sleep, until it holds, the deadline passes or a person stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from meshguard.model.verdict import Truth, Verdict
from meshguard.ports import Clock, ClusterError

#: So many times as long as a look took nobody looks again: the API server has better things to do in a large mesh.
PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Waited:
    """How a wait ended: the last verdict, the seconds it took, and whether it was broken off."""

    verdict: Verdict
    seconds: float
    interrupted: bool = False


async def await_until(
    look: Callable[[], Awaitable[Verdict]],
    clock: Clock,
    *,
    deadline_s: float,
    poll_s: float,
    changed: Callable[[Verdict], Awaitable[None]],
    interrupted: Callable[[], bool],
) -> Waited:
    """Look until the verdict is all there is to see or `deadline_s` seconds have passed.

    That is every `poll_s` seconds, or less often where looks take long; at least once, and once more when the deadline
    comes. `changed` hears of the first verdict and of every different one. A cluster that does not answer is a verdict
    too: unknown.
    """
    began, said = clock.now(), None
    while True:
        looking = clock.now()
        verdict = await _looked(look)
        pause = max(poll_s, PAUSE * (clock.now() - looking))
        if verdict != said:
            await changed(verdict)
            said = verdict
        waited = clock.now() - began
        if verdict.is_all_there_is or waited >= deadline_s:
            return Waited(verdict, waited)
        if interrupted():
            return Waited(verdict, waited, interrupted=True)
        await clock.sleep(min(pause, deadline_s - waited))


async def _looked(look: Callable[[], Awaitable[Verdict]]) -> Verdict:
    try:
        return await look()
    except ClusterError as error:
        return Verdict(Truth.UNKNOWN, missing=(str(error),))
