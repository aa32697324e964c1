"""A run that has a deadline stands still when it passes, at a safe point, and tells exactly how far it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshguard.cli.codes import Exit, of_ending
from meshguard.engine.outcome import Result
from meshguard.journal.events import Done, Intent, Stopped
from meshguard.journal.journal import read_entries
from meshguard.model.change import read
from meshguard.model.durations import seconds_of
from meshguard.model.objects import Ref
from meshguard.model.verdict import Truth, Verdict
from meshguard.ports import Unreachable
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import INJECTION, PAY, World, exit_plan

NO = Verdict(Truth.NO, 0, 1, ("pod a",))


def test_it_stops_while_it_waits_and_says_what_is_done(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO)), exit_plan()
    folder = world.begin(plan, deadline_s=10.0)
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False)
    assert outcome.sentence == (
        "Relax: stopped at a safe point, because the run's deadline has passed; 2 of 5 steps are done,"
        " 0 of 4 phases are over"
    )
    assert outcome.missing == ("not seen yet: the proxies accept plaintext",)
    assert world.clock.seconds == pytest.approx(10.0)
    last = read_entries(folder.journal)[-1].event
    assert last == Stopped("relax", "partial", outcome.sentence, outcome.missing)
    assert of_ending(outcome.result, outcome.cause) is Exit.PARTIAL
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled"


def test_it_stops_between_waves_and_every_step_that_was_begun_has_ended(tmp_path: Path) -> None:
    judge = FakeJudge()
    world, plan = World(tmp_path, judge=judge), exit_plan()
    folder = world.begin(plan, deadline_s=10.0)

    def late() -> None:
        world.clock.seconds += 4.0

    judge.on_look = late
    assert world.run(folder, plan).result is Result.PARTIAL
    events = [entry.event for entry in read_entries(folder.journal)]
    intended = {event.step.id for event in events if isinstance(event, Intent)}
    assert intended == {event.step_id for event in events if isinstance(event, Done)} == {"1", "2", "3", "4"}


def test_a_run_that_is_resumed_gets_the_time_that_it_is_given_then(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO)), exit_plan()
    folder = world.begin(plan, deadline_s=10.0)
    world.run(folder, plan)
    world.take_up(folder.run, deadline_s=5.0)
    began = world.clock.seconds
    assert world.run(folder, plan).result is Result.PARTIAL
    assert world.clock.seconds - began == pytest.approx(5.0)
    world.take_up(folder.run)
    world.judge = FakeJudge(YES)
    assert world.run(folder, plan).result is Result.DONE


def test_the_cluster_is_told_when_all_is_to_end(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO)), exit_plan()
    folder = world.begin(plan, deadline_s=10.0)
    world.clock.seconds += 4.0
    world.run(folder, plan)
    assert world.cluster.ends_in == pytest.approx(6.0)


def test_without_a_deadline_calls_are_as_patient_as_ever(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    world.run(world.begin(plan), plan)
    assert world.cluster.ends_in is None


def test_a_cluster_that_is_silent_when_the_deadline_passes_is_said_to_be_so(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan, deadline_s=10.0)

    def silent(verb: str, ref: Ref) -> None:
        if ref == PAY:
            world.clock.seconds += 12.0
            raise Unreachable("server gave no answer to PATCH within 12.0 s: timed out")

    world.cluster.before_write = silent
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False)
    assert outcome.sentence == (
        "Un-enrol: stopped, because the run's deadline has passed; 2 of 5 steps are done, 1 of 4 phases are over;"
        " at the end server gave no answer to PATCH within 12.0 s: timed out"
    )
    assert read_entries(folder.journal)[-1].event == Stopped("un-enrol", "partial", outcome.sentence, ())
    world.cluster.before_write = lambda verb, ref: None
    world.take_up(folder.run)
    assert world.run(folder, plan).result is Result.DONE


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90s", 90), ("10m", 600), ("1h30m", 5400)])
def test_durations_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["10", "m", "0s", "10 m", "-5m", "1m2h", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds_of(text)
