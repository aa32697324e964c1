"""What this machine remembers of its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshguard.journal.errors import JournalError
from meshguard.journal.history import RunStatus, history, summaries
from meshguard.journal.journal import Journal
from meshguard.journal.state import StepState
from meshguard.model.verdict import Truth, Verdict
from tests.fakes.judge import FakeJudge
from tests.fakes.world import RELAXED, World, exit_plan, restore_plan

NO = Verdict(Truth.NO, 0, 1, ("pod a",))


def statuses(world: World) -> list[RunStatus]:
    return [summary.status for summary in summaries(world.runs)]


def test_a_run_is_unfinished_then_open_then_restored(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    assert statuses(world) == [RunStatus.UNFINISHED]
    with Journal.open(folder.journal, world.clock):
        assert statuses(world) == [RunStatus.ACTIVE]
    world.run(folder, plan)
    assert statuses(world) == [RunStatus.OPEN]
    world.clock.seconds += 60
    back = restore_plan(plan, folder.run, world.cluster.docs[RELAXED]["metadata"]["uid"])
    again = world.begin(back)
    assert statuses(world) == [RunStatus.OPEN, RunStatus.UNFINISHED]
    world.run(again, back)
    assert statuses(world) == [RunStatus.RESTORED, RunStatus.FINISHED]
    left, right = summaries(tmp_path)
    assert (left.direction, left.done, left.steps, left.outcome) == ("exit", 5, 5, "done")
    assert (right.direction, right.of_run) == ("restore", folder.run)
    assert (left.person, left.reason, left.context) == ("sre@laptop", "mesh is down", "context")


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO)), exit_plan()
    world.run(world.begin(plan), plan)
    (summary,) = summaries(tmp_path)
    assert (summary.status, summary.outcome) == (RunStatus.UNFINISHED, "verification-failed")
    assert summary.sentence.startswith("Relax: not seen")


def test_a_run_is_told_step_by_step_with_times(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO, Verdict(Truth.YES))), exit_plan()
    folder = world.begin(plan)
    world.run(folder, plan)
    told = history(folder)
    assert [(mark.phase, mark.step.id) for mark in told.steps if mark.step] == [
        ("relax", "1"),
        ("relax", "2"),
        ("un-enrol", "3"),
        ("restart", "4"),
        ("restart", "5"),
    ]
    assert all(mark.state is StepState.DONE and mark.intended_at <= mark.ended_at for mark in told.steps)
    assert told.steps[0].created_uid == world.cluster.docs[RELAXED]["metadata"]["uid"]
    assert (told.awaits[0].latest.sentence, told.awaits[0].after_s) == ("the proxies accept plaintext", 0.5)
    assert all(mark.seen_at for mark in told.awaits)


def test_a_journal_that_cannot_be_trusted_hides_no_other_run(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    broken = world.begin(plan)
    world.clock.seconds += 1
    world.begin(plan)
    broken.journal.write_text(broken.journal.read_text().replace("sre@laptop", "xxx@laptop"))
    first, second = summaries(tmp_path)
    assert (first.status, second.status) == (RunStatus.UNREADABLE, RunStatus.UNFINISHED)
    assert "entry 1 does not continue the chain" in first.sentence
    with pytest.raises(JournalError, match="entry 1"):
        history(broken)


def test_a_folder_that_never_got_a_journal_is_told_as_such(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = world.begin(exit_plan())
    folder.journal.write_bytes(b"")
    (summary,) = summaries(tmp_path)
    assert summary.sentence == "the journal does not begin with the opening of a run"
    folder.journal.unlink()
    (summary,) = summaries(tmp_path)
    assert "cannot read the journal" in summary.sentence
