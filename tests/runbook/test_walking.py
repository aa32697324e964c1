"""A runbook is walked step by step; what is over is on the disk, and the next shift goes on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from meshguard.runbook import session as sessions
from meshguard.runbook.advise import Evidence
from meshguard.runbook.load import RunbookError, load
from meshguard.runbook.schema import Confirm, Decide, Playbook, Runbook, Step, Symptom
from meshguard.runbook.session import Opened, Session
from meshguard.runbook.walk import Ending, Played, Walked, walk
from tests.fakes.clock import FakeClock

ABOUT = Opened("sidecar-oom", "abc", "staging", "uid", ("shop-web",), (), False, "me", "a test")
STEPS = [
    "See that it is the sidecars",
    "Decide whether to leave",
    "Take the namespace out of the mesh",
    "Wait for the pods",
]
BACK = [
    "Set limits that fit",
    "Decide whether to come back",
    "Bring the namespace back",
    "See that nobody is killed again",
]
VERIFIED = "Verify control-plane"


@dataclass
class Scripted:
    """Implements `walk.Hands`: answers by table, well by default, and remembers what it was asked."""

    clock: FakeClock
    answers: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, Iterable[float | None]] = field(default_factory=dict)
    unconfirmed: frozenset[str] = frozenset()
    plays: Mapping[str, bool] = field(default_factory=dict)
    wrong: str = ""
    asked: list[str] = field(default_factory=list)

    def begins(self, number: int, total: int, step: Step) -> None:
        self.asked.append(step.title)

    def look(self, symptom: Symptom) -> Evidence:
        holds = symptom.threshold if symptom.comparison != "at-most" else 0.0
        value = next(iter(self.seen.get(symptom.sentence, ())), holds)
        present = value is not None and symptom.comparison.holds(value, symptom.threshold)
        return Evidence(symptom, value, present)

    def decide(self, step: Decide) -> str:
        return self.answers.get(step.title, step.auto)

    def confirm(self, step: Confirm) -> str:
        return "" if step.title in self.unconfirmed else "confirmed"

    def play(self, step: Playbook, of_run: str) -> Played:
        return Played(f"run-{step.playbook}", self.plays.get(step.playbook, True), f"{step.playbook} of {of_run!r}")

    def healthy(self, hypothesis: str) -> str:
        self.asked.append(f"Verify {hypothesis}")
        return self.wrong

    def pause(self, seconds: float) -> None:
        asyncio.run(self.clock.sleep(seconds))


def walked(
    folder: Path, session: Session | None = None, back: bool = True, **script: Any
) -> tuple[Walked, Session, Scripted]:
    clock = FakeClock()
    opened = session or sessions.begin(folder, ABOUT, clock.wall())
    hands = Scripted(clock, **script)
    return walk(runbook(), opened, hands, clock, back=back), opened, hands


def runbook() -> Runbook:
    return load("sidecar-oom")


def test_every_step_is_carried_out_in_order_and_the_restore_is_about_the_exit(tmp_path: Path) -> None:
    came, session, hands = walked(tmp_path)
    assert came.ending is Ending.DONE
    assert hands.asked == [*STEPS, VERIFIED, *BACK]
    assert session.over["Take the namespace out of the mesh"].run == "run-exit"
    assert session.over["Bring the namespace back"].said == "restore of 'run-exit'"


def test_a_person_who_does_not_confirm_finds_the_session_where_it_was_left(tmp_path: Path) -> None:
    came, session, _ = walked(tmp_path, unconfirmed=frozenset({"Set limits that fit"}))
    assert came.ending is Ending.PAUSED
    again = sessions.find(tmp_path, session.name)
    assert [mark.title for mark in again.marks] == [*STEPS, VERIFIED]
    came, _, hands = walked(tmp_path, again)
    assert (came.ending, hands.asked) == (Ending.DONE, BACK)


def test_without_the_way_back_it_ends_verified(tmp_path: Path) -> None:
    came, session, hands = walked(tmp_path, back=False)
    assert (came.ending, hands.asked) == (Ending.DONE, [*STEPS, VERIFIED])
    _, _, hands = walked(tmp_path, session)
    assert hands.asked == BACK


def test_a_decision_to_stop_ends_it_for_good(tmp_path: Path) -> None:
    came, session, hands = walked(tmp_path, answers={"Decide whether to leave": "stop"})
    assert (came.ending, hands.asked) == (Ending.STOPPED, STEPS[:2])
    came, _, hands = walked(tmp_path, sessions.find(tmp_path, session.name))
    assert (came.ending, hands.asked) == (Ending.STOPPED, [])


@pytest.mark.parametrize(
    ("script", "ending", "last"),
    [
        ({"seen": {"a sidecar was killed for memory within ten minutes": [0]}}, Ending.NOT_SO, STEPS[0]),
        ({"plays": {"exit": False}}, Ending.FAILED, STEPS[2]),
        ({"seen": {"every workload has its pods": [0.5]}}, Ending.LATE, STEPS[3]),
        ({"wrong": "two probes do not hold"}, Ending.UNHEALTHY, VERIFIED),
    ],
)
def test_what_goes_wrong_halts_it_there_and_nothing_is_written_down_as_done(
    tmp_path: Path, script: dict[str, Any], ending: Ending, last: str
) -> None:
    came, session, hands = walked(tmp_path, **script)
    assert (came.ending, hands.asked[-1]) == (ending, last)
    assert last not in session.over
    again, _, hands = walked(tmp_path, sessions.find(tmp_path, session.name))
    assert (again.ending, hands.asked[0]) == (Ending.DONE, last)


def test_where_nothing_is_left_to_measure_there_is_none_of_it(tmp_path: Path) -> None:
    few = "no sidecar was killed for memory within the last two minutes"
    assert walked(tmp_path, seen={few: [None]})[0].ending is Ending.DONE
    assert walked(tmp_path, seen={"every workload has its pods": [None]})[0].ending is Ending.LATE


def test_a_session_that_is_not_there_or_not_readable_is_told(tmp_path: Path) -> None:
    _, session, _ = walked(tmp_path)
    with pytest.raises(RunbookError, match=f"did you mean '{session.name}'"):
        sessions.find(tmp_path, session.name[:-1] + "0" if session.name[-1] != "0" else session.name[:-1] + "1")
    with pytest.raises(RunbookError, match="there is no session"):
        sessions.find(tmp_path, "../x")
    session.path.write_text("{}\n")
    with pytest.raises(RunbookError, match="cannot be read"):
        sessions.find(tmp_path, session.name)
