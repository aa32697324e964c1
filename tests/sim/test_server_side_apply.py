"""Server-side apply: who owns a field may change it; others are refused, or force it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.asking import APPS, CORE, Answer, Client, config_map, deployment

APPLY = "application/apply-patch+yaml"


@pytest.fixture
def client() -> Client:
    return Client()


def apply(client: Client, body: Any, manager: str, path: str = f"{CORE}/configmaps/a", **query: str) -> Answer:
    return client.patch(path, body, APPLY, fieldManager=manager, **query)


def test_apply_creates_changes_and_leaves_alone(client: Client) -> None:
    assert apply(client, config_map("a", one="1", two="2"), "us").status == 201
    again = apply(client, config_map("a", one="1", two="2"), "us")
    assert again.status == 200
    version = again.doc["metadata"]["resourceVersion"]
    assert apply(client, config_map("a", one="1", two="2"), "us").doc["metadata"]["resourceVersion"] == version


def test_what_is_applied_no_more_goes_unless_somebody_else_has_it(client: Client) -> None:
    apply(client, config_map("a", one="1", two="2", three="3"), "us")
    apply(client, config_map("a", two="2"), "them")
    answer = apply(client, config_map("a", one="1"), "us")
    assert answer.doc["data"] == {"one": "1", "two": "2"}


def test_a_field_of_somebody_else_is_a_conflict_unless_forced(client: Client) -> None:
    apply(client, config_map("a", one="1"), "us")
    refused = apply(client, config_map("a", one="other"), "them")
    assert refused.status == 409
    assert refused.message == 'Apply failed with 1 conflict: conflict with "us": .data.one'
    forced = apply(client, config_map("a", one="other"), "them", force="true")
    assert forced.doc["data"] == {"one": "other"}
    assert [entry["manager"] for entry in forced.doc["metadata"]["managedFields"]] == ["them"]


def test_an_edit_takes_the_field_away_from_whoever_applied_it(client: Client) -> None:
    apply(client, config_map("a", one="1"), "us")
    client.patch(f"{CORE}/configmaps/a", {"data": {"one": "edited"}}, fieldManager="kubectl-edit")
    refused = apply(client, config_map("a", one="1"), "us")
    assert refused.message == 'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.one'


def test_containers_are_owned_by_name(client: Client) -> None:
    path = f"{APPS}/deployments/web"
    apply(client, deployment(), "us", path)
    sidecar = deployment()
    sidecar["spec"] = {"template": {"spec": {"containers": [{"name": "extra", "image": "e:1"}]}}}
    both = apply(client, sidecar, "them", path).doc["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in both] == ["app", "extra"]
    sidecar["spec"] = {}
    left = apply(client, sidecar, "them", path).doc["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in left] == ["app"]


def test_apply_needs_a_manager(client: Client) -> None:
    answer = client.patch(f"{CORE}/configmaps/a", config_map("a"), APPLY)
    assert (answer.status, "fieldManager: Required value: is required for apply patch" in answer.message) == (422, True)
