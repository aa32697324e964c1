"""Reads: lists page by page from one moment, watches without a gap, selectors, tables, and what is not served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sim.asking import CORE, TABLE, Client

SECRETS = f"{CORE}/secrets"


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"key": "dmFsdWU="}}


@pytest.fixture
def client() -> Client:
    client = Client("istio")
    for number in range(5):
        body = secret(f"item-{number}")
        body["metadata"]["labels"] = {"parity": "odd" if number % 2 else "even"}
        client.post(SECRETS, body)
    return client


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.doc["items"]]


def test_pages_show_one_moment(client: Client) -> None:
    first = client.get(SECRETS, limit="2")
    assert names(first) == ["item-0", "item-1"]
    assert first.doc["metadata"]["remainingItemCount"] == 3
    client.delete(f"{SECRETS}/item-3")
    client.post(SECRETS, secret("item-2-and-a-half"))
    rest = client.get(SECRETS, limit="9", continue_=first.doc["metadata"]["continue"])
    assert names(rest) == ["item-2", "item-3", "item-4"]
    assert rest.doc["metadata"]["resourceVersion"] == first.doc["metadata"]["resourceVersion"]


def test_a_page_of_a_forgotten_moment_is_gone(client: Client) -> None:
    token = client.get(SECRETS, limit="2").doc["metadata"]["continue"]
    client.post(SECRETS, secret("later"))
    client.cluster.store.compact()
    answer = client.get(SECRETS, limit="2", continue_=token)
    assert (answer.status, answer.doc["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("parity=odd", ["item-1", "item-3"]),
        ("parity!=odd", ["item-0", "item-2", "item-4"]),
        ("parity in (odd,even)", ["item-0", "item-1", "item-2", "item-3", "item-4"]),
        ("parity notin (even)", ["item-1", "item-3"]),
        ("!parity", []),
        ("parity", ["item-0", "item-1", "item-2", "item-3", "item-4"]),
    ],
)
def test_label_selectors(client: Client, selector: str, expected: list[str]) -> None:
    assert names(client.get(SECRETS, labelSelector=selector)) == expected


def test_field_selectors_that_a_kind_does_not_have_are_refused(client: Client) -> None:
    assert names(client.get(SECRETS, fieldSelector="metadata.name=item-3")) == ["item-3"]
    assert client.get(SECRETS, fieldSelector="data.key=value").status == 400


def test_what_is_not_served_is_answered_as_an_unknown_resource(client: Client) -> None:
    assert client.get("/apis/nowhere.io/v1/things").response.body == b"404 page not found\n"
    unknown = client.get("/api/v1/things")
    assert (unknown.status, unknown.message) == (404, "the server could not find the requested resource")
    assert client.post(f"{SECRETS}/item-1", {}).status == 405
    assert client.get(f"{SECRETS}/item-1/status").status == 404
    assert client.get(SECRETS, accept="application/vnd.kubernetes.protobuf").status == 406


def test_tables_and_metadata_are_the_server_s_work(client: Client) -> None:
    table = client.get(SECRETS, accept=TABLE).doc
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Type", "Data", "Age"]
    assert table["rows"][0]["cells"][:3] == ["item-0", "Opaque", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    only = client.get(SECRETS, accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").doc
    assert "data" not in only["items"][0]


def test_a_watch_continues_a_list_without_a_gap(client: Client) -> None:
    version = client.get(SECRETS).doc["metadata"]["resourceVersion"]
    client.patch(f"{SECRETS}/item-0", {"data": {"key": "b3RoZXI="}})
    client.delete(f"{SECRETS}/item-1")

    async def run() -> list[tuple[str, str]]:
        seen = []
        events = client.watch(SECRETS, resourceVersion=version)
        client.post(SECRETS, secret("item-9"))
        async for kind, doc in events:
            seen.append((kind, doc["metadata"]["name"]))
            if len(seen) == 3:
                break
        return seen

    assert asyncio.run(run()) == [("MODIFIED", "item-0"), ("DELETED", "item-1"), ("ADDED", "item-9")]


def test_what_ceases_to_be_selected_is_deleted_for_the_watcher(client: Client) -> None:
    version = client.get(SECRETS).doc["metadata"]["resourceVersion"]
    client.patch(f"{SECRETS}/item-1", {"metadata": {"labels": {"parity": "none"}}})
    client.patch(f"{SECRETS}/item-2", {"metadata": {"labels": {"parity": "odd"}}})

    async def run() -> list[tuple[str, str, str]]:
        seen = []
        async for kind, doc in client.watch(SECRETS, resourceVersion=version, labelSelector="parity=odd"):
            seen.append((kind, doc["metadata"]["name"], doc["metadata"]["labels"]["parity"]))
            if len(seen) == 2:
                break
        return seen

    assert asyncio.run(run()) == [("DELETED", "item-1", "odd"), ("ADDED", "item-2", "odd")]


def test_a_watch_from_a_forgotten_version_is_told_so(client: Client) -> None:
    version = client.get(SECRETS).doc["metadata"]["resourceVersion"]
    client.post(SECRETS, secret("later"))
    client.cluster.store.compact()

    async def run() -> tuple[str, Any]:
        return await anext(client.watch(SECRETS, resourceVersion=version))

    kind, status = asyncio.run(run())
    assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")


def test_a_watch_can_begin_with_everything_and_say_when_that_is_through(client: Client) -> None:
    async def run() -> list[str]:
        seen = []
        options = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
        async for kind, doc in client.watch(SECRETS, **options):
            seen.append(kind)
            if kind == "BOOKMARK":
                assert doc["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
                break
        return seen

    assert asyncio.run(run()) == ["ADDED"] * 5 + ["BOOKMARK"]
