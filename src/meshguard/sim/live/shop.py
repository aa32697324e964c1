"""What a scenario's cluster holds at its beginning: nodes, namespaces in the mesh, workloads, services, a policy."""

from __future__ import annotations

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.kubelet import Pace
from meshguard.sim.api.status import Doc
from meshguard.sim.fleet.parts import Service
from meshguard.sim.fleet.scenario import Scenario

PORT = 8080
ROOT = "istio-system"
APP = "app"
_IMAGE = "shop/service:1"
_PACE = Pace(start_s=5.0, stop_s=3.0)
_TOLERATED = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
"""Whoever asks for memory is thought able to cope. Source: Kubernetes docs, taints and tolerations, QoS classes."""
_SETTLE_S, _LOOK_S = 120.0, 0.5


def build(cluster: SimulatedCluster, scenario: Scenario, services: list[Service]) -> None:
    """Create everything and let the clock pass until every pod is ready."""
    size = scenario.fleet
    for entry in cluster.store.all("nodes"):
        cluster.store.delete("nodes", entry.key)
    for number in range(1, size.nodes + 1):
        memory = {"cpu": f"{size.node_cores:g}", "memory": f"{size.node_memory_gib:g}Gi", "pods": "110"}
        cluster.put_node(f"node{number}", f"10.96.{number // 250}.{number % 250 + 1}", memory)
    _pass(cluster, 10.0)  # istiod answers before the first pod is made
    for namespace in sorted({service.namespace for service in services}):
        labels = {"istio-injection": "enabled"}
        cluster.create("v1", "Namespace", "", {"metadata": {"name": namespace, "labels": labels}})
    mtls = {"spec": {"mtls": {"mode": scenario.mtls}}, "metadata": {"name": "default", "namespace": ROOT}}
    cluster.create("security.istio.io/v1", "PeerAuthentication", ROOT, mtls)
    cluster.work.settle()
    for service in services:
        cluster.create("v1", "Service", service.namespace, _service(service))
        cluster.create("apps/v1", "Deployment", service.namespace, _deployment(service, scenario))
    wanted, passed = size.pods, 0.0
    while passed < _SETTLE_S:
        passed += _pass(cluster, _LOOK_S)
        if sum(is_ready(entry.doc) for entry in cluster.store.all("pods")) >= wanted + 1:
            break
    cluster.kubelet.pace = _PACE


def is_ready(pod: Doc) -> bool:
    """Whether a pod says so, and is not on its way out."""
    conditions = pod.get("status", {}).get("conditions", ())
    going = pod["metadata"].get("deletionTimestamp")
    return not going and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _pass(cluster: SimulatedCluster, seconds: float) -> float:
    for _ in range(int(seconds / _LOOK_S)):
        cluster.clock.advance(_LOOK_S)
        cluster.work.settle()
    return seconds


def _service(service: Service) -> Doc:
    port = {"name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP"}
    return {"metadata": {"name": service.name}, "spec": {"selector": {APP: service.name}, "ports": [port]}}


def _deployment(service: Service, scenario: Scenario) -> Doc:
    labels = {APP: service.name}
    sidecars = scenario.sidecars
    annotations = {"sidecar.istio.io/proxyMemory": f"{sidecars.request_mib:g}Mi"}
    if sidecars.limit_mib:
        annotations["sidecar.istio.io/proxyMemoryLimit"] = f"{sidecars.limit_mib:g}Mi"
    container = {
        "name": "app",
        "image": _IMAGE,
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 5},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
    }
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [container], "tolerations": [_TOLERATED]},
    }
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    spec = {
        "replicas": service.wanted,
        "selector": {"matchLabels": labels},
        "strategy": rolling,
        "template": template,
    }
    return {"metadata": {"name": service.name, "labels": labels}, "spec": spec}
