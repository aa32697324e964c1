"""Creates, replacements, patches and deletions as they come over HTTP.

Source: `k8s.io/apiserver/pkg/endpoints/handlers/{create,update,patch,delete}.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meshguard.sim.api import deletion, responses
from meshguard.sim.api.codec import FieldValidation, decode, decode_as
from meshguard.sim.api.negotiation import Form
from meshguard.sim.api.objects import Objects, Write
from meshguard.sim.api.patches import json_patch, merge_patch, ownership, strategic
from meshguard.sim.api.reading import Filter, include_of
from meshguard.sim.api.requests import Request, Target, document, field_validation, is_dry_run, parse_json, parse_yaml
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.responses import Response
from meshguard.sim.api.schema import named
from meshguard.sim.api.status import (
    ApiError,
    Doc,
    bad_request,
    invalid,
    invalid_value,
    required,
    unsupported_media_type,
)
from meshguard.sim.api.store import encoded

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_LARGEST_STORED = 1536 * 1024
_OPTIONS = named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")


def how(request: Request) -> Write:
    """Who writes, and how. Raises ApiError."""
    manager = request.query.get("fieldManager") or request.headers.get("user-agent", "").partition("/")[0]
    return Write(request.user, is_dry_run(request), manager[:128])


def create(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """POST to a collection. Raises ApiError."""
    body, duplicates = document(request, kind_wanted=resource.kind)
    doc, warnings = decode(resource, body, field_validation(request), duplicates)
    _check_size(doc)
    entry = objects.create(resource, target.namespace, doc, how(request))
    return responses.one(resource, entry, form, objects.now(), include_of(request), 201, warnings)


def update(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """PUT an object or its status. Raises ApiError."""
    body, duplicates = document(request, kind_wanted=resource.kind)
    doc, warnings = decode(resource, body, field_validation(request), duplicates)
    _check_size(doc)
    name = doc["metadata"].get("name")
    if not name:
        raise bad_request("name must be provided")
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    entry = objects.update(
        resource, target.namespace, target.name, lambda _: doc, replace(how(request), replaces=True), target.subresource
    )
    return responses.one(resource, entry, form, objects.now(), include_of(request), 200, warnings)


def patch(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """PATCH an object or its status. Raises ApiError."""
    accepted = [JSON_PATCH, MERGE_PATCH, *([STRATEGIC] if resource.custom is None else []), APPLY]
    if request.content_type not in accepted:
        media = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)
        if request.content_type not in media:
            raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        raise unsupported_media_type(accepted)
    if request.content_type == APPLY:
        return apply(objects, resource, request, target, form)
    validation = field_validation(request)
    change, warnings = _change(resource, request, validation)
    entry = objects.update(resource, target.namespace, target.name, change, how(request), target.subresource)
    return responses.one(resource, entry, form, objects.now(), include_of(request), 200, warnings)


def apply(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """PATCH by server-side apply, which creates what is not there. Raises ApiError."""
    manager, body = request.query.get("fieldManager", ""), parse_yaml(request.body)
    if not manager:
        wrong = [required("fieldManager", "is required for apply patch")]
        raise invalid("meta.k8s.io", "PatchOptions", "", wrong)
    if not isinstance(body, dict):
        raise bad_request("error decoding YAML: the body is no object")
    if (body.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    given = _decode_partial(resource, body)
    given["metadata"].setdefault("name", target.name)
    writer = replace(how(request), applies=True)
    now, forced = objects.now(), request.flag("force")

    def onto(live: Doc) -> Doc:
        result = ownership.apply(resource, live, given, manager, now, force=forced)
        doc, _ = decode(resource, {"kind": resource.kind, "apiVersion": resource.api_version, **result})
        return doc

    status, created = 200, target.subresource == ""
    if created and objects.store.get(resource.storage, target.namespace, target.name) is None:
        entry, status = objects.create(resource, target.namespace, onto({"metadata": {}}), writer), 201
    else:
        entry = objects.update(resource, target.namespace, target.name, onto, writer, target.subresource)
    return responses.one(resource, entry, form, objects.now(), include_of(request), status)


def _decode_partial(resource: Resource, body: Doc) -> Doc:
    """Decode a configuration, which has only the fields that its writer cares for: no defaults, no zeros."""
    _, warnings = decode(resource, body, FieldValidation.WARN)
    unknown = [w.split('"')[1] for w in warnings if w.startswith("unknown field")]
    if unknown:
        words = [f".{path}: field not declared in schema" for path in unknown]
        told = words[0] if len(words) == 1 else "errors:\n" + "\n".join(f"  {word}" for word in words)
        metadata = body.get("metadata") or {}
        place = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        kind = f"{resource.api_version}, Kind={resource.kind}"
        raise ApiError(500, "", f"failed to create typed patch object ({place}; {kind}): {told}")
    kept = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "status")}
    metadata = {key: value for key, value in (body.get("metadata") or {}).items() if value is not None}
    return {**kept, "metadata": metadata}


def _change(
    resource: Resource, request: Request, validation: FieldValidation
) -> tuple[Callable[[Doc], Doc], list[str]]:
    body, duplicates = parse_json(request.body)
    warnings: list[str] = []
    if request.content_type == JSON_PATCH and not isinstance(body, list):
        kind = "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        raise bad_request(f"error decoding patch: {kind}")
    if request.content_type in (MERGE_PATCH, STRATEGIC) and not isinstance(body, dict):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )

    def change(old: Doc) -> Doc:
        whole = {"kind": resource.kind, "apiVersion": resource.api_version, **old}
        patched = apply_patch(resource, whole, request.content_type, body)
        try:
            doc, said = decode(resource, patched, validation, duplicates)
        except ApiError as error:
            words = error.message.partition("cannot be handled as a ")[2].partition(": ")[2] or error.message
            shown = encoded(patched).decode()
            type_ = words.rpartition(" of type ")[2]
            if request.content_type == STRATEGIC and type_ != words:
                shown, words = _go_map(body), f"unrecognized type: {type_}"
            wrong = [invalid_value("patch", shown, words)]
            raise invalid("", "", "", wrong) from error
        warnings[:] = said
        _check_size(doc)
        return doc

    return change, warnings


def _go_map(value: Any) -> str:
    """A value as Go prints it, which is what a refused strategic merge patch is shown as."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_map(item) for item in value) + "]"
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def apply_patch(resource: Resource, doc: Doc, kind: str, body: Any) -> Doc:
    """Return the patched document. Raises ApiError."""
    match kind:
        case "application/json-patch+json":
            patched = json_patch.apply(doc, body)
        case "application/merge-patch+json":
            patched = merge_patch.apply(doc, body)
        case _:
            patched = strategic.apply(resource.type, doc, body)
    if not isinstance(patched, dict):
        raise bad_request("the patched document is no object")
    return patched


