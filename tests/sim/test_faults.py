"""What can go wrong between a client and the simulated API server, each fault as a client meets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import pytest

from meshguard.sim.api.faults import Faults, Trouble
from meshguard.sim.api.http import HttpFront, serving
from meshguard.sim.api.identity import SYSTEM
from tests.sim.asking import Client, config_map

MAPS = "/api/v1/namespaces/shop/configmaps"


@asynccontextmanager
async def disturbed(**faults: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, str, Client]]:
    client, trouble = Client(), Trouble()
    async with serving(HttpFront(client.cluster.api, lambda _: SYSTEM, trouble)) as port:
        trouble.switch(Faults(**faults))
        async with aiohttp.ClientSession() as session:
            yield session, f"http://127.0.0.1:{port}", client


def test_429_says_when_to_come_again() -> None:
    async def go() -> None:
        async with disturbed(too_many=1.0, retry_after_s=7) as (session, url, client):
            async with session.post(url + MAPS, json=config_map("a")) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
            assert client.get(f"{MAPS}/a").status == 404

    asyncio.run(go())


def test_some_server_errors_hide_that_a_write_was_made() -> None:
    async def go() -> None:
        async with disturbed(server_errors=1.0) as (session, url, client):
            made, told = 0, set()
            for number in range(60):
                async with session.post(url + MAPS, json=config_map(f"m{number}")) as answer:
                    told.add(answer.status)
                    made += client.get(f"{MAPS}/m{number}").status == 200
            assert told == {500, 503, 504}
            assert 0 < made < 30

    asyncio.run(go())


def test_some_resets_come_after_the_write() -> None:
    async def go() -> None:
        async with disturbed(resets=1.0) as (session, url, client):
            made = 0
            for number in range(60):
                with pytest.raises(aiohttp.ClientError):
                    await session.post(url + MAPS, json=config_map(f"m{number}"))
                made += client.get(f"{MAPS}/m{number}").status == 200
            assert 0 < made < 60

    asyncio.run(go())


def test_an_outage_answers_nobody_and_ends() -> None:
    async def go() -> None:
        client, trouble = Client(), Trouble()
        front = HttpFront(client.cluster.api, lambda _: SYSTEM, trouble)
        async with serving(front) as port, aiohttp.ClientSession() as session:
            trouble.switch(Faults(outage=True))
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{port}/version")
            trouble.switch(Faults())
            assert (await session.get(f"http://127.0.0.1:{port}/version")).status == 200

    asyncio.run(go())


def test_lost_events_are_lost_without_a_word() -> None:
    async def go() -> None:
        async with (
            disturbed(lost_events=0.5) as (session, url, client),
            session.get(f"{url}{MAPS}?watch=true&resourceVersion={client.cluster.store.version}") as watching,
        ):
            for number in range(40):
                client.post(MAPS, config_map(f"m{number}"))
            last = config_map("last")
            seen: set[str] = set()
            client.cluster.store.clock.now()
            reading = asyncio.create_task(_names(watching, seen))
            while "last" not in seen:
                client.post(MAPS, last)
                client.delete(f"{MAPS}/last")
                await asyncio.sleep(0)
            reading.cancel()
            assert 0 < len(seen - {"last"}) < 40

    asyncio.run(go())


async def _names(watching: aiohttp.ClientResponse, seen: set[str]) -> None:
    import json

    async for line in watching.content:
        seen.add(json.loads(line)["object"]["metadata"]["name"])


def test_a_seed_tells_the_same_story_whatever_the_order() -> None:
    def story(seed: int, order: Random) -> dict[str, list[object]]:
        trouble = Trouble()
        trouble.switch(Faults(too_many=0.2, server_errors=0.2, resets=0.2, latency_s=1, seed=seed))
        requests = [f"/{number}" for number in range(20)] * 3
        order.shuffle(requests)
        told: dict[str, list[object]] = {}
        for path in requests:
            fate = trouble.fate("POST", path)
            told.setdefault(path, []).append((fate.wait_s, str(fate.refusal), fate.carried_out, fate.breaks))
        return told

    assert story(1, Random(1)) == story(1, Random(2))
    assert story(1, Random(1)) != story(2, Random(1))


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"rain": 1}, "no such fault: rain; there are latency_s"),
        ({"resets": 1.5}, "resets must be from 0 to 1"),
        ({"resets": "often"}, "resets must be a number"),
        ({"latency_s": float("nan")}, "latency_s must be a number"),
        ({"outage": "yes"}, "outage must be true or false"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"resets": 0.6, "too_many": 0.6}, "more than 1 together"),
    ],
)
def test_faults_that_cannot_be(wanted: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Faults.of(wanted)
