"""A storm from its beginning to its report: who is connected, how long it took, what it cost istiod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from meshguard import app, rehearsal
from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.mesh.istio_sidecar.faults import FaultError
from meshguard.mesh.istio_sidecar.faults.targets import DEFAULT_REVISION
from meshguard.mesh.istio_sidecar.names import ISTIOD_APP, REVISION
from meshguard.model.objects import Ref, dig
from meshguard.ports import ClusterError

MOST_PROXIES = 5_000
HOLDING = "holding"
"""What is told first when everybody is connected."""
_XDS_PORT = 15010
_LOOK_S = 0.5
#: What istiod says of a push, and the metric that says it.
_COSTS = {
    "pilot_xds": "pilot_xds",
    "cpu_seconds": "process_cpu_seconds_total",
    "memory_bytes": "process_resident_memory_bytes",
    "push_time_sum": "pilot_xds_push_time_sum",
    "push_time_count": "pilot_xds_push_time_count",
    "queue_time_sum": "pilot_proxy_queue_time_sum",
    "queue_time_count": "pilot_proxy_queue_time_count",
    "convergence_sum": "pilot_proxy_convergence_time_sum",
    "convergence_count": "pilot_proxy_convergence_time_count",
}


class NoXdsClient(Exception):
    """The optional packages that a storm needs are not installed."""


@dataclass(frozen=True)
class Request:
    """What kind of storm."""

    proxies: int
    hold_s: float
    address: str = ""
    """HOST:PORT of istiod's plaintext xDS port; "" for the cluster address of its service."""
    revision: str = "default"
    namespace: str = "default"
    """Whose configuration the clients get."""
    version: str = "1.28.0"
    """Of Istio that the clients claim to be."""
    connect_within_s: float = 300.0

    def check(self) -> None:
        """Raise FaultError for absurd numbers."""
        if not 0 < self.proxies <= MOST_PROXIES:
            raise FaultError(f"proxies must be 1 to {MOST_PROXIES}, not {self.proxies}")
        if not 0 <= self.hold_s <= 3_600:
            raise FaultError(f"hold must be 0 to 3600 seconds, not {self.hold_s:g}")


async def storm(opened: app.Session, request: Request, tell: Callable[[str], None]) -> dict[str, Any]:
    """Make a storm in a rehearsal, and report. Nothing of it is left in the cluster when the process ends.

    Raises NotARehearsal, FaultError, NoXdsClient, ClusterError.
    """
    try:
        from meshguard.chaos.storm.clients import fleet
    except ImportError as error:
        raise NoXdsClient(f"a storm needs the optional packages: pip install 'meshguard[storm]' ({error})") from error
    request.check()
    await rehearsal.require(opened.cluster, opened.clock)
    address = request.address or await address_of(opened, request.revision)
    clock = opened.clock
    before = await _costs(opened, request.revision)
    async with fleet(address, request.proxies, request.namespace, request.version, clock.sleep) as held:
        began, said = clock.now(), 0
        while held.configured < request.proxies and clock.now() - began < request.connect_within_s:
            await clock.sleep(_LOOK_S)
            if held.configured - said >= max(1, request.proxies // 10):
                said = held.configured
                tell(f"{said} of {request.proxies} proxies are configured after {clock.now() - began:.0f} s")
        connected_s, configured = clock.now() - began, held.configured
        tell(f"{HOLDING} {configured} of {request.proxies} proxies for {request.hold_s:g} s")
        first = held.bytes()
        connected = await _costs(opened, request.revision)
        await clock.sleep(request.hold_s)
        after = await _costs(opened, request.revision)
        received, messages, broken = held.bytes(), held.messages(), dict(held.broken)
    return {
        "request": asdict(request) | {"address": address},
        "configured": configured,
        "connectedSeconds": round(connected_s, 1),
        "pilotXds": {"before": before.get("pilot_xds"), "connected": connected.get("pilot_xds")},
        "bytesPerStream": round(sum(first.values()) / max(1, configured)),
        "bytesByKind": dict(first),
        "pushedWhileHeld": {kind: received[kind] - first[kind] for kind in received},
        "messages": dict(messages),
        "brokenStreams": broken,
        "istiod": {"connecting": _rose(before, connected), "held": _rose(connected, after)},
    }


async def address_of(opened: app.Session, revision: str) -> str:
    """Return the cluster address of a revision's istiod. Raises FaultError when there is no such service."""
    name = "istiod" if revision == "default" else f"istiod-{revision}"
    service = await opened.cluster.get(Ref("Service", "istio-system", name))
    if service is None:
        raise FaultError(f"there is no service istio-system/{name}; give the address of its port {_XDS_PORT}")
    return f"{dig(service.doc, 'spec', 'clusterIP')}:{_XDS_PORT}"


async def _costs(opened: app.Session, revision: str) -> dict[str, float]:
    """Sum the figures of a revision's istiod over its replicas; what does not answer is left out."""
    replicas = {
        f"{pod.ref.namespace}/{pod.ref.name}"
        for pod in await opened.cluster.list("Pod")
        if pod.labels.get("app") == ISTIOD_APP and pod.labels.get(REVISION, DEFAULT_REVISION) == revision
    }
    out = {}
    for name, metric in _COSTS.items():
        args = CATALOGUE["control-plane.metric"].complete({"metric": metric, "absent": "zero"})
        try:
            measured = await opened.measurements.measure("control-plane.metric", args)
        except ClusterError:
            continue
        values = [sample.value for sample in measured.samples if sample.subject in replicas]
        if values:
            out[name] = sum(values)
    return out


def _rose(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what a span of time cost: means of its pushes (seconds), processor seconds, memory at its end (bytes)."""
    rise = {name: after[name] - before[name] for name in after if name in before}
    out = {name: round(rise[name], 2) for name in ("cpu_seconds",) if name in rise}
    if "memory_bytes" in after:
        out["memory_bytes"] = after["memory_bytes"]
    for name in ("push_time", "queue_time", "convergence"):
        count = rise.get(f"{name}_count", 0.0)
        if count > 0:
            out[f"{name}_mean"] = round(rise[f"{name}_sum"] / count, 4)
            out[f"{name}_count"] = count
    return out
