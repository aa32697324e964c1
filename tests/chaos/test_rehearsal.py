"""A fault needs a mark that is this cluster's, that can be read, and that has not expired."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from meshguard import rehearsal
from meshguard.rehearsal import MARK, Mark, NotARehearsal
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster


def declared(cluster: FakeCluster, clock: FakeClock, hours: int = 8) -> Mark:
    async def declare() -> Mark:
        mark = await rehearsal.new_mark(cluster, clock, timedelta(hours=hours), "kim", "a game day")
        await rehearsal.declare(cluster, mark)
        return mark

    return asyncio.run(declare())


def require(cluster: FakeCluster, clock: FakeClock) -> Mark:
    return asyncio.run(rehearsal.require(cluster, clock))


def test_a_declared_cluster_allows_faults_until_the_mark_expires() -> None:
    cluster, clock = FakeCluster(), FakeClock()
    mark = declared(cluster, clock)
    assert require(cluster, clock) == mark
    clock.seconds += 8 * 3600
    with pytest.raises(NotARehearsal, match="the rehearsal that kim declared ended"):
        require(cluster, clock)


def test_without_a_mark_faults_are_refused() -> None:
    with pytest.raises(NotARehearsal, match="not declared a rehearsal cluster"):
        require(FakeCluster(), FakeClock())


def test_a_mark_that_came_with_a_copy_of_another_cluster_does_not_count() -> None:
    cluster, clock = FakeCluster(), FakeClock()
    declared(cluster, clock)
    cluster.uid = "cluster-2"
    with pytest.raises(NotARehearsal, match=r"another cluster's \(cluster-1, this one is cluster-2\)"):
        require(cluster, clock)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expires": "tomorrow"}, "is no time"),
        ({"expires": "2026-03-09T00:00:00"}, "names no time zone"),
        ({"owner": ""}, "lacks owner"),
        ({"clusterUID": ""}, "lacks clusterUID"),
    ],
)
def test_a_mark_that_cannot_be_read_is_no_mark(change: dict[str, Any], says: str) -> None:
    cluster, clock = FakeCluster(), FakeClock()
    mark = declared(cluster, clock)
    asyncio.run(cluster.put_config_map(MARK, {**mark.data(), **change}, {}))
    with pytest.raises(NotARehearsal, match=says):
        require(cluster, clock)


def test_revoked_it_is_gone_even_if_it_could_not_be_read() -> None:
    cluster, clock = FakeCluster(), FakeClock()
    asyncio.run(cluster.put_config_map(MARK, {"expires": "?"}, {}))
    assert asyncio.run(rehearsal.revoke(cluster))
    assert not asyncio.run(rehearsal.revoke(cluster))
    with pytest.raises(NotARehearsal, match="not declared"):
        require(cluster, clock)


@pytest.mark.parametrize("hours", [0, 91 * 24])
def test_a_mark_lasts_neither_no_time_nor_for_ever(hours: int) -> None:
    with pytest.raises(ValueError, match="at most 90 days"):
        declared(FakeCluster(), FakeClock(), hours)


def test_durations_are_read_as_people_write_them() -> None:
    assert [rehearsal.duration(text) for text in ("30m", "8h", "7d")] == [
        timedelta(minutes=30),
        timedelta(hours=8),
        timedelta(days=7),
    ]
    with pytest.raises(ValueError, match="is no duration"):
        rehearsal.duration("8 hours")
