"""The Measurements port: every name of the catalogue has its reader here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshguard.model.measurement import Measurement
from meshguard.signals.measure import control_plane, edges, kubernetes, proxies
from meshguard.signals.measure.world import World

Reader = Callable[[World, Mapping[str, Any]], Awaitable[Measurement]]

NO_PROMETHEUS = "no Prometheus is configured: set prometheusUrl or prometheusService in meshguard.yaml"


async def _query(world: World, args: Mapping[str, Any]) -> Measurement:
    if world.prometheus is None:
        return Measurement((), "prometheus", (NO_PROMETHEUS,))
    return await world.prometheus.query(args["query"])


READERS: Mapping[str, Reader] = {
    **kubernetes.READERS,
    **control_plane.READERS,
    **proxies.READERS,
    **edges.READERS,
    "prometheus.query": _query,
}


class Measurer:
    """Measures signals by asking Kubernetes, istiod, the proxies or Prometheus."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def measure(self, signal: str, args: Mapping[str, Any]) -> Measurement:
        """Measure once. Raises ClusterError, or KeyError for a signal that does not exist."""
        return await READERS[signal](self._world, args)
