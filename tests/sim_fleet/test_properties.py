"""What must hold of every day that the model plays, whatever the scenario, the seed and the decisions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshguard.sim.fleet.agenda import Agenda, InThePast
from meshguard.sim.fleet.decisions import parse
from meshguard.sim.fleet.scenario import Scenario, load
from meshguard.sim.fleet.world import World

_DECISIONS = ("nothing", "ordered@2", "textbook@2", "by-hand@1", "limits=150", "throttle=2+ordered@3", "limits=256")


def small(peak: float = 8.0, app_mib: float = 400.0, mtls: str = "STRICT") -> Scenario:
    """A fleet of 48 pods on two nodes whose load rises within three minutes."""
    fleet = {"services": 12, "replicas": 4, "nodes": 2, "namespaces": 3, "standsFor": 25}
    calibrated = {"appMiB": app_mib, "rampMinutes": 3}
    return load("black-friday").with_(fleet=fleet, load={"peak": peak}, calibrated=calibrated, mtls=mtls, minutes=6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    decision=st.sampled_from(_DECISIONS),
    peak=st.floats(1, 20),
    app_mib=st.floats(200, 600),
    mtls=st.sampled_from(("STRICT", "PERMISSIVE")),
)
def test_every_request_is_accounted_for_and_memory_is_what_the_pods_have(
    seed: int, decision: str, peak: float, app_mib: float, mtls: str
) -> None:
    world = World(small(peak, app_mib, mtls), seed, parse(decision))
    fleet = world.fleet
    for _ in range(6 * 60):
        before = fleet.now
        fleet.step()
        assert fleet.now > before
        assert sum(node.used_mib for node in fleet.nodes) == pytest.approx(fleet.memory_of(fleet.nodes))
        for service in fleet.services:
            assert service.ready == sum(pod.ready for pod in service.pods.values())
    record = fleet.recorder.record_
    assert record.requests == record.succeeded + sum(record.failed.values())
    assert record.requests == sum(sample.requests for sample in record.samples)
    assert sum(record.failed.values()) == sum(sample.failed for sample in record.samples)
    assert record.requests > 0
    assert fleet.unmeshed == sum(not pod.meshed for pod in fleet.pods.values())
    assert all(earlier.at <= later.at for earlier, later in zip(record.happenings, record.happenings[1:], strict=False))


def test_the_same_seed_gives_the_same_bytes_and_another_one_gives_others() -> None:
    digests = [World(small(), seed, parse("ordered@2")).play().digest() for seed in (1, 1, 2)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_nothing_can_be_put_into_the_past() -> None:
    agenda = Agenda()
    agenda.run_until(5.0)
    with pytest.raises(InThePast):
        agenda.at(4.9, lambda: None)
    with pytest.raises(InThePast):
        agenda.run_until(4.0)


def test_what_is_due_at_the_same_time_happens_in_the_order_in_which_it_was_put() -> None:
    agenda, done = Agenda(), list[int]()
    for number in range(5):
        agenda.at(1.0, lambda number=number: done.append(number))  # type: ignore[misc]
    agenda.run_until(1.0)
    assert done == [0, 1, 2, 3, 4]
