"""What a run of the fleet leaves: a sample each second, what happened, and a digest, the same for the same seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from meshguard.sim.fleet.parts import Happening


@dataclass(frozen=True, slots=True)
class Sample:
    """One second."""

    at: float
    load: float
    requests: int
    failed: int
    p99_s: float
    lost: float
    """Dollars, since the beginning."""
    meshed: int
    unmeshed: int
    ready: int
    evicted: int
    """Pods, since the beginning."""
    killed: int
    """Sidecars, since the beginning."""
    pressed_nodes: int
    evicting_nodes: int
    """Nodes that evicted somebody, since the beginning."""
    busiest_mib: float
    mean_mib: float
    node_mib: float
    """Memory of a node."""
    pushes: int
    sends: int
    queued: int
    convergence_s: float
    istiod_mib: float
    sidecar_mib: float
    """The mean."""


@dataclass
class Record:
    """Everything that a run leaves."""

    samples: list[Sample] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    requests: int = 0
    succeeded: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    node_mib: dict[str, list[float]] = field(default_factory=dict)
    """Used memory of each node, once every ten seconds."""

    def first(self, kind: str) -> Happening | None:
        """The first of a kind."""
        return next((h for h in self.happenings if h.kind == kind), None)

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "samples": [asdict(s) for s in self.samples],
            "happenings": [asdict(h) for h in self.happenings],
            "requests": {"in": self.requests, "succeeded": self.succeeded, "failed": dict(sorted(self.failed.items()))},
            "nodeMiB": self.node_mib,
        }

    def digest(self) -> str:
        """The same for the same seed."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()
