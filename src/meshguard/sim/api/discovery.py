"""What the server tells of itself: groups, versions, resources, and the schemas of their objects."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from meshguard.sim.api import schema
from meshguard.sim.api.resources import Registry, Resource
from meshguard.sim.api.status import Doc

VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3",
    "gitCommit": "meshguard",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
OPENAPI_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#: A document of version 2 without any schema, in protobuf: `swagger` (1) and `info` (2) with `title` and `version`.
#: kubectl asks for it before it sends a List, and leaves the validation of what it does not find to the server.
EMPTY_OPENAPI_V2 = b"\x0a\x032.0" + b"\x12\x11" + b"\x0a\x0aKubernetes" + b"\x12\x03v36"
_QUERY = ("dryRun", "fieldManager", "fieldValidation", "force")


def core_versions(address: str) -> Doc:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(registry: Registry) -> Doc:
    """`/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(n, v) for n, v in registry.groups().items()]}


def group(registry: Registry, name: str) -> Doc | None:
    """`/apis/GROUP`; None for one that is not served."""
    versions = registry.groups().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def _group(name: str, versions: list[str]) -> Doc:
    served = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def resource_list(registry: Registry, group: str, version: str) -> Doc | None:
    """`/api/v1`, `/apis/GROUP/VERSION`; None for one that is not served."""
    if not registry.has_version(group, version):
        return None
    found = sorted((r for r in registry if (r.group, r.version) == (group, version)), key=lambda r: r.plural)
    header: Doc = {"apiVersion": "v1"} if group else {}
    return {
        "kind": "APIResourceList",
        **header,
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": [row for resource in found for row in _rows(resource)],
    }


def _rows(resource: Resource) -> Iterator[Doc]:
    optional: Doc = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    yield {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
        **{key: value for key, value in optional.items() if value},
        **({"storageVersionHash": _storage_hash(resource)} if "list" in resource.verbs else {}),
    }
    for name, sub in sorted(resource.subresources.items()):
        placed = {"group": sub.group, "version": sub.version} if sub.version else {}
        yield {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            **placed,
            "kind": sub.kind,
            "verbs": list(sub.verbs),
        }


def _storage_hash(resource: Resource) -> str:
    """What tells clients that the same objects are served in several versions."""
    text = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def aggregated(registry: Registry, *, core: bool) -> Doc:
    """Everything in one document, as newer clients ask for it."""
    groups = {"": ["v1"]} if core else registry.groups()
    items = []
    for name, versions in groups.items():
        metadata: Doc = {"name": name} if name else {}
        metadata["creationTimestamp"] = None
        rows = [
            {
                "version": version,
                "resources": [_row(r) for r in registry if (r.group, r.version) == (name, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": metadata, "versions": rows})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _row(resource: Resource) -> Doc:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    optional: Doc = {
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
        "subresources": [
            {
                "subresource": name,
                "responseKind": {
                    "group": sub.group or resource.group,
                    "version": sub.version or resource.version,
                    "kind": sub.kind,
                },
                "verbs": list(sub.verbs),
            }
            for name, sub in sorted(resource.subresources.items())
        ],
    }
    return {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
        **{key: value for key, value in optional.items() if value},
    }


def openapi_index(registry: Registry) -> Doc:
    """`/openapi/v3`: where the schemas of each version are."""
    versions = sorted({(resource.group, resource.version) for resource in registry})
    paths = {}
    for group_, version in versions:
        path = f"apis/{group_}/{version}" if group_ else f"api/{version}"
        kinds = ",".join(sorted(r.kind for r in registry if (r.group, r.version) == (group_, version)))
        digest = hashlib.sha256(kinds.encode()).hexdigest()[:16].upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def openapi(registry: Registry, group_: str, version: str) -> Doc | None:
    """`/openapi/v3/...`: paths and schemas of one version; None for one that is not served."""
    found = [resource for resource in registry if (resource.group, resource.version) == (group_, version)]
    if not found:
        return None
    paths: Doc = {}
    schemas: Doc = {}
    for resource in found:
        root = f"/apis/{group_}/{version}" if group_ else f"/api/{version}"
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        paths[f"{root}{scope}/{resource.plural}"] = _operations(resource, "post")
        paths[f"{root}{scope}/{resource.plural}/{{name}}"] = _operations(resource, "put", "patch")
        if resource.custom is None:
            _collect(schema.openapi_name(group_, version, resource.kind), schemas)
        else:
            reversed_group = ".".join(reversed(group_.split(".")))
            kinds = [{"group": group_, "version": version, "kind": resource.kind}]
            body = {**resource.custom_schema, "x-kubernetes-group-version-kind": kinds}
            schemas[f"{reversed_group}.{version}.{resource.kind}"] = body
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _operations(resource: Resource, *methods: str) -> Doc:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    query = [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in _QUERY]
    return {
        method: {
            "operationId": f"{method}{resource.kind}",
            "parameters": query,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": method,
            "x-kubernetes-group-version-kind": kind,
        }
        for method in methods
    }


def _collect(name: str, into: Doc) -> None:
    if name in into:
        return
    into[name] = _public(name)
    for other in _references(schema.schemas()[name]):
        _collect(other, into)


@cache
def _public(name: str) -> Any:
    return _without_marks(schema.schemas()[name])


def _without_marks(found: Any) -> Any:
    if isinstance(found, list):
        return [_without_marks(item) for item in found]
    if isinstance(found, dict):
        return {key: _without_marks(value) for key, value in found.items() if not key.startswith(("x-go", "x-proto"))}
    return found


def _references(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        if isinstance(found.get("$ref"), str):
            yield found["$ref"].rpartition("/")[2]
        for value in found.values():
            yield from _references(value)
    elif isinstance(found, list):
        for value in found:
            yield from _references(value)
