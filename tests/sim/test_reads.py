"""Reads: lists page by page from one moment, watches without a gap, selectors, tables, and what is not served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sim.asking import CORE, TABLE, Client, config_map

MAPS = f"{CORE}/configmaps"


@pytest.fixture
def client() -> Client:
    client = Client("istio")
    for number in range(5):
        body = config_map(f"map-{number}", key="value")
        body["metadata"]["labels"] = {"parity": "odd" if number % 2 else "even"}
        client.post(MAPS, body)
    return client


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.doc["items"]]


def test_pages_show_one_moment(client: Client) -> None:
    first = client.get(MAPS, limit="2")
    assert names(first) == ["map-0", "map-1"]
    assert first.doc["metadata"]["remainingItemCount"] == 3
    client.delete(f"{MAPS}/map-3")
    client.post(MAPS, config_map("map-2-and-a-half"))
    rest = client.get(MAPS, limit="9", continue_=first.doc["metadata"]["continue"])
    assert names(rest) == ["map-2", "map-3", "map-4"]
    assert rest.doc["metadata"]["resourceVersion"] == first.doc["metadata"]["resourceVersion"]


def test_a_page_of_a_forgotten_moment_is_gone(client: Client) -> None:
    token = client.get(MAPS, limit="2").doc["metadata"]["continue"]
    client.post(MAPS, config_map("later"))
    client.cluster.store.compact()
    answer = client.get(MAPS, limit="2", continue_=token)
    assert (answer.status, answer.doc["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("parity=odd", ["map-1", "map-3"]),
        ("parity!=odd", ["map-0", "map-2", "map-4"]),
        ("parity in (odd,even)", ["map-0", "map-1", "map-2", "map-3", "map-4"]),
        ("parity notin (even)", ["map-1", "map-3"]),
        ("!parity", []),
        ("parity", ["map-0", "map-1", "map-2", "map-3", "map-4"]),
    ],
)
def test_label_selectors(client: Client, selector: str, expected: list[str]) -> None:
    assert names(client.get(MAPS, labelSelector=selector)) == expected


def test_field_selectors_that_a_kind_does_not_have_are_refused(client: Client) -> None:
    assert names(client.get(MAPS, fieldSelector="metadata.name=map-3")) == ["map-3"]
    assert client.get(MAPS, fieldSelector="data.key=value").status == 400


def test_what_is_not_served_is_answered_as_an_unknown_resource(client: Client) -> None:
    assert client.get("/apis/nowhere.io/v1/things").response.body == b"404 page not found\n"
    unknown = client.get("/api/v1/things")
    assert (unknown.status, unknown.message) == (404, "the server could not find the requested resource")
    assert client.post(f"{MAPS}/map-1", {}).status == 405
    assert client.get(f"{MAPS}/map-1/status").status == 404
    assert client.get(MAPS, accept="application/vnd.kubernetes.protobuf").status == 406


def test_tables_and_metadata_are_the_server_s_work(client: Client) -> None:
    table = client.get(MAPS, accept=TABLE).doc
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["map-0", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    only = client.get(MAPS, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").doc
    assert "data" not in only["items"][0]


def test_a_watch_continues_a_list_without_a_gap(client: Client) -> None:
    version = client.get(MAPS).doc["metadata"]["resourceVersion"]
    client.patch(f"{MAPS}/map-0", {"data": {"key": "other"}})
    client.delete(f"{MAPS}/map-1")

    async def run() -> list[tuple[str, str]]:
        seen = []
        events = client.watch(MAPS, resourceVersion=version)
        client.post(MAPS, config_map("map-9"))
        async for kind, doc in events:
            seen.append((kind, doc["metadata"]["name"]))
            if len(seen) == 3:
                break
        return seen

    assert asyncio.run(run()) == [("MODIFIED", "map-0"), ("DELETED", "map-1"), ("ADDED", "map-9")]


def test_what_ceases_to_be_selected_is_deleted_for_the_watcher(client: Client) -> None:
    version = client.get(MAPS).doc["metadata"]["resourceVersion"]
    client.patch(f"{MAPS}/map-1", {"metadata": {"labels": {"parity": "none"}}})
    client.patch(f"{MAPS}/map-2", {"metadata": {"labels": {"parity": "odd"}}})

    async def run() -> list[tuple[str, str, str]]:
        seen = []
        async for kind, doc in client.watch(MAPS, resourceVersion=version, labelSelector="parity=odd"):
            seen.append((kind, doc["metadata"]["name"], doc["metadata"]["labels"]["parity"]))
            if len(seen) == 2:
                break
        return seen

    assert asyncio.run(run()) == [("DELETED", "map-1", "odd"), ("ADDED", "map-2", "odd")]


def test_a_watch_from_a_forgotten_version_is_told_so(client: Client) -> None:
    version = client.get(MAPS).doc["metadata"]["resourceVersion"]
    client.post(MAPS, config_map("later"))
    client.cluster.store.compact()

    async def run() -> tuple[str, Any]:
        return await anext(client.watch(MAPS, resourceVersion=version))

    kind, status = asyncio.run(run())
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")


def test_a_watch_can_begin_with_everything_and_say_when_that_is_through(client: Client) -> None:
    async def run() -> list[str]:
        seen = []
        options = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
        async for kind, doc in client.watch(MAPS, **options):
            seen.append(kind)
            if kind == "BOOKMARK":
                assert doc["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
                break
        return seen

    assert asyncio.run(run()) == ["ADDED"] * 5 + ["BOOKMARK"]
