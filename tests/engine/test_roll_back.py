"""A wave that breaches its gate goes back by a run of its own; killed in the middle of that, it still goes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from meshguard.engine.outcome import Outcome, Result
from meshguard.journal.rundir import RunDir
from meshguard.model.objects import Ref, dig
from meshguard.model.verdict import Truth, Verdict
from meshguard.plan.build import plan_restore
from tests.fakes.death import Killed
from tests.fakes.gated import CART, CATALOGUE, CORE, RULES, copied, gated_exit, now, rolled_back, shop_world
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import World

SECOND_WAVE = "after wave 2 of restarts"
MOMENTS_AT_LEAST = 20


def breached(tmp_path: Path, moment: str = SECOND_WAVE) -> tuple[World, RunDir, Outcome]:
    """An exit that has stopped at its gate."""
    world = shop_world(tmp_path, moment)
    plan = gated_exit(world)
    folder = world.begin(plan)
    outcome = world.run(folder, plan)
    assert outcome.result is Result.VERIFICATION_FAILED
    return world, folder, outcome


def mark(world: World, ref: Ref) -> object:
    return dig(world.cluster.docs[ref], "spec", "template", "metadata", "annotations", "meshguard.dev/restart")


def injection(world: World) -> object:
    return dig(world.cluster.docs[CORE], "metadata", "labels", "istio-injection")


def test_only_the_wave_before_the_gate_goes_back(tmp_path: Path) -> None:
    world, folder, breach = breached(tmp_path)
    assert breach.undo == (str(CATALOGUE),)
    assert (mark(world, CART), mark(world, CATALOGUE)) == (folder.run, folder.run)
    outcome = rolled_back(world, folder, breach)
    assert outcome.result is Result.VERIFICATION_FAILED
    assert SECOND_WAVE in outcome.sentence
    assert f"{CATALOGUE} are as they were, seen" in outcome.sentence
    assert (mark(world, CART), mark(world, CATALOGUE)) == (folder.run, None)
    assert injection(world) == "enabled"


def test_that_it_went_back_was_seen_by_the_checks_of_a_restore(tmp_path: Path) -> None:
    world, folder, breach = breached(tmp_path)
    assert isinstance(world.judge, FakeJudge)
    before = len(world.judge.looks)
    rolled_back(world, folder, breach)
    looked = {(awaited.check.value, awaited.subject) for awaited in world.judge.looks[before:]}
    assert ("membership", (str(CATALOGUE),)) in looked
    assert ("injection", (str(CATALOGUE),)) in looked
    assert ("identical", (str(CATALOGUE), str(CORE))) in looked


def test_the_run_goes_on_holding_the_rest_until_somebody_restores_it(tmp_path: Path) -> None:
    untouched = shop_world(tmp_path / "untouched", "never").cluster.contents()
    world, folder, breach = breached(tmp_path / "one")
    rolled_back(world, folder, breach)
    (held,) = now(world).open_runs
    assert held.run == folder.run
    assert CART in held.changes
    assert not {CATALOGUE, CORE} & held.changes.keys()
    back = plan_restore(now(world), RULES.mesh, held, RULES.settings)
    world.judge = FakeJudge()
    assert world.run(world.begin(back), back).result is Result.DONE
    assert without_emptied(world.cluster.contents()) == without_emptied(untouched)
    assert now(world).open_runs == ()


def without_emptied(value: Any) -> Any:
    """Without empty mappings, which the API server does not keep."""
    if isinstance(value, dict):
        return {key: kept for key, inner in value.items() if (kept := without_emptied(inner)) != {}}
    return value


@pytest.mark.parametrize("moment", ["before the first change", "at the end"])
def test_a_gate_that_stands_behind_no_wave_takes_nothing_back(tmp_path: Path, moment: str) -> None:
    _, _, breach = breached(tmp_path, moment)
    assert breach.undo == ()


def test_a_way_back_that_is_blocked_is_said_and_changes_nothing(tmp_path: Path) -> None:
    world, folder, breach = breached(tmp_path)
    for ref in [ref for ref in world.cluster.docs if ref.kind == "Pod" and ref.namespace == "istio-system"]:
        del world.cluster.docs[ref]
    before = world.cluster.contents()
    outcome = rolled_back(world, folder, breach)
    assert "not rolled back, the way back is blocked: MG401" in outcome.sentence
    assert world.cluster.contents() == before


def test_one_that_is_not_seen_to_have_gone_back_is_said(tmp_path: Path) -> None:
    world, folder, breach = breached(tmp_path)

    world.judge = FakeJudge(YES, Verdict(Truth.NO, 0, 1, ("an old pod is still there",)))
    outcome = rolled_back(world, folder, breach)
    assert "did not end" in outcome.sentence
    assert outcome.result is Result.VERIFICATION_FAILED


def deaths(tmp_path: Path) -> Iterator[tuple[int, World, Outcome, Any]]:
    """Roll backs of one breach that die at every moment in turn, with what one that nobody disturbs leaves."""
    world, folder, breach = breached(tmp_path / "runs")
    calm = copied(world, tmp_path / "calm")
    rolled_back(calm, folder, breach)
    for moment in count():
        mortal = copied(world, tmp_path / str(moment))
        death = mortal.die_at(moment)
        try:
            rolled_back(mortal, folder, breach)
        except Killed:
            assert death.came
        if not death.came:
            assert moment > MOMENTS_AT_LEAST
            return
        mortal.die_at(None)
        yield moment, mortal, breach, calm.cluster.contents()


def test_killed_at_any_moment_it_goes_back_all_the_same(tmp_path: Path) -> None:
    """Its own run is taken up where there is one; where it was killed before that, it is begun anew."""
    taken_up = 0
    for moment, world, breach, calm in deaths(tmp_path):
        (folder,) = [RunDir(path) for path in (tmp_path / "runs").iterdir()]
        begun = [RunDir(path) for path in world.runs.iterdir() if path.name != folder.run]
        ready = [back for back in begun if back.journal.exists() and back.journal.stat().st_size]
        for back in ready:
            assert world.run(back, back.read_plan()).goes_on
        if not ready:
            rolled_back(world, folder, breach)
        assert world.cluster.contents() == calm, f"killed at moment {moment}"
        taken_up += len(ready)
    assert taken_up > MOMENTS_AT_LEAST // 2
