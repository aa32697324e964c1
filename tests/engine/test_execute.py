"""A plan is executed phase by phase, wave by wave, and everything is written down first."""

from __future__ import annotations

from pathlib import Path

from meshguard.engine.outcome import Result
from meshguard.journal.events import Done, Intent
from meshguard.journal.journal import read_entries
from meshguard.model.change import read
from tests.fakes.world import INJECTION, LEDGER, MARK, PAY, RELAXED, World, exit_plan, restore_plan


def test_a_plan_is_executed_to_its_end_and_undone_to_the_same_objects(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    before = world.cluster.contents()
    folder = world.begin(plan)
    assert world.run(folder, plan).result is Result.DONE
    assert read(world.cluster.docs[PAY], INJECTION) == "disabled"
    assert read(world.cluster.docs[LEDGER], MARK) == {"meshguard.dev/restart": folder.run}
    assert world.cluster.docs[RELAXED]["metadata"]["labels"] == {"meshguard.dev/run": folder.run}

    back = restore_plan(plan, folder.run, world.cluster.docs[RELAXED]["metadata"]["uid"])
    again = world.begin(back)
    assert world.run(again, back).result is Result.DONE
    assert world.cluster.contents() == before


def test_every_intent_is_on_the_disk_before_its_write(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    seen: list[tuple[str, bool]] = []

    def look(verb: str, ref: object) -> None:
        if verb == "record":
            return
        intended = {e.event.step.target for e in read_entries(folder.journal) if isinstance(e.event, Intent)}
        seen.append((verb, ref in intended))

    world.cluster.before_write = look
    world.run(folder, plan)
    assert len(seen) == 5
    assert all(intended for _, intended in seen)
    assert sum(isinstance(e.event, Done) for e in read_entries(folder.journal)) == 5
