"""A mesh for a light cluster: nobody runs istiod there, so an admission policy puts the sidecars into the pods.

The API server, its controllers, RBAC and admission are real; pods only say that they run, and no proxy can be asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from testbed.api import Testbed
from testbed.waiting import wait_until

WEB, CORE = "shop-web", "shop-core"
INJECTION_S, READY_S = 60, 120
POLICIES = "security.istio.io/v1"
_SIDECAR = """Object{
  metadata: Object.metadata{
    annotations: {"sidecar.istio.io/status": '{"revision":"default"}'},
    labels: {"security.istio.io/tlsMode": "istio"}
  },
  spec: Object.spec{containers: [Object.spec.containers{name: "istio-proxy", image: "local/proxyv2:dev"}]}
}"""
_PODS = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
_ENABLED = {"matchLabels": {"istio-injection": "enabled"}}
_NOT_REFUSED = {"matchExpressions": [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]}


def install(bed: Testbed, *, istiod: bool = True) -> None:
    """Put the mesh and a shop of every kind of workload into a light cluster, and wait for its pods.

    Without `istiod` nobody seems to answer for the injector: an exit then is a declared outage, which asks no proxy
    and can be carried out to its end. New pods get sidecars either way.
    """
    install_mesh(bed, istiod=istiod)
    bed.kubectl("apply", "-f", "-", text=_list(_shop()))
    wait_until(lambda: _settled(bed, istiods=int(istiod)), READY_S, "the shop's pods to be ready")


def install_mesh(bed: Testbed, *, istiod: bool = True) -> None:
    """Put the mesh into a light cluster without the shop."""
    bed.kubectl("apply", "-f", "-", text=_list([*_mesh(istiods=int(istiod)), *_injector()]))
    wait_until(lambda: _sidecars(bed), INJECTION_S, "the admission policy to take effect")


def strict(namespace: str) -> dict[str, Any]:
    """A PeerAuthentication that decrees mutual TLS in a namespace, or in the root namespace for the mesh."""
    return _policy("PeerAuthentication", namespace, "default", {"mtls": {"mode": "STRICT"}})


def fake_deployment(
    namespace: str, name: str, container: Mapping[str, Any], *, replicas: int, **pod: Any
) -> dict[str, Any]:
    """A deployment whose pods run on kwok's nodes, which is to say that they do not run.

    `container` says what the app has besides its name and image, `pod` what the pods' spec has besides that.
    """
    labels = {"app": name}
    app = {"name": "app", "image": "web", **container}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": _fake_pods(labels, app, **pod),
        },
    }


def _fake_pods(labels: Mapping[str, str], container: Mapping[str, Any], **pod: Any) -> dict[str, Any]:
    spec = {
        "containers": [container],
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"type": "kwok"},
        **pod,
    }
    return {"metadata": {"labels": labels}, "spec": spec}


def _list(objects: Iterable[Mapping[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _sidecars(bed: Testbed) -> bool:
    """The policy takes effect some time after it was created."""
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": WEB},
        "spec": {"containers": [{"name": "app", "image": "shop"}]},
    }
    return "istio-proxy" in bed.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(probe))


def _settled(bed: Testbed, istiods: int) -> bool:
    pods = json.loads(bed.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    ready = [
        pod
        for pod in pods
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]
    return len(pods) == len(ready) == istiods + 2 + 2 + 3 + 2 + 2


def _mesh(istiods: int) -> Iterator[Mapping[str, Any]]:
    yield _namespace("istio-system")
    yield _namespace(WEB, injected=True)
    yield _namespace(CORE, injected=True)
    yield _config("istio", {"mesh": "trustDomain: cluster.local"})
    yield _config("istio-sidecar-injector", {"config": "policy: enabled", "values": "{}"})
    yield from _workload("Deployment", "istio-system", "istiod", "local/pilot:1.31.0", replicas=istiods)
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector", "labels": {"istio.io/rev": "default"}},
        "webhooks": [
            {
                "name": "namespace.sidecar-injector.istio.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"service": {"namespace": "istio-system", "name": "istiod", "path": "/inject"}},
                "rules": [_PODS],
                "namespaceSelector": _ENABLED,
                "objectSelector": _NOT_REFUSED,
                # what this webhook would do, the policy below does
                "matchConditions": [{"name": "nobody-answers", "expression": "false"}],
            }
        ],
    }


def _injector() -> Iterator[Mapping[str, Any]]:
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "sidecar"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [_PODS],
                "namespaceSelector": _ENABLED,
                "objectSelector": _NOT_REFUSED,
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": _SIDECAR}},
            ],
        },
    }
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "sidecar"},
        "spec": {"policyName": "sidecar"},
    }


def _shop() -> Iterator[Mapping[str, Any]]:
    yield from _workload("Deployment", WEB, "storefront", replicas=2)
    yield from _workload("StatefulSet", WEB, "sessions", replicas=2, updateStrategy={"type": "OnDelete"})
    yield from _workload("DaemonSet", WEB, "edge")
    yield from _workload("ReplicaSet", WEB, "legacy", replicas=2)
    yield from _workload("Deployment", CORE, "cart", replicas=2)
    yield strict("istio-system")
    yield strict(WEB)
    yield _policy(
        "DestinationRule",
        WEB,
        "storefront",
        {
            "host": "storefront",
            "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}, "connectionPool": {"tcp": {"maxConnections": 7}}},
        },
    )
    caller = {"source": {"principals": [f"cluster.local/ns/{WEB}/sa/default"]}}
    rule = {"from": [caller], "to": [{"operation": {"methods": ["GET"]}}]}
    yield _policy("AuthorizationPolicy", CORE, "cart", {"action": "ALLOW", "rules": [rule]})


def _namespace(name: str, *, injected: bool = False) -> dict[str, Any]:
    labels = {"istio-injection": "enabled"} if injected else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _config(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def _policy(kind: str, namespace: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    group = "networking.istio.io/v1" if kind == "DestinationRule" else POLICIES
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def _workload(kind: str, namespace: str, name: str, image: str = "shop", **spec: Any) -> Iterator[dict[str, Any]]:
    labels = {"app": name}
    app = {
        "name": "app",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": 8080}},
    }
    metadata = {"name": name, "namespace": namespace}
    more = {"serviceName": name} if kind == "StatefulSet" else {}
    yield {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": labels}, "template": _fake_pods(labels, app), **more, **spec},
    }
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    headless = {"clusterIP": "None"} if kind == "StatefulSet" else {}
    service = {"selector": labels, "ports": ports, **headless}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}
