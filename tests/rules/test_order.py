"""In which order workloads restart: together, callers first, or called first; and backwards on the way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Order, Settings
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_restore
from tests.builders import shop

MESH = IstioSidecar()
CONSENTS = Consents(authz_loss=True, fail_open=True)
SHOP = frozenset({"shop-core", "shop-pay"})


def exit_of(snapshot: Snapshot, settings: Settings) -> Plan:
    return plan_exit(snapshot, MESH, LeaveRequest(SHOP, CONSENTS, settings))


def waves(plan: Plan) -> list[list[str]]:
    return [[s.target.name for s in w.steps] for w in plan.phase("restart").waves if w.steps]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.TOGETHER, [["cart", "catalogue", "payments"]]),
        (Order.CLIENTS_FIRST, [["cart", "catalogue"], ["payments"]]),
        (Order.SERVERS_FIRST, [["payments"], ["cart", "catalogue"]]),
    ],
)
def test_the_payments_policy_says_that_cart_calls_it(order: Order, expected: list[list[str]]) -> None:
    assert waves(exit_of(shop().snapshot(), Settings(order=order))) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.CLIENTS_FIRST, [["payments"], ["cart", "catalogue"]]),
        (Order.SERVERS_FIRST, [["cart", "catalogue"], ["payments"]]),
    ],
)
def test_the_way_back_goes_the_other_way_round(order: Order, expected: list[list[str]]) -> None:
    snapshot, settings = shop().snapshot(), Settings(order=order)
    # The policy's identity conditions are gone while the run is open, so they are read from before it.
    plan = plan_exit(snapshot, MESH, LeaveRequest(SHOP, replace(CONSENTS, authz_loss=False), settings))
    left = apply_plan(plan, snapshot, "R1")
    record = open_run_of(plan, left, "R1")
    assert waves(plan_restore(replace(left, open_runs=(record,)), MESH, record, settings)) == expected


def test_waves_hold_no_more_than_their_size_and_lose_nobody() -> None:
    world = shop()
    for number in range(7):
        world.deployment("shop-core", f"w{number}")
    plan = exit_of(world.snapshot(), Settings(wave_size=4))
    assert [len(wave) for wave in waves(plan)] == [4, 4, 2]
    assert len({name for wave in waves(plan) for name in wave}) == 10
