"""Who was seen to call whom: what telemetry can say about the callers of a scope, and about whom it can say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshguard.model.objects import Ref


@dataclass(frozen=True)
class Observed:
    """The calls of some workloads over the time that their telemetry reaches back."""

    source: str
    """Where it was seen: `envoy stats`, `prometheus`."""
    calls: Mapping[Ref, frozenset[str]] = field(default_factory=dict)
    """For each workload the hosts (full names) that it was seen to call."""
    seconds: Mapping[Ref, float] = field(default_factory=dict)
    """For each of these workloads how far back that reaches, by the pod that knows least."""
    unseen: Mapping[Ref, str] = field(default_factory=dict)
    """Workloads of which nothing can be said, each with the reason: they may call everybody."""
