"""One run per cluster at a time: claimed, renewed, expired, taken over, and told to both."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshguard.engine.outcome import Cause, Result
from meshguard.engine.start import require_resumable
from meshguard.journal.entries import Head
from meshguard.journal.errors import LeaseHeld, LeaseLost
from meshguard.journal.events import LeaseLost as LostEvent
from meshguard.journal.events import LeaseTaken, RunResumed, Stopped
from meshguard.journal.journal import read_entries
from meshguard.journal.lease import DURATION_S, HEAD, LEASE, NOTICE_S, ClusterLease
from meshguard.model.objects import Ref
from meshguard.ports import Unreachable
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.judge import FakeJudge
from tests.fakes.world import LEDGER, World, exit_plan

RUN, OTHER_RUN = "20260301-030000-ab12", "20260301-040000-cd34"
HEAD_7 = Head(7, "e" * 64)


class Claims:
    """A cluster that two people want."""

    def __init__(self) -> None:
        self.cluster, self.clock = FakeCluster(), FakeClock()
        self.mine = ClusterLease(self.cluster, self.clock, "sre@laptop (1)", RUN)
        self.theirs = ClusterLease(self.cluster, self.clock, "other@desk (2)", OTHER_RUN)


@pytest.fixture
def claims() -> Claims:
    return Claims()


def test_a_living_holder_keeps_others_out_by_name(claims: Claims) -> None:
    async def both() -> None:
        await claims.mine.acquire()
        await claims.mine.renew(HEAD_7)
        with pytest.raises(LeaseHeld, match=rf"held by run {RUN} of sre@laptop \(1\), renewed at .* --take-over"):
            await claims.theirs.acquire()

    asyncio.run(both())
    assert claims.clock.sleeps == [], "nobody waits for a holder that is alive"


def test_a_released_cluster_is_free_and_remembers_the_head(claims: Claims) -> None:
    async def both() -> Head | None:
        await claims.mine.acquire()
        await claims.mine.renew(HEAD_7)
        await claims.mine.release()
        before = await claims.theirs.acquire()
        assert not before.by_another
        return before.head

    assert asyncio.run(both()) == HEAD_7
    assert claims.cluster.docs[LEASE]["metadata"]["annotations"][HEAD] == "", "another run has another journal"


def test_a_crashed_holder_expires_after_it_was_watched(claims: Claims) -> None:
    async def both() -> bool:
        await claims.mine.acquire()
        claims.clock.seconds += DURATION_S + 1
        before = await claims.theirs.acquire()
        return before.by_another and before.expired

    assert asyncio.run(both())
    assert claims.clock.sleeps == [NOTICE_S]


def test_a_holder_whose_clock_is_behind_is_not_dead(claims: Claims) -> None:
    """It looks expired, but it renews while it is watched."""

    async def both() -> None:
        await claims.mine.acquire()
        claims.clock.seconds += DURATION_S + 1

        class Renewing(FakeClock):
            async def sleep(self, seconds: float) -> None:
                self.seconds = claims.clock.seconds
                await claims.mine.renew(HEAD_7)

        theirs = ClusterLease(claims.cluster, Renewing(), "other@desk (2)", OTHER_RUN)
        theirs._clock.seconds = claims.clock.seconds  # type: ignore[attr-defined]
        with pytest.raises(LeaseHeld):
            await theirs.acquire()

    asyncio.run(both())


def test_two_who_claim_at_the_same_moment_do_not_both_get_it(claims: Claims) -> None:
    async def both() -> list[object]:
        await claims.mine.acquire()
        await claims.mine.release()
        return list(await asyncio.gather(claims.mine.acquire(), claims.theirs.acquire(), return_exceptions=True))

    results = asyncio.run(both())
    assert sorted(type(result).__name__ for result in results) == ["Holding", "LeaseHeld"]


def test_who_was_taken_over_hears_it_at_the_next_renewal(claims: Claims) -> None:
    async def both() -> None:
        await claims.mine.acquire()
        await claims.theirs.acquire(take_over=True)
        with pytest.raises(LeaseLost, match=f"taken over by run {OTHER_RUN} of other@desk"):
            await claims.mine.renew(HEAD_7)
        await claims.mine.release()
        assert (await claims.theirs.look()).ours, "who has lost the claim does not give it away"

    asyncio.run(both())
    assert claims.clock.sleeps == [NOTICE_S], "a living holder is given time to notice"


def test_who_cannot_renew_for_as_long_as_the_claim_lasts_has_lost_it(claims: Claims) -> None:
    async def alone() -> str:
        await claims.mine.acquire()

        def gone() -> None:
            raise Unreachable("no answer")

        claims.cluster.before_call = gone
        async with claims.mine.kept(lambda: HEAD_7):
            for _ in range(100):
                await asyncio.sleep(0)
        return claims.mine.lost

    assert asyncio.run(alone()) == "the claim on the cluster could not be renewed for 60 s: no answer"


def test_the_engine_renews_with_each_wave_and_publishes_the_head_before_the_first_write(tmp_path: Path) -> None:
    world, plan = World(tmp_path, leased=True), exit_plan()
    folder = world.begin(plan)
    heads: list[int] = []

    def note(verb: str, ref: Ref) -> None:
        if ref == LEDGER:
            heads.append(int(world.cluster.docs[LEASE]["metadata"]["annotations"][HEAD].split()[0]))

    world.cluster.before_write = note
    assert world.run(folder, plan).result is Result.DONE
    entries = read_entries(folder.journal)
    (head,) = heads
    assert entries[head - 1].event.name == "phase-started"
    assert world.cluster.docs[LEASE]["spec"]["holderIdentity"] == ""


def test_a_run_that_is_taken_over_stands_still_and_both_journals_tell(tmp_path: Path) -> None:
    judge = FakeJudge()
    world, plan = World(tmp_path / "here", judge=judge, leased=True), exit_plan()
    folder = world.begin(plan)
    there = world.elsewhere(tmp_path / "there")

    def somebody_insists() -> None:
        if len(judge.looks) == 1:
            world.cluster.docs[LEASE]["spec"]["holderIdentity"] = "other@desk (2)"
            world.cluster.docs[LEASE]["spec"]["renewTime"] = "2026-03-01T03:00:09.000000Z"

    judge.on_look = somebody_insists
    outcome = world.run(folder, plan)
    assert (outcome.result, outcome.cause, outcome.goes_on) == (Result.STOPPED, Cause.TAKEN_OVER, False)
    *_, lost, stopped = [entry.event for entry in read_entries(folder.journal)]
    assert isinstance(lost, LostEvent)
    assert "other@desk (2)" in lost.sentence
    assert isinstance(stopped, Stopped)
    assert [verb for verb, _ in world.cluster.effects] == ["create", "change"], "nothing of the next wave was begun"

    taken_up = there.take_up(folder.run)
    events = [entry.event for entry in read_entries(taken_up.journal)]
    assert isinstance(events[-2], RunResumed)
    assert isinstance(events[-1], LeaseTaken)
    assert there.run(taken_up, plan).result is Result.DONE


def test_a_dead_run_reads_in_its_own_record_who_took_the_cluster(tmp_path: Path) -> None:
    world, plan = World(tmp_path / "here", leased=True), exit_plan()
    folder = world.begin(plan)
    other = world.elsewhere(tmp_path / "there").begin(plan, take_over=True)
    first = read_entries(other.journal)[1].event
    assert isinstance(first, LeaseTaken)
    assert (first.run, first.expired) == (folder.run, False)
    require_resumable(asyncio.run(world.records.load(folder.run)))
    world.take_up(folder.run)
    events = [entry.event for entry in read_entries(folder.journal)]
    assert [event.name for event in events] == ["run-opened", "lease-lost", "run-resumed", "lease-taken"]
    assert isinstance(events[1], LostEvent)
    assert f"run {other.run} of" in events[1].sentence
