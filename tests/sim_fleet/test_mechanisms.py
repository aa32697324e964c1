"""Single mechanisms of the model: each has its effect, and none without its cause."""

from __future__ import annotations

import pytest

from meshguard.sim.fleet import constants as c
from meshguard.sim.fleet.agenda import Agenda
from meshguard.sim.fleet.decisions import parse
from meshguard.sim.fleet.istiod import Istiod
from meshguard.sim.fleet.record import Record
from meshguard.sim.fleet.scenario import ScenarioError, load
from meshguard.sim.fleet.world import World
from tests.sim_fleet.test_properties import small


def played(decision: str, **scenario: float) -> Record:
    return World(small(**scenario), 1, parse(decision)).play()  # type: ignore[arg-type]


def test_a_calm_day_loses_nothing() -> None:
    record = played("nothing", peak=1.0)
    assert (record.failed, record.samples[-1].evicted, record.samples[-1].killed, record.samples[-1].lost) == (
        {},
        0,
        0,
        0,
    )


def test_without_limits_nodes_run_out_of_memory_and_evict() -> None:
    record = played("nothing", app_mib=395.0)
    pressed, evicted = record.first("node-pressure"), record.first("evicted")
    assert pressed is not None
    assert evicted is not None
    assert pressed.at <= evicted.at
    assert record.samples[-1].evicting_nodes > 0


def test_a_limit_kills_the_sidecar_and_spares_the_node() -> None:
    record = played("limits=150", app_mib=300.0)
    assert record.samples[-1].killed > 0
    assert record.samples[-1].evicted == 0
    assert all(sample.sidecar_mib <= 150 for sample in record.samples)


def test_evictions_are_pushed_to_every_proxy() -> None:
    record = played("nothing", app_mib=395.0)
    evicted = record.first("evicted")
    assert evicted is not None
    before = next(s for s in record.samples if s.at >= evicted.at - 1)
    after = next(s for s in record.samples if s.at >= evicted.at + 10)
    assert before.pushes == 0
    assert after.sends >= 40


def test_under_strict_the_textbook_fails_requests_and_the_ordered_way_does_not() -> None:
    textbook, ordered = played("textbook@1", peak=1.0), played("ordered@1", peak=1.0)
    assert textbook.failed["mtls"] > 0
    assert "mtls" not in ordered.failed
    assert ordered.samples[-1].meshed == textbook.samples[-1].meshed == 0


def test_under_permissive_the_textbook_harms_nobody() -> None:
    record = World(small(peak=1.0, mtls="PERMISSIVE"), 1, parse("textbook@1")).play()
    assert "mtls" not in record.failed


def test_sidecars_too_old_for_their_control_plane_reject_what_it_sends() -> None:
    scenario = small().with_(sidecars={"minor": 21})
    world = World(scenario, 1)
    world.fleet.write_policies(dict.fromkeys(world.fleet.policies.written, False))
    for _ in range(30):
        world.fleet.step()
    assert world.fleet.istiod.rejects == len(world.fleet.pods)
    assert {pod.seen for pod in world.fleet.pods.values()} == {0}


def test_events_close_together_are_one_push() -> None:
    agenda = Agenda()
    istiod = Istiod(agenda, cores=4, replicas=1, throttle=0, services=100, stands_for=1)
    for tenth in range(5):
        agenda.at(tenth * 0.05, lambda: istiod.notify(full=False))
    agenda.run_until(5.0)
    assert (istiod.triggers, istiod.pushes) == (5, 1)


def test_events_that_never_pause_are_pushed_all_the_same() -> None:
    agenda = Agenda()
    istiod = Istiod(agenda, cores=4, replicas=1, throttle=0, services=100, stands_for=1)
    for number in range(400):
        agenda.at(number * 0.05, lambda: istiod.notify(full=False))
    agenda.run_until(c.DEBOUNCE_MOST_S + 1)
    assert istiod.pushes == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"load": {"peek": 3}}, "there is no key load.peek; did you mean 'peak'?"),
        ({"fleet": {"nodes": 0}}, "fleet.nodes"),
        ({"calibrated": {"appMiB": 100000}}, "the applications alone need"),
        ({"mtls": "STRIKT"}, "mtls"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_in_a_sentence(change: dict[str, object], told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load("black-friday").with_(**change)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"), [("ordred@3", "ordered"), ("limits=x", "no decision"), ("textbook@-1", "0 and 1440")]
)
def test_a_decision_that_does_not_exist_is_refused(words: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        parse(words)


def test_an_unknown_scenario_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ScenarioError, match="black-friday"):
        load("black-fryday")
