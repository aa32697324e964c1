"""The counters that the proxies keep, made of what the fleet's services do to each other."""

from __future__ import annotations

from meshguard.sim.fleet.fleet import Fleet
from meshguard.sim.fleet.parts import Pod
from meshguard.sim.live.shop import PORT

Totals = list[list[float]]
"""For each service and each of its callees: calls, failed, failed to connect, sent once more; for one pod."""


class Counters:
    """Adds up, second by second, what a pod of each service has called since the beginning."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._totals: dict[int, Totals] = {s.number: [[0.0] * 4 for _ in s.callees] for s in fleet.services}
        self._at_birth: dict[str, Totals] = {}

    def second(self, load: float) -> None:
        """Count one more."""
        services, per_pod = self._fleet.services, self._fleet.scenario.load.rps_per_pod
        seen = self._fleet.recorder.seen
        for service in services:
            if not service.callees or not service.ready:
                continue
            calls = load * per_pod / 2 / len(service.callees) * service.wanted / service.ready
            for number, row in zip(service.callees, self._totals[service.number], strict=True):
                unreached, late = seen.edges[number]
                row[0] += calls
                row[1] += calls * (unreached + late)
                row[2] += calls * unreached
                row[3] += calls * (unreached ** (1 / 3) if unreached else 0.0)

    def born(self, pod: Pod) -> None:
        """A proxy started: it counts from here."""
        self._at_birth[pod.key] = [list(row) for row in self._totals[pod.service.number]]

    def gone(self, pod: Pod) -> None:
        """Nobody asks it any more."""
        self._at_birth.pop(pod.key, None)

    def of(self, pod: Pod) -> dict[str, int]:
        """All counters of one proxy, by their names."""
        out = {
            "cluster_manager.cds.update_success": max(1, pod.seen),
            "cluster_manager.cds.update_rejected": pod.rejected,
            "listener_manager.lds.update_success": max(1, pod.seen),
            "listener_manager.lds.update_rejected": pod.rejected,
            "listener.0.0.0.0_15006.ssl.handshake": 0,
            "listener.0.0.0.0_15006.ssl.connection_error": 0,
        }
        first = self._at_birth.get(pod.key)
        rows = self._totals[pod.service.number]
        for index, (number, row) in enumerate(zip(pod.service.callees, rows, strict=True)):
            calls, failed, unreached, again = (
                int(pod.weight * (now - (first[index][place] if first else 0.0))) for place, now in enumerate(row)
            )
            prefix = f"cluster.outbound|{PORT}||{self._fleet.services[number].host};."
            out |= {
                f"{prefix}upstream_cx_total": min(calls, 64),
                f"{prefix}upstream_cx_connect_fail": unreached,
                f"{prefix}upstream_rq_total": calls,
                f"{prefix}upstream_rq_2xx": calls - failed,
                f"{prefix}upstream_rq_5xx": failed,
                f"{prefix}upstream_rq_retry": again,
                f"{prefix}ssl.handshake": min(calls, 64),
                f"{prefix}ssl.connection_error": 0,
            }
        return out
