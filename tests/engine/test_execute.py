"""A plan is executed phase by phase, wave by wave, and everything is written down first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from meshguard.engine.outcome import Result
from meshguard.journal.events import Done, Intent
from meshguard.journal.journal import read_entries
from meshguard.journal.mirror import open_runs
from meshguard.journal.state import StepState, state_of
from meshguard.model.change import read
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Phase, Step, Wave
from tests.fakes.cluster import FakeCluster
from tests.fakes.world import INJECTION, LEDGER, MARK, PAY, RELAXED, World, document, exit_plan, restore_plan


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


def test_a_pod_is_renewed_once_and_a_new_one_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    pods = [Ref("Pod", "shop-pay", f"ledger-{number}") for number in range(3)]
    steps = tuple(Step(ref.name, Action.RENEW, ref, f"uid-{ref.name}", f"Renew {ref}.", "OnDelete") for ref in pods)
    plan = replace(exit_plan(), phases=(Phase("restart", "Restart", (Wave(steps),)),))
    cluster = FakeCluster(document(pods[0]), document(pods[1], metadata={"uid": "already-new"}))
    world = World(tmp_path, cluster)
    folder = world.begin(plan)
    assert world.run(folder, plan).result is Result.DONE
    assert cluster.effects == [("delete", pods[0])]
    assert set(cluster.contents()) == {pods[1]}
    states = {name: mark.state for name, mark in state_of(read_entries(folder.journal)).steps.items()}
    assert states == {"ledger-0": StepState.DONE, "ledger-1": StepState.SKIPPED, "ledger-2": StepState.DONE}
    assert open_runs(world.snapshot()) == (), "nothing is held, and nothing is to be undone"
