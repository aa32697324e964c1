"""Objects that the cases are made of."""

from __future__ import annotations

from typing import Any

CORE, APPS, BATCH = "/api/v1/namespaces/{ns}", "/apis/apps/v1/namespaces/{ns}", "/apis/batch/v1/namespaces/{ns}"
POLICY, RBAC = "/apis/policy/v1/namespaces/{ns}", "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
NETWORKING, SECURITY = "/apis/networking.istio.io/v1/namespaces/{ns}", "/apis/security.istio.io/v1/namespaces/{ns}"
Body = dict[str, Any]


def thing(api_version: str, kind: str, name: str = "a", /, **parts: Any) -> Body:
    """An object."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **parts}


def config_map(name: str = "a", /, **data: Any) -> Body:
    """A ConfigMap."""
    return thing("v1", "ConfigMap", name, data=data)


def pod_spec(**parts: Any) -> Body:
    """The spec of a pod with one container."""
    return {"containers": [{"name": "app", "image": "shop/app:1"}], **parts}


def template(app: str = "web", **spec: Any) -> Body:
    """A pod template."""
    return {"metadata": {"labels": {"app": app}}, "spec": pod_spec(**spec)}


def workload(kind: str, name: str = "web", /, **spec: Any) -> Body:
    """A Deployment, StatefulSet, DaemonSet or ReplicaSet."""
    selector = {"matchLabels": {"app": name}}
    return thing("apps/v1", kind, name, spec={"selector": selector, "template": template(name), **spec})


def deployment(name: str = "web", /, **spec: Any) -> Body:
    """A Deployment that has no pods unless it is told to."""
    return workload("Deployment", name, **{"replicas": 0, **spec})


def pod(name: str = "a", /, **spec: Any) -> Body:
    """A pod."""
    return thing("v1", "Pod", name, spec=pod_spec(**spec))


def job(name: str = "a", /, **spec: Any) -> Body:
    """A Job that does not start."""
    template_ = {"spec": pod_spec(restartPolicy="Never")}
    return thing("batch/v1", "Job", name, spec={"suspend": True, "template": template_, **spec})


def service(name: str = "a", /, **spec: Any) -> Body:
    """A Service."""
    return thing("v1", "Service", name, spec={"ports": [{"port": 80}], **spec})


def istio(group: str, kind: str, spec: Body, name: str = "a", /, version: str = "v1") -> Body:
    """A resource of Istio."""
    return thing(f"{group}.istio.io/{version}", kind, name, spec=spec)


def labelled(body: Body, **labels: str) -> Body:
    """The object with labels."""
    return {**body, "metadata": {**body["metadata"], "labels": labels}}


def with_metadata(body: Body, **metadata: Any) -> Body:
    """The object with more metadata."""
    return {**body, "metadata": {**body["metadata"], **metadata}}
