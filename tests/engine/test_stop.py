"""A person may stop a run; it stands still between waves or while waiting, never within a write."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from meshguard.engine.outcome import Result
from meshguard.engine.stop import StopSignal
from meshguard.engine.wait import Waited, await_until
from meshguard.journal.events import Done, Intent, Stopped
from meshguard.journal.journal import read_entries
from meshguard.model.change import read
from meshguard.model.objects import Ref
from meshguard.model.verdict import Truth, Verdict
from tests.fakes.clock import FakeClock
from tests.fakes.judge import FakeJudge
from tests.fakes.world import INJECTION, LEDGER, PAY, World, exit_plan

NO = Verdict(Truth.NO, 0, 1, ("pod a",))


def test_another_process_stops_the_run_while_it_waits(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    judge = FakeJudge(NO)
    world.judge = judge

    def ask_at_third_look() -> None:
        if len(judge.looks) == 3:
            StopSignal(folder.stop).request()

    judge.on_look = ask_at_third_look
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.goes_on) == (Result.STOPPED, False)
    assert outcome.sentence == "Relax: stopped at a safe point, as asked"
    assert len(judge.looks) == 3, "it does not wait for the deadline"
    assert isinstance(read_entries(folder.journal)[-1].event, Stopped)
    assert read(world.cluster.docs[PAY], INJECTION) == "enabled"


def test_a_stop_within_a_wave_lets_its_writes_end(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)

    def ask(verb: str, ref: Ref) -> None:
        if ref == LEDGER:
            StopSignal(folder.stop).request()

    world.cluster.before_write = ask
    assert world.run(folder, plan).result is Result.STOPPED
    events = [entry.event for entry in read_entries(folder.journal)]
    intended = {event.step.id for event in events if isinstance(event, Intent)}
    assert intended == {event.step_id for event in events if isinstance(event, Done)} == {"1", "2", "3", "4"}


def test_a_wish_outlives_the_process_until_the_run_is_taken_up_again(tmp_path: Path) -> None:
    world, plan = World(tmp_path), exit_plan()
    folder = world.begin(plan)
    StopSignal(folder.stop).request()
    assert world.run(folder, plan).result is Result.STOPPED
    assert world.run(folder, plan).result is Result.STOPPED
    assert world.cluster.effects == []
    StopSignal(folder.stop).clear()
    assert world.run(folder, plan).result is Result.DONE


def test_the_first_interrupt_asks_and_the_second_is_an_ordinary_one(tmp_path: Path) -> None:
    stop = StopSignal(tmp_path / "stop")

    async def look() -> Verdict:
        return NO

    async def changed(verdict: Verdict) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    async def interrupted() -> Waited:
        stop.heed_interrupts()
        waited = await await_until(
            look, FakeClock(), deadline_s=1e6, poll_s=1, changed=changed, interrupted=lambda: stop.requested
        )
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return waited

    assert asyncio.run(interrupted()).interrupted
    assert (tmp_path / "stop").exists()
