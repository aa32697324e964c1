"""A wave is over when everything it waits for was seen; what is missing at the deadline is named."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from meshguard.engine.outcome import Result
from meshguard.engine.wait import Waited, await_until
from meshguard.journal.events import Awaiting, Intent, Seen
from meshguard.journal.journal import read_entries
from meshguard.model.change import read
from meshguard.model.plan import Await, Phase, Plan, Wave
from meshguard.model.verdict import Truth, Verdict
from meshguard.ports import Unreachable
from tests.fakes.clock import FakeClock
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import INJECTION, LEDGER, MARK, PAY, PAYMENTS, World, awaited, exit_plan

NO = Verdict(Truth.NO, 1, 2, ("pod a has no plaintext chain on 8080",), "envoy config_dump")
UNKNOWN = Verdict(Truth.UNKNOWN, 1, 2, ("pod b did not answer",), "envoy config_dump")


def test_the_next_wave_begins_only_when_the_condition_holds(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO, NO, UNKNOWN, YES)), exit_plan()
    folder = world.begin(plan)
    assert isinstance(world.judge, FakeJudge)
    world.judge.on_look = lambda: seen.append(read(world.cluster.docs[PAY], INJECTION))
    seen: list[object] = []
    assert world.run(folder, plan).result is Result.DONE
    assert seen[:4] == ["enabled"] * 4
    assert world.clock.sleeps == [world.limits.poll_s] * 3


def test_progress_is_written_when_the_verdict_changes_and_not_at_every_look(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO, NO, NO, UNKNOWN, YES)), exit_plan()
    folder = world.begin(plan)
    world.phase(folder, plan, "relax")
    events = [e.event for e in read_entries(folder.journal) if isinstance(e.event, Awaiting | Seen)]
    assert [e.truth for e in events if isinstance(e, Awaiting)] == [Truth.NO, Truth.UNKNOWN, Truth.YES]
    assert events[-1] == Seen("relax/0/0", 2.0)


def test_what_is_missing_at_the_deadline_is_named_and_the_run_stands(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO)), exit_plan()
    folder = world.begin(plan)
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.goes_on) == (Result.VERIFICATION_FAILED, False)
    assert outcome.sentence == "Relax: not seen: the proxies accept plaintext (waited 60 s)"
    assert outcome.missing == ("pod a has no plaintext chain on 8080",)
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled"


def test_what_could_not_be_seen_is_never_taken_for_good(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(UNKNOWN)), exit_plan()
    outcome = world.run(world.begin(plan), plan)
    assert outcome.result is Result.VERIFICATION_FAILED
    assert outcome.missing == ("pod b did not answer",)


def test_after_a_failed_verification_the_run_is_resumed_without_writing_again(tmp_path: Path) -> None:
    world, plan = World(tmp_path, judge=FakeJudge(NO)), exit_plan()
    folder = world.begin(plan)
    world.run(folder, plan)
    world.judge = FakeJudge()
    assert world.run(folder, plan).result is Result.DONE
    intents = [e.event.step.id for e in read_entries(folder.journal) if isinstance(e.event, Intent)]
    assert sorted(intents) == [step.id for step in plan.steps], "what is done is not even attempted again"


def test_conditions_of_a_wave_are_awaited_together(tmp_path: Path) -> None:
    awaits = tuple(awaited(f"condition {number}", 30.0) for number in range(3))
    plan = replace(exit_plan(), phases=(Phase("verify", "Verify", (Wave((), awaits),)),))
    world = World(tmp_path, judge=FakeJudge(NO))
    outcome = world.run(world.begin(plan), plan)
    assert outcome.sentence.count("(waited 30 s)") == 3
    assert world.clock.seconds < 100, "one after the other would be 90 s of this clock, and each sleeper moves it"


class WaveJudge:
    """Refuses whatever names a workload that was not restarted yet."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sentences: list[str] = []

    async def judge(self, awaited: Await) -> Verdict:
        self.sentences.append(awaited.sentence)
        ref = {"ledger is out": LEDGER, "payments is out": PAYMENTS}.get(awaited.sentence)
        marked = ref is None or read(self._world.cluster.docs[ref], MARK) is not None
        return YES if marked else NO


def test_a_wave_that_was_followed_by_another_is_history_for_a_resumed_run(tmp_path: Path) -> None:
    """Its conditions may hold no longer, and rightly; those of the last wave are looked at again."""
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    stuck = Verdict(Truth.NO, missing=("a pod of payments",))
    for name in ("relax", "un-enrol"):
        world.phase(folder, plan, name)
    world.judge = FakeJudge(YES, stuck)
    assert world.phase(folder, plan, "restart").result is Result.VERIFICATION_FAILED
    world.judge = judge = WaveJudge(world)
    assert world.phase(folder, plan, "restart").result is Result.DONE
    assert judge.sentences == ["payments is out"]


def test_a_cluster_that_does_not_answer_while_waiting_is_asked_again() -> None:
    answers: list[Verdict | Unreachable] = [Unreachable("no answer within 5 s"), YES]
    said: list[Verdict] = []

    async def look() -> Verdict:
        answer = answers.pop(0)
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    async def changed(verdict: Verdict) -> None:
        said.append(verdict)

    async def wait() -> Waited:
        return await await_until(look, FakeClock(), deadline_s=10, poll_s=1, changed=changed, interrupted=lambda: False)

    assert asyncio.run(wait()) == Waited(YES, 1.0)
    assert said == [Verdict(Truth.UNKNOWN, missing=("no answer within 5 s",)), YES]


def test_it_looks_once_more_when_the_deadline_comes() -> None:
    looked: list[float] = []
    clock = FakeClock()

    async def look() -> Verdict:
        looked.append(clock.now())
        return NO

    async def changed(verdict: Verdict) -> None:
        pass

    async def wait() -> Waited:
        return await await_until(look, clock, deadline_s=2.5, poll_s=1, changed=changed, interrupted=lambda: False)

    assert asyncio.run(wait()).seconds == 2.5
    assert looked == [0.0, 1.0, 2.0, 2.5]


def plan_of(*phases: Phase) -> Plan:
    return replace(exit_plan(), phases=phases)


def test_a_condition_with_no_time_is_looked_at_once(tmp_path: Path) -> None:
    plan = plan_of(Phase("verify", "Verify", (Wave((), (awaited("now", 0.0),)),)))
    world = World(tmp_path, judge=FakeJudge(NO))
    assert world.run(world.begin(plan), plan).sentence == "Verify: not seen: now (waited 0 s)"
    assert world.clock.sleeps == []
