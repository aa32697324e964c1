"""Progress is read off the journal, by whoever wants to watch."""

from __future__ import annotations

import asyncio
from pathlib import Path

from meshguard import execution
from meshguard.cli.follow import plain_line
from meshguard.engine.progress import Progress, Watcher, progress_of
from meshguard.journal.journal import read_entries
from meshguard.model.verdict import Truth, Verdict
from tests.engine.test_local_only import session
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import World, exit_plan

HALF = Verdict(Truth.NO, 1, 2, ("pod b",), "envoy config_dump")


def test_it_tells_phase_wave_steps_and_what_is_awaited(tmp_path: Path) -> None:
    judge = FakeJudge(YES, YES, HALF, HALF, HALF, YES)
    world, plan = World(tmp_path, judge=judge), exit_plan()
    folder = world.begin(plan)
    seen: list[Progress] = []
    judge.on_look = lambda: seen.append(progress_of(read_entries(folder.journal), world.clock.wall()))
    world.run(folder, plan)

    waiting = seen[4]
    assert (waiting.phase, waiting.title, waiting.phase_number, waiting.phases) == ("restart", "Restart", 3, 4)
    assert (waiting.wave, waiting.waves) == (1, 2)
    assert (waiting.phase_done, waiting.phase_steps, waiting.done, waiting.steps) == (1, 2, 4, 5)
    (condition,) = waiting.awaiting
    assert (condition.sentence, condition.done, condition.total) == ("ledger is out", 1, 2)
    assert (condition.missing, condition.waiting_s, condition.deadline_s) == (("pod b",), 1.0, 60.0)
    assert (waiting.elapsed_s, waiting.ended) == (1.0, "")
    assert waiting.to_json()["wave"] == {"number": 1, "of": 2}


def test_it_tells_how_the_run_ended_and_time_stands_still_then(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(HALF)), exit_plan()
    folder = world.begin(plan)
    world.run(folder, plan)
    entries, ended_after = read_entries(folder.journal), world.clock.seconds
    world.clock.seconds += 1000
    progress = progress_of(entries, world.clock.wall())
    assert (progress.ended, progress.elapsed_s) == ("verification-failed", ended_after)
    assert progress.sentence.startswith("Relax: not seen")
    assert progress.awaiting[0].missing == ("pod b",)


def test_before_the_first_phase_everything_is_still_to_be_done(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    progress = progress_of(read_entries(world.begin(plan).journal), world.clock.wall())
    assert (progress.phase_number, progress.wave, progress.done, progress.steps) == (0, 0, 0, 5)


def test_a_watcher_sees_the_same_entry_by_entry(tmp_path: Path) -> None:
    judge = FakeJudge(HALF, YES)
    world, plan = World(tmp_path, judge=judge), exit_plan()
    folder = world.begin(plan)
    watcher, pairs = Watcher(folder.journal), []

    def look() -> None:
        wall = world.clock.wall()
        pairs.append((watcher.look(wall), progress_of(read_entries(folder.journal), wall)))

    judge.on_look = look
    world.run(folder, plan)
    look()
    assert len(pairs) > len(plan.phases)
    assert all(seen == expected for seen, expected in pairs)
    assert pairs[-1][0].ended == "done"


def test_the_time_left_is_unknown_until_a_wave_is_over_and_then_goes_by_the_pace(tmp_path: Path) -> None:
    judge = FakeJudge(YES)
    world, plan = World(tmp_path, judge=judge), exit_plan()
    folder = world.begin(plan)
    seen: list[Progress] = []

    def look() -> None:
        world.clock.seconds += 7.0
        seen.append(progress_of(read_entries(folder.journal), world.clock.wall()))

    judge.on_look = look
    world.run(folder, plan)
    first, second = [p for p in seen if p.phase == "restart"]
    assert (first.wave, first.remaining_s) == (1, None)
    assert (second.wave, second.remaining_s) == (2, 0.0), "the first wave took 7 s, and so long the second has taken"
    assert first.to_json()["remainingSeconds"] is None
    assert "time left unknown" in plain_line(first)
    assert "about 0 s left in this phase, later phases unknown" in plain_line(second)


def test_another_machine_reads_the_same_from_the_mirror_and_whether_anybody_is_at_work(tmp_path: Path) -> None:
    world, plan = World(tmp_path / "here", leased=True), exit_plan()
    folder = world.begin(plan)
    opened = session(world.cluster, tmp_path / "there")
    entries, at_work = asyncio.run(execution.watched(opened, folder.run))
    assert ([entry.event.name for entry in entries], at_work) == (["run-opened"], True)
    world.run(folder, plan)
    entries, at_work = asyncio.run(execution.watched(opened, folder.run))
    assert entries == read_entries(folder.journal), "the last words are in the mirror too"
    assert not at_work
    assert progress_of(entries, world.clock.wall()).ended == "done"
