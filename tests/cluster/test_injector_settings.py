"""Where an injector's settings are read: beside the istiod that its webhook calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshguard.model.objects import Ref
from tests.cluster.api_server import status
from tests.cluster.test_snapshots import LISTS, cluster_of, item, snapshot_of

WEBHOOKS = "GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
CONFIG_MAPS = "GET /api/v1/namespaces/mesh/configmaps"


def webhook(service: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "injector", "uid": "uid"}, "webhooks": [{"clientConfig": {"service": service}}]}


@pytest.mark.parametrize(
    ("service", "more"),
    [
        ({"namespace": "mesh", "name": "istiod", "path": "/inject/cluster/one"}, 1),
        ({"namespace": "istio-system", "name": "istiod", "path": "/inject"}, 0),
        ({"namespace": "mesh", "name": "other", "path": "/mutate"}, 0),
        ({"namespace": "mesh", "name": "other"}, 0),
    ],
)
def test_another_namespace_is_read_only_when_an_injector_lives_there(
    service: dict[str, str], more: int, tmp_path: Path
) -> None:
    settings = item("istio-sidecar-injector", "mesh", data={"config": "policy: disabled", "values": "{}"})
    server = cluster_of().on(WEBHOOKS, {"items": [webhook(service)]}).on(CONFIG_MAPS, {"items": [settings]})
    snapshot = snapshot_of(server, tmp_path)
    assert snapshot.requests == LISTS + more
    found = snapshot.resources.get(Ref("ConfigMap", "mesh", "istio-sidecar-injector"))
    assert (found is not None) == bool(more)
    if found:
        assert found.doc["injector"]["policy"] == "disabled"


def test_settings_that_may_not_be_read_are_blind(tmp_path: Path) -> None:
    there = {"namespace": "mesh", "name": "istiod", "path": "/inject"}
    refused = status(403, 'User "x" cannot list resource "configmaps"')
    server = cluster_of().on(WEBHOOKS, {"items": [webhook(there)]}).on(CONFIG_MAPS, refused)
    assert list(snapshot_of(server, tmp_path).blind) == ["ConfigMap in mesh"]
