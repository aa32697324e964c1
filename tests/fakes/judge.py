"""A judge that says yes, or what a test has written down for it."""

from __future__ import annotations

from collections.abc import Callable

from meshguard.model.plan import Await
from meshguard.model.verdict import Truth, Verdict

YES = Verdict(Truth.YES, 1, 1, source="fake")


class FakeJudge:
    """Implements `engine.Judge`; verdicts are taken one by one, the last one for ever."""

    def __init__(self, *verdicts: Verdict) -> None:
        self._verdicts = list(verdicts) or [YES]
        self.looks: list[Await] = []
        self.on_look: Callable[[], None] = lambda: None

    async def judge(self, awaited: Await) -> Verdict:
        self.looks.append(awaited)
        self.on_look()
        return self._verdicts.pop(0) if len(self._verdicts) > 1 else self._verdicts[0]
