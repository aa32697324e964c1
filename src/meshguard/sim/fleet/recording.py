"""Counts each second: requests in are requests accounted, to the last one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from meshguard.sim.fleet.economy import lost_per_second
from meshguard.sim.fleet.parts import Happening
from meshguard.sim.fleet.record import Record, Sample
from meshguard.sim.fleet.scenario import Scenario
from meshguard.sim.fleet.traffic import Seen

if TYPE_CHECKING:
    from meshguard.sim.fleet.fleet import Fleet

REQUESTS_PER_ORDER = 100
"""What a person asks of the shop before an order. Assumed; it sets the scale of the counts only."""


class Recorder:
    """Makes the record while the fleet runs."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.record_ = Record()
        self.evicted = self.killed = 0
        self.evicting: set[str] = set()
        self.lost = 0.0
        self.seen = Seen(0.0, {})
        """The last second."""
        self.converged: tuple[float, ...] = ()
        """How long each send of the last second took."""
        self.on_happening: Callable[[Happening], None] = lambda happening: None
        self._owed: dict[str, float] = {}

    def happened(self, happening: Happening) -> None:
        """Keep it."""
        self.record_.happenings.append(happening)
        self.on_happening(happening)

    def _whole(self, name: str, amount: float) -> int:
        """As whole requests; what is left over is carried into the next second."""
        owed = self._owed.get(name, 0.0) + amount
        self._owed[name] = owed - int(owed)
        return int(owed)

    def record(self, fleet: Fleet, load: float, seen: Seen) -> None:
        """Count a second and sample it."""
        money, record, self.seen = self._scenario.money, self.record_, seen
        requests = self._whole("in", load * money.orders_per_second * REQUESTS_PER_ORDER)
        left, failed = requests, 0
        for cause, share in seen.failing.items():
            count = min(left, self._whole(cause, requests * share))
            left, failed = left - count, failed + count
            if count:
                record.failed[cause] = record.failed.get(cause, 0) + count
        record.requests += requests
        record.succeeded += left
        self.lost += lost_per_second(money, load, seen.failed, seen.p99_s)
        istiod = fleet.istiod
        pods = fleet.pods.values()
        meshed = [pod.proxy_mib for pod in pods if pod.meshed]
        used = [node.used_mib for node in fleet.nodes]
        record.samples.append(
            Sample(
                at=fleet.now,
                load=round(load, 3),
                requests=requests,
                failed=failed,
                p99_s=round(seen.p99_s, 4),
                lost=round(self.lost, 2),
                meshed=len(meshed),
                unmeshed=fleet.unmeshed,
                ready=sum(pod.ready for pod in pods),
                evicted=self.evicted,
                killed=self.killed,
                pressed_nodes=sum(node.pressed_until >= 0 for node in fleet.nodes),
                evicting_nodes=len(self.evicting),
                busiest_mib=round(max(used), 1),
                mean_mib=round(sum(used) / len(used), 1),
                node_mib=fleet.nodes[0].mib,
                pushes=istiod.pushes,
                sends=istiod.sends,
                queued=istiod.queued,
                convergence_s=round(max(istiod.convergence, default=0.0), 3),
                istiod_mib=round(istiod.mib, 1),
                sidecar_mib=round(sum(meshed) / len(meshed), 1) if meshed else 0.0,
            )
        )
        self.converged = tuple(istiod.convergence)
        istiod.convergence.clear()
        if len(record.samples) % 10 == 0:
            for node in fleet.nodes:
                record.node_mib.setdefault(node.name, []).append(round(node.used_mib, 1))
