"""The fleet: fake pods in deployments in namespaces, each pod injected by the real istiod of a light cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.fleet.api import Api, Write
from testbed import light_mesh
from testbed.api import Testbed

REPLICAS = 8
DEPLOYMENTS_A_NAMESPACE = 10
CREATED_S = 900
_SIDECARS = "/api/v1/pods?labelSelector=security.istio.io%2FtlsMode%3Distio"
_LABELS = {"istio-injection": "enabled"}


@dataclass(frozen=True)
class Fleet:
    """So many pods."""

    pods: int

    @property
    def deployments(self) -> int:
        """Of eight pods each."""
        return max(1, self.pods // REPLICAS)

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """Namespace and name of every deployment."""
        return tuple(
            (f"fleet-{number // DEPLOYMENTS_A_NAMESPACE:03d}", f"web-{number % DEPLOYMENTS_A_NAMESPACE}")
            for number in range(self.deployments)
        )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Ten deployments in each."""
        return tuple(dict.fromkeys(namespace for namespace, _ in self.members))

    @property
    def size(self) -> int:
        """Pods that there really are."""
        return self.deployments * REPLICAS


def create(bed: Testbed, fleet: Fleet) -> float:
    """Create what is missing of the fleet, wait until every pod is ready, and return how long that took (seconds)."""
    began = time.monotonic()
    asyncio.run(_create(bed, fleet))
    return time.monotonic() - began


async def _create(bed: Testbed, fleet: Fleet) -> None:
    async with Api(bed.kubeconfig) as api:
        there = {item["metadata"]["name"] for item in (await api.get("/api/v1/namespaces", metadata=True))["items"]}
        spaces = [name for name in fleet.namespaces if name not in there]
        if "fleet-000" not in there:
            await api.write(_policy("istio-system"))
        await api.write_all(_namespace(name) for name in spaces)
        await api.write_all(_policy(name) for name in spaces)
        members = await api.get("/apis/apps/v1/deployments", metadata=True)
        known = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in members["items"] or ()}
        await api.write_all(w for m in fleet.members if m not in known for w in _workload(*m))
        async with asyncio.timeout(CREATED_S):
            while not await _ready(api, fleet):  # noqa: ASYNC110 - the API server tells, nobody else
                await asyncio.sleep(1)


async def _ready(api: Api, fleet: Fleet) -> bool:
    found = await api.get("/apis/apps/v1/deployments?limit=1000")
    ready = [item["status"].get("readyReplicas", 0) == REPLICAS for item in found["items"]]
    return ready.count(True) >= fleet.deployments


async def sidecars_left(api: Api) -> bool:
    """Tell whether a pod with a sidecar is left."""
    return bool((await api.get(f"{_SIDECARS}&limit=1", metadata=True)).get("items"))


async def sidecars(api: Api) -> int:
    """Count the pods with a sidecar."""
    return len((await api.get(_SIDECARS, metadata=True)).get("items") or ())


def _namespace(name: str) -> Write:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _LABELS}}
    return Write("POST", "/api/v1/namespaces", body)


def _policy(namespace: str) -> Write:
    return Write(
        "POST", f"/apis/security.istio.io/v1/namespaces/{namespace}/peerauthentications", light_mesh.strict(namespace)
    )


def _workload(namespace: str, name: str) -> Iterator[Write]:
    container = {
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
    }
    deployment = light_mesh.fake_deployment(namespace, name, container, replicas=REPLICAS)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    yield Write("POST", f"/api/v1/namespaces/{namespace}/services", service)
    yield Write("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)


def deployments(bed: Testbed) -> list[str]:
    """Names of the fleet's deployments that are there."""
    return asyncio.run(_deployments(bed))


async def _deployments(bed: Testbed) -> list[str]:
    async with Api(bed.kubeconfig) as api:
        found = (await api.get("/apis/apps/v1/deployments", metadata=True))["items"] or ()
    return [m["name"] for m in (item["metadata"] for item in found) if m["namespace"].startswith("fleet-")]
