"""The pictures of a game day."""

from __future__ import annotations

from collections.abc import Callable

from meshguard.report.document import Line, Picture
from meshguard.sim.fleet.record import Sample
from meshguard.sim.live.fleetlog import FleetLog

_EVERY = 5
_SHOWN_NODES = 4


def pictures(log: FleetLog) -> list[Picture]:
    """Success, P99, memory by node, pushes, pods in and out of the mesh."""
    samples = log.samples
    windows = [samples[at : at + _EVERY] for at in range(0, len(samples), _EVERY)]

    def of(value: Callable[[list[Sample]], float]) -> list[tuple[float, float]]:
        return [(window[-1].at, value(window)) for window in windows]

    success = of(lambda w: 100 * (1 - sum(s.failed for s in w) / max(1, sum(s.requests for s in w))))
    latency = of(lambda w: 1000 * max(s.p99_s for s in w))
    sends = of(lambda w: (w[-1].sends - w[0].sends) / max(1, len(w) - 1))
    return [
        Picture("Success", "the share of requests that succeed.", "%", [Line("success", success)]),
        Picture(
            "P99",
            "what the slowest in a hundred waits for; note the logarithmic scale.",
            "ms",
            [Line("P99", latency)],
            True,
        ),
        _memory(log),
        Picture(
            "Pushes", "configurations that istiod sends to proxies each second.", "a second", [Line("sent", sends)]
        ),
        Picture(
            "Membership",
            "pods with a sidecar and without.",
            "pods",
            [Line("in the mesh", of(lambda w: w[-1].meshed)), Line("out of it", of(lambda w: w[-1].unmeshed))],
        ),
        Picture("Money", "lost since the beginning.", "dollars", [Line("lost", of(lambda w: w[-1].lost))]),
    ]


def _memory(log: FleetLog) -> Picture:
    peaks = {name: max(row[name] for row in log.nodes) for name in (log.nodes[0] if log.nodes else {})}
    fullest = sorted(peaks, key=lambda name: -peaks[name])[:_SHOWN_NODES]
    every = range(0, len(log.samples), _EVERY)
    lines = [Line(name, [(log.samples[i].at, log.nodes[i][name] / 1024) for i in every]) for name in fullest]
    lines.append(Line("the mean node", [(log.samples[i].at, log.samples[i].mean_mib / 1024) for i in every]))
    size = log.samples[0].node_mib / 1024 if log.samples else 0.0
    ends = [(log.samples[0].at, size), (log.samples[-1].at, size)] if log.samples else []
    lines.append(Line("a node's memory", ends))
    return Picture("Memory by node", f"the {_SHOWN_NODES} fullest of {len(peaks)} nodes, and the mean.", "GiB", lines)
