"""The fleet as objects: what the model does is in the objects, what is done to the objects is in the model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from meshguard.model.objects import Ref
from meshguard.model.proxy import UpstreamTls
from meshguard.signals import admin
from meshguard.signals.inbound import inbound_listener, inbound_ports
from meshguard.signals.istiod import connected_proxies
from meshguard.signals.upstream import cluster_tls, cluster_types, endpoints
from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.clock import SimClock
from meshguard.sim.fleet.parts import Pod
from meshguard.sim.live.keeper import ADMIN, Keeper
from meshguard.sim.live.plane import PORT
from meshguard.sim.live.serve import build
from meshguard.sim.pods import Asked
from tests.sim_fleet.test_properties import small

PEERS = "peerauthentications.security.istio.io"


class Bed:
    """A small fleet on a cluster whose clock is moved by the test."""

    def __init__(self) -> None:
        clock = SimClock()
        clock.set(paused=True)
        self.cluster = SimulatedCluster(clock)
        self.cluster.seed("istio", "gateway")
        self.cluster.install("istiod")
        self.keeper: Keeper = build(self.cluster, small(1.0).with_(cut=1), 1)
        self.keeper.attach()
        self.fleet = self.keeper.fleet

    def pass_time(self, seconds: int) -> None:
        async def passing() -> None:
            for _ in range(seconds):
                self.cluster.clock.advance(1.0)
                self.cluster.work.settle()
                await asyncio.sleep(0)

        asyncio.run(passing())

    def doc(self, pod: Pod) -> Mapping[str, Any]:
        namespace, _, name = pod.key.partition("/")
        found = self.cluster.store.get("pods", namespace, name)
        assert found is not None
        return found.doc

    def ask(self, doc: Mapping[str, Any], port: int, path: str) -> Any:
        parts = urlsplit(path)
        responder = self.keeper.responder(doc, port)
        assert responder is not None

        async def said() -> bytes:
            return (await responder(Asked("GET", parts.path, parts.query))).body

        return asyncio.run(said())


@pytest.fixture
def bed() -> Bed:
    return Bed()


def test_every_pod_is_in_the_fleet_and_ready(bed: Bed) -> None:
    assert len(bed.fleet.pods) == 48
    assert all(pod.ready and pod.meshed for pod in bed.fleet.pods.values())
    assert len(bed.fleet.istiod.connected) == 48


def test_a_proxy_has_a_policy_only_after_the_push(bed: Bed) -> None:
    pod = next(iter(bed.fleet.pods.values()))

    def accepts() -> tuple[bool, bool]:
        port = inbound_ports(inbound_listener(json.loads(bed.ask(bed.doc(pod), ADMIN, admin.inbound_path()))))[8080]
        return port.plaintext, port.mutual_tls

    assert accepts() == (False, True)
    policy = {"metadata": {"name": "p", "namespace": pod.service.namespace}, "spec": {"mtls": {"mode": "PERMISSIVE"}}}
    bed.cluster.create("security.istio.io/v1", "PeerAuthentication", pod.service.namespace, policy)
    assert accepts() == (False, True)
    bed.pass_time(5)
    assert accepts() == (True, True)


def test_callers_have_the_endpoints_with_their_marks(bed: Bed) -> None:
    pod = next(iter(bed.fleet.pods.values()))
    clusters = json.loads(bed.ask(bed.doc(pod), ADMIN, admin.clusters_path([])))
    assert set(cluster_tls(clusters).values()) == {UpstreamTls.PER_ENDPOINT}
    known = endpoints(json.loads(bed.ask(bed.doc(pod), ADMIN, admin.endpoints_path([]))), cluster_types(clusters))
    host = f"{pod.service.host}:8080"
    assert len(known[host]) == 4
    assert all(endpoint.tls for endpoint in known[host])


def test_an_eviction_is_in_the_object_and_another_pod_comes(bed: Bed) -> None:
    pod = next(iter(bed.fleet.pods.values()))
    doc = bed.doc(pod)
    bed.fleet._evict(pod)
    status = bed.doc(pod)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert bed.keeper.responder(doc, ADMIN) is None
    bed.pass_time(30)
    assert len(bed.fleet.pods) == 48
    assert pod.key not in bed.fleet.pods


def test_a_killed_sidecar_is_told_as_the_kubelet_tells_it_and_runs_again(bed: Bed) -> None:
    pod = next(iter(bed.fleet.pods.values()))
    bed.fleet._kill(pod, "test")
    states = bed.doc(pod)["status"]["initContainerStatuses"]
    proxy = next(state for state in states if state["name"] == "istio-proxy")
    assert proxy["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert not pod.ready
    assert bed.keeper.responder(bed.doc(pod), ADMIN) is None
    bed.pass_time(20)
    assert pod.ready
    assert pod in bed.fleet.istiod.connected


def test_memory_pressure_is_a_condition_and_a_taint_for_as_long_as_it_lasts(bed: Bed) -> None:
    node = bed.fleet.nodes[0]

    def told() -> tuple[str, int]:
        found = bed.cluster.store.get("nodes", "", node.name)
        assert found is not None
        conditions = {c["type"]: c["status"] for c in found.doc["status"]["conditions"]}
        return conditions["MemoryPressure"], len(found.doc["spec"].get("taints", ()))

    bed.keeper.pressed(node, pressed=True)
    assert told() == ("True", 1)
    bed.keeper.pressed(node, pressed=False)
    assert told() == ("False", 0)


def test_istiod_lists_its_proxies(bed: Bed) -> None:
    entries = bed.cluster.store.all("pods", "istio-system")
    doc = next(e.doc for e in entries if e.doc["metadata"]["labels"].get("app") == "istiod")
    rows = list(connected_proxies(json.loads(bed.ask(doc, PORT, "/debug/syncz")), Ref("Pod", "", "")))
    assert len(rows) == 48
    assert all(not row.unacknowledged and not row.rejected for row in rows)
    assert b"pilot_proxy_convergence_time_count" in bed.ask(doc, PORT, "/metrics")
