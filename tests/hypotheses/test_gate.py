"""A hypothesis as a gate of a plan: where it stands, and what a breach does to the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from meshguard.engine.outcome import Result
from meshguard.model.measurement import Measurement, Sample
from meshguard.model.plan import Await, Check, Plan
from meshguard.model.verdict import Truth
from meshguard.plan.gate import Gate, gate_of, gated
from meshguard.verify import gate
from tests.fakes.gated import Breaching
from tests.fakes.judge import FakeJudge
from tests.fakes.world import LEDGER, PAY, PAYMENTS, World, exit_plan
from tests.hypotheses.builders import hypothesis, probe

GATE = Gate("test", hypothesis(probe()).document())


def moments(plan: Plan) -> list[tuple[str, int, str]]:
    return [
        (phase.name, index, awaited.sentence)
        for phase in plan.phases
        for index, wave in enumerate(phase.waves)
        for awaited in wave.awaits
        if awaited.check is Check.HYPOTHESIS
    ]


def test_it_stands_before_the_first_change_after_every_wave_of_restarts_and_at_the_end() -> None:
    assert moments(gated(exit_plan(), GATE)) == [
        ("relax", 0, "hypothesis test holds before the first change"),
        ("restart", 1, "hypothesis test holds after wave 1 of restarts"),
        ("restart", 3, "hypothesis test holds after wave 2 of restarts"),
        ("verify", 1, "hypothesis test holds at the end"),
    ]


def test_behind_a_wave_it_names_what_goes_back_on_a_breach() -> None:
    plan = gated(exit_plan(), GATE)
    waits = [awaited for phase in plan.phases for wave in phase.waves for awaited in wave.awaits]
    undoes = [awaited.undoes for awaited in waits if awaited.check is Check.HYPOTHESIS]
    assert undoes == [(), (str(LEDGER),), (str(PAYMENTS),), ()]


def test_it_is_a_part_of_what_is_approved() -> None:
    plain, guarded = exit_plan(), gated(exit_plan(), GATE)
    assert plain.hash != guarded.hash
    assert Plan.from_json(guarded.document()) == guarded
    assert (gate_of(plain), gate_of(guarded)) == (None, GATE)


@pytest.mark.parametrize(
    ("moment", "changed", "unchanged"),
    [
        ("before the first change", [], [PAY, LEDGER, PAYMENTS]),
        ("after wave 1 of restarts", [PAY, LEDGER], [PAYMENTS]),
        ("at the end", [PAY, LEDGER, PAYMENTS], []),
    ],
)
def test_a_breach_stops_the_run_before_its_next_change(
    tmp_path: Path, moment: str, changed: list[object], unchanged: list[object]
) -> None:
    world, plan = World(tmp_path, judge=Breaching(moment)), gated(exit_plan(), GATE)
    outcome = world.run(world.begin(plan), plan)
    assert outcome.result is Result.VERIFICATION_FAILED
    assert moment in outcome.sentence
    assert outcome.missing == ("no pod was OOMKilled: shop/a: 1 events",)
    touched = {ref for _, ref in world.cluster.effects}
    assert touched >= set(changed)
    assert not touched & set(unchanged)


def test_a_run_that_stopped_at_its_gate_goes_on_once_the_gate_holds(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=Breaching("after wave 1 of restarts")), gated(exit_plan(), GATE)
    folder = world.begin(plan)
    assert world.run(folder, plan).result is Result.VERIFICATION_FAILED
    world.judge = FakeJudge()
    assert world.run(folder, plan).result is Result.DONE


class Measured:
    def __init__(self, answer: Callable[[], Measurement]) -> None:
        self._answer = answer

    async def measure(self, signal: str, args: object) -> Measurement:
        return self._answer()


@pytest.mark.parametrize(
    ("measurement", "truth"),
    [
        (Measurement((Sample("a", 0),), "kubernetes"), Truth.YES),
        (Measurement((Sample("a", 1),), "kubernetes"), Truth.NO),
        (Measurement((Sample("a", 0),), "kubernetes", ("b: no answer",)), Truth.UNKNOWN),
    ],
)
def test_the_judge_measures_the_hypothesis_that_the_plan_carries(measurement: Measurement, truth: Truth) -> None:
    awaited = GATE.at("now").awaits[0]
    verdict = asyncio.run(gate.judge(Await.from_json(awaited.to_json()), Measured(lambda: measurement)))
    assert (verdict.truth, verdict.total, verdict.source) == (truth, 1, "kubernetes")
