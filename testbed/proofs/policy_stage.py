"""The stage of the policy proof: namespaces of its own, each with a proxied server that is a caller as well.

Everything is exported to these namespaces alone, so that the shop's proxies hear nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from testbed.api import Testbed

PREFIX = "proof-policies"
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")
NAMESPACES = tuple(f"{PREFIX}-{name}" for name in NAMES)
MARKER_NAMESPACE = f"{PREFIX}-marker"
MARKER_HOST = f"marker.{MARKER_NAMESPACE}.svc.cluster.local"
ALL_NAMESPACES = (*NAMESPACES, MARKER_NAMESPACE)
#: These servers have a second pod, without a proxy.
MIXED = frozenset(NAMESPACES[::2])
PORTS = {8080: "http-main", 9090: "tcp-side"}
_READY_WITHIN = "240s"


def namespace_of(name: str) -> str:
    """The namespace of a server."""
    return f"{PREFIX}-{name}"


def set_up(testbed: Testbed) -> None:
    """Put the stage up and wait until its pods are ready. Raises TestbedError."""
    take_down(testbed)
    objects = [manifest for name in NAMES for manifest in _server(name)]
    objects += [_namespace(MARKER_NAMESPACE), _service(MARKER_NAMESPACE, "marker", {"app": "nobody"})]
    testbed.kubectl("apply", "-f", "-", text=_listed(objects))
    for namespace in NAMESPACES:
        testbed.kubectl(
            "-n", namespace, "wait", "--for=condition=Available", "deployment", "--all", f"--timeout={_READY_WITHIN}"
        )


def take_down(testbed: Testbed, *, wait: bool = True) -> None:
    """Remove everything, and wait until it is gone or leave that to the cluster. Raises TestbedError."""
    waiting = f"--wait={str(wait).lower()}"
    testbed.kubectl("delete", "namespace", *ALL_NAMESPACES, "--ignore-not-found", waiting)


def _listed(objects: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def _server(name: str) -> Iterator[dict[str, Any]]:
    namespace = namespace_of(name)
    yield _namespace(namespace, {"istio-injection": "enabled"})
    yield _service(namespace, name, {"app": name})
    yield _service(namespace, f"{name}-each", {"app": name}, headless=True)
    yield _inside_entry(namespace, name)
    yield _outside_entry(namespace, name)
    yield _deployment(namespace, name, proxied=True)
    if namespace in MIXED:
        yield _deployment(namespace, name, proxied=False)


def _namespace(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def _service(namespace: str, name: str, selector: dict[str, str], *, headless: bool = False) -> dict[str, Any]:
    ports = [{"name": word, "port": number, "targetPort": number} for number, word in PORTS.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"networking.istio.io/exportTo": ",".join(ALL_NAMESPACES)},
        },
        "spec": {"selector": selector, "ports": ports, **({"clusterIP": "None"} if headless else {})},
    }


def _inside_entry(namespace: str, name: str) -> dict[str, Any]:
    """A host of the mesh that is no Kubernetes service, served by the same pods."""
    spec = {"location": "MESH_INTERNAL", "resolution": "STATIC", "workloadSelector": {"labels": {"app": name}}}
    return _entry(namespace, "inside", f"{name}.inside.example", spec)


def _outside_entry(namespace: str, name: str) -> dict[str, Any]:
    spec = {"location": "MESH_EXTERNAL", "resolution": "STATIC", "endpoints": [{"address": "192.0.2.1"}]}
    return _entry(namespace, "outside", f"{name}.outside.example", spec)


def _entry(namespace: str, kind: str, host: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": kind, "namespace": namespace},
        "spec": {
            "hosts": [host],
            "exportTo": list(ALL_NAMESPACES),
            "ports": [{"number": 8080, "name": "http", "protocol": "HTTP"}],
            **spec,
        },
    }


def _deployment(namespace: str, name: str, *, proxied: bool) -> dict[str, Any]:
    labels = {"app": name, "role": "proxied" if proxied else "bare"}
    container = {
        "name": "app",
        "image": "local/shop:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/shop", "serve", "-name", name, "-listen", ":8080"],
        "ports": [{"containerPort": number} for number in PORTS],
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
    }
    marks = labels | ({} if proxied else {"sidecar.istio.io/inject": "false"})
    template = {"metadata": {"labels": marks}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{name}-{labels['role']}", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
