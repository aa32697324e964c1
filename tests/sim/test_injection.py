"""The webhook of a simulated istiod, from its configuration in the store to the containers of a pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sim.asking import CORE, Client

INJECT, REVISION = "sidecar.istio.io/inject", "istio.io/rev"


@pytest.fixture
def client() -> Client:
    client = Client("istio")
    client.cluster.install("istiod")
    client.pass_time(5)
    return client


def labelled(client: Client, **labels: str) -> None:
    given = {key.replace("_", "-"): value for key, value in labels.items()}
    client.patch("/api/v1/namespaces/shop", {"metadata": {"labels": given}})


def pod(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "p", "labels": labels or {}, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "x:1"}], **spec}}


def containers(answer: Any) -> list[str]:
    spec = answer.doc["spec"]
    return [c["name"] for c in (*spec.get("initContainers", ()), *spec["containers"])]


@pytest.mark.parametrize(
    ("namespace", "body", "injected"),
    [
        ({}, pod(), False),
        ({"istio_injection": "enabled"}, pod(), True),
        ({"istio_injection": "enabled"}, pod({INJECT: "false"}), False),
        ({"istio_injection": "enabled"}, pod(annotations={INJECT: "false"}), False),
        ({"istio_injection": "enabled"}, pod({INJECT: "maybe"}), True),
        ({"istio_injection": "enabled"}, pod(hostNetwork=True), False),
        ({"istio_injection": "disabled"}, pod({INJECT: "true"}), False),
        ({}, pod({INJECT: "true"}), True),
        ({}, pod({INJECT: "true", REVISION: "default"}), True),
        ({}, pod({INJECT: "true", REVISION: "other"}), False),
    ],
)
def test_who_gets_a_sidecar(client: Client, namespace: dict[str, str], body: dict[str, Any], injected: bool) -> None:
    labelled(client, **namespace)
    answer = client.post(f"{CORE}/pods", body, dryRun="All")
    assert answer.status == 201
    assert ("istio-proxy" in containers(answer)) == injected


def test_the_sidecar_tells_its_revision_and_is_native_unless_asked_otherwise(client: Client) -> None:
    labelled(client, istio_injection="enabled")
    doc = client.post(f"{CORE}/pods", pod(), dryRun="All").doc
    assert [c["name"] for c in doc["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]
    assert json.loads(doc["metadata"]["annotations"]["sidecar.istio.io/status"])["revision"] == "default"
    assert doc["metadata"]["labels"]["security.istio.io/tlsMode"] == "istio"
    old = client.post(f"{CORE}/pods", pod(annotations={"sidecar.istio.io/nativeSidecar": "false"}), dryRun="All").doc
    assert [c["name"] for c in old["spec"]["containers"]] == ["istio-proxy", "app"]


def test_one_named_resource_drops_all_other_defaults(client: Client) -> None:
    labelled(client, istio_injection="enabled")
    body = pod(annotations={"sidecar.istio.io/proxyMemoryLimit": "512Mi"})
    proxy = client.post(f"{CORE}/pods", body, dryRun="All").doc["spec"]["initContainers"][1]
    assert proxy["resources"]["limits"] == {"memory": "512Mi"}


def test_without_an_istiod_no_pod_of_the_mesh_can_be_created(client: Client) -> None:
    labelled(client, istio_injection="enabled")
    client.patch("/apis/apps/v1/namespaces/istio-system/deployments/istiod", {"spec": {"replicas": 0}})
    client.pass_time(5)
    answer = client.post(f"{CORE}/pods", pod())
    assert answer.status == 500
    assert 'failed calling webhook "namespace.sidecar-injector.istio.io"' in answer.message
    assert 'no endpoints available for service "istiod"' in answer.message
    assert client.post(f"{CORE}/pods", pod({INJECT: "false"})).status == 201


def test_a_template_that_nobody_has_is_refused(client: Client) -> None:
    labelled(client, istio_injection="enabled")
    answer = client.post(f"{CORE}/pods", pod(annotations={"inject.istio.io/templates": "missing"}))
    assert answer.status == 400
    assert 'requested template "missing" not found' in answer.message
