"""What was measured, what it comes to, and the page that says so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.stats import Sample


@dataclass(frozen=True)
class Exit:
    """One way of taking the whole fleet out. Seconds from the start of the command."""

    told: float
    """Until the API server had answered the last write of a workload."""
    last_out: float = math.nan
    """Until no pod with a sidecar was left."""


@dataclass(frozen=True)
class Reading:
    """What reading a fleet of some size costs."""

    pods: int
    plan: Sample
    status: Sample
    plan_requests: int
    plan_mb: float


@dataclass
class Results:
    """Everything that one run of the bench has measured."""

    pods: int
    deployments: int
    namespaces: int
    writes: int
    meshguard: list[Exit] = field(default_factory=list)
    raw: list[Exit] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    told_at: dict[int, float] = field(default_factory=dict)
    """By the size of the fleet in pods."""
    synthetic: dict[int, float] = field(default_factory=dict)
    """Planning alone, by the number of pods. Seconds."""
    layer: list[float] = field(default_factory=list)
    kubectl_s: float = math.nan
    loop_s: float = math.nan
    """As long as the whole loop would have taken at the pace of its part."""
    loop_part: tuple[int, float] = (0, math.nan)
    """How many objects were looped over, and how long that took."""
    help_s: float = math.nan
    peak_mb: float = 0.0
    together_mb: float = 0.0
    sentence: str = ""
    created_s: float = 0.0
    loads: list[float] = field(default_factory=list)

    @property
    def told(self) -> Sample:
        """Of meshguard."""
        return Sample.of([e.told for e in self.meshguard])

    @property
    def raw_told(self) -> Sample:
        """Of the raw writer."""
        return Sample.of([e.told for e in self.raw])

    @property
    def last_out(self) -> Sample:
        """Of meshguard."""
        return Sample.of([e.last_out for e in self.meshguard])

    @property
    def raw_last_out(self) -> Sample:
        """Of the raw writer."""
        return Sample.of([e.last_out for e in self.raw])

    def answer(self) -> dict[str, object]:
        """The last line."""
        largest = self.readings[-1]
        return {
            "pods": self.pods,
            "runs": len(self.meshguard),
            "told_s": round(self.told.median, 2),
            "raw_s": round(self.raw_told.median, 2),
            "ansible_layer_s": round(Sample.of(self.layer).median, 2),
            "ansible_loop_s": round(self.loop_s, 1),
            "kubectl_s": round(self.kubectl_s, 1),
            "last_out_s": round(self.last_out.median, 1),
            "raw_last_out_s": round(self.raw_last_out.median, 1),
            "plan_s": round(largest.plan.median, 2),
            "status_s": round(largest.status.median, 2),
            "plan_requests": largest.plan_requests,
            "peak_mb": round(self.peak_mb),
            "growth_plan": round(exponent({r.pods: r.plan.median for r in self.readings}), 2),
            "growth_told": round(exponent(self.told_at), 2),
            "growth_planning_alone": round(exponent(self.synthetic), 2),
            "load_average": round(max(self.loads), 1),
        }


def exponent(seconds_by_size: Mapping[int, float]) -> float:
    """Return the exponent of the growth: the slope of the line through the logarithms; nan for less than two sizes."""
    points = [(math.log(size), math.log(seconds)) for size, seconds in seconds_by_size.items()]
    if len(points) < 2:
        return math.nan
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return float(slope)


@dataclass(frozen=True)
class Claim:
    """Something that shall be so, and what was measured."""

    what: str
    wanted: str
    measured: str
    holds: bool


def claims(results: Results) -> Sequence[Claim]:
    """Hold the figures against what is promised."""
    told, raw, layer = results.told.median, results.raw_told.median, Sample.of(results.layer).median
    last, raw_last = results.last_out.median, results.raw_last_out.median
    largest = results.readings[-1]
    requests = {reading.plan_requests for reading in results.readings}
    most = 1.5 * raw + layer
    return (
        Claim("last workload told", f"1.5 x raw + Ansible layer = {most:.1f} s", f"{told:.1f} s", told <= most),
        Claim("last pod out", f"1.1 x raw = {1.1 * raw_last:.0f} s", f"{last:.0f} s", last <= 1.1 * raw_last),
        _ahead("playbook that loops kubernetes.core.k8s", 30, results.loop_s, told),
        _ahead("kubectl script", 4, results.kubectl_s, told),
        _at_most("Ansible layer", layer, 5.0, "s"),
        _at_most("--help", 1000 * results.help_s, 200, "ms"),
        _at_most("plan", largest.plan.median, 3.0, "s"),
        _at_most("status -A", largest.status.median, 3.0, "s"),
        _at_most("peak memory of the largest process", results.peak_mb, 250, "MB"),
        Claim(
            "requests of a plan",
            "the same lists at every size; a list is continued every 500 objects",
            ", ".join(f"{reading.plan_requests} at {reading.pods}" for reading in results.readings),
            max(requests) - min(requests) <= _pages(largest.pods) - _pages(results.readings[0].pods),
        ),
        *(
            Claim(f"growth of {what}", "exponent at most 1.1", f"{value:.2f}", value <= 1.1)
            for what, value in (
                ("plan", exponent({r.pods: r.plan.median for r in results.readings})),
                ("status -A", exponent({r.pods: r.status.median for r in results.readings})),
                ("the time until the last workload is told", exponent(results.told_at)),
                ("planning alone", exponent(results.synthetic)),
            )
            if not math.isnan(value)
        ),
    )


def _pages(pods: int) -> int:
    """Lists that grow with the fleet: pods, and of deployments, ReplicaSets, services and endpoints an eighth each."""
    return -(-pods // 500) + 4 * -(-pods // 8 // 500)


def _ahead(whom: str, factor: int, theirs: float, ours: float) -> Claim:
    return Claim(f"ahead of a {whom}", f"{factor} x", f"{theirs / ours:.0f} x", theirs >= factor * ours)


def _at_most(what: str, value: float, most: float, unit: str) -> Claim:
    return Claim(what, f"at most {most:g} {unit}", f"{value:.{2 if unit == 's' else 0}f} {unit}", value <= most)