def _check_size(doc: Doc) -> None:
    if len(encoded(doc)) > _LARGEST_STORED:
        raise ApiError(500, "", "etcdserver: request is too large")


def delete_options(request: Request) -> deletion.DeleteOptions:
    """Read the options of a deletion, from its body or its query. Raises ApiError."""
    found: Doc = {}
    if request.body.strip():
        parsed, _ = document(request)
        if not isinstance(parsed, dict):
            raise bad_request("the body is no DeleteOptions")
        found = decode_as(_OPTIONS, {k: v for k, v in parsed.items() if k not in ("kind", "apiVersion")})
    query = request.query
    if "gracePeriodSeconds" in query:
        found["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
    if "propagationPolicy" in query:
        found["propagationPolicy"] = query["propagationPolicy"]
    return deletion.DeleteOptions.of(found)


def delete(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """DELETE an object. Raises ApiError."""
    writer = how(request)
    found = deletion.delete(objects, resource, target.namespace, target.name, delete_options(request), writer)
    if not found.gone or resource.storage == "pods":
        return responses.one(resource, found.entry, form, objects.now(), include_of(request), 200)
    details: Doc = {"name": target.name, "kind": resource.plural, "uid": found.entry.doc["metadata"]["uid"]}
    if resource.group:
        details["group"] = resource.group
    header = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return responses.document({**header, "details": details}, form)


def delete_collection(objects: Objects, resource: Resource, request: Request, target: Target, form: Form) -> Response:
    """DELETE a collection. Raises ApiError."""
    wanted = Filter.of(resource, request, target)

    def chosen(doc: Doc) -> bool:
        return wanted.labels(doc) and wanted.fields(doc)

    entries = deletion.delete_collection(
        objects, resource, target.namespace, chosen, delete_options(request), how(request)
    )
    metadata = {"resourceVersion": str(objects.store.version)}
    return responses.many(resource, entries, metadata, form, objects.now(), include_of(request))
