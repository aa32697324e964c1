"""Another actor at work while a run goes on: it is seen and said, what is theirs stays theirs, and nobody is fought."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from meshguard.engine.others import LOOK_S
from meshguard.engine.outcome import Outcome, Result
from meshguard.journal.mirror import open_runs
from meshguard.model.change import Change, read, write
from meshguard.model.objects import Ref
from meshguard.model.verdict import Truth, Verdict
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import INJECTION, LEDGER, OWNED, PAY, RELAXED, TLS, World, exit_plan, restore_plan

NOT_YET = Verdict(Truth.NO, 0, 1, ("not yet",))
REPLICAS = ("spec", "replicas")
STRICT = {"mtls": {"mode": "STRICT"}}
Act = Callable[[World], None]


class Waiting(FakeJudge):
    """Sees nothing from one condition on, while another actor is at work; everything before it is seen at once."""

    def __init__(self, world: World, sentence: str, act: Act) -> None:
        super().__init__()
        self._world, self._sentence, self._act = world, sentence, act
        self.looked = 0

    async def judge(self, awaited: object) -> Verdict:
        if self._sentence not in awaited.sentence:  # type: ignore[attr-defined]
            return YES
        self.looked += 1
        self._act(self._world)
        return NOT_YET


def set_field(ref: Ref, path: tuple[str, ...], value: object) -> Act:
    def act(world: World) -> None:
        world.cluster.docs[ref] = write(world.cluster.docs[ref], path, value)

    return act


def delete(ref: Ref) -> Act:
    def act(world: World) -> None:
        world.cluster.docs.pop(ref, None)

    return act


def left_while(tmp_path: Path, sentence: str, act: Act) -> tuple[World, Outcome]:
    world = World(tmp_path)
    world.judge = Waiting(world, sentence, act)
    plan = exit_plan()
    return world, world.run(world.begin(plan), plan)


@pytest.mark.parametrize(
    ("waiting", "act", "told"),
    [
        (
            "ledger is out",
            set_field(PAY, INJECTION, "enabled"),
            "istio-injection is 'enabled', the run left 'disabled'",
        ),
        ("new pods have no proxy", set_field(PAY, INJECTION, "enabled"), "istio-injection is 'enabled'"),
        ("traffic flows", delete(RELAXED), f"{RELAXED} is not there any more"),
        ("traffic flows", set_field(RELAXED, ("spec",), STRICT), f"{RELAXED} was edited after the run had created it"),
        ("traffic flows", set_field(OWNED, TLS, {"tls": {"mode": "ISTIO_MUTUAL"}}), "the run left ABSENT"),
    ],
)
def test_whoever_takes_back_what_the_run_has_done_ends_it_soon_and_is_named(
    tmp_path: Path, waiting: str, act: Act, told: str
) -> None:
    world, outcome = left_while(tmp_path, waiting, act)
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False)
    assert "somebody else takes back" in outcome.sentence
    assert told in outcome.sentence
    assert LOOK_S <= world.clock.seconds < 2 * LOOK_S, "the wait's own deadline is not waited for"


def test_a_run_whose_work_was_taken_back_is_not_done_although_all_was_seen(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    for phase in plan.phases[:-1]:
        assert world.phase(folder, plan, phase.name).goes_on
    world.cluster.edit(PAY, Change(INJECTION, "disabled", "enabled"))
    outcome = world.phase(folder, plan, plan.phases[-1].name)
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False)
    assert "somebody else takes back" in outcome.sentence


def test_it_is_not_fought(tmp_path: Path) -> None:
    """Nothing is written after the other actor was seen, and nothing is written twice."""
    world, _ = left_while(tmp_path, "ledger is out", set_field(PAY, INJECTION, "enabled"))
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled"
    assert world.cluster.effects.count(("change", PAY)) == 1


def test_after_that_a_restore_brings_back_what_is_still_as_the_run_left_it(tmp_path: Path) -> None:
    untouched = World(tmp_path / "calm").cluster.contents()
    world, _ = left_while(tmp_path / "run", "ledger is out", set_field(PAY, INJECTION, "enabled"))
    (held,) = open_runs(world.snapshot())
    assert {PAY, LEDGER, OWNED} <= held.changes.keys()
    world.judge = FakeJudge()
    back = restore_plan(exit_plan(), held.run, world.cluster.docs[RELAXED]["metadata"]["uid"])
    outcome = world.run(world.begin(back), back)
    assert outcome.goes_on
    contents = world.cluster.contents()
    assert contents.keys() == untouched.keys()
    assert read(contents[PAY], INJECTION) == "enabled"


@pytest.mark.parametrize(
    "act",
    [
        set_field(LEDGER, REPLICAS, 7),
        set_field(LEDGER, ("spec", "template", "spec", "containers"), [{"name": "app", "image": "v2"}]),
        set_field(PAY, ("metadata", "labels", "team"), "payments"),
        set_field(OWNED, ("metadata", "annotations"), {"note": "mine"}),
    ],
)
def test_work_on_other_fields_is_nobodys_business(tmp_path: Path, act: Act) -> None:
    _, outcome = left_while(tmp_path, "traffic flows", act)
    assert outcome.result is Result.VERIFICATION_FAILED
    assert "takes back" not in outcome.sentence
    assert "traffic flows" in outcome.sentence


def test_a_way_back_is_not_watched_and_leaves_what_others_have_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    plan = exit_plan()
    folder = world.begin(plan)
    world.run(folder, plan)
    world.cluster.edit(PAY, Change(INJECTION, "disabled", "mine"))
    back = restore_plan(plan, folder.run, world.cluster.docs[RELAXED]["metadata"]["uid"])
    outcome = world.run(world.begin(back), back)
    assert outcome.result is Result.PARTIAL
    assert "istio-injection is 'mine'" in "".join(outcome.conflicts)
    assert read(world.cluster.docs[PAY], INJECTION) == "mine"
