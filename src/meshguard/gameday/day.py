"""A game day from its opening words to its report."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from meshguard.gameday import auto, hand, words
from meshguard.gameday.debrief import report
from meshguard.gameday.deeds import Deeds
from meshguard.gameday.stage import Stage, running
from meshguard.report.document import Report
from meshguard.report.write import write
from meshguard.sim.fleet.scenario import load

NAME = "gameday"


def hold(scenario: str, seed: int, *, by_itself: bool, speed: float, target: Path | None) -> Path:
    """Hold a game day and return the report's path.

    Raises SimError, ScenarioError, ControlError, Failed or ReportError.
    """
    print(words.opening(load(scenario)), flush=True)
    with running(NAME, scenario, seed, auto.WORK_SPEED if by_itself else speed) as stage:
        deeds = Deeds(stage)
        try:
            if by_itself:
                auto.play(stage, deeds)
            else:
                hand.over(stage, deeds)
        finally:
            told = _told(stage, deeds)
    if told is None:
        raise auto.Failed("the game day ended before anything happened")
    print(f"\n== Debrief\n{_debrief(told)}", flush=True)
    return write(told, target or _place())


def _told(stage: Stage, deeds: Deeds) -> Report | None:
    log = stage.log
    return report(stage.scenario, stage.seed, log, deeds.done) if log.samples else None


def _place() -> Path:
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return home / "meshguard" / "reports" / f"gameday-{stamp}.html"


def _debrief(told: Report) -> str:
    width = max(len(fact.title) for fact in told.facts)
    lines = [f"  {'':{width}}  {'here':28}{told.compared_with}"]
    lines += [f"  {fact.title:{width}}  {fact.here:28}{fact.there}".rstrip() for fact in told.facts]
    return "\n".join((told.summary, "", *lines, "", *(f"  - {finding}" for finding in told.findings)))
