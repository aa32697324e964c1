"""What a signal said: a number for each thing that it looked at, and what it could not look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one thing: a pod, a workload, an edge, a replica of istiod."""

    subject: str
    value: float
    note: str = ""
    """What a person needs besides the number: `OOMKilled in istio-proxy at 03:12:40Z`."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """All samples of one signal at one moment, or over one window."""

    samples: tuple[Sample, ...]
    source: str
    """Where it was seen: `istiod /metrics`, `envoy stats`, `kubernetes`, `prometheus`."""
    unseen: tuple[str, ...] = ()
    """What should have been looked at and did not answer, each with its reason: unknown, not healthy."""
    left_out: tuple[str, ...] = ()
    """What was not measured for a good reason: too few requests, no memory limit."""
