"""What istiod answers on its monitoring port: connected proxies, metrics, its version."""

from __future__ import annotations

import json
from collections.abc import Iterable

from meshguard.sim.fleet.fleet import Fleet
from meshguard.sim.fleet.parts import Pod
from meshguard.sim.pods import Asked, Said

PORT = 15014
_KINDS = (
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
)
_BOUNDS = (0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0)
"""Source: Istio, pilot/pkg/xds/monitoring.go, pilot_proxy_convergence_time."""


class Convergence:
    """The histogram of convergence times since the beginning."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.sum = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Count these."""
        for value in values:
            self.sum += value
            self.counts[next((i for i, bound in enumerate(_BOUNDS) if value <= bound), len(_BOUNDS))] += 1

    def lines(self) -> list[str]:
        """As Prometheus' text."""
        name, so_far, out = "pilot_proxy_convergence_time", 0, []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self.counts, strict=True):
            so_far += count
            out.append(f'{name}_bucket{{le="{bound}"}} {so_far}')
        return [*out, f"{name}_sum {self.sum}", f"{name}_count {so_far}"]


def answer(asked: Asked, fleet: Fleet, convergence: Convergence, share: tuple[int, int]) -> Said:
    """Answer for one replica: `share` is its number and how many there are."""
    match asked.path:
        case "/debug/syncz":
            mine = _own(fleet, share)
            return Said(json.dumps([_row(pod) for pod in mine], separators=(",", ":")).encode())
        case "/metrics":
            return Said(("\n".join(_metrics(fleet, convergence, share)) + "\n").encode(), content_type="text/plain")
        case "/version":
            return Said(f"1.{fleet.scenario.control_plane.minor}.0".encode(), content_type="text/plain")
        case "/ready":
            return Said(b"", content_type="text/plain")
    return Said(b"404 page not found\n", 404, "text/plain")


def _own(fleet: Fleet, share: tuple[int, int]) -> list[Pod]:
    number, of = share
    connected = sorted(fleet.istiod.connected, key=lambda pod: pod.key)
    return [pod for index, pod in enumerate(connected) if index % of == number]


def _row(pod: Pod) -> dict[str, object]:
    namespace, _, name = pod.key.partition("/")
    nonce = f"{pod.seen}"
    state: dict[str, str] = {"sent": nonce, "acked": nonce}
    if pod.rejected:
        state = {"sent": f"{pod.seen + 1}", "acked": nonce, "lastError": "configuration of a newer istiod was rejected"}
    resources = {f"type.googleapis.com/{kind}": state for kind in _KINDS}
    version = f"{pod.version[0]}.{pod.version[1]}.0"
    return {"proxy": f"{name}.{namespace}", "proxy_type": "sidecar", "istio_version": version, "resources": resources}


def _metrics(fleet: Fleet, convergence: Convergence, share: tuple[int, int]) -> list[str]:
    istiod, mine = fleet.istiod, _own(fleet, share)
    versions: dict[str, int] = {}
    for pod in mine:
        name = f"{pod.version[0]}.{pod.version[1]}.0"
        versions[name] = versions.get(name, 0) + 1
    lines = [f'pilot_xds{{version="{name}"}} {count}' for name, count in sorted(versions.items())]
    lines.append(f'pilot_xds_pushes{{type="eds"}} {istiod.sends}')
    lines.append(f'pilot_push_triggers{{type="endpoint"}} {istiod.triggers}')
    if istiod.rejects:
        lines.append(f'pilot_total_xds_rejects{{type="lds"}} {istiod.rejects}')
    lines.append(f"process_resident_memory_bytes {int(istiod.mib * 2**20)}")
    return [*lines, *convergence.lines()]
