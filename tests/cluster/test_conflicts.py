"""Other people write to the same objects: what is theirs stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshguard.model.change import ABSENT, Change
from meshguard.model.objects import Ref
from meshguard.ports import Gone, Rejected, Unreachable, WriteConflict
from tests.cluster.api_server import ApiServer, connected, namespace, status

SHOP = Ref("Namespace", "", "shop")
PATH = "/api/v1/namespaces/shop"
OUT = Change(("metadata", "labels", "istio-injection"), "enabled", "disabled")
ENABLED = namespace("shop", labels={"istio-injection": "enabled"})
DISABLED = namespace("shop", labels={"istio-injection": "disabled"})
TEST_FAILED = status(422, "the server rejected our request due to an error in our request")


def run_change(
    tmp_path: Path, server: ApiServer, *changes: Change, look_first: bool = True, uid: str = "uid-shop"
) -> None:
    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            if look_first:
                await cluster.get(SHOP)
            await cluster.change(SHOP, uid, changes)

    asyncio.run(scenario())


def test_a_change_of_an_object_that_was_read_is_one_request(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", ENABLED).on(f"PATCH {PATH}", DISABLED)
    run_change(tmp_path, server, OUT)
    assert server.requests() == [f"GET {PATH}", f"PATCH {PATH}"]
    patch = server.seen[-1]
    assert patch.headers["Content-Type"] == "application/json-patch+json"
    assert patch.query["fieldManager"] == "meshguard"
    assert patch.body == [
        {"op": "test", "path": "/metadata/uid", "value": "uid-shop"},
        {"op": "test", "path": "/metadata/labels/istio-injection", "value": "enabled"},
        {"op": "add", "path": "/metadata/labels/istio-injection", "value": "disabled"},
    ]


def test_a_change_that_is_made_already_is_looked_at_and_not_sent(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", DISABLED)
    run_change(tmp_path, server, OUT)
    assert server.requests("PATCH") == []


def test_a_field_with_a_third_value_is_a_conflict_and_stays(tmp_path: Path) -> None:
    theirs = namespace("shop", labels={"istio-injection": "perhaps"})
    server = ApiServer().on(f"GET {PATH}", ENABLED, theirs).on(f"PATCH {PATH}", TEST_FAILED)
    with pytest.raises(WriteConflict) as caught:
        run_change(tmp_path, server, OUT)
    assert (caught.value.expected, caught.value.found) == ("enabled", "perhaps")
    assert len(server.requests("PATCH")) == 1


def test_a_stale_view_is_refreshed_before_anything_is_called_a_conflict(tmp_path: Path) -> None:
    stale = namespace("shop", labels={"istio-injection": "perhaps"})
    server = ApiServer().on(f"GET {PATH}", stale, ENABLED).on(f"PATCH {PATH}", DISABLED)
    run_change(tmp_path, server, OUT)
    assert server.requests() == [f"GET {PATH}", f"GET {PATH}", f"PATCH {PATH}"]


def test_an_edit_elsewhere_in_the_object_is_no_conflict(tmp_path: Path) -> None:
    add = Change(("metadata", "annotations", "meshguard.dev/run"), ABSENT, "R")
    elsewhere = namespace("shop", labels={"istio-injection": "enabled"}, annotations={"theirs": "1"})
    server = ApiServer().on(f"GET {PATH}", ENABLED, elsewhere).on(f"PATCH {PATH}", TEST_FAILED, DISABLED)
    run_change(tmp_path, server, add)
    first, second = (seen.body for seen in server.seen if seen.method == "PATCH")
    assert {"op": "add", "path": "/metadata/annotations", "value": {}} in first
    assert {"op": "add", "path": "/metadata/annotations", "value": {}} not in second


def test_an_object_that_breaks_its_schema_is_refused_with_the_servers_words(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", ENABLED).on(f"PATCH {PATH}", status(422, "metadata.labels: Invalid value"))
    with pytest.raises(Rejected, match="Invalid value"):
        run_change(tmp_path, server, OUT)
    assert len(server.requests("PATCH")) == 1


def test_a_namesake_is_not_touched(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", ENABLED)
    with pytest.raises(Gone, match="created again"):
        run_change(tmp_path, server, OUT, uid="uid-of-the-old-one")
    assert server.requests("PATCH") == []


def test_an_object_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(Gone):
        run_change(tmp_path, ApiServer(), OUT, look_first=False)


def test_a_fight_is_given_up(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", ENABLED).on(f"PATCH {PATH}", status(409, "the object has been modified"))
    with pytest.raises(Unreachable, match="could not be changed in 6 attempts: the object has been modified"):
        run_change(tmp_path, server, OUT)
    assert len(server.requests("PATCH")) == 6


def test_delete_is_bound_to_the_uid(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", ENABLED)
    server.on(
        f"DELETE {PATH}",
        status(409, "the UID in the precondition does not match"),
        namespace("shop"),
        status(404, "gone"),
    )

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            with pytest.raises(WriteConflict):
                await cluster.delete(SHOP, "uid-of-the-old-one")
            await cluster.delete(SHOP, "uid-shop")
            await cluster.delete(SHOP, "uid-shop")

    asyncio.run(scenario())
    assert server.seen[0].body["preconditions"] == {"uid": "uid-of-the-old-one"}


def test_our_records_bring_their_namespace_with_them(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/meshguard-system/configmaps/run"
    server = ApiServer().on(f"PATCH {path}", status(404, 'namespaces "meshguard-system" not found'), {"metadata": {}})
    server.on("PATCH /api/v1/namespaces/meshguard-system", {"metadata": {}})

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            await cluster.put_config_map(Ref("ConfigMap", "meshguard-system", "run"), {"a": "b"}, {"l": "v"})

    asyncio.run(scenario())
    assert server.requests() == [f"PATCH {path}", "PATCH /api/v1/namespaces/meshguard-system", f"PATCH {path}"]
    assert server.seen[-1].query == {"fieldManager": "meshguard", "force": "true"}
    assert server.seen[-1].body["data"] == {"a": "b"}


RECORD = "/api/v1/namespaces/meshguard-system/configmaps/run"
AT_THE_SAME_MOMENT = status(409, "Operation cannot be fulfilled: the object has been modified", "Conflict")


def put_against(tmp_path: Path, times: int) -> int:
    """Write a record while others write it so many times; return how often it was tried."""
    server = ApiServer().on(f"PATCH {RECORD}", *[AT_THE_SAME_MOMENT] * times, {"kind": "ConfigMap"})

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            await cluster.put_config_map(Ref("ConfigMap", "meshguard-system", "run"), {"a": "b"}, {"l": "v"})

    asyncio.run(scenario())
    return len(server.requests("PATCH"))


@pytest.mark.parametrize("times", [1, 3])
def test_a_record_that_somebody_writes_at_the_same_moment_is_written_again(tmp_path: Path, times: int) -> None:
    assert put_against(tmp_path, times) == times + 1


def test_a_record_that_is_never_free_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"run could not be written in 6 attempts: .* has been modified"):
        put_against(tmp_path, 99)
