"""A run comes back wave by wave; a breach takes the wave out again; killed at any moment it is finished elsewhere."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from meshguard.engine.outcome import Outcome, Result
from meshguard.engine.start import require_resumable
from meshguard.journal.errors import JournalError
from meshguard.journal.mirror import read_records
from meshguard.journal.records import RunRecord
from meshguard.journal.rundir import RunDir
from meshguard.model.objects import Ref, dig
from meshguard.model.plan import Plan
from meshguard.model.staging import ProxyLimits, Staging, WaveSizes
from meshguard.model.verdict import Truth, Verdict
from meshguard.plan.build import plan_restore
from meshguard.plan.gate import Gate, gated
from tests.fakes.death import Killed
from tests.fakes.gated import CART, CATALOGUE, CORE, RULES, Breaching, copied, gated_exit, now, rolled_back, shop_world
from tests.fakes.judge import FakeJudge
from tests.fakes.world import World

STAGING = Staging(WaveSizes(("1", "rest")), ProxyLimits(memory="1Gi"))
LIMIT = "sidecar.istio.io/proxyMemoryLimit"
MOMENTS_AT_LEAST = 30


def outside(runs: Path, breach_at: str = "never") -> tuple[World, RunDir]:
    """The shop with cart and catalogue out; the gate of whatever comes next breaks at that moment."""
    world = shop_world(runs, "never")
    plan = gated_exit(world)
    folder = world.begin(plan)
    assert world.run(folder, plan).result is Result.DONE
    world.judge = Breaching(breach_at)
    return world, folder


def rejoin(world: World, run: str) -> Plan:
    held = next(known for known in now(world).open_runs if known.run == run)
    plan = plan_restore(now(world), RULES.mesh, held, RULES.settings, STAGING)
    return gated(plan, Gate("test", {}))


def breached(runs: Path, breach_at: str = "after wave 1 of restarts") -> tuple[World, RunDir, RunDir, Outcome]:
    """A rejoin that has stopped at its gate: the world, the run that is undone, the rejoin, and how it stopped."""
    world, out = outside(runs, breach_at)
    plan = rejoin(world, out.run)
    folder = world.begin(plan)
    return world, out, folder, world.run(folder, plan)


def template(world: World, ref: Ref, *path: str) -> object:
    return dig(world.cluster.docs[ref], "spec", "template", "metadata", *path)


def records(world: World) -> dict[str, RunRecord]:
    return read_records(world.snapshot().of_kind("ConfigMap"))[0]


def test_everything_comes_back_with_limits_and_nothing_is_held_any_more(tmp_path: Path) -> None:
    world, out = outside(tmp_path)
    plan = rejoin(world, out.run)
    assert world.run(world.begin(plan), plan).result is Result.DONE
    assert now(world).open_runs == ()
    assert template(world, CART, "annotations", LIMIT) == "1Gi"
    assert template(world, CART, "annotations", "meshguard.dev/restart") is None
    assert dig(world.cluster.docs[CORE], "metadata", "labels", "istio-injection") == "enabled"
    assert "meshguard.dev/run" not in dig(world.cluster.docs[CORE], "metadata", "annotations", default={})


def test_a_breach_takes_the_wave_out_again_and_begins_no_further_one(tmp_path: Path) -> None:
    world, out, folder, breach = breached(tmp_path)
    assert (breach.result, breach.undo) == (Result.VERIFICATION_FAILED, (str(CART),))
    told = rolled_back(world, folder, breach, out.run)
    assert told.result is Result.VERIFICATION_FAILED
    assert f"{CART}, seen; they come back by `rejoin" in told.sentence
    assert template(world, CART, "labels", "sidecar.istio.io/inject") == "false"
    assert template(world, CATALOGUE, "annotations", "meshguard.dev/restart") == out.run


def test_a_wave_that_is_not_seen_back_goes_out_again_without_any_gate(tmp_path: Path) -> None:
    world, out = outside(tmp_path)
    held = now(world).open_runs[0]
    plan = plan_restore(now(world), RULES.mesh, held, RULES.settings, STAGING)
    world.judge = FakeJudge(*[Verdict(Truth.YES, 1, 1)] * 1, Verdict(Truth.NO, 0, 1, ("a pod is not ready",)))
    folder = world.begin(plan)
    breach = world.run(folder, plan)
    assert breach.undo == (str(CART),)
    world.judge = FakeJudge()
    assert "taken out again" in rolled_back(world, folder, breach, out.run).sentence


def test_after_that_the_rejoin_must_not_go_on_and_both_runs_come_back_anew(tmp_path: Path) -> None:
    world, out, folder, breach = breached(tmp_path)
    rolled_back(world, folder, breach, out.run)
    (again,) = [known for known in now(world).open_runs if known.run != out.run]
    with pytest.raises(JournalError, match=f"run {again.run} by .* needs .*; plan the way back of {out.run} anew"):
        require_resumable(records(world)[folder.run], now(world).open_runs)
    world.judge = FakeJudge()
    for run in (out.run, again.run):
        plan = rejoin(world, run)
        assert plan.blockers == ()
        assert world.run(world.begin(plan), plan).result is Result.DONE
    assert now(world).open_runs == ()
    assert template(world, CART, "labels", "sidecar.istio.io/inject") is None
    assert template(world, CART, "annotations", LIMIT) == "1Gi"
    calm, first = outside(tmp_path / "calm")
    plan = rejoin(calm, first.run)
    calm.run(calm.begin(plan), plan)
    assert world.cluster.contents() == calm.cluster.contents()


def test_one_that_merely_stopped_goes_on(tmp_path: Path) -> None:
    world, _, folder, _ = breached(tmp_path)
    require_resumable(records(world)[folder.run], now(world).open_runs)
    world.judge = FakeJudge()
    assert world.run(folder, folder.read_plan()).result is Result.DONE


def test_killed_at_any_moment_it_is_finished_from_elsewhere(tmp_path: Path) -> None:
    """On another machine, with nothing but the mirror."""
    calm, out = outside(tmp_path / "runs")
    plan = rejoin(calm, out.run)
    fresh = copied(calm, tmp_path / "fresh")
    calm.run(calm.begin(plan), plan)
    for moment in count():
        mortal = copied(fresh, tmp_path / str(moment))
        folder = mortal.begin(plan)
        death = mortal.die_at(moment)
        try:
            mortal.run(folder, plan)
        except Killed:
            assert death.came
        if not death.came:
            assert moment > MOMENTS_AT_LEAST
            return
        mortal.die_at(None)
        other = mortal.elsewhere(tmp_path / f"{moment}-elsewhere")
        taken = other.take_up(folder.run)
        assert other.run(taken, taken.read_plan()).result is Result.DONE, f"killed at moment {moment}"
        assert other.cluster.contents() == calm.cluster.contents(), f"killed at moment {moment}"
        assert now(other).open_runs == ()
