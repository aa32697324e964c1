"""A phase runs only for its own plan, on its own cluster, after the phases that make it safe."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from meshguard.engine.execute import Executor, Limits
from meshguard.engine.outcome import Cause, Outcome, Result
from meshguard.engine.start import Opening, open_run, require_resumable, resume_run, room_for
from meshguard.engine.stop import StopSignal
from meshguard.journal.adopt import TakenUp
from meshguard.journal.errors import JournalError
from meshguard.journal.events import Failed, RunResumed
from meshguard.journal.journal import Journal, read_entries
from meshguard.journal.lease import Holding, NoHold
from meshguard.journal.mirror import NoRecords, open_runs
from meshguard.model.change import ABSENT, Change
from meshguard.model.objects import Ref
from meshguard.model.plan import Await, Phase, Wave
from meshguard.model.verdict import Verdict
from meshguard.ports import Forbidden, Unreachable
from tests.fakes.cluster import FakeCluster
from tests.fakes.world import RELAXED, World, change, document, exit_plan, restore_plan


def test_a_phase_comes_after_those_before_it(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    outcome = world.phase(world.begin(plan), plan, "restart")
    assert outcome == Outcome(Result.FAILED, "restart comes after relax, un-enrol", cause=Cause.ORDER)
    assert world.cluster.effects == []


def test_a_run_is_finished_only_after_all_its_phases(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.phase(folder, plan, "relax")
    outcome = world.finish(folder, plan)
    assert (outcome.result, outcome.sentence) == (
        Result.FAILED,
        "these phases have not run: un-enrol, restart, verify",
    )


def test_a_run_that_is_closed_stays_closed_when_its_playbook_is_run_once_more(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    first = world.run(folder, plan)
    entries, effects = len(read_entries(folder.journal)), len(world.cluster.effects)
    assert world.finish(folder, plan) == first
    assert (len(read_entries(folder.journal)), len(world.cluster.effects)) == (entries, effects)


def test_a_record_that_cannot_be_closed_is_said_and_can_be_closed_later(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.run(folder, plan)
    back = restore_plan(plan, folder.run, world.cluster.docs[RELAXED]["metadata"]["uid"])
    again = world.begin(back)
    for phase in back.phases:
        world.phase(again, back, phase.name)

    def refuse(verb: str, ref: Ref) -> None:
        raise Unreachable("the API server did not answer within 10 s")

    world.cluster.before_write = refuse
    outcome = world.finish(again, back)
    assert (outcome.result, outcome.cause) == (Result.FAILED, Cause.UNREACHABLE)
    assert isinstance(read_entries(again.journal)[-1].event, Failed)
    world.die_at(None)
    assert world.finish(again, back).result is Result.DONE
    assert open_runs(world.snapshot()) == ()


def test_a_phase_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.phase(folder, plan, "relax")
    entries = len(read_entries(folder.journal))
    assert world.phase(folder, plan, "relax") == Outcome(Result.DONE, "Relax: done before", goes_on=True)
    assert len(read_entries(folder.journal)) == entries


def test_another_plan_is_refused(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    with pytest.raises(JournalError, match="was opened for another plan"):
        world.phase(folder, replace(plan, consents=("--accept-authz-loss",)), "relax")


def test_another_cluster_is_refused(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.cluster.uid = "cluster-2"
    outcome = world.phase(folder, plan, "relax")
    assert outcome.sentence == "the context context is another cluster than the plan's"
    assert world.cluster.effects == []


def test_an_unknown_phase_is_a_key_error(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    with pytest.raises(KeyError, match="pray"):
        world.phase(world.begin(plan), plan, "pray")


def test_a_defect_is_written_down_before_it_is_raised(tmp_path: Path) -> None:
    class Broken:
        async def judge(self, awaited: Await) -> Verdict:
            raise ZeroDivisionError("of proxies")

    world, plan = World(tmp_path, judge=Broken()), exit_plan()
    folder = world.begin(plan)
    with pytest.raises(ZeroDivisionError):
        world.run(folder, plan)
    last = read_entries(folder.journal)[-1].event
    assert last == Failed("relax", "failed", "Relax: ZeroDivisionError: of proxies", "defect")


def test_writes_of_a_wave_are_concurrent_and_bounded(tmp_path: Path) -> None:
    refs = [Ref("Deployment", "shop-core", f"web-{number}") for number in range(40)]
    steps = tuple(change(ref.name, ref, Change(("spec", "paused"), ABSENT, True)) for ref in refs)
    plan = replace(exit_plan(), phases=(Phase("restart", "Restart", (Wave(steps),)),))
    world = World(tmp_path, FakeCluster(*(document(ref, spec={}) for ref in refs)))
    world.limits = Limits(concurrent_writes=8)
    assert world.run(world.begin(plan), plan).result is Result.DONE
    assert world.cluster.most_in_flight == 8


def test_a_run_that_cannot_be_recorded_leaves_nothing_behind(tmp_path: Path) -> None:
    def refuse(verb: str, ref: Ref) -> None:
        raise Forbidden("sre may not create configmaps in meshguard-system")

    world = World(tmp_path / "runs")
    world.cluster.before_write = refuse
    with pytest.raises(Forbidden):
        world.begin(exit_plan())
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"cannot write the run's folder below .*/file/runs: Not a directory"):
        World(tmp_path / "file" / "runs").begin(exit_plan())


def test_a_disk_without_room_for_the_whole_run_is_found_before_the_first_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshguard.journal.journal.reserve", full)
    world = World(tmp_path / "runs")
    with pytest.raises(JournalError, match="no room for the journal"):
        world.begin(exit_plan())
    assert list((tmp_path / "runs").iterdir()) == []
    assert world.cluster.record_writes == []


def test_the_reserved_room_is_enough(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    opened = folder.journal.stat().st_size
    world.run(folder, plan)
    assert folder.journal.stat().st_size - opened < room_for(plan.phases)


def test_a_run_may_be_kept_on_this_machine_only(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()

    async def whole() -> Result:
        folder = await open_run(plan, Opening("sre", "dns is down"), tmp_path, NoRecords(), world.clock)
        with Journal.open(folder.journal, world.clock) as journal:
            executor = Executor(world.cluster, world.judge, world.clock, journal, NoRecords())
            for phase in plan.phases:
                await executor.run_phase(plan, phase.name)
            return (await executor.finish(plan)).result

    assert asyncio.run(whole()) is Result.DONE
    assert open_runs(world.snapshot()) == ()


def test_who_takes_a_run_up_again_is_written_down_and_the_wish_to_stop_is_forgotten(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    StopSignal(folder.stop).request()
    opening = Opening("other@desk", "shift change")
    asyncio.run(resume_run(TakenUp(folder, False, 0), opening, world.clock, NoHold(), Holding()))
    assert read_entries(folder.journal)[-1].event == RunResumed("other@desk", "shift change")
    assert world.run(folder, plan).result is Result.DONE


def test_a_run_that_was_restored_meanwhile_is_not_resumed(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    world.phase(folder, plan, "relax")
    back = restore_plan(plan, folder.run, world.cluster.docs[RELAXED]["metadata"]["uid"])
    assert world.run(world.begin(back), back).result is Result.DONE
    with pytest.raises(JournalError, match="was restored meanwhile"):
        require_resumable(asyncio.run(world.records.load(folder.run)))
