"""Holds the streams of many clients open, in one process, over few connections."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from envoy.service.discovery.v3.ads_pb2_grpc import AggregatedDiscoveryServiceStub

from meshguard.chaos.storm.subscriber import NamesOnce, Subscriber, node

_CHANNELS = 48
_UNLIMITED = -1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


@dataclass
class Fleet:
    """All clients, and what became of their streams."""

    clients: list[Subscriber]
    broken: Counter[str] = field(default_factory=Counter)
    """Streams that ended or were refused, by gRPC's status; each is opened again, as a proxy does it."""

    @property
    def configured(self) -> int:
        """Clients that have everything that they asked for."""
        return sum(client.configured for client in self.clients)

    def bytes(self) -> Counter[str]:
        """Bytes received by all, by kind."""
        return _sum(client.bytes for client in self.clients)

    def messages(self) -> Counter[str]:
        """Answers received by all, by kind."""
        return _sum(client.messages for client in self.clients)


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


@asynccontextmanager
async def fleet(
    address: str, count: int, namespace: str, version: str, sleep: Callable[[float], Awaitable[None]]
) -> AsyncIterator[Fleet]:
    """Open `count` streams to istiod's plaintext port and keep them open, until the block is left."""
    options = [
        ("grpc.max_receive_message_length", _UNLIMITED),
        ("grpc.use_local_subchannel_pool", 1),  # else equal channels share one connection
    ]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(min(_CHANNELS, count))]
    names = NamesOnce()
    held = Fleet([Subscriber(node(number, namespace, version), names) for number in range(count)])
    tasks = [
        asyncio.create_task(_stay_connected(held, number, channels[number % len(channels)], sleep))
        for number in range(count)
    ]
    try:
        yield held
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in channels))


async def _stay_connected(
    held: Fleet, number: int, channel: grpc.aio.Channel, sleep: Callable[[float], Awaitable[None]]
) -> None:
    pause = _FIRST_PAUSE_S
    while True:
        client = held.clients[number]
        try:
            await _stream(client, channel)
            held.broken["ended"] += 1
        except grpc.aio.AioRpcError as error:
            held.broken[error.code().name.lower()] += 1
        await sleep(pause * random.random())  # as Envoy does, so that the refused do not all come back at once
        pause = min(pause * 2, _LONGEST_PAUSE_S)
        held.clients[number] = Subscriber(client.node, client.names, client.bytes, client.messages)


async def _stream(client: Subscriber, channel: grpc.aio.Channel) -> None:
    call = AggregatedDiscoveryServiceStub(channel).StreamAggregatedResources()
    await call.write(client.hello())
    async for response in call:
        for request in client.heard(response):
            await call.write(request)
