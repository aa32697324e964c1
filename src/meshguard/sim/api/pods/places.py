"""Which pod and which port the name in a proxy's path means.

Source: `pkg/registry/core/pod/strategy.go` and `pkg/registry/core/service/storage/storage.go` of Kubernetes.
"""

from __future__ import annotations

import random

from meshguard.sim.api.objects import Objects
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import ApiError, Doc, bad_request, service_unavailable


def split(kind: str, text: str) -> tuple[str, str]:
    """`NAME`, `NAME:PORT` or `SCHEME:NAME:PORT` as (name, port); the port may be "". Raises ApiError (400)."""
    match text.split(":"):
        case [name]:
            return name, ""
        case [name, port] | [("http" | "https" | ""), name, port] if name:
            return name, port
    raise bad_request(f'invalid {kind} request "{text}"')


def of_pod(objects: Objects, resource: Resource, namespace: str, text: str) -> tuple[Doc, int]:
    """The pod and its port: the first that it declares, when none is named. Raises ApiError (400, 404)."""
    name, port = split("pod", text)
    pod = objects.get(resource, namespace, name).doc
    declared = [p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports", ())]
    if not pod["status"].get("podIP"):
        raise bad_request("address not allowed")
    if port and not port.isdecimal():
        raise bad_request(f'invalid pod request "{text}"')
    return pod, int(port) if port else next(iter(declared), 80)


def of_service(objects: Objects, resource: Resource, namespace: str, text: str) -> tuple[Doc, int]:
    """A ready pod behind the service and the port on which it serves. Raises ApiError (400, 404, 503)."""
    name, port = split("service", text)
    if port.isdecimal():
        service = objects.get(resource, namespace, name).doc
        found = [p.get("name", "") for p in service["spec"].get("ports", ()) if p["port"] == int(port)]
        if not found:
            raise service_unavailable(f'no service port {port} found for service "{name}"')
        port = found[0]
    endpoints = objects.store.get("endpoints", namespace, name)
    if endpoints is None:
        raise ApiError(404, "NotFound", f'endpoints "{name}" not found', {"name": name, "kind": "endpoints"})
    for subset in endpoints.doc.get("subsets", ()):
        numbers = [p["port"] for p in subset.get("ports", ()) if p.get("name", "") == port]
        targets = [a["targetRef"]["name"] for a in subset.get("addresses", ()) if a.get("targetRef")]
        pods = [entry.doc for target in targets if (entry := objects.store.get("pods", namespace, target))]
        if numbers and pods:
            return random.choice(pods), numbers[0]
    raise service_unavailable(f'no endpoints available for service "{text}"')
