"""How long a restart takes and what is missing meanwhile, from what the workload itself says. Seconds.

Both ends of the range come from the template: the low one if the probes succeed at their first look, the high one if
a container uses all the time that its probes and its termination grace allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshguard.mesh.istio_sidecar import lifts
from meshguard.mesh.istio_sidecar.restart import RENEWED_AT_ONCE, Restart
from meshguard.model.objects import Workload, dig

#: Scheduling, network and container start with the image on the node; the high end allows for a pull.
START_LOW_S, START_HIGH_S = 2.0, 15.0
#: Kubernetes' defaults.
PROBE_PERIOD_S, PROBE_FAILURES, GRACE_S = 10, 3, 30
#: An application that heeds SIGTERM is gone after about this long, its proxy's drain included.
STOP_LOW_S = 2.0


@dataclass(frozen=True)
class Range:
    """From the best to the worst that the templates allow."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def __mul__(self, times: int) -> Range:
        return Range(self.low * times, self.high * times)

    def __str__(self) -> str:
        return f"{self.low:.0f}-{self.high:.0f} s"


NOTHING = Range(0.0, 0.0)


def becoming_ready(workload: Workload) -> Range:
    """From the creation of a pod until it is ready."""
    probes = [_probe(container) for container in workload.template_containers]
    low = max((p.low for p in probes), default=0.0)
    high = max((p.high for p in probes), default=0.0)
    return Range(START_LOW_S + low, START_HIGH_S + high)


def _probe(container: Mapping[str, Any]) -> Range:
    startup = _looks(container.get("startupProbe"))
    readiness = container.get("readinessProbe")
    delay = float(dig(readiness, "initialDelaySeconds", default=0))
    successes = int(dig(readiness, "successThreshold", default=1))
    period = float(dig(readiness, "periodSeconds", default=PROBE_PERIOD_S)) if readiness else 0.0
    return Range(delay + period * (successes - 1), startup.high + _looks(readiness).high)


def _looks(probe: Mapping[str, Any] | None) -> Range:
    if not probe:
        return NOTHING
    delay = float(probe.get("initialDelaySeconds", 0))
    period = float(probe.get("periodSeconds", PROBE_PERIOD_S))
    return Range(delay, delay + period * int(probe.get("failureThreshold", PROBE_FAILURES)))


def stopping(workload: Workload) -> Range:
    """From the deletion of a pod until it is gone."""
    grace = float(dig(workload.template, "spec", "terminationGracePeriodSeconds", default=GRACE_S))
    return Range(min(STOP_LOW_S, grace), grace)


def duration(restart: Restart) -> Range:
    """From the change of the template until every old pod is gone."""
    workload, pods = restart.workload, restart.workload.replicas
    if pods == 0:
        return NOTHING
    at_once = _at_once(restart)
    rounds = -(-pods // at_once)
    minimum = float(dig(workload.doc, "spec", "minReadySeconds", default=0))
    settled = becoming_ready(workload) + Range(minimum, minimum)
    if interrupts(restart):
        return (stopping(workload) + settled) * rounds
    return settled * rounds + stopping(workload)


def _at_once(restart: Restart) -> int:
    workload = restart.workload
    if lifts.renews_on_delete(workload):
        return max(1, workload.replicas // RENEWED_AT_ONCE)
    if workload.ref.kind == "Deployment" and not lifts.rolls(workload):
        return workload.replicas
    surging = 0 if restart.lift else lifts.surge(workload)
    return min(workload.replicas, max(1, surging + lifts.max_unavailable(workload)))


def interrupts(restart: Restart) -> bool:
    """True when pods are stopped before the ones that follow them are ready."""
    workload = restart.workload
    if restart.lift is not None or not lifts.rolls(workload):
        return workload.ref.kind != "Rollout"
    return lifts.surge(workload) == 0


def interruption(restart: Restart) -> Range:
    """How long the workload is without any ready pod; on each node in turn for a DaemonSet."""
    workload = restart.workload
    if workload.replicas == 0 or not interrupts(restart):
        return NOTHING
    if workload.ref.kind != "DaemonSet" and _at_once(restart) < workload.replicas:
        return NOTHING
    return stopping(workload) + becoming_ready(workload)


def lost(restart: Restart) -> str:
    """Say which part of its pods a workload lacks while the plan does not leave its strategy as it is."""
    if restart.lift:
        return restart.lift.lost
    if lifts.renews_on_delete(restart.workload):
        return f"{_at_once(restart)} of {restart.workload.replicas} pods at a time"
    return ""


def of_waves(restarts: Sequence[Restart], wave_size: int) -> Range:
    """How long all restarts take: the workloads of a wave at the same time, the waves one after the other."""
    total = NOTHING
    for first in range(0, len(restarts), wave_size):
        total += _slowest(duration(restart) for restart in restarts[first : first + wave_size])
    return total


def _slowest(ranges: Iterable[Range]) -> Range:
    members = list(ranges)
    return Range(max((r.low for r in members), default=0.0), max((r.high for r in members), default=0.0))
