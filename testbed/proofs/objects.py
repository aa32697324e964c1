"""Are the cluster's objects what they were? Compares everything but what the API server and controllers write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from testbed.api import Testbed

KINDS = (
    "deployments,statefulsets,daemonsets,cronjobs,services,serviceaccounts,peerauthentications,destinationrules,"
    "authorizationpolicies,virtualservices,gateways.networking.istio.io"
)
_SERVER_FIELDS = ("uid", "resourceVersion", "generation", "managedFields", "creationTimestamp")
_CONTROLLER_ANNOTATIONS = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")


def concerned(testbed: Testbed, namespaces: tuple[str, ...]) -> dict[str, Any]:
    """Return every concerned object of these namespaces, and the namespaces, without what may differ."""
    found = {}
    for namespace in namespaces:
        listed = json.loads(testbed.kubectl("-n", namespace, "get", KINDS, "-o", "json"))["items"]
        own = json.loads(testbed.kubectl("get", "namespace", namespace, "-o", "json"))
        for document in (*listed, own):
            found[f"{document['kind']} {namespace}/{document['metadata']['name']}"] = _essence(document)
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Say what differs, one line a field."""
    return [
        line
        for name in sorted(before.keys() | after.keys())
        for line in _compare(name, before.get(name), after.get(name))
    ]


def _essence(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in _SERVER_FIELDS}
    annotations = metadata.get("annotations", {})
    metadata["annotations"] = {k: v for k, v in annotations.items() if k not in _CONTROLLER_ANNOTATIONS}
    return {**{k: v for k, v in document.items() if k != "status"}, "metadata": metadata}


def _compare(where: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _compare(f"{where}.{key}", before.get(key), after.get(key))
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"
