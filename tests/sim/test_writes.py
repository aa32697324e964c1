"""Writes: what is kept, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.asking import APPS, CORE, JSON_PATCH, STRATEGIC, Client, config_map, deployment

WEB = f"{APPS}/deployments/web"


@pytest.fixture
def client() -> Client:
    return Client("istio")


def test_a_new_object_gets_its_defaults_and_its_metadata(client: Client) -> None:
    created = client.post(f"{APPS}/deployments", deployment())
    assert created.status == 201
    assert created.doc["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    container = created.doc["spec"]["template"]["spec"]["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["resources"] == {}
    metadata = created.doc["metadata"]
    assert metadata["generation"] == 1
    assert metadata["namespace"] == "shop"
    assert metadata["uid"]
    assert client.get(WEB).doc == created.doc


def test_the_generation_counts_changes_of_the_spec_only(client: Client) -> None:
    client.post(f"{APPS}/deployments", deployment())
    labelled = client.patch(WEB, {"metadata": {"labels": {"team": "a"}}}).doc["metadata"]
    assert labelled["generation"] == 1
    assert client.patch(WEB, {"spec": {"replicas": 3}}).doc["metadata"]["generation"] == 2
    status = client.patch(f"{WEB}/status", {"status": {"readyReplicas": 2}, "spec": {"replicas": 9}}).doc
    assert status["metadata"]["generation"] == 2
    assert status["spec"]["replicas"] == 3
    assert status["status"]["readyReplicas"] == 2


def test_a_write_that_changes_nothing_keeps_the_version(client: Client) -> None:
    before = client.post(f"{APPS}/deployments", deployment()).doc["metadata"]["resourceVersion"]
    assert client.patch(WEB, {"spec": {"replicas": 1}}).doc["metadata"]["resourceVersion"] == before


def test_a_stale_version_is_a_conflict(client: Client) -> None:
    old = client.post(f"{APPS}/deployments", deployment()).doc
    client.patch(WEB, {"spec": {"replicas": 2}})
    answer = client.put(WEB, old)
    assert answer.status == 409
    assert "the object has been modified; please apply your changes to the latest version" in answer.message


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (deployment(replicas=-1), 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (deployment("Web!"), 422, 'metadata.name: Invalid value: "Web!": a lowercase RFC 1123 subdomain'),
        (
            deployment(selector={"matchLabels": {"app": "other"}}),
            422,
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        (
            deployment(replicas="many"),
            400,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(strategy={"type": "Sideways"}),
            422,
            'spec.strategy: Unsupported value: {"Type":"Sideways","RollingUpdate":null}: supported values: "Recreate"',
        ),
        ({**deployment(), "apiVersion": "apps/v2"}, 400, 'no kind "Deployment" is registered for version "apps/v2"'),
        (b"{", 400, "unexpected end of JSON input"),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_kubernetes(
    client: Client, body: Any, status: int, words: str
) -> None:
    answer = client.post(f"{APPS}/deployments", body)
    assert (answer.status, words in answer.message) == (status, True), answer.message
    assert client.get(f"{APPS}/deployments").doc["items"] == []


def test_unknown_fields_are_dropped_told_or_refused(client: Client) -> None:
    odd = deployment(replicaz=3)
    strict = client.post(f"{APPS}/deployments", odd, fieldValidation="Strict")
    assert strict.status == 400
    assert strict.message.endswith('strict decoding error: unknown field "spec.replicaz"')
    warned = client.post(f"{APPS}/deployments", odd)
    assert list(warned.response.warnings) == ['unknown field "spec.replicaz"']
    assert "replicaz" not in warned.doc["spec"]


def test_a_dry_run_leaves_nothing(client: Client) -> None:
    answer = client.post(f"{APPS}/deployments", deployment(), dryRun="All")
    assert answer.status == 201
    assert answer.doc["metadata"]["uid"]
    assert client.get(WEB).status == 404


def test_a_selector_may_not_change(client: Client) -> None:
    client.post(f"{APPS}/deployments", deployment())
    change = {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}
    answer = client.patch(WEB, {"spec": change})
    assert answer.status == 422
    assert 'spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable' in answer.message


def test_json_patches_guard_what_they_change(client: Client) -> None:
    uid = client.post(f"{CORE}/configmaps", config_map("a", mode="strict")).doc["metadata"]["uid"]
    path = f"{CORE}/configmaps/a"
    test = {"op": "test", "path": "/metadata/uid", "value": uid}
    absent = {"op": "test", "path": "/metadata/labels", "value": None}
    add = {"op": "add", "path": "/data/mode", "value": "permissive"}
    assert client.patch(path, [test, absent, add], JSON_PATCH).doc["data"] == {"mode": "permissive"}
    wrong = {"op": "test", "path": "/data/mode", "value": "strict"}
    refused = client.patch(path, [wrong, add], JSON_PATCH)
    assert (refused.status, refused.doc["reason"]) == (422, "Invalid")
    below_nothing = {"op": "test", "path": "/metadata/labels/team", "value": None}
    assert client.patch(path, [below_nothing], JSON_PATCH).status == 422


def test_strategic_patches_merge_containers_by_name(client: Client) -> None:
    client.post(f"{APPS}/deployments", deployment())
    sidecar = {"name": "sidecar", "image": "s:1"}
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop/app:2"}, sidecar]}}}}
    containers = client.patch(WEB, patch, STRATEGIC).doc["spec"]["template"]["spec"]["containers"]
    assert {c["name"]: c["image"] for c in containers} == {"app": "shop/app:2", "sidecar": "s:1"}
    gone = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "$patch": "delete"}]}}}}
    containers = client.patch(WEB, gone, STRATEGIC).doc["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == ["app"]


def test_custom_resources_are_pruned_and_validated(client: Client) -> None:
    path = "/apis/security.istio.io/v1/namespaces/shop/peerauthentications"
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default"},
        "spec": {"mtls": {"mode": "STRICT", "colour": "red"}},
    }
    assert client.post(path, policy).doc["spec"] == {"mtls": {"mode": "STRICT"}}
    answer = client.patch(f"{path}/default", {"spec": {"mtls": {"mode": "SOMETIMES"}}})
    assert answer.status == 422
    assert 'spec.mtls.mode: Unsupported value: "SOMETIMES"' in answer.message
    assert client.patch(f"{path}/default", {}, STRATEGIC).status == 415


def test_deletion_waits_for_finalizers(client: Client) -> None:
    body = config_map("kept")
    body["metadata"]["finalizers"] = ["example.com/wait"]
    client.post(f"{CORE}/configmaps", body)
    path = f"{CORE}/configmaps/kept"
    assert client.delete(path).doc["metadata"]["deletionTimestamp"]
    assert client.get(path).status == 200
    client.patch(path, {"metadata": {"finalizers": None}})
    assert client.get(path).status == 404


def test_deletion_of_another_object_of_that_name_is_a_conflict(client: Client) -> None:
    client.post(f"{CORE}/configmaps", config_map("a"))
    answer = client.delete(f"{CORE}/configmaps/a", {"preconditions": {"uid": "another"}})
    assert answer.status == 409
    assert "the UID in the precondition (another) does not match the UID in record" in answer.message


def test_nothing_is_created_where_there_is_no_namespace(client: Client) -> None:
    answer = client.post("/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    assert (answer.status, answer.message) == (404, 'namespaces "nowhere" not found')


def test_what_is_too_large_is_refused(client: Client) -> None:
    assert client.post(f"{CORE}/configmaps", config_map("a", big="x" * (3 * 1024 * 1024 + 1))).status == 413


def test_services_get_an_address_of_their_own(client: Client) -> None:
    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first, second = (client.post(f"{CORE}/services", service(name)).doc["spec"] for name in ("a", "b"))
    assert first["clusterIP"] != second["clusterIP"]
    headless = client.post(f"{CORE}/services", service("c", clusterIP="None")).doc["spec"]
    assert headless["clusterIPs"] == ["None"]
    taken = client.post(f"{CORE}/services", service("d", clusterIP=first["clusterIP"]))
    assert taken.status == 422
    assert "provided IP is already allocated" in taken.message
