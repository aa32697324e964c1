"""What a second costs: orders that fail, and people who do not wait."""

from __future__ import annotations

from meshguard.sim.fleet.scenario import Money


def lost_per_second(money: Money, load: float, failed: float, p99_s: float) -> float:
    """Dollars a second, by the load, the failing share, and the P99 (of which half is what a person waits usually)."""
    waits = max(0.0, p99_s - money.patience_s)
    leaves = min(1.0, waits * money.leave_per_second)
    lost = failed + (1 - failed) * leaves
    return load * money.orders_per_second * money.order_value * lost
