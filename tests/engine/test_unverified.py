"""Proxies that never connected are not awaited; the run says so and is not done."""

from __future__ import annotations

from pathlib import Path

from meshguard.cli.codes import Exit, of_ending
from meshguard.engine.outcome import Result
from meshguard.engine.progress import progress_of
from meshguard.journal.events import RunFinished, Seen, Unverified
from meshguard.journal.journal import read_entries
from meshguard.model.verdict import Truth, Verdict
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import World, exit_plan

NOBODY = Verdict(Truth.UNKNOWN, 0, 2400, source="envoy config_dump", unreachable=2400)
SOME = Verdict(Truth.UNKNOWN, 38, 40, source="envoy config_dump", unreachable=2)
AWAITED = Verdict(Truth.UNKNOWN, 0, 3, ("web-1: no answer",), "envoy config_dump", 2)


def test_a_run_that_could_verify_no_proxy_goes_to_its_end_and_is_partial(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NOBODY, YES)), exit_plan()
    folder = world.begin(plan)
    outcome = world.run(folder, plan)
    assert outcome.result is Result.PARTIAL
    assert "no proxy could be verified: 2400 of 2400 unreachable" in outcome.sentence
    ending = read_entries(folder.journal)[-1].event
    assert isinstance(ending, RunFinished)
    assert of_ending(ending.outcome, "") is Exit.PARTIAL
    assert world.clock.sleeps == []


def test_what_was_not_seen_is_written_down_as_such(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NOBODY, YES)), exit_plan()
    folder = world.begin(plan)
    outcome = world.phase(folder, plan, "relax")
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, True)
    entries = read_entries(folder.journal)
    assert [e.event for e in entries if isinstance(e.event, Seen | Unverified)] == [
        Unverified("relax/0/0", 0.0, 0, 2400, 2400)
    ]
    assert progress_of(entries, entries[-1].at).awaiting == ()


def test_where_others_were_seen_the_sentence_says_how_many_were_not(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(SOME, YES)), exit_plan()
    outcome = world.run(world.begin(plan), plan)
    assert outcome.result is Result.PARTIAL
    assert "not every proxy could be verified: 2 of 40 unreachable" in outcome.sentence


def test_beside_one_that_is_awaited_unreachable_ones_change_nothing(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(AWAITED)), exit_plan()
    outcome = world.run(world.begin(plan), plan)
    assert outcome.result is Result.VERIFICATION_FAILED
    assert outcome.missing == ("web-1: no answer",)
