"""Builds snapshots for tests: a small shop in an Istio mesh, and whatever a test wants to add to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshguard.model.objects import Resource
from meshguard.model.snapshot import ClusterIdentity, OpenRun, Snapshot, resource_of

CLUSTER = ClusterIdentity("uid-cluster", "testbed", "https://127.0.0.1:6443", "v1.36.3")


def obj(kind: str, namespace: str, name: str, *, created: str = "2026-01-01T00:00:00Z", **parts: Any) -> Resource:
    """Make an object; `labels` and `annotations` go to the metadata, everything else is top level."""
    metadata = {"name": name, "uid": f"uid-{kind}-{namespace}-{name}", "creationTimestamp": created}
    if namespace:
        metadata["namespace"] = namespace
    for key in ("labels", "annotations", "ownerReferences"):
        if key in parts:
            metadata[key] = parts.pop(key)
    return resource_of({"metadata": metadata, **parts}, kind)


def policy(kind: str, namespace: str, name: str, spec: Mapping[str, Any], **parts: Any) -> Resource:
    """Make a policy object."""
    return obj(kind, namespace, name, spec=dict(spec), **parts)


@dataclass
class World:
    """A mutable collection of objects that becomes a Snapshot."""

    objects: list[Resource] = field(default_factory=list)

    def add(self, *objects: Resource) -> World:
        self.objects.extend(objects)
        return self

    def namespace(self, name: str, **labels: str) -> World:
        return self.add(obj("Namespace", "", name, labels=labels))

    def deployment(
        self,
        namespace: str,
        name: str,
        *,
        port: int = 8080,
        port_name: str = "http",
        meshed: bool = True,
        kind: str = "Deployment",
        replicas: int = 2,
        template_labels: Mapping[str, str] | None = None,
        template_annotations: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
        container: Mapping[str, Any] | None = None,
        headless: bool = False,
        revision: str = "default",
        proxy: str = "local/proxyv2:dev",
        annotations: Mapping[str, str] | None = None,
        pod_spec: Mapping[str, Any] | None = None,
        status: Mapping[str, Any] | None = None,
    ) -> World:
        labels = {"app": name, **(template_labels or {})}
        app = {
            "name": "app",
            "image": "shop",
            "ports": [{"name": port_name, "containerPort": port}],
            "readinessProbe": {"httpGet": {"port": port}},
            **(container or {}),
        }
        template: dict[str, Any] = {
            "metadata": {"labels": labels},
            "spec": {"containers": [app], "serviceAccountName": name, **(pod_spec or {})},
        }
        if template_annotations:
            template["metadata"]["annotations"] = dict(template_annotations)
        self.add(
            obj(
                kind,
                namespace,
                name,
                spec={
                    "replicas": replicas,
                    "selector": {"matchLabels": {"app": name}},
                    "template": template,
                    **(spec or {}),
                },
                status={"desiredNumberScheduled": replicas, **(status or {})},
                annotations=dict(annotations or {}),
            )
        )
        sidecar = [{"name": "istio-proxy", "image": proxy}] if meshed else []
        mark = {"sidecar.istio.io/status": json.dumps({"revision": revision})} if meshed else {}
        for index in range(replicas):
            self.add(
                obj(
                    "Pod",
                    namespace,
                    f"{name}-{index}",
                    labels=labels | ({"security.istio.io/tlsMode": "istio"} if meshed else {}),
                    annotations={**mark, **(template_annotations or {})},
                    ownerReferences=[{"kind": kind, "name": name, "controller": True}],
                    spec={"containers": [app, *sidecar], "serviceAccountName": name, **(pod_spec or {})},
                    status={
                        "phase": "Running",
                        "podIP": f"10.244.0.{len(self.objects)}",
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                )
            )
        return self.add(
            obj(
                "Service",
                namespace,
                name,
                spec={
                    "selector": {"app": name},
                    "clusterIP": "None" if headless else "10.96.0.9",
                    "ports": [{"name": port_name, "port": 80, "targetPort": port}],
                },
            )
        )

    def snapshot(self, open_runs: Iterable[OpenRun] = ()) -> Snapshot:
        resources = {r.ref: r for r in self.objects}
        return Snapshot(CLUSTER, "2026-11-01T03:00:00.000Z", resources, tuple(open_runs))


def injector(revision: str = "default") -> Resource:
    """The webhook configuration of an istiod, as its chart renders it for the default revision."""

    def rule(name: str, namespace: list[dict[str, Any]], pod: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "name": f"{name}.sidecar-injector.istio.io",
            "clientConfig": {"service": {"namespace": "istio-system", "name": "istiod", "path": "/inject"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            "failurePolicy": "Fail",
            "namespaceSelector": {"matchExpressions": namespace},
            "objectSelector": {"matchExpressions": pod},
        }

    def absent(key: str) -> dict[str, Any]:
        return {"key": key, "operator": "DoesNotExist"}

    def among(key: str, *values: str) -> dict[str, Any]:
        return {"key": key, "operator": "In", "values": list(values)}

    not_false = {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}
    rev, inject, ns = "istio.io/rev", "sidecar.istio.io/inject", "istio-injection"
    webhooks = [
        rule("rev.namespace", [among(rev, revision), absent(ns)], [not_false]),
        rule("rev.object", [absent(rev), absent(ns)], [not_false, among(rev, revision)]),
        rule("namespace", [among(ns, "enabled")], [not_false]),
        rule("object", [absent(ns), absent(rev)], [among(inject, "true"), absent(rev)]),
    ]
    return obj(
        "MutatingWebhookConfiguration",
        "",
        "istio-sidecar-injector",
        labels={rev: revision, "app": "sidecar-injector"},
        webhooks=webhooks,
    )


def shop() -> World:
    """The shop: shop-web calls shop-core calls shop-pay, `load` calls them all; the whole mesh is STRICT."""
    world = World().namespace("istio-system").namespace("kube-system").add(injector())
    world.deployment(
        "istio-system",
        "istiod",
        port=15017,
        port_name="https-webhook",
        meshed=False,
        container={"image": "docker.io/istio/pilot:1.31.0"},
    )
    for name in ("shop-web", "shop-core", "shop-pay", "load"):
        world.namespace(name, **{"istio-injection": "enabled"})
    world.deployment("shop-web", "storefront").deployment("shop-core", "cart").deployment("shop-core", "catalogue")
    world.deployment("shop-pay", "payments").deployment("load", "openload")
    strict = {"mtls": {"mode": "STRICT"}}
    world.add(policy("PeerAuthentication", "istio-system", "default", strict))
    return world.add(
        policy(
            "DestinationRule",
            "shop-core",
            "cart",
            {"host": "cart", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}},
        ),
        policy(
            "AuthorizationPolicy",
            "shop-pay",
            "payments",
            {
                "selector": {"matchLabels": {"app": "payments"}},
                "action": "ALLOW",
                "rules": [
                    {
                        "from": [{"source": {"principals": ["cluster.local/ns/shop-core/sa/cart"]}}],
                        "to": [{"operation": {"methods": ["GET", "POST"]}}],
                    }
                ],
            },
        ),
    )
