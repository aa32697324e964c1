"""Who may do what: roles, impersonation, reviews, and the log of it all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshguard.sim.api.audit import Audit
from meshguard.sim.api.people import PEOPLE
from meshguard.sim.api.requests import Request
from tests.sim.asking import CORE, Client, config_map

AUTH = "/apis/authorization.k8s.io/v1"


@pytest.fixture
def client() -> Client:
    return Client("istio")


def access(verb: str, resource: str, group: str = "", namespace: str = "shop") -> dict[str, Any]:
    return {
        "spec": {"resourceAttributes": {"verb": verb, "resource": resource, "group": group, "namespace": namespace}}
    }


def test_a_viewer_sees_and_does_not_touch(client: Client) -> None:
    client.user = PEOPLE["viewer"]
    assert client.get(f"{CORE}/pods").status == 200
    refused = client.post(f"{CORE}/configmaps", config_map("a"))
    assert refused.status == 403
    assert refused.message == (
        'configmaps is forbidden: User "viewer" cannot create resource "configmaps" in API group "" '
        'in the namespace "shop"'
    )
    assert client.get(f"{CORE}/secrets").status == 403
    assert client.get("/apis").status == 200


def test_a_stranger_sees_nothing_but_what_everybody_sees(client: Client) -> None:
    client.user = PEOPLE["stranger"]
    assert client.get("/api/v1/nodes").message.endswith("at the cluster scope")
    assert client.get("/version").status == 200


def test_a_role_holds_in_its_namespace_only(client: Client) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get"]}
    client.post(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": [rule]})
    binding = {"roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "User", "name": "stranger"}]}
    client.post(f"{rbac}/rolebindings", {"metadata": {"name": "reader"}, **binding})
    client.post(f"{CORE}/configmaps", config_map("a"))
    client.user = PEOPLE["stranger"]
    assert client.get(f"{CORE}/configmaps/a").status == 200
    assert client.get(f"{CORE}/configmaps/b").status == 403
    assert client.get("/api/v1/namespaces/default/configmaps/a").status == 403


def test_reviews_answer_as_requests_would_be(client: Client) -> None:
    client.user = PEOPLE["viewer"]
    path = f"{AUTH}/selfsubjectaccessreviews"
    assert client.post(path, access("list", "pods")).doc["status"]["allowed"] is True
    assert client.post(path, access("delete", "pods")).doc["status"] == {"allowed": False}
    rules = client.post(f"{AUTH}/selfsubjectrulesreviews", {"spec": {"namespace": "shop"}}).doc["status"]
    assert rules["incomplete"] is False
    assert any("networking.istio.io" in rule["apiGroups"] for rule in rules["resourceRules"])


def ask_as(client: Client, *headers: tuple[str, str]) -> Any:
    request = Request("GET", f"{CORE}/pods", user=client.user, impersonation=headers)
    response = client.cluster.api.answer(request)
    return response.status, json.loads(response.body)


def test_impersonation_needs_a_right_of_its_own(client: Client) -> None:
    assert ask_as(client, ("Impersonate-User", "stranger"))[0] == 403
    assert ask_as(client, ("Impersonate-User", "jane"), ("Impersonate-Group", "system:masters"))[0] == 200
    client.user = PEOPLE["viewer"]
    status, doc = ask_as(client, ("Impersonate-User", "jane"))
    assert status == 403
    assert doc["message"].startswith('pods is forbidden: User "viewer" cannot impersonate-on:user-info:list resource')


def test_the_audit_log_tells_who_spoke_for_whom(client: Client) -> None:
    lines: list[str] = []
    client.cluster.api.audit = Audit(client.clock, lines.append)
    extra = ("Impersonate-Extra-meshguard-run", "20260301-030000-cafe")
    ask_as(client, ("Impersonate-User", "jane"), ("Impersonate-Group", "system:masters"), extra)
    (event,) = [json.loads(line) for line in lines]
    assert event["user"]["username"] == client.user.name
    assert event["impersonatedUser"]["username"] == "jane"
    assert event["impersonatedUser"]["extra"] == {"meshguard-run": ["20260301-030000-cafe"]}
    assert event["objectRef"] == {"resource": "pods", "namespace": "shop", "apiVersion": "v1"}
    assert event["responseStatus"]["code"] == 200
