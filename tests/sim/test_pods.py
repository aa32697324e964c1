"""Requests that go into pods: answered by whoever is registered, refused as a real cluster refuses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from meshguard.clock import WallClock
from meshguard.cluster.connect import open_cluster
from meshguard.cluster.kubernetes_cluster import KubernetesCluster
from meshguard.model.objects import Ref
from meshguard.ports import ClusterError, Forbidden, Gone
from meshguard.signals.asking import Silence, ask
from meshguard.signals.http1 import HttpConnection
from meshguard.signals.portforward import port_stream
from meshguard.sim.pods import Asked, Pod, Responder, Said
from tests.cluster.api_server import CALM
from tests.sim.asking import Client
from tests.sim.bed import SimBed, running

PORT, SILENT, BREAKING = 15014, 15099, 15098
LONG = b"x" * 300_000


class Model:
    """Every pod of istiod tells on one port who it is and what it was asked."""

    def responder(self, pod: Pod, port: int) -> Responder | None:
        if pod["metadata"]["namespace"] != "istio-system":
            return None

        async def answer(asked: Asked) -> Said:
            if port == BREAKING:
                raise ConnectionResetError
            if port == SILENT:
                await asyncio.Event().wait()
            if asked.path == "/long":
                return Said(LONG)
            if asked.path == "/wrong":
                return Said(b"what?", 404, "text/plain")
            told = {"pod": pod["metadata"]["name"], "path": asked.path, "query": dict(asked.query)}
            return Said(json.dumps({**told, "method": asked.method, "body": asked.body.decode()}).encode())

        return answer if port in (PORT, SILENT, BREAKING) else None


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimBed]:
    with running(tmp_path_factory.mktemp("sim"), lambda _: Model()) as bed:
        yield bed


@asynccontextmanager
async def connected(bed: SimBed, person: str = "") -> AsyncIterator[tuple[KubernetesCluster, Ref]]:
    context, config = f"testbed-as-{person}" if person else "testbed", str(bed.kubeconfig)
    async with await open_cluster("testbed", WallClock(), kubeconfig=config, patience=CALM) as admin:
        (pod,) = [found.ref for found in await admin.list("Pod", ["istio-system"])]
        async with await open_cluster(context, WallClock(), kubeconfig=config, patience=CALM) as cluster:
            yield cluster, pod


def test_requests_follow_each_other_on_one_forwarded_port(bed: SimBed) -> None:
    async def go() -> None:
        async with connected(bed) as (cluster, pod), port_stream(cluster, pod, PORT) as stream:
            connection = HttpConnection(stream)
            first = json.loads(await connection.get("/debug/syncz?a=1"))
            assert (first["pod"], first["path"], first["query"]) == (pod.name, "/debug/syncz", {"a": "1"})
            assert await connection.get("/long") == LONG
            assert json.loads(await connection.get("/version"))["method"] == "GET"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("port", "path", "reason"),
    [
        (PORT, "/wrong", "404 Not Found: what?"),
        (9, "/", "nothing listens on port 9 of the pod"),
        (BREAKING, "/", "the connection ended in the middle of an answer"),
        (SILENT, "/", "no answer within 0 s"),
    ],
)
def test_what_a_pod_does_not_answer_is_told(bed: SimBed, port: int, path: str, reason: str) -> None:
    async def go() -> str:
        async with connected(bed) as (cluster, pod):
            deadline = 0.3 if port == SILENT else 60
            answer = await ask(cluster, pod, port, path, bytes.decode, deadline_s=deadline)
            assert isinstance(answer, Silence), answer
            return answer.reason

    assert asyncio.run(go()) == reason


def test_a_pod_that_is_not_there(bed: SimBed) -> None:
    async def go() -> None:
        async with connected(bed) as (cluster, _):
            with pytest.raises(Gone):
                async with port_stream(cluster, Ref("Pod", "istio-system", "nobody"), PORT):
                    pass

    asyncio.run(go())


def test_a_viewer_forwards_no_port(bed: SimBed) -> None:
    async def go() -> None:
        async with connected(bed, "stranger") as (cluster, pod):
            with pytest.raises(Forbidden, match="rights to get and to create pods/portforward"):
                async with port_stream(cluster, pod, PORT):
                    pass

    asyncio.run(go())


def test_the_proxy_of_a_service_reaches_a_ready_pod(bed: SimBed) -> None:
    async def go() -> None:
        async with connected(bed) as (cluster, pod):
            told = await cluster.read_service("istio-system", "istiod:http-monitoring", "/api/v1/query?query=up")
            assert (told["pod"], told["path"], told["query"]) == (pod.name, "/api/v1/query", {"query": "up"})
            assert (await cluster.read_service("istio-system", "istiod:15014", "/"))["path"] == "/"
            with pytest.raises(ClusterError, match='endpoints "nobody" not found'):
                await cluster.read_service("istio-system", "nobody:http", "/")

    asyncio.run(go())


def test_without_a_model_every_connection_is_refused() -> None:
    client = Client("istio", "gateway")
    client.cluster.install("istiod")
    client.pass_time(10)
    for port, words in (
        ("15014", "error trying to reach service: dial tcp "),
        ("1", 'no service port 1 found for service "istiod"'),
        ("none", 'no endpoints available for service "istiod:none"'),
    ):
        answer = client.get(f"/api/v1/namespaces/istio-system/services/istiod:{port}/proxy/version")
        assert (answer.status, answer.doc["reason"]) == (503, "ServiceUnavailable")
        assert words in answer.message
    (pod,) = client.get("/api/v1/namespaces/istio-system/pods").doc["items"]
    path = f"/api/v1/namespaces/istio-system/pods/{pod['metadata']['name']}"
    assert client.get(f"{path}:80/proxy/").status == 503
    assert client.get(f"{path}:http:80/proxy/").message.startswith("invalid pod request")
    assert client.get(f"{path}/portforward", ports="80").message == "Upgrade request required"
