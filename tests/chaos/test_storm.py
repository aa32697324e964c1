"""A client of the storm subscribes and acknowledges as an Envoy does; a real gRPC server tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    Rds,
)
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from google.protobuf.any_pb2 import Any as Packed

from meshguard.chaos.storm.clients import fleet
from meshguard.chaos.storm.subscriber import CDS, EDS, LDS, RDS, NamesOnce, Subscriber, node

STATIC = Cluster(name="local", type=Cluster.STATIC)
DYNAMIC = Cluster(name="outbound|80||web", type=Cluster.EDS)
DYNAMIC.eds_cluster_config.service_name = "outbound|80||web.shop"


def packed(message: Any) -> Packed:
    out = Packed()
    out.Pack(message)
    return out


def listener() -> Listener:
    filter_ = Filter(name="http")
    filter_.typed_config.Pack(HttpConnectionManager(rds=Rds(route_config_name="80")))
    return Listener(name="l", filter_chains=[FilterChain(filters=[filter_])])


def response(kind: str, version: str, nonce: str, *resources: Any) -> DiscoveryResponse:
    return DiscoveryResponse(type_url=kind, version_info=version, nonce=nonce, resources=[packed(r) for r in resources])


def said(requests: Any) -> list[tuple[str, str, str, list[str]]]:
    return [(r.type_url, r.version_info, r.response_nonce, list(r.resource_names)) for r in requests]


def test_answers_are_acknowledged_and_followed_by_what_they_name() -> None:
    client = Subscriber(node(1, "load", "1.28.0"), NamesOnce())
    assert client.hello().node.id == "sidecar~198.18.0.2~meshguard-storm-1.load~load.svc.cluster.local"
    assert said(client.heard(response(CDS, "v1", "n1", STATIC, DYNAMIC))) == [
        (CDS, "v1", "n1", []),
        (EDS, "", "", ["outbound|80||web.shop"]),
        (LDS, "", "", []),
    ]
    assert said(client.heard(response(LDS, "v1", "n2", listener()))) == [
        (LDS, "v1", "n2", []),
        (RDS, "", "", ["80"]),
    ]
    assert not client.configured
    client.heard(response(EDS, "v1", "n3"))
    client.heard(response(RDS, "v1", "n4"))
    assert client.configured
    assert said(client.heard(response(CDS, "v2", "n5", STATIC, DYNAMIC))) == [(CDS, "v2", "n5", [])]
    assert (client.messages["cds"], client.messages["eds"]) == (2, 1)


class Istiod(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    """Answers each new subscription once, and remembers acknowledgements; the first stream is broken off."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.all_acknowledged = asyncio.Event()
        self.streams = 0

    async def StreamAggregatedResources(  # noqa: N802
        self, requests: AsyncIterator[DiscoveryRequest], context: Any
    ) -> AsyncIterator[DiscoveryResponse]:
        self.streams += 1
        if self.streams == 1:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many")
        answers = {CDS: [DYNAMIC], EDS: [], LDS: [listener()], RDS: []}
        async for request in requests:
            if request.response_nonce:
                self.acknowledged += request.response_nonce == f"nonce-{request.type_url}"
                if self.acknowledged == 20:
                    self.all_acknowledged.set()
            else:
                yield response(request.type_url, "v1", f"nonce-{request.type_url}", *answers[request.type_url])


def test_a_fleet_connects_and_comes_back_when_istiod_refuses_a_stream() -> None:
    async def scenario() -> None:
        istiod, server = Istiod(), grpc.aio.server()
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(istiod, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()

        async def soon(_seconds: float) -> None:
            await asyncio.sleep(0)

        async with fleet(f"127.0.0.1:{port}", 5, "load", "1.28.0", soon) as held, asyncio.timeout(30):
            await istiod.all_acknowledged.wait()
            assert held.configured == 5
            assert held.broken == {"resource_exhausted": 1}
            assert held.bytes()["cds"] == 5 * len(packed(DYNAMIC).value)
        await server.stop(None)

    asyncio.run(scenario())
