"""What the proof of faults judges by: it must be able to fail, and its chance must have a seed."""

from __future__ import annotations

from testbed.proofs import fault_scenes as scenes
from testbed.proofs.fault_scenes import REPLICAS, SPACE, WORKLOADS, Facts
from testbed.proofs.faults import LONG_OUTAGE_S, SCHEDULES, schedules

POLICY, NAMESPACE = f"PeerAuthentication {SPACE}/default", f"Namespace {SPACE}/{SPACE}"


def world(mode: str, injection: str) -> dict[str, object]:
    labels = {"metadata": {"labels": {"istio-injection": injection}}}
    return {POLICY: {"spec": {"mtls": {"mode": mode}}}, NAMESPACE: labels}


BEFORE, AFTER = world("STRICT", "enabled"), world("PERMISSIVE", "disabled")


def pods(*, meshed: bool, ready: bool = True) -> tuple[tuple[str, bool, bool], ...]:
    return tuple((name, meshed, ready) for name in WORKLOADS for _ in range(REPLICAS))


def test_done_is_believed_where_the_cluster_says_so() -> None:
    assert scenes.wrong(AFTER, Facts(AFTER, pods(meshed=False)), meshed=False) == []


def test_done_is_wrong_while_a_sidecar_is_left_a_pod_is_not_ready_or_an_object_is_not_as_it_shall_be() -> None:
    one_left = (("web-1", True, True), *pods(meshed=False)[1:])
    assert scenes.wrong(AFTER, Facts(AFTER, one_left), meshed=False)
    assert scenes.wrong(AFTER, Facts(AFTER, pods(meshed=False, ready=False)), meshed=False)
    assert scenes.wrong(AFTER, Facts(world("PERMISSIVE", "enabled"), pods(meshed=False)), meshed=False)


def test_a_part_is_clean_when_every_field_is_as_it_was_or_as_it_shall_be() -> None:
    assert scenes.unclean(BEFORE, AFTER, Facts(world("PERMISSIVE", "enabled"), pods(meshed=True))) == []
    odd = scenes.unclean(BEFORE, AFTER, Facts(world("DISABLE", "enabled"), pods(meshed=True)))
    assert len(odd) == 1
    assert "'DISABLE', neither 'STRICT' nor 'PERMISSIVE'" in odd[0]


def test_a_part_is_not_clean_when_somebody_is_out_before_plaintext_is_taken() -> None:
    found = scenes.unclean(BEFORE, AFTER, Facts(BEFORE, (("web-1", False, True),)))
    assert found == ["web-1 is out, and STRICT is in force"]


def test_schedules_are_drawn_by_their_seed_with_few_long_outages_and_every_scene() -> None:
    drawn = schedules(SCHEDULES, "seed")
    assert drawn == schedules(SCHEDULES, "seed") != schedules(SCHEDULES, "another")
    long = [s for s in drawn if s.trouble.outage and s.trouble.outage.seconds == LONG_OUTAGE_S]
    assert 0 < len(long) <= 10
    assert {s.scene for s in drawn} == {"", *scenes.SCENES}
