"""No value of an environment variable ever comes into a snapshot, by whatever way it could."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshguard.cluster.trimming import POD_SPEC_PATHS, trimmed
from meshguard.model.kinds import RESTARTABLE, RUN_TO_COMPLETION
from meshguard.model.snapshot import resource_of

SECRET = "hunter2"
CONTAINER = {
    "name": "app",
    "image": "app:1",
    "env": [
        {"name": "PASSWORD", "value": SECRET},
        {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "db", "key": SECRET}}},
    ],
}
POD_SPEC = {"containers": [CONTAINER], "initContainers": [CONTAINER], "ephemeralContainers": [CONTAINER]}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD_SPEC}


def document(spec: dict[str, Any]) -> dict[str, Any]:
    return json.loads(  # type: ignore[no-any-return]
        json.dumps(
            {
                "metadata": {
                    "name": "web",
                    "namespace": "shop",
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": SECRET, "kept": "yes"},
                    "managedFields": [{"fieldsV1": {SECRET: {}}}],
                },
                "spec": spec,
            }
        )
    )


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Pod", POD_SPEC),
        ("Deployment", {"template": TEMPLATE}),
        ("StatefulSet", {"template": TEMPLATE}),
        ("DaemonSet", {"template": TEMPLATE}),
        ("Job", {"template": TEMPLATE}),
        ("CronJob", {"jobTemplate": {"spec": {"template": TEMPLATE}}}),
        ("Rollout", {"template": TEMPLATE}),
        ("ReplicaSet", {"template": TEMPLATE}),
        ("WasmPlugin", {"pluginConfig": {"key": SECRET}, "vmConfig": {"env": [{"name": "A", "value": SECRET}]}}),
    ],
)
def test_a_planted_secret_does_not_come_through(kind: str, spec: dict[str, Any]) -> None:
    resource = resource_of(trimmed(kind, document(spec)), kind)
    assert SECRET not in json.dumps(resource.doc)
    if kind != "ReplicaSet":
        assert resource.annotations == {"kept": "yes"}


def test_every_kind_with_a_pod_template_is_known() -> None:
    assert set(RESTARTABLE + RUN_TO_COMPLETION) | {"Pod"} == set(POD_SPEC_PATHS)


def test_the_names_of_variables_stay() -> None:
    doc = trimmed("Pod", document(POD_SPEC))
    assert doc["spec"]["containers"][0]["env"] == [{"name": "PASSWORD"}, {"name": "FROM_SECRET"}]


def test_of_istios_config_maps_only_what_decides_is_kept() -> None:
    doc: dict[str, Any] = {
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "trustDomain: example.org\nenableAutoMtls: false\n", "meshNetworks": SECRET},
    }
    assert trimmed("ConfigMap", doc) == {
        "metadata": doc["metadata"],
        "mesh": {"trustDomain": "example.org", "enableAutoMtls": False},
    }


def test_of_the_injector_only_its_policy_and_the_size_of_its_proxies_are_kept() -> None:
    config = "policy: enabled\nneverInjectSelector:\n- matchLabels: {job: batch}\naliases: {both: [sidecar, own]}\n"
    config += "templates:\n  sidecar: 'name: istio-proxy, big'\n  own: small\n"
    size = {"requests": {"cpu": "20m"}}
    values = {"global": {"proxy": {"resources": size, "image": SECRET}, "imagePullSecrets": [SECRET]}}
    doc = {
        "metadata": {"name": "istio-sidecar-injector", "namespace": "istio-system"},
        "data": {"config": config, "values": json.dumps(values)},
    }
    assert trimmed("ConfigMap", doc)["injector"] == {
        "policy": "enabled",
        "alwaysInjectSelector": None,
        "neverInjectSelector": [{"matchLabels": {"job": "batch"}}],
        "templates": {"sidecar": 1, "own": 0, "both": 1},
        "resources": size,
    }


def test_our_own_records_are_kept_whole() -> None:
    doc = {"metadata": {"name": "run", "namespace": "meshguard-system"}, "data": {"journal": "..."}}
    assert trimmed("ConfigMap", dict(doc)) == doc
