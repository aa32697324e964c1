"""A simulated cluster with a small STRICT mesh: two namespaces that call each other, with a workload each."""

from __future__ import annotations

from typing import Any

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.objects import Write
from tests.sim.asking import deployment

LEAVING, STAYING = "shop-web", "shop-pay"
BOTH = (LEAVING, STAYING)


def furnish(cluster: SimulatedCluster) -> None:
    """Mesh both namespaces, which exist already, and wait until everything is ready."""
    strict = {"metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}}
    cluster.create("security.istio.io/v1", "PeerAuthentication", "istio-system", strict)
    namespaces = cluster.registry.find("", "v1", "namespaces")
    assert namespaces
    for name in BOTH:
        labels = {"istio-injection": "enabled", "kubernetes.io/metadata.name": name}

        def label(old: dict[str, Any], labels: dict[str, str] = labels) -> dict[str, Any]:
            return {**old, "metadata": {**old["metadata"], "labels": labels}}

        cluster.objects.update(namespaces, "", name, label, Write())
        body = deployment("app", replicas=2)
        (container,) = body["spec"]["template"]["spec"]["containers"]
        container |= {"readinessProbe": {"tcpSocket": {"port": 8080}}, "ports": [{"containerPort": 8080}]}
        cluster.create("apps/v1", "Deployment", name, {"metadata": body["metadata"], "spec": body["spec"]})
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        cluster.create(
            "v1", "Service", name, {"metadata": {"name": "app"}, "spec": {"selector": {"app": "app"}, "ports": ports}}
        )
    for _ in range(20):
        cluster.clock.advance(0.5)
        cluster.work.settle()
