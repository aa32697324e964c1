"""Parts of objects that have an address of their own: status, scale, eviction, binding, log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshguard.sim.api import deletion, reading, responses, writing
from meshguard.sim.api.codec import decode_as
from meshguard.sim.api.negotiation import Form, negotiate
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.patches import json_patch, merge_patch
from meshguard.sim.api.requests import Request, Target, document, parse_json
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.responses import Response
from meshguard.sim.api.schema import type_of
from meshguard.sim.api.status import (
    ApiError,
    Doc,
    bad_request,
    conflict,
    method_not_allowed,
    too_many_requests,
    unknown_resource,
)
from meshguard.sim.api.tables.cells import selector_text

_METHODS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def check(resource: Resource, request: Request, target: Target) -> None:
    """Raise ApiError for a subresource that is unknown, or does not allow the verb."""
    known = resource.subresources.get(target.subresource)
    if known is None:
        raise unknown_resource()
    if _METHODS.get(request.method, "") not in known.verbs:
        raise method_not_allowed()


def answer(objects: Objects, resource: Resource, request: Request, target: Target) -> Response:
    """Answer a request for a subresource that passed the check. Raises ApiError."""
    form = negotiate(request.headers.get("accept", "") if target.subresource != "log" else "")
    handler = _HANDLERS.get(target.subresource)
    if handler is None:
        message = f"the flight simulator does not serve {resource.plural}/{target.subresource}"
        raise ApiError(501, "NotImplemented", message)
    return handler(objects, resource, request, target, form)


def _status(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    match request.method:
        case "GET":
            entry = objects.get(resource, target.namespace, target.name)
            return responses.one(resource, entry, form, objects.now(), reading.include_of(request))
        case "PUT":
            return writing.update(objects, resource, request, target, form)
    return writing.patch(objects, resource, request, target, form)


def _finalize(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    body, _ = document(request)

    def change(old: Doc) -> Doc:
        return {**old, "spec": {**old["spec"], "finalizers": (body.get("spec") or {}).get("finalizers") or []}}

    entry = objects.update(resource, target.namespace, target.name, change, writing.how(request), "finalize")
    return responses.one(resource, entry, form, objects.now(), reading.include_of(request))


def _paths(resource: Resource) -> Mapping[str, str]:
    if resource.custom is None:
        return {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    found: Mapping[str, str] = resource.custom["subresources"]["scale"]
    return found


def _at(doc: Any, path: str) -> Any:
    for key in path.strip(".").split("."):
        doc = doc.get(key) if isinstance(doc, dict) else None
    return doc


def scale_of(resource: Resource, doc: Doc) -> Doc:
    """The Scale of an object."""
    metadata, paths = doc["metadata"], _paths(resource)
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = selector_text(doc["spec"].get("selector")) if resource.custom is None else ""
    if resource.custom is not None and paths.get("labelSelectorPath"):
        selector = _at(doc, paths["labelSelectorPath"]) or ""
    status: Doc = {"replicas": _at(doc, paths["statusReplicasPath"]) or 0}
    if selector:
        status["selector"] = selector
    wanted = _at(doc, paths["specReplicasPath"]) or 0
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": status,
    }


def _scale(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    entry = objects.get(resource, target.namespace, target.name)
    if request.method != "GET":
        old = scale_of(resource, entry.doc)
        if request.method == "PUT":
            body, _ = document(request)
        else:
            patch, _ = parse_json(request.body)
            apply = json_patch.apply if request.content_type == writing.JSON_PATCH else merge_patch.apply
            body = apply(old, patch)
        wanted = decode_as(type_of("autoscaling", "v1", "Scale"), body)
        entry = _rescale(objects, resource, request, target, wanted)
    return responses.document(scale_of(resource, entry.doc), form)


def _rescale(objects: Objects, resource: Resource, request: Request, target: Target, wanted: Doc) -> Any:
    from meshguard.sim.api.status import invalid, invalid_value

    replicas = wanted.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        wrong = [invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")]
        raise invalid("autoscaling", "Scale", target.name, wrong)
    version = wanted.get("metadata", {}).get("resourceVersion")

    def change(old: Doc) -> Doc:
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, target.name)
        return {**old, "spec": {**old["spec"], "replicas": replicas}}

    return objects.update(resource, target.namespace, target.name, change, writing.how(request))


def _eviction(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    body, _ = document(request)
    if not isinstance(body, dict):
        raise bad_request("the body is no Eviction")
    name = (body.get("metadata") or {}).get("name")
    if name not in (None, "", target.name):
        raise bad_request("name in URL does not match name in Eviction object")
    entry = objects.get(resource, target.namespace, target.name)
    options = deletion.DeleteOptions.of(body.get("deleteOptions") or {})
    writer = writing.how(request)
    if not _free(entry.doc):
        guard_eviction(objects, entry.doc, dry_run=writer.dry_run)
    deletion.delete(objects, resource, target.namespace, target.name, options, writer)
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return responses.document(success, form, 201)


def _free(pod: Doc) -> bool:
    """Pods that are going or that have ended can always be evicted."""
    return bool(pod["metadata"].get("deletionTimestamp")) or pod["status"].get("phase") in (
        "Pending",
        "Succeeded",
        "Failed",
    )


def guard_eviction(objects: Objects, pod: Doc, *, dry_run: bool) -> None:
    """Take one disruption from the budget that covers a pod. Raises ApiError (429, 500)."""
    from meshguard.sim.api.selectors import selects

    metadata = pod["metadata"]
    budgets = [
        entry
        for entry in objects.store.all("poddisruptionbudgets.policy", metadata["namespace"])
        if selects(entry.doc["spec"].get("selector"), metadata.get("labels", {}))
    ]
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", message)
    for entry in budgets:
        status = entry.doc.get("status", {})
        if status.get("disruptionsAllowed", 0) <= 0:
            name = entry.doc["metadata"]["name"]
            desired, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
            why = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
            cause = {"reason": "DisruptionBudget", "message": why}
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            error = too_many_requests(message, 0, causes=[cause])
            error.headers = {}
            raise error
        if not dry_run:
            left = {**status, "disruptionsAllowed": status["disruptionsAllowed"] - 1}
            objects.store.put("poddisruptionbudgets.policy", entry.key, {**entry.doc, "status": left})


def _binding(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    body, _ = document(request)
    node = (body.get("target") or {}).get("name")
    if not node:
        raise bad_request("the target of the binding has no name")

    def change(old: Doc) -> Doc:
        if old["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{old["spec"]["nodeName"]}"'
            raise conflict("", "pods/binding", target.name, why)
        return {**old, "spec": {**old["spec"], "nodeName": node}}

    objects.update(resource, target.namespace, target.name, change, writing.how(request), "binding")
    success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return responses.document(success, form, 201)


def _log(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    from meshguard.sim.api.logs import lines_of

    entry = objects.get(resource, target.namespace, target.name)
    return responses.plain("".join(lines_of(entry.doc, request.query, objects.now())))


def _ephemeral(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    body, _ = parse_json(request.body)
    kind = request.content_type

    def change(old: Doc) -> Doc:
        new = body if request.method == "PUT" else writing.apply_patch(resource, old, kind, body)
        added = (new.get("spec") or {}).get("ephemeralContainers") or []
        return {**old, "spec": {**old["spec"], "ephemeralContainers": added}}

    entry = objects.update(resource, target.namespace, target.name, change, writing.how(request), "ephemeralcontainers")
    return responses.one(resource, entry, form, objects.now(), reading.include_of(request))


_HANDLERS: Mapping[str, Callable[[Objects, Resource, Request, Target, Form], Response]] = {
    "status": _status,
    "finalize": _finalize,
    "scale": _scale,
    "eviction": _eviction,
    "binding": _binding,
    "log": _log,
    "ephemeralcontainers": _ephemeral,
}
