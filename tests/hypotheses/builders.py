"""What the tests of hypotheses share: a world whose pods answer by table, and a probe with sensible fields."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.hypotheses.schema import Hypothesis
from meshguard.mesh.istio_sidecar.membership import carries_proxy
from meshguard.model.measurement import Measurement
from meshguard.signals.measure.measurer import Measurer
from meshguard.signals.measure.world import World
from meshguard.signals.prometheus import Prometheus
from meshguard.signals.reader import EnvoySignals
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.tunnels import Answer, FakeTunnels

BEGINNING = "2026-03-01T03:00:00Z"


def probe(signal: str = "pods.oom", **fields: Any) -> dict[str, Any]:
    return {
        "name": f"{signal} is well",
        "signal": signal,
        "comparison": "at-most",
        "threshold": 0,
        "unit": CATALOGUE[signal].unit.value if signal in CATALOGUE else "number",
        "why": "a reason",
        "source": "a source",
        **fields,
    }


def hypothesis(*probes: Mapping[str, Any], **fields: Any) -> Hypothesis:
    return Hypothesis.model_validate({"name": "test", "description": "a test", "probes": list(probes), **fields})


def pod(name: str, namespace: str = "shop", *, ready: bool = True, **parts: Any) -> dict[str, Any]:
    """A meshed pod of Deployment `app`; `istiod...` is a pod of the control plane."""
    istiod = name.startswith("istiod")
    containers = (
        [{"name": "discovery"}] if istiod else [{"name": "app"}, {"name": "istio-proxy", **parts.pop("proxy", {})}]
    )
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "istio-system" if istiod else namespace,
            "labels": {"app": "istiod", "istio.io/rev": "default"} if istiod else {"app": "app"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "app-5d9c", "controller": True}],
        },
        "spec": {"containers": containers, **parts.pop("spec", {})},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **parts.pop("status", {}),
        },
    }


def world(
    *docs: Mapping[str, Any],
    pages: Mapping[str, Mapping[str, Answer]] | None = None,
    prometheus: Prometheus | None = None,
) -> World:
    tunnels = FakeTunnels(pages or {})
    return World(FakeCluster(*docs), EnvoySignals(tunnels), tunnels, FakeClock(), carries_proxy, prometheus)


def measure(inside: World, signal: str, **args: Any) -> Measurement:
    return asyncio.run(Measurer(inside).measure(signal, CATALOGUE[signal].complete(args)))


def values(measurement: Measurement) -> dict[str, float]:
    return {sample.subject: sample.value for sample in measurement.samples}
