"""A namespace leaves the mesh of a simulated cluster and comes back, by the same commands as on a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.objects import Write
from tests.cli.driver import Meshguard
from tests.sim.asking import deployment
from tests.sim.bed import running
from tests.sim.proxies import Proxies

TERMS = ("--context", "testbed", "--yes", "--reason", "practice")
WORKLOADS = ("shop-web", "shop-pay")


def furnish(cluster: SimulatedCluster) -> None:
    """Two meshed namespaces with a workload and its service each; the mesh is STRICT."""
    strict = {"metadata": {"name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}}
    cluster.create("security.istio.io/v1", "PeerAuthentication", "istio-system", strict)
    namespaces = cluster.registry.find("", "v1", "namespaces")
    assert namespaces
    for name in WORKLOADS:
        labels = {"istio-injection": "enabled", "kubernetes.io/metadata.name": name}
        cluster.objects.update(namespaces, "", name, lambda old, labels=labels: _labelled(old, labels), Write())  # type: ignore[misc]
        body = deployment("app", replicas=2)
        (container,) = body["spec"]["template"]["spec"]["containers"]
        container |= {"readinessProbe": {"tcpSocket": {"port": 8080}}, "ports": [{"containerPort": 8080}]}
        cluster.create("apps/v1", "Deployment", name, {"metadata": body["metadata"], "spec": body["spec"]})
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        spec = {"selector": {"app": "app"}, "ports": ports}
        cluster.create("v1", "Service", name, {"metadata": {"name": "app"}, "spec": spec})
    for _ in range(20):
        cluster.clock.advance(0.5)
        cluster.work.settle()


def _labelled(old: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    return {**old, "metadata": {**old["metadata"], "labels": labels}}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meshguard]:
    folder = tmp_path_factory.mktemp("sim")
    with running(folder, Proxies, furnish=furnish) as bed:
        yield Meshguard(bed.kubeconfig, folder / "state")


def seen(meshguard: Meshguard) -> dict[str, dict[str, Any]]:
    answer = meshguard("status", "-n", "shop-web", "-n", "shop-pay", "--context", "testbed", "-o", "json")
    assert answer.code == 0, answer.err
    return {row["namespace"]: row for row in json.loads(answer.out)["workloads"] if row["namespace"] in WORKLOADS}


def test_out_and_back(mesh: Meshguard) -> None:
    before = seen(mesh)
    assert {row["actual"] for row in before.values()} == {"in"}
    assert {(row["tls_mode"], row["source"]) for row in before.values()} == {("STRICT", "envoy")}
    planned = mesh("plan", "exit", "-n", "shop-web", "--context", "testbed")
    assert planned.code == 0, planned.out
    left = mesh("exit", "-n", "shop-web", *TERMS)
    assert left.code == 0, left.out + left.err
    (run,) = re.findall(r"^run (\S+);", left.err, re.MULTILINE)
    out = seen(mesh)
    assert (out["shop-web"]["actual"], out["shop-pay"]["actual"]) == ("out", "in")
    assert out["shop-pay"]["tls_mode"] == "PERMISSIVE"
    checked = mesh("verify", run, "--context", "testbed")
    assert checked.code == 0, checked.out + checked.err
    back = mesh("restore", run, *TERMS)
    assert back.code == 0, back.out + back.err
    assert seen(mesh) == before


def test_healthy_by_its_signals(mesh: Meshguard) -> None:
    answer = mesh("doctor", "--context", "testbed")
    assert answer.code == 0, answer.out + answer.err
