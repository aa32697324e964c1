"""From the body of a request to a document as the server keeps it: known kinds, known fields, defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from meshguard.sim.api import structural
from meshguard.sim.api.names import metadata_errors
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.schema import Type, named
from meshguard.sim.api.status import Doc, FieldError, bad_request, invalid_value, required
from meshguard.sim.api.typed import Decoder, Unmarshal, strict_error
from meshguard.sim.api.validation.kinds import OBJECTS, UPDATES
from meshguard.sim.api.validation.structs import struct_errors

META = named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")


class FieldValidation(Enum):
    """What the server does about unknown fields."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


def decode(
    resource: Resource,
    body: Any,
    validation: FieldValidation = FieldValidation.IGNORE,
    duplicates: Sequence[str] = (),
) -> tuple[Doc, list[str]]:
    """Return the document, without `apiVersion` and `kind`, and the warnings about its fields. Raises ApiError."""
    if not isinstance(body, dict):
        raise bad_request(f"{_words(resource)}: json: cannot unmarshal {_json_type(body)} into Go value")
    _check_kind(resource, body)
    unknown: list[str] = []
    try:
        if resource.custom is None:
            decoder = Decoder()
            doc = decoder.decode(resource.type, body)
            unknown = decoder.unknown
        else:
            doc = structural.prune(resource.custom_schema, body, "", unknown)
            decoder = Decoder()
            doc["metadata"] = decoder.decode(META, body.get("metadata") or {})
            unknown += [f"metadata.{path}" for path in decoder.unknown]
    except Unmarshal as error:
        raise bad_request(f"{_words(resource)}: {error}") from error
    if validation is FieldValidation.STRICT and (unknown or duplicates):
        raise bad_request(f"{_words(resource)}: {strict_error(unknown, duplicates)}")
    doc.pop("apiVersion", None)
    doc.pop("kind", None)
    warnings = [*(f'unknown field "{path}"' for path in unknown), *(f'duplicate field "{p}"' for p in duplicates)]
    return doc, warnings if validation is FieldValidation.WARN else []


def decode_as(of: Type, body: Mapping[str, Any]) -> Doc:
    """Decode a document of a kind that is no resource of its own (Scale, Eviction, DeleteOptions). Raises ApiError."""
    try:
        return Decoder().decode(of, body)
    except Unmarshal as error:
        raise bad_request(f'{of.name} in version "v1" cannot be handled as a {of.name}: {error}') from error


def _words(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


def _json_type(body: Any) -> str:
    names = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return names.get(type(body), "null")


def _check_kind(resource: Resource, body: Doc) -> None:
    version, kind = body.get("apiVersion", ""), body.get("kind", "")
    if not kind and not version and resource.custom is None:
        return
    if not kind:
        raise bad_request(f"Object 'Kind' is missing in '{_shortened(body)}'")
    if not version:
        raise bad_request(f"Object 'apiVersion' is missing in '{_shortened(body)}'")
    if kind != resource.kind and version == resource.api_version:
        internal = resource.group.partition(".")[0] or "core"
        why = f"converting ({resource.version}.{kind}) to ({internal}.{resource.kind}): unknown conversion"
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}')
    if version != resource.api_version and resource.custom is None:
        short = version.rpartition("/")[2]
        why = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        raise bad_request(f'{kind} in version "{short}" cannot be handled as a {resource.kind}: {why}')
    if version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )


def _shortened(body: Doc) -> str:
    import json

    return json.dumps(body, separators=(",", ":"))


def errors(resource: Resource, doc: Doc) -> Iterator[FieldError]:
    """Yield everything that is wrong with a document."""
    yield from metadata_errors(resource.kind, doc["metadata"])
    if resource.custom is not None:
        found = list(_custom_errors(resource, doc))
        yield from found
        if found and resource.has_rules:
            why = "some validation rules were not checked because the object was invalid; correct the existing errors"
            yield invalid_value("<nil>", None, f"{why} to complete validation")
        return
    yield from struct_errors(resource.type, doc, "")
    rule = OBJECTS.get(resource.storage)
    if rule is not None:
        yield from rule(doc)


def _custom_errors(resource: Resource, doc: Doc) -> Iterator[FieldError]:
    for name, schema in resource.custom_schema["properties"].items():
        if name in doc and name not in ("metadata", "apiVersion", "kind"):
            yield from structural.validate(schema, doc[name], name)
    for name in resource.custom_schema.get("required", ()):
        if name not in doc:
            yield required(name)


def update_errors(resource: Resource, old: Doc, new: Doc) -> Iterator[FieldError]:
    """Yield everything that is wrong with a document that takes the place of another."""
    yield from errors(resource, new)
    rule = UPDATES.get(resource.storage)
    if rule is not None:
        yield from rule(old, new)
