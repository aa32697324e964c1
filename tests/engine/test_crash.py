"""Killed at any moment, before or after the effect of any write or journal entry, a run is taken up and ends the same.

Line 3.9 of the specification, in memory: every moment is tried, for the way out, and for the way back.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from meshguard.engine.outcome import Result
from meshguard.journal.mirror import open_runs
from meshguard.journal.rundir import RunDir
from meshguard.model.objects import Ref
from meshguard.model.plan import Plan
from tests.fakes.death import Killed
from tests.fakes.world import RELAXED, World, exit_plan, restore_plan


def life(world: World, folder: RunDir, plan: Plan, ends_at: int | None) -> bool:
    """Execute the run in a process that dies at this moment; tell whether it died."""
    death = world.die_at(ends_at)
    try:
        assert world.run(folder, plan).result is Result.DONE
    except Killed:
        assert death.came
    return death.came


def outside(world: World, folder: RunDir) -> Any:
    """The cluster without the run's name and without UIDs of objects that runs created."""
    contents = json.loads(json.dumps({str(ref): doc for ref, doc in world.cluster.contents().items()}))
    if str(RELAXED) in contents:
        del contents[str(RELAXED)]["metadata"]["uid"]
    return json.loads(json.dumps(contents).replace(folder.run, "RUN"))


def back(world: World, plan: Plan, run: str) -> Plan:
    uid = world.cluster.docs[RELAXED]["metadata"]["uid"]
    return restore_plan(plan, run, uid)


MOMENTS_AT_LEAST = 70
"""Twice five writes, the record's writes, and twice each journal entry, of which some share an append."""


def effects_of(world: World) -> Counter[tuple[str, Ref]]:
    return Counter(world.cluster.effects)


def test_the_way_out_survives_death_at_every_moment(tmp_path: Path) -> None:
    calm, plan = World(tmp_path / "calm"), exit_plan()
    calm_run = calm.begin(plan)
    life(calm, calm_run, plan, None)
    for moment in count():
        world = World(tmp_path / str(moment))
        folder = world.begin(plan)
        died = life(world, folder, plan, moment)
        life(world, folder, plan, None)
        assert outside(world, folder) == outside(calm, calm_run), f"killed at moment {moment}"
        assert effects_of(world) == effects_of(calm), f"killed at moment {moment}: something was done twice"
        if not died:
            break
    assert moment > MOMENTS_AT_LEAST


def test_the_way_back_survives_death_at_every_moment(tmp_path: Path) -> None:
    plan = exit_plan()
    for moment in count():
        world = World(tmp_path / str(moment))
        before = world.cluster.contents()
        folder = world.begin(plan)
        life(world, folder, plan, None)
        undo = back(world, plan, folder.run)
        again = world.begin(undo)
        died = life(world, again, undo, moment)
        life(world, again, undo, None)
        assert world.cluster.contents() == before, f"killed at moment {moment}"
        assert effects_of(world).total() == 2 * len(plan.steps), f"killed at moment {moment}: something was done twice"
        assert not open_runs(world.snapshot())
        if not died:
            break
    assert moment > MOMENTS_AT_LEAST


@pytest.mark.parametrize("second", [0, 1, 2, 5])
def test_a_second_death_while_resuming_is_survived_too(tmp_path: Path, second: int) -> None:
    calm, plan = World(tmp_path / "calm"), exit_plan()
    calm_run = calm.begin(plan)
    life(calm, calm_run, plan, None)
    for moment in range(0, MOMENTS_AT_LEAST, 7):
        world = World(tmp_path / f"{moment}")
        folder = world.begin(plan)
        assert life(world, folder, plan, moment)
        life(world, folder, plan, second)
        life(world, folder, plan, None)
        assert outside(world, folder) == outside(calm, calm_run)
        assert effects_of(world) == effects_of(calm)


def test_the_way_out_is_finished_elsewhere_without_a_local_file(tmp_path: Path) -> None:
    """The mirror suffices: what the journal said after it is rebuilt from the intents and the objects."""
    calm, plan = World(tmp_path / "calm"), exit_plan()
    calm_run = calm.begin(plan)
    life(calm, calm_run, plan, None)
    for moment in count():
        world = World(tmp_path / "here" / str(moment), leased=True)
        folder = world.begin(plan)
        died = life(world, folder, plan, moment)
        if died:
            world.die_at(None)
            there = world.elsewhere(tmp_path / "there" / str(moment))
            taken_up = there.take_up(folder.run)
            life(there, taken_up, plan, None)
        assert outside(world, folder) == outside(calm, calm_run), f"killed at moment {moment}"
        assert effects_of(world) == effects_of(calm), f"killed at moment {moment}: something was done twice"
        if not died:
            break
    assert moment > MOMENTS_AT_LEAST


def test_the_way_back_is_finished_elsewhere_without_a_local_file(tmp_path: Path) -> None:
    plan = exit_plan()
    for moment in count():
        world = World(tmp_path / "here" / str(moment), leased=True)
        before = world.cluster.contents()
        folder = world.begin(plan)
        life(world, folder, plan, None)
        undo = back(world, plan, folder.run)
        again = world.begin(undo)
        died = life(world, again, undo, moment)
        if died:
            world.die_at(None)
            there = world.elsewhere(tmp_path / "there" / str(moment))
            life(there, there.take_up(again.run), undo, None)
        assert world.cluster.contents() == before, f"killed at moment {moment}"
        assert effects_of(world).total() == 2 * len(plan.steps), f"killed at moment {moment}: something was done twice"
        assert not open_runs(world.snapshot())
        if not died:
            break
    assert moment > MOMENTS_AT_LEAST


def test_what_a_killed_run_may_have_done_is_in_its_record_at_every_moment(tmp_path: Path) -> None:
    """Another machine, without any local file, must know everything that may have been changed."""
    plan = exit_plan()
    untouched = World(tmp_path / "untouched").cluster.contents()
    for moment in count():
        world = World(tmp_path / str(moment))
        folder = world.begin(plan)
        died = life(world, folder, plan, moment)
        world.die_at(None)
        held: set[Ref] = set()
        for run in open_runs(world.snapshot()):
            held |= {*run.changes, *run.created}
        changed = {ref for ref, doc in world.cluster.contents().items() if untouched.get(ref) != doc}
        assert changed <= held, f"killed at moment {moment}"
        if not died:
            break
